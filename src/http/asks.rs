//! What several calls and pages ask for alike.

use crate::http::auth::Ask;
use crate::http::auth::Call;
use crate::http::auth::Needs;
use crate::http::auth::NoBody;
use crate::http::error::ApiError;
use crate::model::Target;
use crate::model::Verb;

/// What belongs to no one service: hosts, metrics.
#[derive(Debug)]
pub(in crate::http) struct SeeHosts;

impl Ask for SeeHosts {
    const VERB: Verb = Verb::Read;
    type Body = NoBody;

    async fn read(_: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn needs(&self) -> Needs {
        Needs::to_read(Target::Services)
    }
}

/// What is the operator's alone.
#[derive(Debug)]
pub(in crate::http) struct Operator;

impl Ask for Operator {
    const VERB: Verb = Verb::Rollback;
    type Body = NoBody;

    async fn read(_: &Call<'_>, _: NoBody) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn needs(&self) -> Needs {
        Needs::operator()
    }
}
