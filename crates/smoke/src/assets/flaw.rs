//! A fault of a requested asset, independent of where the page uses it.

use crate::assets::Wanted;
use crate::assets::stand::shown_url;
use crate::catalogue::Rule;
use crate::page::Asset;
use crate::page::AssetKind;
use crate::page::When;
use crate::report::Finding;
use crate::report::Severity;

/// One flaw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    rule: &'static Rule,
    /// The sentence behind the address, without its full stop.
    says: String,
    fix: Option<&'static str>,
    /// A visitor sees nothing of it.
    is_mild: bool,
    /// What it is, and says, for an icon or a candidate of `srcset`: browsers upgrade neither.
    in_a_set: Option<(&'static Rule, String)>,
}

impl Flaw {
    /// A flaw by `rule`; `says` goes on behind the address.
    pub(crate) fn of(rule: &'static Rule, says: String) -> Self {
        Self { rule, says, fix: None, is_mild: false, in_a_set: None }
    }

    /// With another way to mend it than the rule's.
    pub(crate) fn with_fix(self, fix: &'static str) -> Self {
        Self { fix: Some(fix), ..self }
    }

    /// As a warning, whatever the rule says.
    pub(crate) fn mild(self) -> Self {
        Self { is_mild: true, ..self }
    }

    /// It is a fault by `rule`, and no mild one, for an icon or a candidate of `srcset`.
    pub(crate) fn or_in_a_set(self, rule: &'static Rule, says: String) -> Self {
        Self { in_a_set: Some((rule, says)), ..self }
    }

    /// Whether browsers use what came nevertheless.
    pub(super) fn is_harmless(&self) -> bool {
        self.is_mild
    }

    /// The finding about `asset`, for which `wanted` was asked.
    pub(super) fn finding(&self, asset: &Asset, wanted: &Wanted) -> Finding {
        if let Some((rule, says)) = self.in_a_set.as_ref().filter(|_| matches!(asset.kind, AssetKind::ImageSet | AssetKind::Icon)) {
            return Self::of(rule, says.clone()).finding(asset, wanted);
        }
        let when = match asset.when {
            When::Load => "",
            When::Later => " when a browser needs it",
            When::Scripted => " when a script makes its CSS rule match",
        };
        let mut finding = self.rule.finding(format!("{} ({}) {}{when}.", shown_url(wanted.url.as_str()), asset.location(), self.says));
        let is_beside = asset.when != When::Load || asset.terms.is_ahead || matches!(asset.kind, AssetKind::Icon | AssetKind::Manifest);
        if (self.is_mild || is_beside) && finding.severity == Severity::Error {
            finding.severity = Severity::Warning;
        }
        if let Some(fix) = self.fix {
            fix.clone_into(&mut finding.fix);
        }
        asset.mark(&mut finding);
        finding
    }
}
