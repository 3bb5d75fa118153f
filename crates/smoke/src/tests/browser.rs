//! However the rendered check ends, nothing of the browser stays.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::browser;
use crate::browser::program::Chromium;
use crate::browser::session::Session;
use crate::plan::BrowserPlan;
use crate::tests::server::Server;
use crate::tests::server::page;

/// A Chromium that leaves marks: every process of it has the mark in its environment, and the profile's place is written down.
struct Marked(tempfile::TempDir);

impl Marked {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = format!(
            "#!/bin/sh\nMARK={0} PATH=/usr/local/bin:/usr/bin:/bin; export MARK\necho \"$HOME\" >>{0}/profiles\nexec chromium \"$@\"\n",
            dir.path().display()
        );
        let program = dir.path().join("chromium");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn plan(&self, deadline: Duration) -> BrowserPlan {
        BrowserPlan { program: Some(self.0.path().join("chromium")), is_optional: false, deadline, screenshots: None, har: None }
    }

    /// Processes that run, and profiles that are still there.
    fn left(&self) -> Vec<String> {
        let mark = format!("MARK={}", self.0.path().display());
        let is_ours = |entry: &std::fs::DirEntry| {
            std::fs::read(entry.path().join("environ")).is_ok_and(|environment| String::from_utf8_lossy(&environment).contains(&mark))
        };
        let running = std::fs::read_dir("/proc").unwrap().flatten().filter(is_ours).map(|entry| entry.path().display().to_string());
        let profiles = std::fs::read_to_string(self.0.path().join("profiles")).unwrap_or_default();
        running.chain(profiles.lines().filter(|profile| Path::new(profile).exists()).map(str::to_owned)).collect()
    }

    async fn until_nothing_is_left(&self, how: &str) {
        let began = Instant::now();
        while !self.left().is_empty() {
            assert!(began.elapsed() < Duration::from_mins(1), "{how}: {:#?}", self.left());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_it_runs(&self) {
        let began = Instant::now();
        while self.left().len() < 4 {
            assert!(began.elapsed() < Duration::from_mins(1), "it does not start: {:#?}", self.left());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A server whose page never comes to its end, and the key that its certificate is trusted by.
async fn hanging() -> (Server, Vec<String>) {
    let server = Server::https(Box::new(|_, _| Some(page("<script>for (;;) {}</script>")))).await;
    let trusted = server.keys().await;
    (server, trusted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_dropped_ends_the_browser() {
    let ((server, trusted), marked) = (hanging().await, Marked::new());
    let (page, own) = (server.plan(), marked.plan(Duration::from_mins(5)));
    // As a cancelled deployment does.
    tokio::select! {
        _ = browser::render(&page, &own, &trusted, &[]) => panic!("the script never comes"),
        () = marked.until_it_runs() => {}
    }
    marked.until_nothing_is_left("dropped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_browser_before_the_check_returns() {
    let ((server, trusted), marked) = (hanging().await, Marked::new());
    // The first is over while Chromium is still starting.
    for deadline in [Duration::from_millis(50), Duration::from_secs(6)] {
        let rendered = browser::render(&server.plan(), &marked.plan(deadline), &trusted, &[]).await;
        assert_eq!(marked.left(), [""; 0]);
        assert_eq!(rendered.findings[0].rule, "browser_failed", "{:?}", rendered.findings);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_the_browser() {
    let ((server, trusted), marked) = (hanging().await, Arc::new(Marked::new()));
    let (page, own, watcher) = (server.plan(), marked.plan(Duration::from_mins(5)), Arc::clone(&marked));
    let panicked = tokio::spawn(async move {
        let (_chromium, mut cdp) = Chromium::start(&page, &own, &trusted, &[]).unwrap();
        let _session = Session::open(&mut cdp, &page, None).await.unwrap();
        watcher.until_it_runs().await;
        panic!("on purpose");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    marked.until_nothing_is_left("panic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_crashes_is_said() {
    let ((server, trusted), marked) = (hanging().await, Marked::new());
    let (page, own) = (server.plan(), marked.plan(Duration::from_mins(5)));
    let crash = async {
        marked.until_it_runs().await;
        // The first is the browser itself, the others are its children.
        let ids = marked.left().into_iter().filter_map(|path| path.strip_prefix("/proc/")?.parse::<i32>().ok()).collect::<Vec<_>>();
        let kill = process::Command {
            program: "kill".into(),
            args: vec!["-KILL".into(), ids.into_iter().min().unwrap().to_string()],
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            dir: None,
            deadline: Duration::from_mins(1),
            mask: Arc::default(),
            lock: None,
        };
        process::capture(&kill, &process::Cancel::default()).await.success().unwrap();
        std::future::pending::<()>().await;
    };
    let rendered = tokio::select! {
        rendered = browser::render(&page, &own, &trusted, &[]) => rendered,
        () = crash => unreachable!(),
    };
    assert_eq!(marked.left(), [""; 0]);
    let said = &rendered.findings[0];
    assert!(said.rule == "browser_failed" && said.message.contains("The browser exited before the check was finished"), "{said:?}");
}
