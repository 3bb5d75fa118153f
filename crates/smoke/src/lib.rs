//! Looks at a public page from outside, as a browser would: is it there, is its certificate good, does it show the
//! release, and does a browser load everything it asks for?
//!
//! [`check`] is the story. One look (`several.rs`) asks a few times; each answer is a `Sample` (`sample.rs`): `client.rs` asks
//! hop by hop, `certificate.rs` judges the handshake, `expect.rs` and `release.rs` compare with the plan, `page/` lists what
//! the page fetches, `mixed.rs` says what a browser does with each address and `assets/` asks for them. `families.rs` tries
//! IPv4 and IPv6 once. `catalogue.rs` holds every rule with its meaning and how long it is waited for, `rules/` how they judge
//! where that is a rule's alone.
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
use crate::sample::Sample;

pub use away::{Availability, watch};
pub use catalogue::{Rule, RuleLevel, RuleName, Wait, explain, is_own_fault, rules};
pub use page::{Asset, AssetKind, Cors, Face, PageHeaders, PageScan, Styles, Terms, When, scan};
pub use plan::{BrowserPlan, Demands, FetchPlan, HostPattern, HttpVersion, Release, ReleaseCarrier, ReleaseProof, RuleLevels, SmokePlan};
pub use report::{Certificate, Effect, Finding, Report, Severity};

/// Looks at the page of `plan` until it is right, until waiting makes no sense or until the time of the plan is over,
/// and says what was seen last. `progress` gets one sentence for every look that is followed by another.
///
/// `within` bounds when the last look begins; each request has its own `timeout`. A browser, where the plan asks for one,
/// looks once at the page that stands. Dropping the future ends everything.
pub async fn check(plan: &SmokePlan, release: Option<&Release>, progress: &mut (dyn FnMut(String) + Send)) -> Report {
    let started = Instant::now();
    let visitor = match Visitor::new(plan).await {
        Ok(visitor) => visitor,
        Err(finding) => return Sample::failed(plan, *finding).into_report(0, started.elapsed()),
    };
    let mut patience = Patience::new(plan);
    let mut attempts = 0;
    let mut before = None;
    loop {
        attempts += 1;
        let sample = several::ask(&visitor, plan, release).await;
        match patience.after(&sample, before.as_ref()) {
            Next::Stands => {
                let mut sample = sample;
                sample.try_families(plan).await;
                sample.render(plan, progress).await;
                let release = release.map(|release| release.tag.clone());
                return Report { release, ..sample.into_report(attempts, started.elapsed()) };
            }
            Next::Again { pause, why } => {
                progress(format!("Look {attempts}: {why} Next look in {} ms.", pause.as_millis()));
                tokio::time::sleep(pause).await;
            }
        }
        before = Some(sample);
    }
}
