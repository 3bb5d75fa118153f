//! The workflows that `tagalong init` writes: every script in them, beside a stand-in for docker, with everything that comes from
//! outside gone bad.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::hostile;
use crate::run::Run;
use crate::script::Script;
use crate::script::root;
use crate::server::Server;

/// Notes its arguments, and what it reads when it logs in; says nothing.
const DOCKER: &str = r#"#!/bin/bash
{ printf '%s\037' "$@"; printf '\036'; } >>"$0.calls"
[[ $1 != login ]] || cat >"$0.stdin"
"#;

/// Every script that `tagalong init` has written.
fn scripts() -> Vec<Script> {
    let mut files: Vec<_> = std::fs::read_dir(root().join("tests/workflows/written")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let name = |file: &Path| file.strip_prefix(root()).unwrap().display().to_string();
    assert!(["forgejo", "gitea", "github"].iter().all(|forge| files.iter().any(|file| name(file).contains(forge))), "{files:?}");
    let mut scripts: Vec<Script> = files.iter().flat_map(|file| Script::of_workflow(&name(file))).collect();
    // A runner gives it to every step.
    for script in &mut scripts {
        script.names.push("GITHUB_SHA".to_owned());
    }
    scripts
}

/// What docker was called with, and what it read.
fn called(docker: &Path) -> (Vec<Vec<String>>, String) {
    let calls = std::fs::read_to_string(docker.with_extension("calls")).unwrap_or_default();
    let words = |call: &str| call.split_terminator('\x1f').map(str::to_owned).collect();
    let read = std::fs::read_to_string(docker.with_extension("stdin")).unwrap_or_default();
    (calls.split_terminator('\x1e').map(words).collect(), read)
}

/// Runs `script`; docker is called as the script says, each value is one word, and the password is no word of any.
fn go(run: &Run, script: &Script, mut env: BTreeMap<String, String>) {
    let bin = tempfile::tempdir().unwrap();
    let docker = bin.path().join("docker");
    std::fs::write(&docker, DOCKER).unwrap();
    std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
    env.insert("PATH".to_owned(), format!("{}:/usr/bin:/bin", bin.path().display()));
    let (log, code) = run.end(script, &env);
    let (calls, read) = called(&docker);
    assert_eq!(code, Some(0), "{}: {log}", script.what);
    let image = format!("{}:{}", env["IMAGE"], env["GITHUB_SHA"]);
    let verbs: Vec<&str> = calls.iter().map(|call| call[0].as_str()).collect();
    let logs_in = script.names.iter().any(|name| name == "REGISTRY_PASSWORD");
    let wanted: &[&str] = if logs_in { &["login", "build", "push"] } else { &["build", "push"] };
    assert_eq!(verbs, wanted, "{}: {calls:?}", script.what);
    let build = &calls[calls.len() - 2];
    let label = format!("org.opencontainers.image.revision={}", env["GITHUB_SHA"]);
    for word in [&label, &image, &env["CONTEXT"]] {
        assert!(build.contains(word), "{}: {word} in {build:?}", script.what);
    }
    assert_eq!(calls[calls.len() - 1], ["push", image.as_str()], "{}", script.what);
    if logs_in {
        assert_eq!(read, env["REGISTRY_PASSWORD"], "{}", script.what);
        assert!(calls[0].ends_with(&["--username".to_owned(), env["REGISTRY_USER"].clone(), "--password-stdin".to_owned()]), "{calls:?}");
        assert!(!calls.iter().flatten().any(|word| word.contains(&env["REGISTRY_PASSWORD"])), "the password is an argument: {calls:?}");
    }
}

#[test]
fn no_value_is_run_by_what_init_has_written() {
    let server = Server::start();
    for script in scripts() {
        go(&Run::new(script.what.clone()), &script, script.good(&server));
        for name in &script.names {
            for at in 0..hostile(Path::new("/")).len() {
                let run = Run::new(format!("{} {name} {at}", script.what));
                let mut env = script.good(&server);
                let bad = hostile(&run.canary()).remove(at);
                for bad in [bad.clone(), format!("{}{bad}", env[name])] {
                    env.insert(name.clone(), bad);
                    go(&run, &script, env.clone());
                }
            }
        }
    }
}
