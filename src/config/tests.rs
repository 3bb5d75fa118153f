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
        problems.iter().filter(|p| p.contains("no such key") || p.contains("must be a") || p.starts_with("line ")).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(problems.iter().any(|p| p.contains("postgres.url")), "switched on: {problems:#?}");
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
        "speed: there is no such key",
        "server.listen: \"nowhere\"",
        "server.body_limit_kib: 0 is out of range",
        "key[0].id: The key id",
        "key[0].secret_file: ",
        "key[0].scopes: The scope",
        "service.web.project: \"Web\"",
        "service.web.image: The image",
        "service.web.varable: there is no such key; did you mean variable?",
        "service.web.tag_pattern: it is no regular expression",
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
