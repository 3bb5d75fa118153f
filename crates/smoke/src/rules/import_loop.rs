//! `import_loop`.

use crate::catalogue::IMPORT_LOOP;
use crate::page::Asset;
use crate::redirect::excerpt;
use crate::report::Finding;

/// `asset` leads back to a style sheet that contains it.
pub(crate) fn finding(asset: &Asset) -> Finding {
    loop_finding(asset, "leads back to a style sheet that contains it")
}

/// `asset` stands deeper than sheets are followed.
pub(crate) fn too_deep(asset: &Asset) -> Finding {
    loop_finding(asset, "is nested so deeply in imported style sheets that it was not followed")
}

fn loop_finding(asset: &Asset, says: &str) -> Finding {
    let mut finding = IMPORT_LOOP.finding(format!("The import of {} ({}) {says}.", excerpt(&asset.written), asset.location()));
    asset.mark(&mut finding);
    finding
}
