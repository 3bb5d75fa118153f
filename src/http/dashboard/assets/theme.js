// Before anything is painted: the theme that was chosen here, if any.
"use strict";
(() => {
  const root = document.documentElement;
  const read = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const put = (theme) => { if (theme === "light" || theme === "dark") root.dataset.theme = theme; };
  put(read());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    button.hidden = false;
    const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const say = () => button.setAttribute("aria-pressed", String(isDark()));
    button.setAttribute("aria-label", "Dark colours");
    say();
    button.addEventListener("click", () => {
      const theme = isDark() ? "light" : "dark";
      put(theme);
      say();
      try { localStorage.setItem("theme", theme); } catch { /* It lasts as long as this page. */ }
    });
  });
})();
