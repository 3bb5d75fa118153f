//! Others that serve the same dataset. What is new is owed to each before it is called, so that one that is away gets it when
//! it is back, whatever happens here meanwhile. Only the newest commit is owed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::api;
use crate::clock;
use crate::config::Credential;
use crate::config::Peer;
use crate::config::PeerPlace;
use crate::model::Commit;
use crate::model::CommitName;
use crate::model::is_in_the_clear;
use crate::model::webhook_signature;
use crate::reload::Done;
use crate::reload::app;
use crate::reload::runner::Runner;
use crate::store::Debt;
use crate::store::StoreError;

/// The first wait after a peer did not answer; each further one is twice as long.
const FIRST_RETRY_MS: i64 = 1000;
/// The longest such wait: a peer that is back has the newest commit so soon.
const LONGEST_RETRY_MS: i64 = 30_000;
/// How long a name may take to be looked up.
const LOOK_UP: Duration = Duration::from_secs(5);

/// One address of a peer.
#[derive(Debug, Clone)]
struct Target {
    /// Its name in records: the address that is called, with the host's number where its name has several.
    peer: String,
    url: url::Url,
    /// Where the name leads this time.
    at: Option<SocketAddr>,
    config: Peer,
}

/// Every address of the peers of a dataset; a name that cannot be looked up stands for itself.
async fn targets(runner: &Runner) -> Vec<Target> {
    let mut all = Vec::new();
    for config in &runner.plan.peers {
        match &config.place {
            PeerPlace::Urls(urls) => {
                all.extend(urls.iter().map(|url| Target { peer: url.to_string(), url: url.clone(), at: None, config: config.clone() }));
            }
            PeerPlace::Dns(url) => all.extend(looked_up(url, config).await),
        }
    }
    all
}

async fn looked_up(url: &url::Url, config: &Peer) -> Vec<Target> {
    let by_name = || vec![Target { peer: url.to_string(), url: url.clone(), at: None, config: config.clone() }];
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return by_name() };
    let found = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host.trim_matches(['[', ']']), port))).await;
    let mut addresses: Vec<SocketAddr> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(_)) | Err(_) => return by_name(),
    };
    addresses.sort_unstable();
    addresses.dedup();
    let target = |at: SocketAddr| {
        let mut shown = url.clone();
        // A number is a host wherever a name is.
        let _ = shown.set_ip_host(at.ip());
        Target { peer: shown.to_string(), url: url.clone(), at: Some(at), config: config.clone() }
    };
    addresses.into_iter().map(target).collect()
}

/// Owes what this dataset has to every peer; they are called soon after.
pub(super) async fn owe_all(runner: &Runner, commit: &Commit) {
    if runner.plan.peers.is_empty() {
        return;
    }
    let peers: Vec<String> = targets(runner).await.into_iter().map(|target| target.peer).collect();
    if let Err(error) = runner.common.store.owe(&runner.common.executor, runner.name(), &peers, commit, clock::now_ms()).await {
        tracing::error!(dataset = %runner.name(), %error, "what peers are owed could not be recorded; they hear of it by their own timer");
    }
    runner.owed.notify_one();
}

/// Calls every peer now, each in its own time, and returns what each said. One that could not be told is owed it.
pub(super) async fn tell_now(runner: &Runner, done: &Done, asked: Option<&CommitName>) -> Result<Vec<api::PeerAnswer>, StoreError> {
    let ours = match done {
        Done::Ran(ran) => ran.to.clone(),
        Done::Contained => runner.loaded(),
        Done::Ignored => return Ok(Vec::new()),
    };
    let commit = asked.and_then(CommitName::full).or(ours);
    let targets = targets(runner).await;
    if let Some(commit) = &commit {
        let peers: Vec<String> = targets.iter().map(|target| target.peer.clone()).collect();
        // Not due at once: they are being called here.
        let later_ms = clock::now_ms() + LONGEST_RETRY_MS;
        runner.common.store.owe(&runner.common.executor, runner.name(), &peers, commit, later_ms).await?;
    }
    let answers = join_all(targets.iter().map(|target| call(runner, target, commit.as_ref()))).await;
    let mut said = Vec::new();
    for (target, answer) in targets.into_iter().zip(answers) {
        if let Some(commit) = &commit {
            settle(runner, &target.peer, commit, 0, answer.as_ref().err()).await?;
        }
        let (ok, detail) = match answer {
            Ok(detail) => (true, detail),
            Err(why) => (false, why),
        };
        said.push(api::PeerAnswer { peer: target.peer, ok, detail });
    }
    runner.owed.notify_one();
    Ok(said)
}

/// Pays what is owed until the runner stops: on event, and when a debt is due.
pub(super) async fn settle_debts(runner: Arc<Runner>) {
    loop {
        let next_ms = match round(&runner).await {
            Ok(next_ms) => next_ms,
            Err(error) => {
                tracing::warn!(dataset = %runner.name(), %error, "what peers are owed could not be read; it is tried again");
                Some(clock::now_ms() + LONGEST_RETRY_MS)
            }
        };
        let due = async {
            match next_ms {
                Some(at_ms) => tokio::time::sleep(Duration::from_millis((at_ms - clock::now_ms()).max(1) as u64)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = runner.stop_signal().cancelled() => return,
            () = runner.owed.notified() => {}
            () = due => {}
        }
    }
}

/// Calls everybody whose debt is due; returns when the next one is.
async fn round(runner: &Runner) -> Result<Option<i64>, StoreError> {
    let (store, executor) = (&runner.common.store, &runner.common.executor);
    let debts = store.debts(executor, runner.name()).await?;
    if debts.is_empty() {
        return Ok(None);
    }
    let targets = targets(runner).await;
    let mut due: Vec<(&Target, &Debt)> = Vec::new();
    let now_ms = clock::now_ms();
    for debt in &debts {
        match targets.iter().find(|target| target.peer == debt.peer) {
            Some(target) if debt.next_ms <= now_ms => due.push((target, debt)),
            Some(_) => {}
            None => replace(runner, debt, &targets).await?,
        }
    }
    let calls = due.iter().map(|(target, debt)| call(runner, target, Some(&debt.commit)));
    let answers = tokio::select! {
        answers = join_all(calls) => answers,
        () = runner.stop_signal().cancelled() => return Ok(None),
    };
    for ((target, debt), answer) in due.iter().zip(answers) {
        if let Err(why) = &answer {
            tracing::warn!(dataset = %runner.name(), peer = target.peer, commit = %debt.commit, tries = debt.tries + 1, %why, "a peer could not be told; it is owed the commit");
        }
        settle(runner, &debt.peer, &debt.commit, debt.tries, answer.as_ref().err()).await?;
    }
    let left = store.debts(executor, runner.name()).await?;
    Ok(left.iter().map(|debt| debt.next_ms).min())
}

/// The peer of this debt is no longer there: the configuration names others, or the name leads elsewhere. While a name could not
/// be looked up it was owed the commit itself; now those that it leads to are.
async fn replace(runner: &Runner, debt: &Debt, targets: &[Target]) -> Result<(), StoreError> {
    let (store, executor) = (&runner.common.store, &runner.common.executor);
    let unknown_now = targets.iter().any(|target| matches!(target.config.place, PeerPlace::Dns(_)) && target.at.is_none());
    if unknown_now {
        // It may be one of those that the name leads to.
        return store.put_off(executor, runner.name(), &Debt { next_ms: clock::now_ms() + LONGEST_RETRY_MS, ..debt.clone() }).await;
    }
    let behind: Vec<String> = targets.iter().filter(|target| target.url.as_str() == debt.peer).map(|target| target.peer.clone()).collect();
    if !behind.is_empty() {
        store.owe(executor, runner.name(), &behind, &debt.commit, clock::now_ms()).await?;
        runner.owed.notify_one();
    }
    store.forgive(executor, runner.name(), &debt.peer).await
}

async fn settle(runner: &Runner, peer: &str, commit: &Commit, tries: i64, fault: Option<&String>) -> Result<(), StoreError> {
    let (store, executor) = (&runner.common.store, &runner.common.executor);
    let Some(why) = fault else { return store.settle(executor, runner.name(), peer, commit).await };
    // Pods of one rollout must not call all at the same moment.
    let jitter_ms = i64::from(clock::random_bytes::<1>()[0]) * 2;
    let wait_ms = FIRST_RETRY_MS.saturating_mul(1 << tries.clamp(0, 10)).min(LONGEST_RETRY_MS) + jitter_ms;
    let debt = Debt {
        peer: peer.to_owned(),
        commit: commit.clone(),
        since_ms: 0,
        tries: tries + 1,
        next_ms: clock::now_ms() + wait_ms,
        why: Some(why.clone()),
    };
    store.put_off(executor, runner.name(), &debt).await
}

/// Calls one peer. An address without a path is a tagalong; one with a path is called as `/api/_internal/reload-data` is.
async fn call(runner: &Runner, target: &Target, commit: Option<&Commit>) -> Result<String, String> {
    let is_tagalong = target.url.path() == "/";
    let (mut url, branch) = (target.url.clone(), runner.plan.data.branch.as_str());
    let body = if is_tagalong {
        url.set_path("/api/v1/reloads");
        let commit_hash = commit.cloned().map(CommitName::from);
        let ask = api::NewReload { dataset: runner.name().clone(), branch: Some(branch.to_owned()), commit_hash, all_peers: Some(false) };
        serde_json::to_vec(&ask).unwrap_or_default()
    } else {
        let mut ask = json!({ "branch": branch });
        if let Some(commit) = commit {
            ask["commitHash"] = commit.as_str().into();
        }
        ask.to_string().into_bytes()
    };
    let http = client(runner, target).map_err(|error| format!("{} cannot be called: {error}.", target.peer))?;
    let mut request = http.post(url).timeout(target.config.deadline).header("content-type", "application/json");
    if let Some(source) = &target.config.credential {
        request = match Credential::of(source.read()?)? {
            // The secret is read anew for each call, and may have become a token since the configuration was checked.
            Credential::Bearer(_) if is_in_the_clear(&target.url) && !target.config.plain_http => {
                return Err(
                    "The secret is a bearer token and the address is plain http: use https, a whsec_ secret, or plain_http = true."
                        .to_owned(),
                );
            }
            Credential::Bearer(token) => request.bearer_auth(token.reveal()),
            Credential::Webhook(secret) => {
                let (id, now_s) = (format!("msg_{}", clock::new_id()), clock::now_ms() / 1000);
                let signature = webhook_signature(&secret, &id, now_s, &body);
                request.header("webhook-signature", signature).header("webhook-id", id).header("webhook-timestamp", now_s)
            }
        };
    }
    let answer = request.body(body).send().await.map_err(|error| app::unanswered(&target.url, &error, target.config.deadline))?;
    let status = answer.status();
    let text = app::text_of(answer).await.unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    judge(runner, status, &json, is_tagalong)
}

/// What an answer means, as one sentence.
fn judge(runner: &Runner, status: reqwest::StatusCode, json: &serde_json::Value, is_tagalong: bool) -> Result<String, String> {
    let said = ["/why", "/detail", "/error/message"].iter().find_map(|at| json.pointer(at)?.as_str());
    let said = said.map_or(String::new(), |said| format!(": {}", app::shown(runner, said).trim_end_matches('.')));
    let outcome = ["/outcome", "/data/outcome"].iter().find_map(|at| json.pointer(at)?.as_str()).unwrap_or("answered");
    if !status.is_success() {
        return Err(format!("It answers {}{said}.", status.as_u16()));
    }
    if is_tagalong && json["ok"] != true {
        return Err(format!("It ends with {}{said}.", app::shown(runner, outcome)));
    }
    Ok(format!("{}{said}", app::shown(runner, outcome)))
}

/// The client that reaches the target: its own address where a name has several.
fn client(runner: &Runner, target: &Target) -> reqwest::Result<reqwest::Client> {
    match (target.at, target.url.host_str()) {
        (Some(at), Some(host)) => reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(api::IDLE_CONNECTION / 2)
            .resolve(host, at)
            .build(),
        _ => Ok(runner.common.http.clone()),
    }
}
