//! The frame of a page for somebody who has logged in.

use crate::http::asks::Operator;
use crate::http::asks::SeeHosts;
use crate::http::auth::Ask as _;
use crate::http::auth::Needs;
use crate::http::auth::Viewer;
use crate::http::dashboard::asks::SeeAll;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;

impl Frame {
    /// The frame of a page for `viewer`.
    pub(in crate::http) fn of(viewer: &Viewer, place: Place) -> Self {
        Self {
            place,
            user: Some(viewer.user().to_string()),
            form_token: viewer.form_token().to_owned(),
            open: Place::IN_BAR.into_iter().filter(|place| viewer.may_all(&needs(*place))).collect(),
            fresh_s: 0,
        }
    }
}

/// What a page of the bar needs; those that show only what their viewer may read need nothing.
fn needs(place: Place) -> Needs {
    match place {
        Place::Overview | Place::Deployments | Place::Incidents | Place::Data | Place::Elsewhere => Needs::only_proof(),
        Place::Agents => SeeHosts.needs(),
        Place::Users => Operator.needs(),
        Place::Keys | Place::Audit => SeeAll.needs(),
    }
}
