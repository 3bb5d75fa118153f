//! Finding and starting Chromium.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use process::Cancel;
use process::Command;
use process::Passing;
use tokio::task::JoinHandle;

use crate::browser::cdp::Cdp;
use crate::browser::fault::Fault;
use crate::plan::BrowserPlan;
use crate::plan::SmokePlan;

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
    "--remote-debugging-pipe",
    "--blink-settings=doHtmlPreloadScanning=false",
];

/// How long one that did not come up may take to end by itself.
const PARTING: Duration = Duration::from_secs(2);

/// A Chromium of our own. Dropping it, or what it is spoken to with, ends the whole process group and removes the profile;
/// it also ends by itself when tagalong is killed, because its pipe is closed then.
pub(crate) struct Chromium {
    cancel: Cancel,
    running: JoinHandle<String>,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Ending the task kills the process group, and then removes the profile.
        self.running.abort();
    }
}

impl Chromium {
    /// Starts it, with these hosts pinned to these addresses. Whether it came up shows when it is spoken to.
    pub(crate) fn start(
        plan: &SmokePlan,
        browser: &BrowserPlan,
        trusted: &[String],
        pins: &[(String, IpAddr)],
    ) -> Result<(Self, Cdp), Fault> {
        let program = find(browser.program.as_deref())?;
        // The browser keeps everything that it writes there.
        let profile = Passing::anywhere().map_err(|error| Fault(format!("The browser's profile folder could not be created: {error}.")))?;
        let (near, far) = process::channel().map_err(|error| Fault(format!("A pipe to the browser could not be created: {error}.")))?;
        let command = command((&program, browser.deadline), profile.path(), plan, trusted, pins);
        let cancel = Cancel::default();
        let stop = cancel.clone();
        let running = tokio::spawn(async move {
            // Dropped last: when the processes of the browser are gone.
            let _profile = profile;
            let mut last = String::new();
            let ended = process::run_with(&command, far, &stop, |_, line| {
                if !line.trim().is_empty() {
                    last = line;
                }
            })
            .await;
            format!("{} {ended}: {last}", command.program)
        });
        Ok((Self { cancel, running }, Cdp::new(near)))
    }

    /// Ends it; afterwards no process of it runs any more and its profile is gone.
    pub(crate) async fn end(mut self) {
        self.cancel.cancel();
        let _ = (&mut self.running).await;
    }

    /// As [`Chromium::end`], for one that did not come up: it is let end by itself first, because then it says why. Gives how it
    /// ended and its last words.
    pub(crate) async fn end_of_a_failure(mut self) -> String {
        if let Ok(ended) = tokio::time::timeout(PARTING, &mut self.running).await {
            return ended.unwrap_or_default();
        }
        self.cancel.cancel();
        (&mut self.running).await.unwrap_or_default()
    }
}

/// The program to run: the one of the plan, or the first that this host has.
pub(super) fn find(wanted: Option<&Path>) -> Result<PathBuf, Fault> {
    if let Some(program) = wanted {
        let is_there = program.is_file();
        return if is_there { Ok(program.to_owned()) } else { Err(Fault(format!("There is no browser at {}.", program.display()))) };
    }
    let places = NAMES.iter().flat_map(|name| PATH.split(':').map(move |dir| Path::new(dir).join(name)));
    places.into_iter().find(|program| program.is_file()).ok_or_else(|| {
        Fault("Chromium is not installed on this host: install the package chromium, or set browser_program to its path.".to_owned())
    })
}

/// The first rule that fits counts.
fn resolver_rules(plan: &SmokePlan, pins: &[(String, IpAddr)]) -> Option<String> {
    let detour = match (&plan.connect_to, plan.url.host_str(), plan.url.port_or_known_default()) {
        (Some(to), Some(host), Some(port)) => Some(format!("MAP {host}:{port} {to}")),
        _ => None,
    };
    // The server of the detour says nothing about the other ports of its name.
    let own = plan.url.host_str().filter(|_| detour.is_some());
    let pins = pins.iter().filter(|(host, _)| Some(host.as_str()) != own && host.parse::<IpAddr>().is_err() && !host.starts_with('['));
    let pins = pins.map(|(host, ip)| match ip {
        IpAddr::V4(ip) => format!("MAP {host} {ip}"),
        IpAddr::V6(ip) => format!("MAP {host} [{ip}]"),
    });
    let rules: Vec<String> = detour.into_iter().chain(pins).collect();
    (!rules.is_empty()).then(|| format!("--host-resolver-rules={}", rules.join(",")))
}

fn command(
    (program, deadline): (&Path, Duration),
    profile: &Path,
    plan: &SmokePlan,
    trusted: &[String],
    pins: &[(String, IpAddr)],
) -> Command {
    let mut args: Vec<String> = FLAGS.map(str::to_owned).into();
    args.push(format!("--user-data-dir={}", profile.display()));
    if rustix::process::geteuid().is_root() {
        // Chromium does not start as root with its sandbox. Its profile is empty and goes with it.
        args.push("--no-sandbox".to_owned());
    }
    args.extend(resolver_rules(plan, pins));
    if !pins.is_empty() {
        // A public page gets nothing from private addresses: judged by what is connected to, whatever its name was before.
        args.push("--enable-features=LocalNetworkAccessChecks".to_owned());
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
            ("XDG_RUNTIME_DIR".into(), home.clone()),
            ("TMPDIR".into(), home),
            ("LANG".into(), "C.UTF-8".into()),
        ]),
        dir: Some(profile.to_owned()),
        deadline,
        mask: Arc::default(),
        lock: None,
    }
}
