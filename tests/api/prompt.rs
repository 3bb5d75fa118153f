//! Pages wait for nothing outside longer than a moment: what does not answer is said, and is shown when it does.

use std::time::Duration;
use std::time::Instant;

use tokio::net::TcpListener;

use crate::browser::Browser;
use crate::browser::add_user;
use crate::support::Answer;
use crate::support::Database;
use crate::support::Plan;
use crate::support::folder;
use crate::support::until;

const PASSWORD: &str = "correct horse battery staple";
/// No page takes longer, on a busy machine too: one that waited for what does not answer would take three seconds at least.
const BOUND: Duration = Duration::from_millis(2500);

async fn prompt(browser: &Browser<'_>, path: &str) -> Answer {
    let began = Instant::now();
    let page = browser.get(path).await;
    let took = began.elapsed();
    assert_eq!(page.status, 200, "{path}: {}", page.text);
    assert!(took < BOUND, "{path} took {took:?}");
    page
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_wait_for_no_daemon_and_no_registry() {
    // A registry that takes calls and answers none of them.
    let registry = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = registry.local_addr().unwrap().port();
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = registry.accept().await {
            held.push(stream);
        }
    });
    let dir = folder();
    let docker = dir.path().join("docker");
    let slow = dir.path().join("slow");
    std::fs::create_dir_all(&docker).unwrap();
    std::fs::create_dir_all(&slow).unwrap();
    std::fs::write(docker.join("hang"), "").unwrap();
    let hang = docker.join("hang");
    let slow = format!("dir = {slow:?}\nproject = \"slow\"\nimage = \"127.0.0.1:{port}/acme/slow\"\nvariable = \"TAG\"");
    let tables = format!("config_dir = {docker:?}\n[service.slow]\n{slow}\n");
    let rig = Plan { socket: true, tables, ..Plan::new(Database::Sqlite) }.start_in(dir, None).await;
    add_user(&rig, "ada", &["deploy:*", "rollback:*", "read"], Some(PASSWORD)).await;
    let ada = Browser::new(&rig);
    assert_eq!(ada.log_in("ada", PASSWORD).await.status, 303);
    let overview = prompt(&ada, "/").await.text;
    assert!(overview.contains("not seen yet") && overview.contains("its host has not answered yet"), "{overview}");
    assert!(overview.contains("Nothing is known to be wrong") && !overview.contains("wait for you"), "{overview}");
    let service = prompt(&ada, "/services/web").await.text;
    assert!(service.contains("Its host has not answered yet") && !service.contains("None runs."), "{service}");
    for path in ["/services/web/rollback", "/deployments", "/data", "/incidents"] {
        prompt(&ada, path).await;
    }
    let form = prompt(&ada, "/services/slow/deploy").await.text;
    assert!(form.contains("The registry has not answered yet") && form.contains("data-fresh-s=\"1\""), "{form}");
    // A tag that is typed comes back at once as well, if it is none.
    let began = Instant::now();
    let wrong = ada.post("/services/slow/deploy", &[("form_token", &ada.form_token().await), ("other", "no tag"), ("reason", "why")]).await;
    assert!(began.elapsed() < BOUND * 2 && wrong.status == 400, "{wrong:?}");
    assert!(wrong.text.contains("value=\"no tag\"") && wrong.text.contains("value=\"why\""), "{}", wrong.text);
    assert!(!wrong.text.contains("data-fresh-s"), "what was chosen must not be taken from whoever mends it: {}", wrong.text);
    // When it answers again, the page says so without being told.
    std::fs::remove_file(hang).unwrap();
    until("the daemon to be heard", async || {
        let page = prompt(&ada, "/services/web").await.text;
        (page.contains("None runs.") && !page.contains("has not answered") && !page.contains("said nothing")).then_some(())
    })
    .await;
    // A registry that refuses is heard at once.
    let refused = prompt(&ada, "/services/web/deploy").await.text;
    until("the registry to be heard", async || {
        let form = prompt(&ada, "/services/web/deploy").await.text;
        (form.contains("Only tags that were verified here are listed") && !form.contains("data-fresh-s")).then_some(())
    })
    .await;
    drop(refused);
    silent.abort();
    rig.finish().await;
}
