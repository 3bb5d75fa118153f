//! What a new version has to show before it takes the place of the one that asks: it accepts the configuration, it reads the store, and
//! it answers.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use process::Passing;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::app::Built;
use crate::config::Config;
use crate::model::DeploymentId;
use crate::store;
use crate::store::Store;

/// How long the answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Shows that this version can serve with `config`. With a `copy` of an SQLite store, a server is started over another copy of that, which
/// this version migrates: it has to read the deployment `id`, if there is one, and everything that could be rolled back to, and to answer on loopback. It
/// works at nothing. A PostgreSQL database is only looked at.
///
/// # Errors
/// When something of it fails; the text says what.
pub async fn prove(mut config: Config, id: Option<&DeploymentId>, copy: Option<&Path>) -> anyhow::Result<()> {
    let Some(copy) = copy else {
        let url = config.store.postgres.as_ref().context("Without PostgreSQL a copy of the store is needed (--copy)")?;
        return Ok(Store::fits(url).await?);
    };
    let folder = Passing::anywhere().context("A temporary folder could not be created")?;
    std::fs::copy(copy, folder.path().join(store::SQLITE_FILE)).with_context(|| format!("{} could not be copied", copy.display()))?;
    config.store.postgres = None;
    config.server.data_dir = folder.path().to_owned();
    config.server.listen = vec![([127, 0, 0, 1], 0).into()];
    config.server.socket = None;
    config.server.tls = None;
    config.sockets = Vec::new();
    let built = Built::of(config).await?;
    let proven = answers(&built, id).await;
    built.listening.stop().await;
    built.shared.store.close().await;
    proven
}

async fn answers(built: &Built, id: Option<&DeploymentId>) -> anyhow::Result<()> {
    let store = &built.shared.store;
    if let Some(id) = id {
        anyhow::ensure!(store.get(id).await?.is_some(), "The store does not have the deployment {id}.");
    }
    for service in built.started.services.keys() {
        for release in store.verified(service).await? {
            release.with_context(|| format!("A release of {service} cannot be read"))?;
        }
        let unreadable = store.unfinished(service).await?.unreadable.into_iter().next();
        unreadable.map_or(Ok(()), Err).with_context(|| format!("A deployment of {service} cannot be read"))?;
    }
    let address = built.listening.addresses.first().context("It does not listen")?;
    let answer = tokio::time::timeout(ANSWER, ask(*address)).await;
    let answer = answer.with_context(|| format!("It did not answer within {} s", ANSWER.as_secs()))??;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "It is not ready: {answer}");
    Ok(())
}

async fn ask(address: std::net::SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
