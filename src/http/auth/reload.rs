//! The proof of `/api/_internal/reload-data`, in the order that its users rely on: whoever shows nothing learns nothing, not even
//! whether a secret is set; then whether one is; then whether it is the right one; only then is the body looked at.

use std::rc::Rc;

use actix_web::HttpRequest;
use actix_web::web::Payload;

use crate::config::Secret;
use crate::http::Shared;
use crate::http::auth;
use crate::http::auth::Shown;
use crate::http::auth::address;
use crate::http::auth::scheme;
use crate::http::connection::Connection;
use crate::http::error::ApiError;
use crate::model::DatasetName;

/// A secret that may be guessed is none, also when a rotation has left it so.
const SHORTEST_SECRET: usize = 24;

/// Why a call is not answered.
#[derive(Debug)]
pub enum Unproven {
    /// It shows nothing, or something wrong: one answer for both.
    Unauthorized,
    /// It shows something, and no dataset has a secret.
    NotConfigured,
    /// What an ordinary call would be told as well.
    Other(ApiError),
}

/// The dataset whose secret the call shows, and the call's body.
///
/// # Errors
/// [`Unproven`], in the order above.
pub async fn prove_reload(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<(DatasetName, Vec<u8>), Unproven> {
    let config = shared.config.now();
    let origin = address::Origin::of(request, &config.server).map_err(Unproven::Other)?;
    let limit_key = origin.limit_key();
    let connection = request.conn_data::<Rc<Connection>>();
    if let Some(connection) = connection {
        connection.is_for(&limit_key);
    }
    let Shown::Bearer(token) = Shown::of(request) else { return Err(refused(shared, &limit_key)) };
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(refused(shared, &limit_key));
    }
    auth::place_of(connection).map_err(Unproven::Other)?;
    auth::allow_attempt(shared, &origin, &limit_key).map_err(Unproven::Other)?;
    let sources = config.datasets.iter().filter_map(|(name, dataset)| dataset.secret.as_ref().map(|source| (name, source)));
    let secrets: Vec<(&DatasetName, Secret)> = sources
        .filter_map(|(name, source)| match source.read() {
            Ok(secret) if secret.reveal().len() >= SHORTEST_SECRET => Some((name, secret)),
            Ok(_) => {
                tracing::warn!(dataset = %name, "the reload secret is shorter than 24 bytes, so it is taken for none");
                None
            }
            Err(why) => {
                tracing::warn!(dataset = %name, %why, "the reload secret cannot be read");
                None
            }
        })
        .collect();
    if secrets.is_empty() {
        return Err(Unproven::NotConfigured);
    }
    // Every one is looked at whatever the first ones say, so that time tells nothing.
    let meant =
        secrets.iter().fold(None, |found, (name, right)| if scheme::is_secret(&token, right) { found.or(Some(*name)) } else { found });
    let Some(name) = meant else { return Err(refused(shared, &limit_key)) };
    if !origin.is_private() {
        let why = "The secret must not travel in the clear; use https, or call from this host.";
        return Err(Unproven::Other(ApiError::forbidden(why)));
    }
    if let Some(connection) = connection {
        connection.prove();
    }
    let (body, _room) = auth::read_body(request, payload, config.server.body_limit_bytes, shared).await.map_err(Unproven::Other)?;
    Ok((name.clone(), body))
}

fn refused(shared: &Shared, limit_key: &str) -> Unproven {
    shared.metrics.refused_call();
    shared.store.count_failed(limit_key);
    Unproven::Unauthorized
}
