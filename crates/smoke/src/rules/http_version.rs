//! `http_version`.

use reqwest::Version;

use crate::catalogue::HTTP_VERSION;
use crate::client::Answer;
use crate::plan::HttpVersion;
use crate::plan::SmokePlan;
use crate::report::Finding;

/// Whether `answer` came in the plan's version of HTTP.
pub(crate) fn judge(plan: &SmokePlan, answer: &Answer) -> Option<Finding> {
    let wanted = plan.demands.http_version?;
    let is_spoken = match wanted {
        HttpVersion::One => answer.version == Version::HTTP_11,
        HttpVersion::Two => answer.version == Version::HTTP_2,
    };
    if is_spoken {
        return None;
    }
    let mut finding = HTTP_VERSION.finding(format!("The page was served over {} instead of {}.", spoken(answer.version), written(wanted)));
    if wanted == HttpVersion::Two && answer.url.scheme() == "http" {
        "Browsers use HTTP/2 only over TLS: use an https address, or remove http_version.".clone_into(&mut finding.fix);
    }
    Some(finding)
}

fn spoken(version: Version) -> String {
    if version == Version::HTTP_2 { written(HttpVersion::Two).to_owned() } else { format!("{version:?}") }
}

fn written(version: HttpVersion) -> &'static str {
    match version {
        HttpVersion::One => "HTTP/1.1",
        HttpVersion::Two => "HTTP/2",
    }
}
