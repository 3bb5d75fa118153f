document.getElementById("age").textContent = "Loaded " + new Date().toLocaleTimeString();
