//! `import_loop`.

use crate::model::Effect;
use crate::model::Finding;
use crate::model::Severity;

use crate::smoke::page::Asset;
use crate::smoke::redirect::shown;
use crate::smoke::rules::Rule;
use crate::smoke::rules::Wait;

/// A style sheet imports itself, directly or through others.
pub(in crate::smoke) const RULE: Rule = Rule {
    name: "import_loop",
    severity: Severity::Warning,
    effect: Effect::Nothing,
    wait: Wait::No,
    meaning: "A style sheet imports itself, directly or through others; browsers leave that import out.",
    fix: "Take the import out of the sheet.",
};

/// `asset` leads back to a sheet in which it stands.
pub(in crate::smoke) fn finding(asset: &Asset) -> Finding {
    told(asset, "leads back to a sheet in which it stands")
}

/// `asset` stands deeper than sheets are followed.
pub(in crate::smoke) fn too_deep(asset: &Asset) -> Finding {
    told(asset, "stands so deep in imported sheets that it is not followed")
}

fn told(asset: &Asset, says: &str) -> Finding {
    let mut finding = RULE.finding(format!("The import of {} ({}) {says}.", shown(&asset.written), asset.place()));
    asset.mark(&mut finding);
    finding
}
