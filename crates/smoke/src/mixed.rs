//! Mixed content: what a browser does with each http address of an https page.

use url::Url;

use crate::assets::Sum;
use crate::assets::Tally;
use crate::catalogue;
use crate::catalogue::Rule;
use crate::page::Asset;
use crate::page::AssetKind;
use crate::page::PageScan;
use crate::page::When;
use crate::place::Place;
use crate::plan::RuleLevels;
use crate::redirect::excerpt;
use crate::report::Finding;
use crate::report::Severity;

/// The findings of a scan of the page at `page`.
pub(super) fn judge(scan: &PageScan, page: &Url, levels: &RuleLevels) -> Sum {
    let mut tally = Tally::new(levels);
    scan.assets.iter().filter_map(|asset| finding(asset, page)).for_each(|finding| tally.add(finding));
    tally.finish()
}

/// What is wrong with the address of one asset. A page that is itself served over http mixes nothing.
pub(super) fn finding(asset: &Asset, page: &Url) -> Option<Finding> {
    let target = asset.resolved.as_ref().filter(|_| page.scheme() == "https")?;
    let rule = rule(asset, target, page)?;
    let mut finding = rule.finding(message(asset, target, &rule));
    if asset.when != When::Load && finding.severity == Severity::Error {
        finding.severity = Severity::Warning;
    }
    if let Some(fix) = fix(asset, target, page, &rule) {
        finding.fix = fix;
    }
    asset.mark(&mut finding);
    Some(finding)
}

fn rule(asset: &Asset, target: &Url, page: &Url) -> Option<Rule> {
    if target.scheme() != "http" {
        return None;
    }
    let place = Place::of(target);
    if place == Place::Loopback {
        return None;
    }
    Some(match (asset.kind, place) {
        (AssetKind::Form, _) => catalogue::INSECURE_FORM,
        // A policy rewrites only what stays on the page's own host.
        (AssetKind::Refresh, _) if !asset.rescued || target.host() != page.host() => catalogue::REDIRECT_TO_HTTP,
        _ if asset.rescued => catalogue::RESCUED_ASSET,
        (_, Place::Private) => catalogue::PRIVATE_ASSET,
        (kind, Place::Name) if kind.is_upgraded() => catalogue::UPGRADED_ASSET,
        _ => catalogue::BLOCKED_ASSET,
    })
}

fn message(asset: &Asset, target: &Url, rule: &Rule) -> String {
    let target = excerpt(target.as_str());
    let place = asset.location();
    let what = match rule.name {
        name if name == catalogue::BLOCKED_ASSET.name => format!("Browsers do not load {target} ({place})"),
        name if name == catalogue::UPGRADED_ASSET.name => format!("Browsers request {target} ({place}) over https"),
        name if name == catalogue::RESCUED_ASSET.name => format!("Only the page's own policy upgrades {target} ({place}) to https"),
        name if name == catalogue::INSECURE_FORM.name => format!("The form sends its input to {target} ({place})"),
        name if name == catalogue::REDIRECT_TO_HTTP.name => format!("The page sends its visitors on to {target} ({place})"),
        _ => format!("{target} ({place}) is requested from a private address"),
    };
    let when = match (asset.kind, asset.when) {
        (AssetKind::Form | AssetKind::Refresh, _) | (_, When::Load) => "",
        (_, When::Later) => ", when they need it",
        (_, When::Scripted) => ", when a script makes its CSS rule match",
    };
    format!("{what}{when}: the page uses https and this uses http.")
}

fn fix(asset: &Asset, target: &Url, page: &Url, rule: &Rule) -> Option<String> {
    if rule.name == catalogue::PRIVATE_ASSET.name || rule.name == catalogue::RESCUED_ASSET.name {
        return None;
    }
    let written_in_full = Url::parse(&asset.written).is_ok();
    if !written_in_full && target.host() != page.host() {
        return Some("The address comes from <base href>: use https:// there.".to_owned());
    }
    (target.host() == page.host()).then(|| {
        "The app believes that it is served over http: let the proxy send X-Forwarded-Proto: https and the app trust it, set the app's \
        own base address to https, or use relative addresses."
            .to_owned()
    })
}
