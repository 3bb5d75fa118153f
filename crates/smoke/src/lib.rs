//! Checks a public page from outside, as a browser would load it: is it there, is its certificate valid, does it show the
//! release, and can a browser load everything that it requests?
//!
//! [`check`] is the story. One attempt (`several.rs`) requests the page a few times; each response becomes a `Sample`
//! (`sample.rs`): `client.rs` sends the requests hop by hop, `certificate.rs` judges the handshake, `expect.rs` and `release.rs`
//! compare the response with the plan, `page/` lists what the page requests, `mixed.rs` says what a browser does with each
//! address, and `assets/` fetches them. `families.rs` tries IPv4 and IPv6 once. `catalogue.rs` holds every rule with its meaning
//! and how long the check waits for it; a rule that judges something of its own does so in `rules/`.
//!
//! Beside it [`watch`] (`away.rs`) measures how long a page is away while its release is replaced.

mod assets;
mod away;
mod browser;
mod catalogue;
mod certificate;
mod client;
mod cookies;
mod expect;
mod families;
mod fault;
mod hosts;
mod mixed;
mod page;
mod patience;
mod place;
mod plan;
mod progress;
mod redirect;
mod release;
mod report;
mod rules;
mod sample;
mod several;
mod tls;
mod unpack;
mod written;

#[cfg(test)]
mod tests;

use tokio::time::Instant;

use crate::client::Visitor;
use crate::patience::Next;
use crate::patience::Patience;
use crate::progress::Progress;
use crate::sample::Sample;

pub use away::{Availability, watch};
pub use catalogue::{Rule, RuleLevel, RuleName, Wait, explain, is_own_fault, rules};
pub use page::{Asset, AssetKind, Cors, Face, PageHeaders, PageScan, Styles, Terms, When, scan};
pub use plan::{BrowserPlan, Demands, FetchPlan, HostPattern, HttpVersion, Release, ReleaseCarrier, ReleaseProof, RuleLevels, SmokePlan};
pub use report::{Certificate, Effect, Finding, Report, Severity};

/// Checks the page of `plan` until it is right, until waiting makes no sense or until the plan's time is over, and reports
/// what the last attempt saw. `progress` gets a sentence when an attempt that is followed by another sees something new, and
/// one that counts the attempts which saw the same.
///
/// `within` bounds when the last attempt begins; each request has its own `timeout`. A browser, where the plan asks for one,
/// loads the page once, after the last attempt. Dropping the future ends everything.
pub async fn check(plan: &SmokePlan, release: Option<&Release>, progress: &mut (dyn FnMut(String) + Send)) -> Report {
    let started = Instant::now();
    let visitor = match Visitor::new(plan).await {
        Ok(visitor) => visitor,
        Err(finding) => return Sample::failed(plan, *finding).into_report(0, started.elapsed()),
    };
    let mut patience = Patience::new(plan);
    let mut told = Progress::default();
    let mut attempts = 0;
    let mut before = None;
    loop {
        attempts += 1;
        let sample = several::ask(&visitor, plan, release).await;
        match patience.after(&sample, before.as_ref()) {
            Next::Stands => {
                told.end(progress);
                let mut sample = sample;
                sample.try_families(plan).await;
                sample.render(plan, progress).await;
                let release = release.map(|release| release.tag.clone());
                return Report { release, ..sample.into_report(attempts, started.elapsed()) };
            }
            Next::Again { pause, why } => {
                let is_the_same = before.as_ref().is_some_and(|before| sample.agrees(before));
                told.again(attempts, &why, is_the_same, progress);
                tokio::time::sleep(pause).await;
            }
        }
        before = Some(sample);
    }
}
