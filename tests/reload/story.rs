//! What one reload does, and what it leaves when it fails.

use serde_json::Value;
use serde_json::json;

use crate::support::Place;
use crate::support::Plan;
use crate::support::Running;
use crate::support::Server;
use crate::support::commit;
use crate::support::git;
use crate::support::until;

/// A server that publishes worktrees to an app, which serves the first commit.
async fn worktrees(place: &Place, plan: Plan) -> (Server, Running) {
    let bare = Server::start(Plan::new("pod").dataset("publish = \"worktree\"\ngrace_s = 0").write(place)).await;
    bare.until_loaded(&place.tip()).await;
    bare.stop().await;
    let app = Running::app(&place.path().join("pod-checkout.current"), "127.0.0.1:0").await;
    let server = Server::start(plan.dataset("publish = \"worktree\"\ngrace_s = 0").over(&app).write(place)).await;
    // From the first reload on, edits in the checkout are left alone.
    let (status, answer) = server.reload(&json!({})).await;
    assert_eq!((status, &answer["loaded"]), (200, &json!(place.tip())), "{answer}");
    (server, app)
}

fn served(place: &Place) -> String {
    let link = std::fs::read_link(place.path().join("pod-checkout.current")).unwrap();
    link.file_name().unwrap().to_str().unwrap().to_owned()
}

/// A link in the data that leads out of it is said where a person looks: in the answer and in how the dataset stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_link_that_leads_outside_is_said() {
    let place = Place::new();
    let server = Server::start(Plan::new("pod").dataset("publish = \"worktree\"").write(&place)).await;
    server.until_loaded(&place.tip()).await;
    std::os::unix::fs::symlink("/etc/hostname", place.writer().join("notes/host")).unwrap();
    let new = place.push(&[]);
    let (status, answer) = server.reload(&json!({ "commitHash": new })).await;
    assert_eq!((status, &answer["loaded"]), (200, &json!(new)), "{answer}");
    assert!(answer["why"].as_str().unwrap().contains("point outside it, to files of this host: notes/host."), "{answer}");
    assert_eq!(server.dataset().await["outward"], json!(["notes/host"]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_get_a_whole_worktree_or_keep_the_old_one() {
    let place = Place::new();
    let (server, app) = worktrees(&place, Plan::new("pod")).await;
    let second = place.push(&[("notes/two.md", "second\n")]);
    let (status, answer) = server.reload(&json!({ "commitHash": second })).await;
    assert_eq!((status, &answer["rebuilt"]), (200, &json!(true)), "{answer}");
    assert_eq!((served(&place), app.commit().await), (second.clone(), second.clone()));
    // Data that the app does not load: the symlink goes back, and the app serves what it did.
    std::fs::write(place.writer().join("notes/bad.md"), b"\xff\xfe").unwrap();
    let bad = place.push(&[]);
    for _ in 0..2 {
        let (status, answer) = server.reload(&json!({ "commitHash": bad })).await;
        assert_eq!((status, &answer["code"]), (502, &json!("not_loaded")), "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("notes/bad.md") && detail.contains(&format!("Readers see {second} again.")), "{detail}");
        assert_eq!((served(&place), app.commit().await), (second.clone(), second.clone()));
    }
    let shown = server.dataset().await;
    assert_eq!((&shown["head"], &shown["loaded"]), (&json!(bad), &json!(second)));
    assert!(shown["last"]["load_fault"].as_str().unwrap().contains("notes/bad.md"), "{shown}");
    let (_, ready) = server.local(reqwest::Method::GET, "/readyz", None).await;
    assert_eq!(ready, json!({ "ready": true, "problems": [], "notes": ["The app does not serve the newest data of notes."] }));
    assert!(server.metrics().await.contains("tagalong_dataset_stale{dataset=\"notes\"} 1"));
    let good = place.push(&[("notes/bad.md", "mended\n")]);
    let (status, answer) = server.reload(&json!({ "commitHash": good })).await;
    assert_eq!((status, app.commit().await, served(&place)), (200, good.clone(), good), "{answer}");
    server.stop().await;
}

/// What the app commits in the checkout reaches readers through the symlink, and the remote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_commits_are_published_and_pushed() {
    let place = Place::new();
    let (server, app) = worktrees(&place, Plan::new("pod")).await;
    let own = commit(&place.path().join("pod-checkout"), &[("notes/own.md", "ours\n")]);
    until("the remote to have it", async || (place.tip() == own).then_some(())).await;
    server.until_loaded(&own).await;
    assert_eq!(app.search("ours").await, json!(["notes/own.md"]));
    let metrics = server.metrics().await;
    for part in [
        "tagalong_dataset_pending_commits{dataset=\"notes\"} 0",
        "tagalong_dataset_stale{dataset=\"notes\"} 0",
        "tagalong_dataset_loaded_age_seconds{dataset=\"notes\"}",
        "tagalong_reload_phase_seconds_count{dataset=\"notes\",phase=\"reconcile\"}",
        "tagalong_reloads_total{dataset=\"notes\",outcome=\"fetch-failed\"} 0",
    ] {
        assert!(metrics.contains(part), "{part} is not in {metrics}");
    }
    server.stop().await;
}

/// A check that says no: readers never see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_says_no_keeps_readers_where_they_are() {
    let place = Place::new();
    let script = "echo looked at $TAGALONG_COMMIT in $PWD; ! grep -q forbidden -r notes || { echo the word is there >&2; exit 3; }";
    let check = format!("[dataset.notes.check]\nargv = [\"sh\", \"-c\", {script:?}]");
    let (server, app) = worktrees(&place, Plan::new("pod").table(&check)).await;
    let before = served(&place);
    let bad = place.push(&[("notes/two.md", "forbidden\n")]);
    let (status, answer) = server.reload(&json!({})).await;
    assert_eq!((status, &answer["code"]), (502, &json!("not_loaded")));
    assert_eq!(answer["detail"], format!("The check of {bad} failed: the word is there."));
    assert_eq!((served(&place), app.version().await["loads"].clone()), (before, json!(0)));
    let good = place.push(&[("notes/two.md", "allowed\n")]);
    assert_eq!(server.reload(&json!({})).await.0, 200);
    assert_eq!(served(&place), good);
    server.stop().await;
}

/// What does not load, by how it does not: the sentence, and that it is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_not_to_load_is_one_sentence() {
    let place = Place::new();
    let page =
        Page::serve(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\nconnection: close\r\n\r\n<html>hi</html>").await;
    let hangs = Page::serve(b"").await;
    let then_hangs = Page::serve_each(vec![b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", b""]).await;
    let refuses = Page::serve(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 11\r\nconnection: close\r\n\r\nnot for\x07you").await;
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    std::fs::write(place.path().join("old.pid"), "999999999\n").unwrap();
    std::fs::write(place.path().join("no.pid"), "-1\n").unwrap();
    let token = place.path().join("app.token");
    std::fs::write(&token, "a-token-that-the-app-does-not-know").unwrap();
    let on_change = |lines: &str| format!("[dataset.notes.on_change]\n{lines}");
    let verify = |lines: &str| format!("[dataset.notes.verify]\nwithin_s = 1.5\n{lines}");
    for (table, parts) in [
        (on_change(&format!("url = {:?}\ndeadline_s = 0.3", hangs.url)), vec![hangs.url.clone(), "did not answer within 0.3 s.".into()]),
        (on_change(&format!("url = {nobody:?}\nretries = 1")), vec![nobody.clone(), "cannot be reached".into()]),
        (
            on_change(&format!("url = {:?}", refuses.url)),
            vec![format!(
                "The app answered 403 at {}: not for you (tagalong sent no credential, because on_change.token_file is not set).",
                refuses.url
            )],
        ),
        (
            on_change(&format!("url = {:?}\ntoken_file = \"app.token\"", refuses.url)),
            vec![format!("not for you (tagalong sent that of on_change.token_file {}).", token.display())],
        ),
        (
            on_change("argv = [\"sleep\", \"1000\"]\ndeadline_s = 0.3"),
            vec!["The program on_change.argv failed: it did not finish within".into()],
        ),
        (on_change("argv = [\"sh\", \"-c\", \"echo no >&2; exit 1\"]"), vec!["The program on_change.argv failed: no.".into()]),
        (on_change("argv = [\"/no/such/program\"]"), vec!["could not be started".into()]),
        (on_change("pid_file = \"none.pid\""), vec!["none.pid cannot be read".into()]),
        (on_change("pid_file = \"old.pid\""), vec!["SIGHUP could not be sent to process 999999999".into()]),
        (on_change("pid_file = \"no.pid\""), vec!["could not be sent to process -1".into()]),
        (
            on_change("container = \"tagalong-no-such-container\""),
            vec!["could not be sent to the container tagalong-no-such-container".into()],
        ),
        (verify(&format!("url = {:?}\njson = \"/commit\"", page.url)), vec!["is not JSON; it begins with \"<html>hi</html>\"".into()]),
        (verify(&format!("url = {:?}\nheader = \"x-commit\"", page.url)), vec!["has no header x-commit".into()]),
        (verify(&format!("url = {:?}\ntext = true", page.url)), vec!["shows <html>hi</html> instead of ".into()]),
        (
            verify(&format!("url = {:?}\ntext = true\ntoken_file = \"app.token\"", refuses.url)),
            vec![format!("answers 403 (tagalong sent that of verify.token_file {}).", token.display())],
        ),
        // What it said before says more than that the last question was cut short.
        (verify(&format!("url = {:?}\ntext = true", then_hangs.url)), vec!["within 1.5 s".into(), "answers 403".into()]),
        (verify(&format!("url = {:?}\ntext = true", hangs.url)), vec!["did not serve the new data within 1.5 s".into()]),
    ] {
        does_not_load(&place, &table, &parts).await;
    }
    let server = Server::start(Plan::new("pod").write(&place)).await;
    server.until_loaded(&place.tip()).await;
    server.stop().await;
}

/// A reload of the dataset with `table` ends with a sentence that has `parts`.
async fn does_not_load(place: &Place, table: &str, parts: &[String]) {
    println!("{table}");
    let server = Server::start(Plan::new("pod").table(table).write(place)).await;
    let (status, answer) = server.reload(&json!({})).await;
    assert_eq!((status, &answer["code"]), (502, &json!("not_loaded")), "{table}: {answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(parts.iter().all(|part| detail.contains(part.as_str())), "{table}: {detail}");
    assert!(!detail.contains(['\n', '\u{7}']) && !detail.contains("a-token"), "{detail:?}");
    assert_eq!(server.dataset().await["loaded"], Value::Null, "{table}");
    server.stop().await;
}

/// Gives every connection the same bytes; none: it never answers.
struct Page {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Page {
    async fn serve(answer: &'static [u8]) -> Self {
        Self::serve_each(vec![answer]).await
    }

    /// One answer after the other, again and again; nothing is said where one is empty.
    async fn serve_each(answers: Vec<&'static [u8]>) -> Self {
        use tokio::io::AsyncReadExt as _;
        use tokio::io::AsyncWriteExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            let mut answers = answers.into_iter().cycle();
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answers.next().unwrap();
                let mut ask = [0; 4096];
                let _ = stream.read(&mut ask).await;
                let _ = stream.write_all(answer).await;
                if answer.is_empty() {
                    held.push(stream);
                }
            }
        });
        Self { url, task }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The app hears of it by a signal, or by a program that has its commit and folder in the environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_app_hears_by_signal_and_by_program() {
    let place = Place::new();
    git(place.path(), &["clone", "--quiet", "remote.git", "pod-checkout"]);
    let app = Running::app(&place.path().join("pod-checkout"), "127.0.0.1:0").await;
    std::fs::write(place.path().join("app.pid"), format!("{}\n", app.pid())).unwrap();
    let verify = format!("[dataset.notes.verify]\nurl = {:?}\njson = \"/commit\"", app.url("/version"));
    let said = place.path().join("said");
    let script = format!("printf '%s %s %s' $TAGALONG_DATASET $TAGALONG_COMMIT $TAGALONG_DIR >{}", said.display());
    for (number, on_change) in ["pid_file = \"app.pid\"".to_owned(), format!("argv = [\"sh\", \"-c\", {script:?}]")].into_iter().enumerate()
    {
        let verify = if number == 0 { verify.as_str() } else { "" };
        let server =
            Server::start(Plan::new("pod").table(&format!("[dataset.notes.on_change]\n{on_change}\n{verify}")).write(&place)).await;
        server.until_loaded(&place.tip()).await;
        let new = place.push(&[("notes/new.md", &format!("number {number}\n"))]);
        let (status, answer) = server.reload(&json!({ "commitHash": new })).await;
        assert_eq!((status, &answer["loaded"]), (200, &json!(new)), "{answer}");
        if number == 0 {
            assert_eq!(app.commit().await, new);
        } else {
            let expected = format!("notes {new} {}", place.path().join("pod-checkout").display());
            assert_eq!(std::fs::read_to_string(&said).unwrap(), expected);
        }
        server.stop().await;
    }
}

/// The remote cannot be read at the start: deployments are not blocked, it is tried again by itself, and all is well when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_starts_without_its_remote() {
    let place = Place::new();
    let unplugged = place.unplug();
    let server = Server::start(Plan::new("pod").write(&place)).await;
    let (status, answer) = server.reload(&json!({})).await;
    assert_eq!(status, 502, "{answer}");
    assert!(answer["detail"].as_str().unwrap().len() > 20, "{answer}");
    let (status, ready) = server.local(reqwest::Method::GET, "/readyz", None).await;
    assert_eq!((status, &ready["ready"]), (200, &json!(true)));
    drop(unplugged);
    server.until_loaded(&place.tip()).await;
    server.stop().await;
}
