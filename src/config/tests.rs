//! What the reader takes and refuses.

use std::path::Path;

use super::check::check;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ci.secret"), "whsec_c2l4dGVlbiBieXRlcyBhbmQgbW9yZSBvZiB0aGVt\n").expect("a file");
    folder
}

fn annotated() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tagalong.toml")).expect("the annotated file")
}

#[test]
fn the_annotated_file_is_read() {
    let folder = folder();
    let config = check(&annotated(), folder.path()).expect("no problem");
    assert_eq!(config.services.len(), 1);
    assert_eq!(config.keys.len(), 1);
}

/// Every key that is commented out is one we know: with all of them switched on, only values may be complained about.
#[test]
fn every_key_of_the_annotated_file_is_known() {
    let folder = folder();
    let mut text = String::new();
    for line in annotated().lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_toml = bare.starts_with('[')
            || bare.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b)));
        if is_toml || !line.starts_with('#') {
            text.push_str(bare);
            text.push('\n');
        }
    }
    let problems = check(&text, folder.path()).err().unwrap_or_default();
    let unknown: Vec<&String> =
        problems.iter().filter(|p| p.contains("unknown key") || p.contains("must be a") || p.starts_with("line ")).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(problems.iter().any(|p| p.contains("postgres.url")), "switched on: {problems:#?}");
}

/// Whoever asks for checks is told what is missing for it.
#[test]
fn what_a_source_requires_must_be_able_to_be_shown() {
    let folder = folder();
    std::fs::write(folder.path().join("token"), "a-token\n").expect("a file");
    let with = |forge: &str, source: &str| {
        let forge = format!("[[forge]]\nid = \"hub\"\nkind = \"github\"\n{forge}\n");
        let source = format!("[service.web.source]\nforge = \"hub\"\nrepository = \"acme/web\"\nreport = false\n{source}\n");
        check(&format!("{}\n{forge}\n{source}", annotated()), folder.path()).err().unwrap_or_default()
    };
    let token = "token_file = \"token\"";
    for good in [
        "",
        "refs = [\"refs/heads/main\", \"refs/tags/*\"]\nactors = [\"ada\", \"dependabot[bot]\"]",
        "require_checks = [\"test\", \"ci / lint (push)\"]\nchecks_wait_s = 0",
        "require_checks = \"protected\"\nchecks_wait_s = 3600\nchecks_unreachable = \"wait\"",
    ] {
        assert_eq!(with(token, good), Vec::<String>::new(), "{good}");
    }
    for (source, part) in [
        ("refs = []", "source.refs: an empty list would refuse every order"),
        ("refs = [\"main\"]", "source.refs: \"main\" is not a git ref"),
        ("actors = []", "source.actors: an empty list would refuse every order"),
        ("actors = [\"a b\"]", "source.actors: \"a b\" is not the name of a user"),
        ("require_checks = []", "source.require_checks: an empty list requires nothing"),
        ("require_checks = \"all\"", "source.require_checks: \"all\" is not a list of checks"),
        ("require_checks = true", "source.require_checks: it must be a list of strings or"),
        ("require_checks = [\"\"]", "is not the name of a check"),
        ("require_checks = [\"a\", \"a\"]", "a is named twice"),
        ("require_checks = [\"tagalong/web\"]", "tagalong/web is the status that tagalong itself reports"),
        ("require_checks = [\"a\"]\nchecks_wait_s = 3601", "source.checks_wait_s: 3601 s is longer than max_wait_s = 3600"),
        ("require_checks = [\"a\"]\nchecks_unreachable = \"pass\"", "\"pass\" is not one of refuse, wait"),
        ("checks_wait_s = 5", "source.require_checks: it is missing, so checks_wait_s"),
    ] {
        let problems = with(token, source);
        assert!(problems.iter().any(|problem| problem.contains(part)), "{source}: {problems:#?}");
    }
    let problems = with("", "require_checks = [\"a\"]");
    assert!(problems.len() == 1 && problems[0].contains("source.require_checks: the forge hub has no token"), "{problems:#?}");
}

/// A folder that is given to a runner gives it nothing else.
#[test]
fn a_further_socket_has_an_id_scopes_and_a_folder_of_its_own() {
    let folder = folder();
    let with = |socket: &str| {
        let socket = format!("{}\n[[socket]]\n{socket}\n", annotated());
        check(&socket, folder.path()).err().unwrap_or_default()
    };
    let good = "id = \"runner\"\npath = \"/run/tagalong/runner/tagalong.sock\"\nscopes = [\"deploy:web\"]\ngid = 1000\nrefs = [\"refs/heads/main\"]";
    assert_eq!(with(good), Vec::<String>::new());
    for (wrong, right, part) in [
        ("id = \"ci\"", "id = \"runner\"", "the id ci of a socket is used twice"),
        ("", "id = \"runner\"", "every socket needs an id"),
        ("", "path = \"/run/tagalong/runner/tagalong.sock\"", "every socket needs a path"),
        ("scopes = []", "scopes = [\"deploy:web\"]", "a socket without scopes"),
        (
            "scopes = [\"deploy:wbe\"]",
            "scopes = [\"deploy:web\"]",
            "the socket runner has the scope deploy:wbe, but there is no [service.wbe]",
        ),
        ("/run/tagalong/runner.sock", "/run/tagalong/runner/tagalong.sock", "must be in a folder of its own"),
        ("/var/lib/tagalong/runner/tagalong.sock", "/run/tagalong/runner/tagalong.sock", "must be in a folder of its own"),
        // Folders that have others below them, and the configuration's own.
        ("/run/tagalong.sock", "/run/tagalong/runner/tagalong.sock", "must be in a folder of its own"),
        ("/var/lib/tagalong.sock", "/run/tagalong/runner/tagalong.sock", "must be in a folder of its own"),
        ("runner.sock", "/run/tagalong/runner/tagalong.sock", "must be in a folder of its own"),
        ("secret_file = \"ci.secret\"", "gid = 1000", "unknown key"),
    ] {
        let problems = with(&good.replace(right, wrong));
        assert!(problems.len() == 1 && problems[0].contains(part), "{wrong}: {problems:#?}");
    }
    for beside in ["/run/tagalong/runner/other.sock", "/run/tagalong/runner/below/other.sock"] {
        let two = good.replace("id = \"runner\"", "id = \"other\"").replace("/run/tagalong/runner/tagalong.sock", beside);
        let problems = with(&format!("{good}\n[[socket]]\n{two}"));
        assert!(problems.len() == 1 && problems[0].contains("must be in a folder of its own"), "{beside}: {problems:#?}");
    }
    let two = format!("{good}\n[[socket]]\n{}", good.replace("id = \"runner\"", "id = \"other\""));
    let problems = with(&two);
    assert!(problems.len() == 1 && problems[0].contains("two sockets have the path /run/tagalong/runner/tagalong.sock"), "{problems:#?}");
}

#[test]
fn every_problem_is_said_at_once_with_its_path() {
    let folder = folder();
    let text = r#"
        version = 1
        speed = 3
        [server]
        listen = ["nowhere"]
        body_limit_kib = 0
        [[key]]
        id = "CI"
        secret_file = "missing"
        scopes = ["fly:web"]
        [service.web]
        dir = "/srv/web"
        project = "Web"
        image = "acme/web:latest"
        varable = "X"
        tag_pattern = "("
        [service.web.smoke]
        url = "ftp://x"
        within_s = "soon"
    "#;
    let problems = check(text, folder.path()).expect_err("problems");
    for part in [
        "speed: unknown key",
        "server.listen: \"nowhere\"",
        "server.body_limit_kib: 0 is out of range",
        "key[0].id: The key id",
        "key[0].secret_file: ",
        "key[0].scopes: The scope",
        "service.web.project: \"Web\"",
        "service.web.image: The image",
        "service.web.varable: unknown key; did you mean variable?",
        "service.web.tag_pattern: it is not a valid regular expression",
        "service.web.smoke.url: it must begin with https://",
        "service.web.smoke.within_s: it must be a number of seconds, not string",
    ] {
        assert!(problems.iter().any(|p| p.contains(part)), "{part} is not in {problems:#?}");
    }
}

#[test]
fn weak_secrets_are_refused_by_name_and_never_by_value() {
    let folder = folder();
    for (name, secret, part) in [
        ("empty", "", "does not begin with whsec_"),
        ("short", "whsec_c2hvcnQ=", "has 5 bytes"),
        ("example", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "is an example"),
        ("other", "not-a-webhook-secret-but-quite-long", "does not begin with whsec_"),
    ] {
        std::fs::write(folder.path().join(name), secret).expect("a file");
        let text = format!("version = 1\n[server]\n[[key]]\nid = \"ci\"\nsecret_file = \"{name}\"\nscopes = [\"read\"]\n");
        let problems = check(&text, folder.path()).expect_err(name);
        assert!(problems.len() == 1 && problems[0].starts_with("key[0].secret_file: ") && problems[0].contains(part), "{problems:?}");
        assert!(secret.is_empty() || !problems[0].contains(secret), "{problems:?}");
    }
}

#[test]
fn a_secret_never_shows_in_debug() {
    let folder = folder();
    let config = check(&annotated(), folder.path()).expect("no problem");
    let shown = format!("{config:?}");
    assert!(!shown.contains("c2l4dGVlbi") && !shown.contains("sixteen bytes"), "{shown}");
    assert_eq!(
        config.mask.hide("x c2l4dGVlbiBieXRlcyBhbmQgbW9yZSBvZiB0aGV"),
        "x c2l4dGVlbiBieXRlcyBhbmQgbW9yZSBvZiB0aGV",
        "only whole secrets"
    );
    assert_eq!(config.mask.hide("x c2l4dGVlbiBieXRlcyBhbmQgbW9yZSBvZiB0aGVt"), "x •••", "whoever has what stands behind whsec_ can sign");
    assert_eq!(config.mask.hide("x whsec_c2l4dGVlbiBieXRlcyBhbmQgbW9yZSBvZiB0aGVt"), "x •••");
}

/// With `more` in the table of a dataset.
fn with_dataset(more: &str) -> String {
    format!("version = 1\n[server]\n[dataset.content]\ndir = \"data\"\nremote = \"file:///srv/content.git\"\n{more}\n")
}

#[test]
fn a_dataset_is_read_with_its_defaults() {
    let folder = folder();
    let config = check(&with_dataset(""), folder.path()).expect("no problem");
    let reload = config.datasets.values().next().expect("a dataset");
    assert_eq!((reload.data.name.as_str(), reload.data.branch.as_str()), ("content", "main"));
    assert_eq!(reload.data.dir, folder.path().join("data"));
    assert_eq!(reload.data.publish, super::Publish::InPlace);
    assert_eq!(reload.every, Some(std::time::Duration::from_mins(1)));
    assert!(reload.secret.is_none() && reload.on_change.is_none() && reload.verify.is_none() && reload.peers.is_empty());
    let config =
        check(&with_dataset("publish = \"worktree\"\nbranch = \"refs/heads/a/b\"\ninterval_s = 0"), folder.path()).expect("no problem");
    let reload = config.datasets.values().next().expect("a dataset");
    let super::Publish::Worktree { link, dir, .. } = &reload.data.publish else { panic!("{reload:?}") };
    assert_eq!((link, dir), (&folder.path().join("data.current"), &folder.path().join("data.worktrees")));
    assert_eq!((reload.data.branch.as_str(), reload.every), ("a/b", None));
}

#[test]
fn every_problem_of_a_dataset_is_said_at_once() {
    let folder = folder();
    std::fs::write(folder.path().join("short"), "too-short\n").expect("a file");
    std::fs::write(folder.path().join("nothing"), "\n").expect("a file");
    let text = r#"
        version = 1
        [server]
        [[key]]
        id = "ci"
        secret_file = "ci.secret"
        scopes = ["reload:other"]
        [dataset."A b"]
        remote = "https://user:word@git.example.com/x"
        branch = "a..b"
        interval = 3
        reload_secret_file = "short"
        [dataset.b]
        dir = "x"
        remote = "ext::sh -c true"
        link = "y"
        [dataset.b.on_change]
        url = "http://127.0.0.1/"
        argv = ["x"]
        signal = "KILL"
        [dataset.b.verify]
        url = "http://a:b@127.0.0.1/"
        [[dataset.b.peer]]
        urls = ["ftp://x"]
        secret_file = "nothing"
        [dataset.b.committer]
        name = "<x>"
        [dataset.c]
        dir = "x"
        remote = "--upload-pack=id"
    "#;
    let problems = check(text, folder.path()).expect_err("problems");
    for part in [
        "the scope reload:other, but there is no [dataset.other]",
        "dataset.A b.: The dataset name",
        "dataset.A b.dir: every dataset needs the folder",
        "dataset.A b.remote: an address must not contain a credential",
        "dataset.A b.branch: \"a..b\" is not a branch name",
        "dataset.A b.interval: unknown key; did you mean interval_s?",
        "dataset.A b.reload_secret_file: the secret is shorter than 24 bytes",
        "dataset.b.remote: \"ext::sh -c true\" is not the address",
        "dataset.b.link: link and worktrees are for publish",
        "dataset.b.on_change.url: set exactly one of",
        "dataset.b.on_change.signal: \"KILL\" is not one of",
        "dataset.b.verify.url: it must begin with https://",
        "dataset.b.verify.text: set exactly one of",
        "dataset.b.peer[0].urls: it must begin with https://",
        "dataset.b.peer[0].secret_file: the secret is empty",
        "dataset.b.committer.name: it must not contain < or >",
        "dataset.c.remote: \"--upload-pack=id\" is not the address",
        "b and c both use the folder",
    ] {
        assert!(problems.iter().any(|p| p.contains(part)), "{part} is not in {problems:#?}");
    }
    assert!(!problems.iter().any(|p| p.contains("too-short") || p.contains("user:word")), "{problems:#?}");
}

#[test]
fn two_datasets_need_two_reload_secrets_and_each_is_read_anew() {
    let folder = folder();
    let file = folder.path().join("reload");
    std::fs::write(&file, "0123456789abcdef01234567\r\n").expect("a file");
    let one = with_dataset("reload_secret_file = \"reload\"");
    let two = format!("{one}[dataset.more]\ndir = \"more\"\nremote = \"/srv/more.git\"\nreload_secret_file = \"reload\"\n");
    let problems = check(&two, folder.path()).expect_err("the same secret");
    assert!(problems.len() == 1 && problems[0].contains("content and more have the same reload secret"), "{problems:?}");
    let config = check(&one, folder.path()).expect("no problem");
    let source = config.datasets.values().next().and_then(|reload| reload.secret.clone()).expect("a secret");
    assert_eq!(source.read().map(|secret| secret.reveal().to_owned()), Ok("0123456789abcdef01234567".to_owned()));
    std::fs::write(&file, "another-one-of-24-bytes-or-more").expect("a file");
    assert_eq!(source.read().map(|secret| secret.reveal().to_owned()), Ok("another-one-of-24-bytes-or-more".to_owned()));
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

#[test]
fn a_secret_is_somebodys_alone_and_not_one_byte_over_and_over() {
    let folder = folder();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    let whsec = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    write("one", whsec);
    write("zeros", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    write("token", "tk-0123456789abcdef0123456789abcdef");
    write("same", &"x".repeat(32));
    let key = |id: &str, what: &str| format!("[[key]]\nid = \"{id}\"\n{what}\nscopes = [\"read\"]\n");
    let dataset = |secret: &str| with_dataset(&format!("reload_secret_file = \"{secret}\""));
    let found = |text: String| check(&text, folder.path()).err().unwrap_or_default();
    let both =
        |one: &str, two: &str| dataset("none-such").replace("reload_secret_file = \"none-such\"", "") + &key("a", one) + &key("b", two);
    let sha =
        sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), "tk-0123456789abcdef0123456789abcdef"));
    let sha = text::hex(&sha);
    for (one, two) in [
        ("secret_file = \"one\"".to_owned(), "secret_file = \"one\"".to_owned()),
        ("token_file = \"token\"".to_owned(), "token_file = \"token\"".to_owned()),
        ("token_file = \"token\"".to_owned(), format!("token_sha256 = \"{sha}\"")),
        ("secret_file = \"one\"".to_owned(), "token_file = \"one\"".to_owned()),
    ] {
        let problems = found(both(&one, &two));
        assert!(problems.len() == 1 && problems[0].contains("the key a and the key b have the same secret"), "{one} {two}: {problems:?}");
        assert!(!problems[0].contains("0123456789abcdef"), "{problems:?}");
    }
    assert_eq!(found(both("secret_file = \"one\"", "token_file = \"token\"")), Vec::<String>::new());
    let problems = found(dataset("token") + &key("a", "token_file = \"token\""));
    assert!(problems.len() == 1 && problems[0].contains("the key a and the reload secret of content have the same secret"), "{problems:?}");
    for (text, name) in [
        (dataset("token") + &key("a", "secret_file = \"zeros\""), "the key a"),
        (dataset("token") + &key("a", "token_file = \"same\""), "the key a"),
        (dataset("same"), "the reload secret of content"),
    ] {
        let problems = found(text);
        assert!(problems.len() == 1 && problems[0].contains(&format!("{name} repeats a single byte")), "{problems:?}");
    }
}

#[test]
fn a_bearer_token_goes_to_a_peer_in_the_clear_only_when_that_is_said() {
    let folder = folder();
    std::fs::write(folder.path().join("token"), "tk-0123456789abcdef0123456789abcdef").expect("a file");
    std::fs::write(folder.path().join("whsec"), "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").expect("a file");
    let peer = |place: &str, more: &str| with_dataset(&format!("[[dataset.content.peer]]\n{place}\n{more}"));
    let (far, dns) = ("urls = [\"http://pod.example.com:8787\"]", "dns = \"http://pods.example.internal:8787\"");
    for place in [far, dns] {
        let problems = check(&peer(place, "secret_file = \"token\""), folder.path()).expect_err("in the clear");
        assert!(problems.len() == 1 && problems[0].contains("peer[0].plain_http"), "{problems:?}");
        for more in ["secret_file = \"whsec\"", "secret_file = \"token\"\nplain_http = true", ""] {
            assert!(check(&peer(place, more), folder.path()).is_ok(), "{place} {more}");
        }
    }
    for place in ["urls = [\"https://pod.example.com\"]", "urls = [\"http://127.0.0.1:8787\"]"] {
        assert!(check(&peer(place, "secret_file = \"token\""), folder.path()).is_ok(), "{place}");
    }
}

#[test]
fn every_secret_of_a_dataset_goes_in_the_clear_only_when_that_is_said() {
    let folder = folder();
    std::fs::write(folder.path().join("token"), "tk-0123456789abcdef0123456789abcdef").expect("a file");
    let on_change = |url: &str, more: &str| with_dataset(&format!("[dataset.content.on_change]\nurl = {url:?}\n{more}"));
    let verify = |url: &str, more: &str| with_dataset(&format!("[dataset.content.verify]\nurl = {url:?}\ntext = true\n{more}"));
    let (far, here, secure) = ("http://app.example.com:8080/x", "http://127.0.0.1:8080/x", "https://app.example.com/x");
    let token = "token_file = \"token\"";
    for (name, table) in [("on_change", &on_change as &dyn Fn(&str, &str) -> String), ("verify", &verify)] {
        let problems = check(&table(far, token), folder.path()).expect_err("in the clear");
        assert!(problems.len() == 1 && problems[0].contains(&format!("{name}.plain_http: {far} uses plain http")), "{problems:?}");
        for (url, more) in [(far, ""), (far, "token_file = \"token\"\nplain_http = true"), (here, token), (secure, token)] {
            assert!(check(&table(url, more), folder.path()).is_ok(), "{name} {url} {more}");
        }
    }
    let remote = |url: &str, more: &str| {
        let login = format!("password_file = \"token\"\n{more}");
        format!("version = 1\n[server]\n[dataset.content]\ndir = \"x\"\nremote = {url:?}\n{login}")
    };
    let problems = check(&remote("http://git.example.com/x.git", ""), folder.path()).expect_err("in the clear");
    assert!(problems.len() == 1 && problems[0].contains("dataset.content.plain_http"), "{problems:?}");
    for (url, more) in [
        ("http://git.example.com/x.git", "plain_http = true"),
        ("http://127.0.0.1:3000/x.git", ""),
        ("https://git.example.com/x.git", ""),
        ("ssh://git@git.example.com/x.git", ""),
        ("git@git.example.com:x.git", ""),
    ] {
        assert!(check(&remote(url, more), folder.path()).is_ok(), "{url} {more}");
    }
}
