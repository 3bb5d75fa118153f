//! What becomes known of a run while it is carried out.

use smoke::Availability;
use smoke::Report;

use crate::model::ImageRef;
use crate::model::LaidFiles;
use crate::model::Part;
use crate::model::Tree;

/// What became known with a step; a field that is none is left as it is stored.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The exact images.
    pub images: Option<Vec<ImageRef>>,
    /// Whether the release must not be rolled back past.
    pub barrier: Option<bool>,
    /// The content of the pinned file before the pin.
    pub pin_before: Option<String>,
    /// What was running before.
    pub ran_before: Option<String>,
    /// The resolved compose configuration, without its secrets.
    pub resolved: Option<String>,
    /// The tree of the stack's files that belong to the release.
    pub files: Option<Tree>,
    /// The stack's files before they are replaced.
    pub files_before: Option<LaidFiles>,
    /// What the stack consists of.
    pub parts: Option<Vec<Part>>,
    /// The smoke report of the running release.
    pub baseline: Option<Report>,
    /// The smoke report of the new one.
    pub report: Option<Report>,
    /// How available the page was during the deployment.
    pub away: Option<Availability>,
    /// Why it is being undone.
    pub undo_why: Option<String>,
    /// Whether it was verified.
    pub verified: Option<bool>,
}
