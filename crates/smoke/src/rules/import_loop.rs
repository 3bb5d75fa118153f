//! `import_loop`.

use crate::page::Asset;
use crate::redirect::shown;
use crate::report::Effect;
use crate::report::Finding;
use crate::report::Severity;
use crate::rules::Rule;
use crate::rules::Wait;

/// A style sheet imports itself, directly or through others.
pub(crate) const RULE: Rule = Rule {
    name: "import_loop",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "A style sheet imports itself, directly or through others; browsers leave that import out.",
    fix: "Take the import out of the sheet.",
};

/// `asset` leads back to a sheet in which it stands.
pub(crate) fn finding(asset: &Asset) -> Finding {
    told(asset, "leads back to a sheet in which it stands")
}

/// `asset` stands deeper than sheets are followed.
pub(crate) fn too_deep(asset: &Asset) -> Finding {
    told(asset, "stands so deep in imported sheets that it is not followed")
}

fn told(asset: &Asset, says: &str) -> Finding {
    let mut finding = RULE.finding(format!("The import of {} ({}) {says}.", shown(&asset.written), asset.place()));
    asset.mark(&mut finding);
    finding
}
