//! The frame of a page for somebody who has logged in.

use crate::http::auth::Viewer;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::model::Scope;
use crate::model::Target;
use crate::model::Verb;

impl Frame {
    /// The frame of a page for `viewer`.
    pub(in crate::http) fn of(viewer: &Viewer, place: Place) -> Self {
        Self {
            place,
            user: Some(viewer.user().to_string()),
            form_token: viewer.form_token().to_owned(),
            sees_all: viewer.may(&Scope { verb: Verb::Read, target: Target::Everything }),
            fresh_s: 0,
        }
    }
}
