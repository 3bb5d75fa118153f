//! The one stream of a host's events.
//!
//! It is listened to while something is deployed, and while somebody asks again and again how things stand. The end of its line
//! is an outage of the daemon, however short. What it says is only *that* something happened to a project: what, a look finds out.

use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use process::Command;
use process::Ended;
use process::Stream;
use process::capture;
use process::follow;
use tokio::sync::watch;

use crate::clock;
use crate::engine::compose::daemon::Daemon;
use crate::engine::compose::memory::WANTED;

/// The listening client lives at most so long, and is started again then: one whose line is dead without an end is not kept.
const LONGEST: Duration = Duration::from_mins(10);
/// A new client is told what happened since so long before it, so that nothing is missed in between, nor by clocks that differ.
const BEFORE_S: i64 = 5;
/// Between two clients.
const PAUSE: Duration = Duration::from_secs(1);
/// A Docker that gives no output for this long counts as unavailable.
const SILENCE: Duration = Duration::from_secs(10);
/// Where listening is not allowed (a proxy in front of the socket), tagalong gives up after a while.
const MOST_DENIED: u32 = 3;
/// The events that change the state of a container. The steady runs of health checks are not among them.
const MEANT: [&str; 11] = ["create", "start", "restart", "die", "oom", "pause", "unpause", "rename", "destroy", "health_status", "update"];

/// As long as it lives, the host's events are listened to.
#[derive(Debug)]
pub(super) struct Need(Daemon);

impl Need {
    /// From now on `host` is listened to.
    pub(super) fn new(daemon: &Daemon) -> Self {
        daemon.memory().need();
        attend(daemon);
        // Anybody who attends already may be waiting for something new.
        daemon.news().send_replace(());
        Self(daemon.clone())
    }
}

impl Drop for Need {
    fn drop(&mut self) {
        self.0.memory().need_no_more();
        self.0.news().send_replace(());
    }
}

/// Afterwards one attends to the host's memory, until nobody wants it any more.
pub(super) fn attend(daemon: &Daemon) {
    if !std::mem::replace(&mut daemon.memory().is_attended, true) {
        tokio::spawn(attendant(daemon.clone()));
    }
}

async fn attendant(daemon: Daemon) {
    let mut denied = 0;
    // From before the memory is looked at: what comes in between is not missed.
    let mut news = daemon.news().subscribe();
    loop {
        news.mark_unchanged();
        let wants_events = {
            let mut memory = daemon.memory();
            if !memory.is_wanted(Instant::now()) {
                return memory.clear();
            }
            memory.wants_events(Instant::now())
        };
        if wants_events && denied < MOST_DENIED {
            denied = if is_denied(&daemon).await { denied + 1 } else { 0 };
            // A deployment that begins now does not wait for it: what happens in its first second is noticed.
            news.mark_unchanged();
            wait(&mut news, PAUSE).await;
        } else {
            wait(&mut news, WANTED).await;
        }
    }
}

/// A while, or less where something is new.
async fn wait(news: &mut watch::Receiver<()>, at_most: Duration) {
    // A sender that is gone is as good as one that says something.
    let _ = tokio::time::timeout(at_most, news.changed()).await;
}

/// Listens until the line ends, is found to be dead, or nobody wants to know any more. Whether the daemon answers and does not let us listen.
async fn is_denied(daemon: &Daemon) -> bool {
    let began = Instant::now();
    let command = listening(daemon);
    daemon.memory().listens(Instant::now());
    daemon.news().send_replace(());
    let mut last_words = String::new();
    let never = Cancel::default();
    let ended = tokio::select! {
        ended = follow(&command, &never, |stream, line| hear(daemon, stream, &line, &mut last_words)) => Some(ended),
        () = unwanted(daemon) => None,
    };
    daemon.memory().listens_no_more();
    daemon.news().send_replace(());
    match ended {
        None | Some(Ended::Deadline(_)) => false,
        Some(_) if is_line_lost(&last_words) => {
            daemon.count_outage();
            false
        }
        Some(_) => began.elapsed() < PAUSE && answers(daemon).await,
    }
}

fn listening(daemon: &Daemon) -> Command {
    let since = (clock::now_ms() / 1000 - BEFORE_S).to_string();
    let mut args: Vec<String> = ["events", "--since", &since, "--format", r#"{{index .Actor.Attributes "com.docker.compose.project"}}"#]
        .map(str::to_owned)
        .to_vec();
    let kinds = MEANT.map(|kind| format!("event={kind}"));
    for filter in ["type=container".to_owned(), "label=com.docker.compose.project".to_owned()].into_iter().chain(kinds) {
        args.extend(["--filter".to_owned(), filter]);
    }
    let mut command = daemon.command(args, LONGEST);
    command.lock = daemon.leash();
    command
}

fn hear(daemon: &Daemon, stream: Stream, line: &str, last_words: &mut String) {
    match stream {
        Stream::Out => {
            daemon.memory().hear(line.trim(), Instant::now());
            daemon.news().send_replace(());
        }
        // Its last words count.
        Stream::Err => line.clone_into(last_words),
    }
}

/// Ends when nobody wants events any more, or when they do not come any more.
async fn unwanted(daemon: &Daemon) {
    let mut news = daemon.news().subscribe();
    while daemon.memory().wants_events(Instant::now()) {
        if daemon.memory().is_deaf(Instant::now()) {
            return tracing::warn!("Docker stopped sending events although the connection is open; subscribing again");
        }
        wait(&mut news, PAUSE).await;
    }
}

async fn answers(daemon: &Daemon) -> bool {
    let asked = capture(&daemon.command(["info", "--format", "{{json .}}"], SILENCE), &Cancel::default()).await;
    asked.ended == Ended::Exit(0)
}

/// What a client says whose connection was cut; one that could not connect at all says something else.
fn is_line_lost(last_words: &str) -> bool {
    ["EOF", "connection reset", "closed network connection", "error during connect"].iter().any(|words| last_words.contains(words))
}
