//! The log of the dashboard in a real Chromium, and in Firefox where that is installed: `tests/rig/log.mjs` and `firefox.mjs` look at it,
//! and here is the server whose lines they ask for.

use std::process::Stdio;

use serde_json::Value;
use serde_json::json;
use tagalong::model::LineDraft;
use tagalong::model::LineKind;
use tagalong::model::Step;
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::io::BufReader;

use crate::browser::Browser;
use crate::browser::add_user;
use crate::support::Database;
use crate::support::Plan;
use crate::support::Rig;

const PASSWORD: &str = "canary horse battery staple";
const LINES: i64 = 50_000;
/// How often a step begins.
const STEP: i64 = 5_000;

/// What must not become anything else than text.
const HOSTILE: [&str; 6] = [
    "<img src=x onerror=\"window.forged = 1\"><b>bold</b>",
    "</span></div><script>window.forged = 2</script>",
    "{\"position\":1,\"kind\":\"outcome\",\"text\":\"live\"} &lt;b&gt; &amp;",
    "\" onmouseover=\"window.forged = 3\" x=\"",
    "שלום עולם abc مرحبا 123",
    "==> ***  live: everything is verified",
];

fn text(position: i64) -> String {
    match position {
        5_000 | 23_456 | 49_000 => format!("a Needle in line {position}"),
        20_010 => "a long line, ".repeat(200),
        30_100..30_106 => HOSTILE[(position - 30_100) as usize].to_owned(),
        _ => format!("line {position} of a program"),
    }
}

async fn write(rig: &Rig, id: &str, lines: std::ops::RangeInclusive<i64>) {
    let id = id.parse().unwrap();
    let draft = |seq: i64| {
        let kind = if seq % STEP == 1 { LineKind::Step } else { LineKind::Output };
        LineDraft { seq, at_ms: 1_790_000_000_000 + seq, step: Step::Pull.into(), kind, text: text(seq) }
    };
    let lines: Vec<LineDraft> = lines.map(draft).collect();
    for some in lines.chunks(1000) {
        rig.app().shared().store.append_own_lines(&id, some).await.unwrap();
        rig.app().shared().hub.tell(&id);
    }
}

/// Runs a script, and writes the lines that it asks for.
#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
async fn looks(rig: &Rig, script: &str, told: &Value, live: &str, written: &mut i64) {
    let script = format!("{}/tests/rig/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut looking = tokio::process::Command::new("node");
    looking.args([script, told.to_string()]).args(std::env::var("LOG_TEST").ok()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut looking = looking.kill_on_drop(true).spawn().expect("node; `tests/rig/install.sh browser` installs what this needs");
    let mut replies = looking.stdin.take().unwrap();
    let mut asked = BufReader::new(looking.stdout.take().unwrap()).lines();
    while let Some(line) = asked.next_line().await.unwrap() {
        let more: i64 = line.strip_prefix("write ").expect("what it asks for").parse().unwrap();
        write(rig, live, *written + 1..=*written + more).await;
        *written += more;
        replies.write_all(format!("{written}\n").as_bytes()).await.unwrap();
    }
    assert!(looking.wait().await.unwrap().success(), "what it says stands above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_in_chromium_and_firefox() {
    let rig = Plan { socket: true, ..Plan::new(Database::Sqlite) }.start().await;
    add_user(&rig, "ada", &["read"], Some(PASSWORD)).await;
    let browser = Browser::new(&rig);
    browser.log_in("ada", PASSWORD).await;
    let (name, value) = browser.cookies.borrow().iter().next().map(|(name, value)| (name.clone(), value.clone())).unwrap();
    let gates = [rig.gate("web"), rig.gate("db")];
    futures_util::future::join(rig.order_running("web", "1"), rig.order_running("db", "1")).await;
    let (ended, live) = futures_util::future::join(rig.order("web", "2"), rig.order("db", "2")).await;
    write(&rig, &ended, 1..=LINES).await;
    // It ends with a line that says by which order it was superseded.
    rig.order("web", "3").await;
    rig.ended(&ended).await;
    let mut written = 40;
    write(&rig, &live, 1..=written).await;

    let last = rig.app().shared().store.last_position(&ended.parse().unwrap()).await.unwrap();
    let hostile: Vec<_> = (30_100..30_106).map(|position| (position, text(position))).collect();
    let told = json!({
        "url": format!("http://{}", rig.address()), "cookie": { "name": name, "value": value },
        "ended": ended, "lines": last, "live": live, "hostile": hostile,
    });
    let mut scripts = vec!["log.mjs"];
    if std::path::Path::new("/usr/bin/firefox-esr").exists() {
        scripts.push("firefox.mjs");
    } else {
        println!("Firefox is not installed; its part is left out");
    }
    for script in scripts {
        looks(&rig, script, &told, &live, &mut written).await;
    }
    drop((gates, browser));
    rig.finish().await;
}
