//! The rendered check: the Chromium of this host loads the page, and what it reports becomes findings.
//!
//! [`render`] is the story. `program.rs` finds and starts Chromium, `cdp.rs` speaks the DevTools protocol, `fence.rs` keeps it
//! from going where the check does not go, `watch.rs` keeps what it reports, `judge.rs` makes findings of that, `har.rs` writes the list of requests.

pub(super) mod cdp;
mod console;
mod fault;
pub(super) mod fence;
mod har;
mod judge;
pub(super) mod program;
pub(super) mod session;
pub(super) mod watch;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::browser::fault::Fault;
use crate::browser::fence::Fence;
use crate::browser::program::Chromium;
use crate::browser::session::Session;
use crate::catalogue;
use crate::hosts::Hosts;
use crate::plan::BrowserPlan;
use crate::plan::SmokePlan;
use crate::report::Finding;

/// How long nothing may be asked for before the page counts as loaded.
const QUIET: Duration = Duration::from_millis(500);

/// What the browser saw.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    /// What is not right.
    pub(super) findings: Vec<Finding>,
}

/// Loads the page of `plan` once. `trusted` are the SHA-256 hashes (base64) of the public keys that the plan's own roots
/// vouch for, `met` the hosts that answered on the way to the page. When this returns, no process of the browser runs any more and its profile is gone; dropping it ends them too.
pub(super) async fn render(plan: &SmokePlan, browser: &BrowserPlan, trusted: &[String], met: &[(String, IpAddr)]) -> Rendered {
    if browser.is_optional && program::find(browser.program.as_deref()).is_err() {
        return Rendered {
            findings: vec![
                catalogue::NOT_CHECKED.finding("Chromium is not installed on this host, so the page was not rendered.".to_owned()),
            ],
        };
    }
    let until = Instant::now() + browser.deadline;
    let fence = Fence::new(plan, met);
    let hosts = fence.hosts.clone();
    let pins = if hosts.may_be_near() { &[] } else { met };
    let (chromium, mut cdp) = match Chromium::start(plan, browser, trusted, pins) {
        Ok(started) => started,
        Err(fault) => return failed(fault.0),
    };
    let begun = tokio::time::timeout_at(until, Session::open(&mut cdp, plan, Some(fence))).await;
    let loaded = match begun {
        Ok(Ok(session)) => tokio::time::timeout_at(until, load(session, (plan, &hosts), browser, until)).await,
        Ok(Err(fault)) => {
            drop(cdp);
            let ended = chromium.end_of_a_failure().await;
            return failed(format!("Chromium did not start. {fault} {}", clean_end(&ended)));
        }
        Err(late) => Err(late),
    };
    chromium.end().await;
    match loaded {
        Ok(Ok(rendered)) => rendered,
        Ok(Err(fault)) => failed(fault.0),
        Err(_) => failed(format!("The browser did not finish with the page within {} s.", browser.deadline.as_secs())),
    }
}

fn clean_end(ended: &str) -> String {
    let ended = ended.trim_end_matches([':', ' ', '.']);
    if ended.is_empty() { String::new() } else { format!("{ended}.") }
}

async fn load(
    mut session: Session<'_>,
    (plan, hosts): (&SmokePlan, &Hosts),
    browser: &BrowserPlan,
    until: Instant,
) -> Result<Rendered, Fault> {
    session.navigate(plan.url.as_str()).await?;
    // What is still loading when half of the time is over is reported as such; the rest is for screenshots.
    let waited = until.checked_sub(browser.deadline / 2).unwrap_or(until);
    let is_loaded = session.wait_until_loaded(waited, QUIET).await?;
    if let Some(dir) = &browser.screenshots {
        screenshots(&mut session, dir).await?;
    }
    let watched = session.close().await;
    if let Some(file) = &browser.har {
        write(file, har::render(plan, &watched).as_bytes())?;
    }
    let mut findings = judge::findings(plan, hosts, &watched);
    if !is_loaded {
        findings.push(catalogue::BROWSER_FAILED.finding("The page was still loading when the browser's deadline passed.".to_owned()));
    }
    Ok(Rendered { findings })
}

/// A desktop and a phone, width and height in CSS pixels.
const SIZES: [(&str, u32, u32, bool); 2] = [("desktop", 1280, 800, false), ("phone", 390, 844, true)];

async fn screenshots(session: &mut Session<'_>, dir: &PathBuf) -> Result<(), Fault> {
    std::fs::create_dir_all(dir).map_err(|error| Fault(format!("The folder {} could not be created: {error}.", dir.display())))?;
    for (name, width, height, is_phone) in SIZES {
        let picture = session.screenshot(width, height, is_phone).await?;
        write(&dir.join(format!("{name}.png")), &picture)?;
    }
    Ok(())
}

fn write(file: &std::path::Path, bytes: &[u8]) -> Result<(), Fault> {
    std::fs::write(file, bytes).map_err(|error| Fault(format!("{} could not be written: {error}.", file.display())))
}

fn failed(why: String) -> Rendered {
    Rendered { findings: vec![catalogue::BROWSER_FAILED.finding(why)] }
}
