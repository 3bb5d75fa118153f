//! What there is to see of a service: its page from outside, and its containers.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use smoke::Release;
use smoke::Report;
use smoke::SmokePlan;
use smoke::is_own_fault;
use tokio::net::TcpStream;

use crate::config::Service;
use crate::orders::Deployer;
use crate::orders::Served;
use crate::orders::StackSeen;
use crate::store::Deployment;

/// How long the place of a page has to take or refuse a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// What a look has seen.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) page: PageSeen,
    /// The stack, or why it could not be seen.
    pub(super) stack: Result<StackSeen, String>,
}

/// What was seen of a page.
#[derive(Debug)]
pub(super) enum PageSeen {
    /// The service has none.
    Unasked,
    /// What the check has found.
    Report(Box<Report>),
    /// Why nothing could be seen.
    Blind(String),
}

/// Looks at the page of `service` and at its containers, of which `served` is live. A page that is not right has time for it up to `within`.
pub(super) async fn see(
    deployer: &Deployer,
    service: &Service,
    served: &Served,
    within: Duration,
    restarts: &BTreeMap<String, u64>,
) -> Sight {
    let (page, stack) = tokio::join!(page(service, &served.live, within), deployer.look_at_stack(service, served, restarts));
    Sight { page, stack }
}

async fn page(service: &Service, live: &Deployment, within: Duration) -> PageSeen {
    let Some(smoke) = &service.smoke else { return PageSeen::Unasked };
    // What is still to be issued was waited for when the release was deployed.
    let plan = SmokePlan { within: smoke.plan.within.min(within), certificate_within: Duration::ZERO, ..smoke.plan.clone() };
    let release = wanted(live);
    let mut quiet = |_| {};
    let mut report = smoke::check(&plan, release.as_ref(), &mut quiet).await;
    if let Some(own) = report.errors().find(|finding| is_own_fault(&finding.rule)) {
        return PageSeen::Blind(format!("The page could not be checked: {}", own.message));
    }
    if report.status.is_none()
        && let Err(why) = reach(&plan).await
    {
        return PageSeen::Blind(why);
    }
    // Whatever the page had when this release was deployed, or before, is none of its doing.
    let had = [live.baseline.as_ref(), live.report.as_ref()];
    let is_known = |finding: &smoke::Finding| had.into_iter().flatten().any(|had| had.findings.iter().any(|old| old.same_fault(finding)));
    for finding in &mut report.findings {
        finding.known = is_known(finding);
    }
    PageSeen::Report(Box::new(report))
}

/// The release that the page should show.
pub(super) fn wanted(live: &Deployment) -> Option<Release> {
    let tag = live.images.first().and_then(|image| image.tag.clone()).or_else(|| live.order.tag.clone())?;
    Some(Release { tag: tag.to_string(), commit: live.order.commit.clone() })
}

/// Whether the network leads to where the page is: somebody takes the connection or refuses it.
///
/// # Errors
/// Why nothing can be said of the page from here.
async fn reach(plan: &SmokePlan) -> Result<(), String> {
    let port = plan.url.port_or_known_default().unwrap_or(443);
    let host = plan.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let place = plan.connect_to.clone();
    let name = place.clone().unwrap_or_else(|| format!("{host}:{port}"));
    let connect = async {
        match place {
            Some(place) => TcpStream::connect(place).await,
            None => TcpStream::connect((host, port)).await,
        }
    };
    match tokio::time::timeout(CONNECT, connect).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => Ok(()),
        Ok(Err(error)) => Err(format!("{name} could not be reached from here: {error}.")),
        Err(_) => Err(format!("{name} could not be reached from here within {} s.", CONNECT.as_secs())),
    }
}
