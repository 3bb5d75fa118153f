//! Finding and starting Chromium.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::BrowserPlan;
use crate::config::SmokePlan;
use crate::process;
use crate::process::Cancel;
use crate::process::Command;
use crate::process::Ended;

use crate::smoke::browser::Fault;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/snap/bin";
const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"];
/// No background traffic, no dialogs, and no preload scanner: it asks for things that the page itself never does.
const FLAGS: [&str; 17] = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-extensions",
    "--mute-audio",
    "--window-size=1280,800",
    "--remote-debugging-port=0",
    "--blink-settings=doHtmlPreloadScanning=false",
];

/// A Chromium of our own, with a profile of its own. Dropping it ends the whole process group.
pub(in crate::smoke) struct Chromium {
    /// Where it takes DevTools connections, as a WebSocket address.
    pub(in crate::smoke) address: String,
    cancel: Cancel,
    running: JoinHandle<Ended>,
    _profile: tempfile::TempDir,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Ending the task ends the process group.
        self.running.abort();
    }
}

impl Chromium {
    /// Starts it and waits until it takes connections.
    pub(in crate::smoke) async fn start(plan: &SmokePlan, browser: &BrowserPlan, trusted: &[String]) -> Result<Self, Fault> {
        let program = find(browser.program.as_deref())?;
        let profile = tempfile::Builder::new().prefix("tagalong-browser-").tempdir();
        let profile = profile.map_err(|error| Fault(format!("The browser's profile cannot be made: {error}.")))?;
        let command = command(&program, profile.path(), plan, browser.deadline, trusted);
        let (cancel, (sender, address)) = (Cancel::default(), oneshot::channel());
        let (stop, mut sender) = (cancel.clone(), Some(sender));
        let mut last = String::new();
        let running = tokio::spawn(async move {
            let ended = process::run(&command, &stop, |_, line| {
                if let Some(address) = line.strip_prefix("DevTools listening on ")
                    && let Some(sender) = sender.take()
                {
                    let _ = sender.send(Ok(address.trim().to_owned()));
                } else if !line.trim().is_empty() {
                    last = line;
                }
            })
            .await;
            if let Some(sender) = sender.take() {
                let _ = sender.send(Err(format!("{} ended at once ({ended}): {last}", command.program)));
            }
            ended
        });
        let mut chromium = Self { address: String::new(), cancel, running, _profile: profile };
        let said = address.await.unwrap_or_else(|_| Err("it was stopped".to_owned()));
        chromium.address = said.map_err(|why| Fault(format!("Chromium does not start: {why}.")))?;
        Ok(chromium)
    }

    /// Ends it; afterwards no process of it runs any more.
    pub(in crate::smoke) async fn end(mut self) {
        self.cancel.cancel();
        let _ = (&mut self.running).await;
    }
}

/// The program to run: the one of the plan, or the first that this host has.
fn find(wanted: Option<&Path>) -> Result<PathBuf, Fault> {
    if let Some(program) = wanted {
        let is_there = program.is_file();
        return if is_there { Ok(program.to_owned()) } else { Err(Fault(format!("There is no browser at {}.", program.display()))) };
    }
    let places = NAMES.iter().flat_map(|name| PATH.split(':').map(move |dir| Path::new(dir).join(name)));
    places.into_iter().find(|program| program.is_file()).ok_or_else(|| {
        Fault("No Chromium is on this host: install the package chromium, or say where it is with browser_program.".to_owned())
    })
}

fn command(program: &Path, profile: &Path, plan: &SmokePlan, deadline: Duration, trusted: &[String]) -> Command {
    let mut args: Vec<String> = FLAGS.map(str::to_owned).into();
    args.push(format!("--user-data-dir={}", profile.display()));
    if rustix::process::geteuid().is_root() {
        // Chromium does not start as root with its sandbox. Its profile is empty and goes with it.
        args.push("--no-sandbox".to_owned());
    }
    if let Some(to) = &plan.connect_to
        && let (Some(host), Some(port)) = (plan.url.host_str(), plan.url.port_or_known_default())
    {
        args.push(format!("--host-resolver-rules=MAP {host}:{port} {to}"));
    }
    if !trusted.is_empty() {
        // Certificates of the plan's own roots, by their keys alone: every other fault still counts.
        args.push(format!("--ignore-certificate-errors-spki-list={}", trusted.join(",")));
    }
    args.push("about:blank".to_owned());
    let home = profile.display().to_string();
    Command {
        program: program.display().to_string(),
        args,
        env: BTreeMap::from([
            ("PATH".into(), PATH.into()),
            ("HOME".into(), home.clone()),
            ("XDG_RUNTIME_DIR".into(), home),
            ("LANG".into(), "C.UTF-8".into()),
        ]),
        dir: Some(profile.to_owned()),
        deadline,
        mask: Arc::default(),
        lock: None,
    }
}
