//! Remotes over the network: ones that hang, refuse, ask for a password, and git's own http-backend with a token.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use process::holders_of;
use tagalong::config::DatasetLogin;
use tagalong::dataset::Dataset;
use tagalong::dataset::Push;
use tagalong::model::Reconcile;

use crate::world::World;
use crate::world::on_both_gits;

/// A server of `git http-backend` over one folder, which wants this password of any user; none: it never answers.
pub(crate) fn serve(git: String, folder: PathBuf, password: Arc<Mutex<Option<String>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            let wanted = password.lock().unwrap().clone();
            match wanted {
                Some(wanted) => {
                    let (git, folder) = (git.clone(), folder.clone());
                    std::thread::spawn(move || answer(&stream, &git, &folder, &wanted));
                }
                None => held.push(stream),
            }
        }
    });
    port
}

/// A server that sends everybody to `to`, and keeps what it was shown as a credential.
fn redirect(to: String) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&seen);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut target = String::new();
            let _ = reader.read_line(&mut target);
            let lines = reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            kept.lock().unwrap().extend(lines.filter(|line| line.to_ascii_lowercase().starts_with("authorization:")));
            let path = target.split(' ').nth(1).unwrap_or("/").to_owned();
            let _ = write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (port, seen)
}

fn answer(mut stream: &TcpStream, git: &str, folder: &std::path::Path, wanted: &str) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (method, target) = (line.split(' ').next()?.to_owned(), line.split(' ').nth(1)?.to_owned());
    let mut headers = std::collections::BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    } else if headers.contains_key("transfer-encoding") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).ok()? + 2];
            reader.read_exact(&mut chunk).ok()?;
            if chunk.len() == 2 {
                break;
            }
            body.extend_from_slice(&chunk[..chunk.len() - 2]);
        }
    }
    let given = headers.get("authorization").and_then(|value| value.strip_prefix("Basic ")).unwrap_or_default();
    let given = base64::engine::general_purpose::STANDARD.decode(given).unwrap_or_default();
    if String::from_utf8_lossy(&given).split_once(':').map(|(_, password)| password) != Some(wanted) {
        let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(head.as_bytes()).ok();
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut backend = std::process::Command::new(git);
    backend.arg("http-backend").env_clear().env("PATH", std::env::var("PATH").ok()?).env("HOME", folder);
    backend.env("GIT_PROJECT_ROOT", folder).env("GIT_HTTP_EXPORT_ALL", "1").env("REMOTE_USER", "someone");
    backend.env("PATH_INFO", path).env("QUERY_STRING", query).env("REQUEST_METHOD", &method).env("CONTENT_LENGTH", body.len().to_string());
    for (header, variable) in
        [("content-type", "CONTENT_TYPE"), ("git-protocol", "GIT_PROTOCOL"), ("content-encoding", "HTTP_CONTENT_ENCODING")]
    {
        if let Some(value) = headers.get(header) {
            backend.env(variable, value);
        }
    }
    let mut child = backend.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let mut input = child.stdin.take()?;
    let writer = std::thread::spawn(move || input.write_all(&body));
    let mut out = Vec::new();
    child.stdout.take()?.read_to_end(&mut out).ok()?;
    let _ = writer.join();
    child.wait().ok()?;
    let text = String::from_utf8_lossy(&out).into_owned();
    let status = text.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    stream.write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n").as_bytes()).ok()?;
    stream.write_all(&out).ok()
}

on_both_gits! {
    async fn a_remote_that_hangs_is_left_after_the_deadline(world: World) {
        world.ready().await;
        let own = world.here("own", "o");
        let port = serve(world.git.clone(), world.root.path().to_owned(), Arc::new(Mutex::new(None)));
        for remote in [format!("http://127.0.0.1:{port}/remote.git"), format!("git://127.0.0.1:{port}/remote.git")] {
            world.set(|settings| {
                settings.remote.clone_from(&remote);
                settings.fetch_deadline = Duration::from_secs(1);
            });
            let done = world.expect(Reconcile::FetchFailed).await;
            assert!(done.why.unwrap().contains("within 1 s"), "{remote}");
            assert_eq!(holders_of(&world.path(".data.tagalong/lock")), [], "nothing is left behind");
            assert_eq!((world.head(), world.read("own")), (own.clone(), "o".to_owned()));
        }
        // The lock is free, and the old remote is read again.
        world.set(|settings| { settings.remote = format!("file://{}/remote.git", settings.dir.parent().unwrap().display()); settings.fetch_deadline = Duration::from_mins(1); });
        world.expect(Reconcile::Pushed).await;
    }

    async fn a_password_does_not_follow_a_redirect(world: World) {
        world.ready().await;
        let secret = world.path("secret");
        std::fs::write(&secret, "s3cret\n").unwrap();
        // What it leads to would take anything, and notes what it is shown.
        let (other, shown) = redirect("http://127.0.0.1:1".to_owned());
        let (port, first) = redirect(format!("http://127.0.0.1:{other}"));
        // Not even when the operator allows it for every address: it is our password.
        std::fs::write(world.path("home/.gitconfig"), format!("[http]\n followRedirects = true\n[http \"http://127.0.0.1:{port}\"]\n followRedirects = true\n")).unwrap();
        world.set(|settings| {
            settings.remote = format!("http://127.0.0.1:{port}/remote.git");
            settings.login = Some(DatasetLogin { user: "u".to_owned(), secret_file: secret });
        });
        let done = world.expect(Reconcile::FetchFailed).await;
        let why = done.why.unwrap();
        assert!(why.contains("redirect"), "{why}");
        assert!(!first.lock().unwrap().is_empty(), "the remote itself gets it");
        assert_eq!(*shown.lock().unwrap(), [""; 0], "nobody else does");
        world.here("own", "o");
        assert!(matches!(world.data().may_push(&world.cancel).await.unwrap(), Push::Waiting { why, .. } if why.contains("redirect")));
        assert_eq!(*shown.lock().unwrap(), [""; 0]);
    }

    async fn a_remote_that_is_not_there_or_no_repository_is_an_outcome(world: World) {
        world.ready().await;
        let head = world.head();
        // Nobody listens at this port, nor will.
        let kept = tokio::net::TcpSocket::new_v4().unwrap();
        kept.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let closed = kept.local_addr().unwrap().port();
        std::fs::create_dir(world.path("plain")).unwrap();
        for remote in [
            format!("http://127.0.0.1:{closed}/x.git"), format!("ssh://127.0.0.1:{closed}/x.git"), format!("file://{}", world.path("plain").display()),
            "/no/such/place".to_owned(), "unknown://x/y".to_owned(),
        ] {
            world.set(|settings| settings.remote.clone_from(&remote));
            let done = world.expect(Reconcile::FetchFailed).await;
            assert!(!done.why.unwrap().is_empty());
            assert_eq!(world.head(), head);
        }
        world.assert_clean();
    }

    async fn a_password_is_never_asked_for_and_a_token_works_and_rotates(world: World) {
        world.run(&world.remote(), &["config", "http.receivepack", "true"]);
        let password = Arc::new(Mutex::new(Some("first-token-of-many".to_owned())));
        let port = serve(world.git.clone(), world.root.path().to_owned(), Arc::clone(&password));
        world.ready().await;
        world.set(|settings| settings.remote = format!("http://127.0.0.1:{port}/remote.git"));
        let done = world.expect(Reconcile::FetchFailed).await;
        let why = done.why.unwrap();
        assert!(why.contains("could not read Username") && why.contains("no login is configured"), "{why}");
        let file = world.path("token");
        std::fs::write(&file, "first-token-of-many\n").unwrap();
        world.set(|settings| settings.login = Some(DatasetLogin { user: "robot".to_owned(), secret_file: file.clone() }));
        world.expect(Reconcile::InSync).await;
        world.here("own", "o");
        world.expect(Reconcile::Pushed).await;
        assert_eq!(world.data().may_push(&world.cancel).await.unwrap(), Push::Done);
        // Where nothing is here yet, the remote is asked nevertheless.
        let dir = world.path("not-here-yet");
        let dataset = |remote: String| {
            let mut settings = world.settings().clone();
            (settings.dir, settings.remote) = (dir.clone(), remote);
            Dataset::new(settings)
        };
        assert_eq!(dataset(world.settings().remote.clone()).may_push(&world.cancel).await.unwrap(), Push::Behind);
        let nowhere = dataset("http://127.0.0.1:1/nowhere.git".to_owned()).may_push(&world.cancel).await.unwrap();
        assert!(matches!(&nowhere, Push::Waiting { why, .. } if why.contains("127.0.0.1")), "{nowhere:?}");
        // Wrong, then rotated while everything runs.
        *password.lock().unwrap() = Some("second-token-of-many".to_owned());
        let done = world.expect(Reconcile::FetchFailed).await;
        let why = done.why.unwrap();
        assert!(!why.contains("first-token") && why.contains(&format!("user \"robot\" with password_file {}", file.display())), "{why}");
        assert!(matches!(world.data().may_push(&world.cancel).await.unwrap(), Push::Refused { .. }));
        std::fs::write(&file, "second-token-of-many\r\n").unwrap();
        world.here("own", "p");
        world.expect(Reconcile::Pushed).await;
        world.follow();
        world.here("a", "own\n");
        world.elsewhere("a", "theirs\n");
        world.expect(Reconcile::ConflictParked).await;
        world.assert_same();
        // A clone by the same way.
        std::fs::rename(world.dir(), world.path("gone")).unwrap();
        world.ready().await;
        world.assert_same();
        let config = std::fs::read_to_string(world.dir().join(".git/config")).unwrap();
        assert!(!config.contains("token") && !config.to_lowercase().contains("authorization"), "{config}");
    }

    async fn a_cancelled_pass_ends_at_once_and_leaves_nothing(world: World) {
        world.ready().await;
        // Somebody who never answers, so that git is still at work when it is looked for.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        world.set(|settings| settings.remote = format!("http://127.0.0.1:{port}/remote.git"));
        let cancel = process::Cancel::default();
        let stop = async {
            crate::world::until("git runs", || !holders_of(&world.path(".data.tagalong/lock")).is_empty()).await;
            cancel.cancel();
        };
        let (done, ()) = tokio::join!(world.data().reconcile(&cancel), stop);
        assert!(matches!(done, Err(tagalong::dataset::DatasetError::Cancelled)), "{done:?}");
        assert_eq!(holders_of(&world.path(".data.tagalong/lock")), []);
    }
}
