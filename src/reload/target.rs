//! One address of a peer: where it is, how it is called, and what its answer means.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::json;
use text::Mask;
use text::Secret;

use crate::api;
use crate::clock;
use crate::clock::retry_after;
use crate::config::Credential;
use crate::config::Peer;
use crate::config::PeerPlace;
use crate::config::Reload;
use crate::config::Rotating;
use crate::model::Commit;
use crate::model::CommitName;
use crate::model::is_in_the_clear;
use crate::model::webhook_signature;
use crate::outbox::Told;
use crate::reload::call;

/// The time limit for looking up a name.
pub(super) const LOOK_UP: Duration = Duration::from_secs(5);

/// One address of a peer.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Its name in records: the address that is called, with the host's number if its name has several.
    pub(super) peer: String,
    /// The address as configured.
    pub(super) url: url::Url,
    /// The address of the host this time.
    at: Option<SocketAddr>,
    config: Peer,
}

/// The result of calling a peer, and the text that a person is shown.
pub(super) struct Answer {
    pub(super) told: Told,
    pub(super) detail: String,
}

impl Answer {
    fn not_now(why: String) -> Self {
        Self { detail: why.clone(), told: Told::NotNow { why, after: None } }
    }
}

/// Every address of the peers of a dataset; a name that cannot be looked up stands for itself.
pub(super) async fn targets(plan: &Reload) -> Vec<Target> {
    let mut all = Vec::new();
    for config in &plan.peers {
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
        // A number is a host, as a name is.
        let _ = shown.set_ip_host(at.ip());
        Target { peer: shown.to_string(), url: url.clone(), at: Some(at), config: config.clone() }
    };
    addresses.into_iter().map(target).collect()
}

impl Target {
    /// Whether its name could not be looked up.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.config.place, PeerPlace::Dns(_)) && self.at.is_none()
    }

    /// Calls it. An address without a path is a tagalong; one with a path is called like `/api/_internal/reload-data`.
    pub(super) async fn call(&self, plan: &Reload, commit: Option<&Commit>, http: &reqwest::Client) -> Answer {
        let is_tagalong = self.url.path() == "/";
        let mut url = self.url.clone();
        let body = body(plan, commit, is_tagalong);
        if is_tagalong {
            url.set_path("/api/v1/reloads");
        }
        let request = match self.client(http) {
            Ok(http) => http.post(url).timeout(self.config.deadline).header("content-type", "application/json"),
            Err(error) => return Answer::not_now(format!("{} could not be called: {error}.", self.peer)),
        };
        let (request, token) = match self.proven(request, &body) {
            Ok(proven) => proven,
            Err(why) => return Answer::not_now(why),
        };
        let answer = match call::send_with(request.body(body), token.as_ref()).await {
            Ok(answer) => answer,
            Err(error) => return Answer::not_now(call::unanswered(&self.url, &error, self.config.deadline)),
        };
        let sent = call::sent(answer.status().as_u16(), "peer.secret", self.config.credential.as_ref());
        judge(&plan.data.mask, answer, is_tagalong, &sent).await
    }

    /// The request, signed, or with the bearer token that it needs.
    fn proven(&self, request: RequestBuilder, body: &[u8]) -> Result<(RequestBuilder, Option<Rotating<Secret>>), String> {
        let Some(source) = &self.config.credential else { return Ok((request, None)) };
        match Credential::of(source)? {
            // The secret is read again for each call, and may have become a token since the configuration was checked.
            Credential::Bearer(_) if is_in_the_clear(&self.url) && !self.config.plain_http => {
                Err("The secret is a bearer token and the address is plain http: use https, a whsec_ secret, or plain_http = true."
                    .to_owned())
            }
            Credential::Bearer(token) => Ok((request, Some(token))),
            Credential::Webhook(secrets) => {
                let id = format!("msg_{}", clock::new_id());
                let now_s = clock::now_ms() / 1000;
                let signatures: Vec<String> = secrets.iter().map(|secret| webhook_signature(secret, &id, now_s, body)).collect();
                let request = request.header("webhook-signature", signatures.join(" "));
                Ok((request.header("webhook-id", id).header("webhook-timestamp", now_s), None))
            }
        }
    }

    /// The client that reaches it: it connects to this very address if a name has several.
    fn client(&self, http: &reqwest::Client) -> reqwest::Result<reqwest::Client> {
        match (self.at, self.url.host_str()) {
            (Some(at), Some(host)) => call::client().resolve(host, at).build(),
            _ => Ok(http.clone()),
        }
    }
}

fn body(plan: &Reload, commit: Option<&Commit>, is_tagalong: bool) -> Vec<u8> {
    let branch = plan.data.branch.as_str();
    if is_tagalong {
        let dataset = plan.data.name.clone();
        let commit_hash = commit.cloned().map(CommitName::from);
        let ask = api::NewReload { dataset, branch: Some(branch.to_owned()), commit_hash, all_peers: Some(false) };
        return serde_json::to_vec(&ask).unwrap_or_default();
    }
    let mut ask = json!({ "branch": branch });
    if let Some(commit) = commit {
        ask["commitHash"] = commit.as_str().into();
    }
    ask.to_string().into_bytes()
}

/// The meaning of an answer; `sent` names the credential where that was refused.
async fn judge(mask: &Mask, answer: reqwest::Response, is_tagalong: bool, sent: &str) -> Answer {
    let status = answer.status();
    let after = answer.headers().get("retry-after").and_then(|after| retry_after(after.to_str().ok()?));
    let text = call::text_of(answer).await.unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let said = ["/why", "/detail", "/error/message"].iter().find_map(|at| json.pointer(at)?.as_str());
    let said = said.map_or(String::new(), |said| format!(": {}", call::masked_excerpt(mask, said).trim_end_matches('.')));
    let outcome = ["/outcome", "/data/outcome"].iter().find_map(|at| json.pointer(at)?.as_str()).unwrap_or("answered");
    let outcome = call::masked_excerpt(mask, outcome);
    if !status.is_success() {
        let why = format!("It answered {}{said}{sent}.", status.as_u16());
        return Answer { detail: why.clone(), told: Told::refusal(status.as_u16(), after, why) };
    }
    if is_tagalong && json["ok"] != true {
        return Answer::not_now(format!("The reload there ended with {outcome}{said}."));
    }
    Answer { told: Told::Taken, detail: format!("{outcome}{said}") }
}
