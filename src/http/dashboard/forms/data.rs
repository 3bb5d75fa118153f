//! What is done about datasets: a reload.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web;
use tokio::time::timeout;

use crate::http::Shared;
use crate::http::auth::Change;
use crate::http::auth::Page;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::dashboard::answered::to;
use crate::http::dashboard::asks::OverDataset;
use crate::http::dashboard::confirm::Confirm;
use crate::http::dashboard::page::Place;
use crate::http::error::ApiError;
use crate::http::reloading::carry_out;
use crate::model::DatasetName;
use crate::reload;

/// How long the browser waits for the reload; it goes on, and the page of the data says what came of it.
const BOUND: Duration = Duration::from_millis(800);

fn reloading(viewer: &Viewer, name: &DatasetName) -> Confirm {
    let question = format!("Reload {name}?");
    Confirm::new(viewer, Place::Data, question, format!("/data/{name}/reload"), "Reload", format!("/data#{name}"))
        .point("Its branch is fetched, own commits are pushed, and the app is told to load what is new. Nothing is lost.")
}

pub(in crate::http) async fn reload(page: Page<OverDataset>, _: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    Ok(reloading(&page.viewer, &page.ask.0).answer())
}

pub(in crate::http) async fn order_reload(change: Change<OverDataset>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let Change { viewer, ask: OverDataset(name), .. } = change;
    let caller = viewer.caller().to_string();
    let dataset = name.clone();
    let work = actix_web::rt::spawn(async move { carry_out(&shared, &caller, &dataset, &reload::Ask::default()).await });
    Ok(match timeout(BOUND, work).await {
        Ok(Ok(Err(error))) => reloading(&viewer, &name).refused(&ApiError::from(error)),
        _ => to(&format!("/data#{name}")),
    })
}
