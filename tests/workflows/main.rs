//! The action and the shipped workflows, with everything that comes from outside gone bad: each input and variable of each of them, and
//! each field that a server answers with. Nothing of it may be run, and nothing may reach the runner as a command.
//!
//! The scripts are taken out of the files and run by bash as a runner does it; one is run by the real runner `act` as well.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests end at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "tests run programs")]

mod forge;
mod init;
mod run;
mod script;
mod server;
mod written;

use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use saphyr::LoadableYamlNode as _;
use saphyr::Yaml;

use run::Run;
use script::Script;
use script::read;
use script::root;
use script::steps_of;
use server::Answers;
use server::ID_TOKEN;
use server::SECRET;
use server::Server;
use server::TOKEN;
use server::event;
use server::record;

/// What is said instead of something good: each would run a command or forge one somewhere. `canary` is a file that it makes.
fn hostile(canary: &Path) -> Vec<String> {
    let touch = format!("touch {}", canary.display());
    vec![
        format!("a[$({touch})]"),
        format!("x[`{touch}`]+1"),
        format!("1;{touch};$({touch})`{touch}`\n::set-output name=forged::yes\r\n##[set-env name=FORGED]yes\n::add-mask::a\n"),
        format!(
            "%0A::set-output name=forged::$({touch})%0D%0A::stop-commands::x ##[add-path]/tmp \\n::error::forged \\\"${{IFS}}'|{touch}#"
        ),
    ]
}

/// The workflows that need nothing but themselves. The others only call the action.
fn workflows() -> Vec<String> {
    let [all, alone]: [Vec<String>; 2] = [&["deploy", "rollback", "smoke", "notify-pods"][..], &["smoke", "notify-pods"]]
        .map(|names| ["github", "forgejo"].iter().flat_map(|forge| names.iter().map(move |name| format!("{forge}/{name}.yml"))).collect());
    let there = ["github", "forgejo"].iter().flat_map(|forge| std::fs::read_dir(root().join("workflows").join(forge)).unwrap()).count();
    assert_eq!(all.len(), there, "a workflow is not tested");
    alone
}

#[test]
fn no_input_is_run_or_taken_for_a_command() {
    let server = Server::start();
    let alone = workflows().into_iter().flat_map(|file| Script::of_workflow(&format!("workflows/{file}")));
    for script in Script::of_action().into_iter().chain(alone) {
        for name in &script.names {
            for at in 0..hostile(Path::new("/")).len() {
                let run = Run::new(format!("{} {name} {at}", script.what));
                let mut env = script.good(&server);
                let bad = hostile(&run.canary()).remove(at);
                // Behind what makes it pass the first look as well.
                for bad in [bad.clone(), format!("{}{bad}", env[name])] {
                    env.insert(name.clone(), bad);
                    run.go(&script, &env);
                }
            }
        }
    }
}

/// What calls the action calls nothing else, pins it to a commit, and lets no newer run cancel it.
#[test]
fn the_workflows_for_orders_only_call_the_action() {
    let inputs = read("action.yml");
    let inputs = Yaml::load_from_str(&inputs).unwrap().remove(0);
    let known = inputs.as_mapping_get("inputs").unwrap();
    for file in ["github/deploy.yml", "github/rollback.yml", "forgejo/deploy.yml", "forgejo/rollback.yml"] {
        let text = read(&format!("workflows/{file}"));
        let document = Yaml::load_from_str(&text).unwrap().remove(0);
        let cancels = document.as_mapping_get("concurrency").and_then(|group| group.as_mapping_get("cancel-in-progress"));
        assert_eq!(cancels.and_then(Yaml::as_bool), Some(false), "{file}");
        for step in steps_of(&document) {
            let (action, commit) = step.as_mapping_get("uses").and_then(Yaml::as_str).unwrap().rsplit_once('@').unwrap();
            assert!(action.ends_with("/tagalong") && commit.len() == 40 && step.as_mapping_get("run").is_none(), "{file}: {action}");
            for (name, _) in step.as_mapping_get("with").and_then(Yaml::as_mapping).unwrap() {
                let name = name.as_str().unwrap();
                assert!(known.as_mapping_get(name).is_some(), "{file}: the action has no input {name}");
            }
        }
    }
}

/// What a server can say, each in a field of its own.
const FIELDS: [&str; 21] = [
    "detail of a refusal",
    "detail of a fault",
    "detail of a trouble",
    "retry-after",
    "location",
    "token",
    "text of a note",
    "text of a warning",
    "text of an error",
    "kind",
    "state",
    "summary",
    "outcome",
    "id of an event",
    "name of an event",
    "state of the record",
    "what ran before",
    "image",
    "duration",
    "a record that is none",
    "message of a cancel",
];

/// Good answers, but for `field`, which says `bad`.
fn saying(field: &str, bad: &str) -> Answers {
    let good = Answers::good();
    let (quoted, line) = (format!("{bad:?}").replace("\\'", "'"), bad.replace(['\r', '\n'], " "));
    let journal = |name: &str, id: &str, data: String| Answers { events: event(name, id, &data) + &good.events, ..good.clone() };
    let said =
        |status: u16| Answers { status, headers: "Retry-After: 1\r\n".into(), body: format!("{{\"detail\":{quoted}}}"), ..good.clone() };
    let headers = |headers: String| Answers { headers, ..good.clone() };
    match field {
        "detail of a refusal" => said(422),
        "detail of a fault" => said(404),
        "detail of a trouble" => said(503),
        "retry-after" => Answers { status: 503, ..headers(format!("Retry-After: {line}\r\n")) },
        "location" => headers(format!("Location: /x/{line}\r\nTagalong-Read-Token: {TOKEN}\r\n")),
        "token" => headers(format!("Location: /x/d1\r\nTagalong-Read-Token: {line}\r\n")),
        "kind" => journal("line", "1", format!("{{\"kind\":{quoted},\"text\":\"x\"}}")),
        "state" => journal("line", "1", format!("{{\"state\":{quoted},\"kind\":\"step\",\"text\":\"x\"}}")),
        "summary" => journal("outcome", "1", format!("{{\"outcome\":\"failed\",\"summary\":{quoted}}}")),
        "outcome" => journal("outcome", "1", format!("{{\"outcome\":{quoted},\"summary\":\"x\"}}")),
        "id of an event" => journal("line", &line, "{\"kind\":\"note\",\"text\":\"x\"}".into()),
        "name of an event" => journal(&line, "1", "{}".into()),
        "state of the record" => Answers { record: good.record.replace("\"running\"", &quoted), ..good.clone() },
        "what ran before" => Answers { record: good.record.replace("\"site:0@sha256:0\"", &quoted), ..good.clone() },
        "image" => Answers { record: record("running", "x", &quoted[1..quoted.len() - 1], "1"), ..good.clone() },
        "duration" => Answers { record: record("running", "x", "y", bad), ..good.clone() },
        "a record that is none" => Answers { record: bad.into(), ..good.clone() },
        "message of a cancel" => Answers { status: 200, body: format!("{{\"message\":{quoted}}}"), ..good.clone() },
        text => {
            let kind = text.rsplit(' ').next().unwrap();
            journal("line", "1", format!("{{\"kind\":\"{kind}\",\"text\":{quoted}}}"))
        }
    }
}

#[test]
fn no_answer_is_run_or_taken_for_a_command() {
    let server = Server::start();
    let [order, cancel] = Script::of_action();
    let told = |field: &str, run: &Run, bad: &str| {
        let script = if field == "message of a cancel" { &cancel } else { &order };
        server.tell(saying(field, bad));
        run.go(script, &script.good(&server))
    };
    for field in FIELDS {
        for at in 0..hostile(Path::new("/")).len() {
            let run = Run::new(format!("{field} {at}"));
            told(field, &run, &hostile(&run.canary())[at]);
        }
    }
    for number in ["08", "0x10", "-1"] {
        let log = told("retry-after", &Run::new("retry-after".into()), number);
        assert!(log.contains("::notice title="), "{number}: {log}");
        assert!(number != "08" || log.contains("trying again in 8 s"), "{log}");
    }
}

/// A finding stands in the log once, as its annotation, and the last annotation does not repeat it.
#[test]
fn a_finding_is_said_once() {
    let server = Server::start();
    let [order, _] = Script::of_action();
    let finding = "blocked_asset: Browsers do not load http://a.test/a.css";
    let outcome = format!(
        "{{\"outcome\":\"rolled_back\",\"why\":\"{finding}. (and 1 more)\",\"summary\":\"rolled back, v1 was restored: {finding}. (and 1 more)\"}}"
    );
    let events = event("", "1", &format!("{{\"kind\":\"error\",\"text\":\"{finding} (new since v1). Write https.\"}}"))
        + &event("", "2", "{\"kind\":\"step\",\"text\":\"undo\"}")
        + &event("outcome", "3", &outcome);
    server.tell(Answers { events, ..Answers::good() });
    let log = Run::new("a finding".into()).go(&order, &order.good(&server));
    let annotations: Vec<&str> = log.lines().filter(|line| line.starts_with("::error ")).collect();
    assert_eq!(annotations.iter().filter(|line| line.contains(finding)).count(), 1, "{log}");
    assert_eq!(annotations[0], format!("::error title=tagalong%3A web 1f0c9e2::{finding} (new since v1). Write https."), "{log}");
    assert_eq!(annotations[1], "::error title=tagalong%3A web 1f0c9e2::rolled back, v1 was restored", "{log}");
}

/// A runner without openssl signs what any other signs; one that can sign nothing says what it lacks.
#[test]
fn calls_are_signed_without_openssl() {
    let server = Server::start();
    let [order, cancel] = Script::of_action();
    let key = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, SECRET.trim_start_matches("whsec_")).unwrap();
    for (tools, works) in [(&["openssl"][..], true), (&["sha256sum", "base64"][..], true), (&["sha256sum"][..], false), (&[][..], false)] {
        for script in [&order, &cancel] {
            let run = Run::new(format!("{} with {tools:?}", script.what));
            let mut command = run.command(script, &script.good(&server));
            let ran = command.env("PATH", run.tools(tools)).output().unwrap();
            let calls = server.calls();
            let (log, code) = run.ended(script, &ran);
            if !works {
                assert!(code == Some(1) && calls.is_empty() && log.contains("install openssl"), "{tools:?}: {log}");
                continue;
            }
            assert!(code == Some(0) || script.what.contains("Cancel"), "{tools:?}: {log}");
            let call = calls.iter().find(|call| call.starts_with("POST ")).unwrap();
            let header = |name: &str| call.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap().to_owned();
            let body = call.split_once("\r\n\r\n").unwrap().1;
            let at_s = header("webhook-timestamp").parse().unwrap();
            let wanted = tagalong::http::auth::sign(&key, &header("webhook-id"), at_s, body.as_bytes());
            assert_eq!(header("webhook-signature"), wanted, "{tools:?}: {call}");
        }
    }
}

/// However many findings there are and however long, a forge shows ten annotations of a kind and takes a summary of 1 MiB.
#[test]
fn many_huge_findings_are_counted() {
    let server = Server::start();
    let [order, _] = Script::of_action();
    let line = |at: usize, kind: &str, bytes: usize| {
        event("", &at.to_string(), &format!("{{\"kind\":\"{kind}\",\"text\":\"{at} {}\"}}", "<&>".repeat(bytes / 3)))
    };
    let kind = |at: usize| if at.is_multiple_of(3) { "error" } else { "warning" };
    let mut events: String = (1..=300).map(|at| line(at, kind(at), 9000)).collect();
    events += &line(301, "note", 200_000);
    events += &event("outcome", "302", "{\"outcome\":\"failed\",\"summary\":\"no good\"}");
    server.tell(Answers { events, ..Answers::good() });
    let run = Run::new("many findings".into());
    let (log, code) = run.end(&order, &order.good(&server));
    assert_eq!(code, Some(14), "{log}");
    for (kind, of_this) in [("error", 10), ("warning", 9)] {
        assert_eq!(log.lines().filter(|line| line.starts_with(&format!("::{kind} "))).count(), of_this, "{kind}");
    }
    assert!(log.contains("::92 more of this kind are in the log\n") && log.contains("::192 more of this kind are in the log\n"));
    assert!(log.contains("| a line of ") && log.contains("| findings: errors: 100, warnings: 200\n"));
    let summary = run.summary();
    assert!(summary.len() < 1 << 20 && summary.matches("<li>").count() == 100, "{} bytes", summary.len());
}

/// What a later step reads, whether it ended well or not; and what the summary tells a person.
#[test]
fn outputs_and_summary_are_there_however_it_ends() {
    let server = Server::start();
    let [order, _] = Script::of_action();
    let run = Run::new("outputs".into());
    let digest = format!("sha256:{}", "1".repeat(64));
    let url = format!("http://127.0.0.1:{}/api/v1/deployments/d1", server.port);
    let ended = |outcome: &str| {
        let data = format!("{{\"outcome\":\"{outcome}\",\"summary\":\"so it is\"}}");
        server.tell(Answers { events: event("outcome", "1", &data), ..Answers::good() });
        let (log, code) = run.end(&order, &order.good(&server));
        (log, code, run.outputs())
    };
    for (outcome, code) in [("live", 0), ("rolled_back", 10), ("failed", 14), ("needs_operator", 16), ("cancelled", 17), ("unheard_of", 1)]
    {
        let (log, found, outputs) = ended(outcome);
        assert_eq!(found, Some(code), "{log}");
        let wanted = [("digest", digest.as_str()), ("id", "d1"), ("outcome", outcome), ("url", &url)];
        assert_eq!(outputs, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), "{log}");
        for text in ["so it is", "site:0@sha256:0", &digest, "1.2 s", "errors: 0, warnings: 0", "undo"] {
            assert!(run.summary().contains(text) && log.contains(text), "{outcome}: {text}: {log}");
        }
    }
    // A guard refused it at the door; no server; not a server of ours.
    server.tell(Answers { status: 422, body: "{\"detail\":\"held\"}".into(), headers: String::new(), ..Answers::good() });
    let (log, code) = run.end(&order, &order.good(&server));
    assert!(code == Some(13) && run.outputs()["outcome"] == "refused" && log.contains("held"), "{log}");
    server.tell(Answers { status: 404, body: "nothing here".into(), headers: String::new(), ..Answers::good() });
    let (log, code) = run.end(&order, &order.good(&server));
    assert!(code == Some(1) && run.outputs()["outcome"] == "unknown" && log.contains("with 404"), "{log}");
}

/// A way that lets no stream through shows the outcome by the record.
#[test]
fn an_outcome_that_no_stream_brings_is_read_from_the_record() {
    let server = Server::start();
    let [order, _] = Script::of_action();
    let record = Answers::good().record.replace("\"running\"", "\"done\",\"outcome\":\"live\",\"summary\":\"verified\"");
    server.tell(Answers { events: event("line", "41", "{\"kind\":\"note\",\"text\":\"x\"}"), record, ..Answers::good() });
    let (log, code) = Run::new("no outcome".into()).end(&order, &order.good(&server));
    assert!(code == Some(0) && log.contains("::notice title=tagalong%3A web 1f0c9e2::verified\n"), "{log}");
}

/// An order that waits for a person does not hold a runner, unless the job is to wait; either way its words are only words.
#[test]
fn an_order_that_waits_for_an_approval_is_left_or_waited_for() {
    let server = Server::start();
    let [order, _] = Script::of_action();
    let waiting = |why: &str| {
        let waits = format!("\"waiting\",\"waits_for\":\"approval\",\"waits_why\":{}", format!("{why:?}").replace("\\'", "'"));
        Answers::good().record.replace("\"running\"", &waits)
    };
    let mut env = order.good(&server);
    env.insert("ON_APPROVAL".into(), "leave".into());
    let run = Run::new("left".into());
    for why in [vec!["It waits for the approval of ada.".to_owned()], hostile(&run.canary())].concat() {
        server.tell(Answers { record: waiting(&why), ..Answers::good() });
        server.calls();
        let (log, code) = run.end(&order, &env);
        assert!(code == Some(0) && run.outputs()["outcome"] == "waiting" && run.outputs()["id"] == "d1", "{log}");
        assert!(log.contains("tagalong approve d1") && run.summary().contains("web 1f0c9e2: waiting"), "{log}");
        assert!(!server.calls().iter().any(|call| call.contains("/log")), "the job does not follow what it leaves");
    }
    // No server ends an order so.
    let ended = event("outcome", "1", "{\"outcome\":\"waiting\",\"summary\":\"so it is\"}");
    server.tell(Answers { events: ended, ..Answers::good() });
    let (log, code) = run.end(&order, &env);
    assert!(code == Some(1) && run.outputs()["outcome"] == "unknown", "{log}");
    // A job that waits follows it to its end.
    server.tell(Answers { record: waiting("It waits for the approval of ada."), ..Answers::good() });
    let (log, code) = run.end(&order, &order.good(&server));
    assert!(code == Some(0) && run.outputs()["outcome"] == "live", "{log}");
    env.insert("ON_APPROVAL".into(), "ignore".into());
    let (log, code) = run.end(&order, &env);
    assert!(code == Some(1) && log.contains("on-approval must be wait or leave"), "{log}");
}

/// Without a secret, the job shows the token that the forge gives it: asked for this server, sent over no way that others can read.
#[test]
fn a_job_without_a_secret_shows_its_own_token() {
    let server = Server::start();
    let [order, cancel] = Script::of_action();
    let run = Run::new("a token".into());
    for (address, query) in [("/token", "/token?audience="), ("/token?placeholder=true", "/token?placeholder=true&audience=")] {
        let mut env = order.good(&server);
        env.retain(|name, _| !["TAGALONG_SECRET", "COMMIT", "REF"].contains(&name.as_str()));
        env.insert("ACTIONS_ID_TOKEN_REQUEST_URL".into(), format!("http://127.0.0.1:{}{address}", server.port));
        env.insert("ACTIONS_ID_TOKEN_REQUEST_TOKEN".into(), "request-token".into());
        server.calls();
        let (log, code) = run.end(&order, &env);
        assert!(code == Some(0) && log.contains(&format!("::add-mask::{ID_TOKEN}\n")), "{log}");
        let calls = server.calls();
        let audience = format!("GET {query}http%3A%2F%2F127.0.0.1%3A{} ", server.port);
        assert!(calls[0].starts_with(&audience) && calls[0].contains("Authorization: bearer request-token\r\n"), "{calls:#?}");
        let shows = |call: &String, token: &str| call.contains(&format!("Authorization: Bearer {token}\r\n"));
        assert!(calls[1].starts_with("POST /api/v1/deployments ") && shows(&calls[1], ID_TOKEN), "{calls:#?}");
        // What the token says of the run is not said again, unless by a person.
        assert!(calls[1].ends_with("{\"service\":\"web\",\"tag\":\"1f0c9e2\"}") && !calls[1].contains("webhook-"), "{calls:#?}");
        assert!(calls[2..].iter().all(|call| call.starts_with("GET ") && shows(call, TOKEN)) && calls.len() == 5, "{calls:#?}");

        // An order that is sent again shows the same token, so it is the same order.
        server.tell(Answers { status: 503, headers: "Retry-After: 1\r\n".into(), ..Answers::good() });
        let (log, code) = run.end(&order, &env);
        let calls = server.calls();
        assert!(code == Some(0) && calls.iter().filter(|call| call.starts_with("GET /token")).count() == 1, "{log} {calls:#?}");
        assert_eq!(calls[1], calls[2], "{calls:#?}");

        // A cancel takes a fresh one.
        server.tell(Answers { status: 200, body: "{\"message\":\"It was told to stop.\"}".into(), ..Answers::good() });
        env.insert("DEPLOYMENT".into(), "d1".into());
        let (log, code) = run.end(&cancel, &env);
        let calls = server.calls();
        assert!(code == Some(0) && calls[0].starts_with(&audience), "{log} {calls:#?}");
        assert!(calls[1].starts_with("POST /api/v1/deployments/d1/cancel ") && shows(&calls[1], ID_TOKEN), "{calls:#?}");
        server.tell(Answers::good());

        env.insert("TAGALONG_URL".into(), format!("http://0.0.0.0:{}", server.port));
        let (log, code) = run.end(&order, &env);
        assert!(code == Some(1) && log.contains("uses plain http, so") && server.calls().is_empty(), "{log}");
    }
}

#[test]
fn a_forge_that_gives_no_token_is_named() {
    let server = Server::start();
    let [order, _] = Script::of_action();
    let mut env = order.good(&server);
    env.remove("TAGALONG_SECRET");
    let (log, code) = Run::new("no token".into()).end(&order, &env);
    assert!(code == Some(1) && log.contains("id-token: write") && log.contains("enable-openid-connect"), "{log}");
    env.insert("ACTIONS_ID_TOKEN_REQUEST_URL".into(), format!("http://127.0.0.1:{}/token", server.port));
    env.insert("ACTIONS_ID_TOKEN_REQUEST_TOKEN".into(), "request-token".into());
    for at in 0..hostile(Path::new("/")).len() {
        let run = Run::new(format!("token {at}"));
        let token = format!("{{\"value\":{}}}", format!("{:?}", hostile(&run.canary())[at]).replace("\\'", "'"));
        server.tell(Answers { token, ..Answers::good() });
        let (log, code) = run.end(&order, &env);
        assert!(code == Some(1) && log.contains("the forge gave this job no token"), "{log}");
    }
    assert!(server.calls().iter().all(|call| call.starts_with("GET /token")), "an order was sent without a token");
}

/// The job is cancelled while the answer to its order is on the way: the step that cancels must know which.
#[test]
fn a_job_that_is_cancelled_as_it_orders_knows_its_order() {
    let server = Server::start();
    let [order, _] = Script::of_action();
    let run = Run::new("cancelled while ordering".into());
    let held = server.way.lock().unwrap();
    let mut ordering = run.command(&order, &order.good(&server)).spawn().unwrap();
    while server.calls.lock().unwrap().is_empty() {
        assert!(ordering.try_wait().unwrap().is_none(), "it ended without an order");
        std::thread::yield_now();
    }
    // The runner tells the step's process alone.
    assert!(Command::new("kill").args(["-TERM", &ordering.id().to_string()]).status().unwrap().success());
    drop(held);
    let (log, code) = run.ended(&order, &ordering.wait_with_output().unwrap());
    assert!(run.outputs()["id"] == "d1" && code == Some(130), "{log}");
    assert!(server.calls().len() == 1 && !log.contains("deployment d1"), "it went on: {log}");
}

#[test]
fn a_cancel_that_is_refused_is_red_and_one_that_comes_late_is_not() {
    let server = Server::start();
    let [_, cancel] = Script::of_action();
    let run = Run::new("cancel".into());
    let mut env = cancel.good(&server);
    for (status, code, text) in
        [(200, 0, "::notice title=tagalong::said\n"), (409, 0, "is not cancelled: said"), (403, 1, "and continues: 403 said")]
    {
        server.calls();
        server.tell(Answers { status, body: "{\"detail\":\"said\",\"message\":\"said\"}".into(), ..Answers::good() });
        let (log, found) = run.end(&cancel, &env);
        assert!(found == Some(code) && log.contains(text), "{status}: {log}");
        let calls = server.calls();
        assert!(calls.len() == 1 && calls[0].ends_with("{\"call\":\"POST /api/v1/deployments/d1/cancel\"}"), "{calls:#?}");
    }
    env.insert("DEPLOYMENT".into(), String::new());
    let (log, code) = run.end(&cancel, &env);
    assert!(code == Some(0) && log.contains("there is nothing to cancel") && server.calls().is_empty(), "{log}");
}

#[test]
fn no_answer_to_a_reload_is_run_or_taken_for_a_command() {
    let server = Server::start();
    let script = Script::of_workflow("workflows/github/notify-pods.yml").remove(0);
    for at in 0..hostile(Path::new("/")).len() {
        let run = Run::new(format!("the answer to a reload {at}"));
        server.tell(Answers { status: 200, body: hostile(&run.canary()).remove(at), ..Answers::good() });
        let log = run.go(&script, &script.good(&server));
        assert!(log.contains("server http://127.0.0.1:"), "{log}");
    }
}

/// The secret of a reload is a bearer token: it goes to another machine unencrypted only where that is said.
#[test]
fn a_reload_secret_is_not_sent_in_the_clear() {
    let server = Server::start();
    for file in ["github/notify-pods.yml", "forgejo/notify-pods.yml"] {
        let script = Script::of_workflow(&format!("workflows/{file}")).remove(0);
        let mut env = script.good(&server);
        let port = server.port;
        for (url, said, is_refused) in [
            // It leads here as well, and nobody can know that by looking at it.
            (format!("http://0.0.0.0:{port}/"), "", true),
            (format!("http://0.0.0.0:{port}/"), "yes", true),
            (format!("http://0.0.0.0:{port}/"), "true", false),
            (format!("http://127.0.0.1.pods.invalid:{port}/"), "", true),
            (format!("http://localhost@0.0.0.0:{port}/"), "", true),
            (format!("http://localhost:{port}"), "", false),
            (format!("http://127.0.0.1:{port}/"), "", false),
            (format!("https://127.0.0.1:{port}/"), "", false),
        ] {
            env.insert("URL".into(), url.clone());
            env.insert("PLAIN_HTTP".into(), said.into());
            let log = Run::new(format!("{file} {url} {said}")).go(&script, &env);
            assert_eq!(log.contains("uses plain http, so"), is_refused, "{url} {said}: {log}");
            assert_eq!(log.contains(&format!("server {url}: ")), !is_refused, "{url} {said}: {log}");
        }
    }
}

/// The runner itself: what it made of an input that would run a command is a red job and nothing else.
#[test]
fn a_real_runner_runs_no_input() {
    let server = Server::start();
    for (input, ends_well) in [("timeout_minutes", false), ("reason", true)] {
        let run = Run::new(format!("act {input}"));
        for bad in hostile(&run.canary()).into_iter().filter(|bad| !bad.contains('\n')) {
            let ran = Command::new(root().join("tests/rig/workflow.sh"))
                .arg(root().join("workflows/github/deploy.yml"))
                .args(["service=web", "tag=1f0c9e2", &format!("{input}={bad}")])
                .env("TAGALONG_URL", format!("http://127.0.0.1:{}", server.port))
                .env("TAGALONG_SECRET", SECRET)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let log = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            assert!(!run.canary().exists(), "{log}");
            assert_eq!(ran.status.success(), ends_well, "{log}");
            assert!(!log.contains("::set-output:: forged") && !log.contains("set-env"), "{log}");
        }
    }
}
