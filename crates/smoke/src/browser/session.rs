//! One page in the browser, from an empty tab to its end.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;
use url::Url;

use crate::browser::cdp::Cdp;
use crate::browser::fault::Fault;
use crate::browser::fence::Fence;
use crate::browser::fence::Refused;
use crate::browser::watch::Watched;
use crate::plan::SmokePlan;

/// What every target (the page, its frames and workers) is asked to report.
const DOMAINS: [&str; 4] = ["Network.enable", "Runtime.enable", "Log.enable", "Audits.enable"];

/// A tab.
pub(crate) struct Session<'a> {
    cdp: &'a mut Cdp,
    id: String,
    /// The tab's own id, and those of its frames and workers. What another tab still reports is not this one's.
    ids: BTreeSet<String>,
    target: Value,
    watched: Watched,
    own: Own,
    /// Where it may go; none: anywhere.
    fence: Option<Fence>,
}

/// What is sent to the plan's own origin alone: it may be secret.
struct Own {
    origin: url::Origin,
    headers: Vec<(String, String)>,
    login: Option<(String, String)>,
}

impl Own {
    fn of(plan: &SmokePlan) -> Self {
        let headers = plan.headers.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect();
        let login = plan.basic_auth.as_ref().map(|(user, password)| (user.clone(), password.reveal().to_owned()));
        Self { origin: plan.url.origin(), headers, login }
    }

    fn is_needed(&self) -> bool {
        !self.headers.is_empty() || self.login.is_some()
    }

    fn is_own(&self, url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| url.origin() == self.origin)
    }
}

impl<'a> Session<'a> {
    /// Opens an empty tab that reports everything, and goes no further than `fence` allows.
    pub(crate) async fn open(cdp: &'a mut Cdp, plan: &SmokePlan, fence: Option<Fence>) -> Result<Self, Fault> {
        let target = cdp.call(None, "Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attached = cdp.call(None, "Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true })).await?;
        let id = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        let target = target["targetId"].clone();
        let ids = BTreeSet::from([id.clone()]);
        let mut session = Self { cdp, id: id.clone(), ids, target, watched: Watched::default(), own: Own::of(plan), fence };
        session.cdp.call(Some(&id), "Page.enable", json!({})).await?;
        session.listen(&id).await?;
        // The page's own process answers this behind all of the above; to go on earlier would lose the first events.
        session.cdp.call(Some(&id), "Runtime.evaluate", json!({ "expression": "0" })).await?;
        Ok(session)
    }

    /// A frame or a worker waits until it is listened to, so that nothing of it is missed.
    async fn listen(&mut self, session: &str) -> Result<(), Fault> {
        for domain in DOMAINS {
            self.cdp.tell(Some(session), domain, json!({})).await?;
        }
        if self.own.is_needed() || self.fence.is_some() {
            self.cdp.tell(Some(session), "Fetch.enable", json!({ "handleAuthRequests": true })).await?;
        }
        let attach = json!({ "autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true });
        self.cdp.tell(Some(session), "Target.setAutoAttach", attach).await?;
        self.cdp.tell(Some(session), "Runtime.runIfWaitingForDebugger", json!({})).await
    }

    /// Goes to `url`. That it cannot be loaded is something to report, not a fault of ours.
    pub(crate) async fn navigate(&mut self, url: &str) -> Result<(), Fault> {
        let id = self.id.clone();
        // Not awaited: requests that are held for their headers have to be answered meanwhile.
        self.cdp.tell(Some(&id), "Page.navigate", json!({ "url": url })).await
    }

    /// Whether the page has loaded and been quiet by `until`.
    pub(crate) async fn wait_until_loaded(&mut self, until: Instant, quiet: Duration) -> Result<bool, Fault> {
        let mut quiet_since = Instant::now();
        loop {
            let is_quiet = self.watched.is_loaded && self.watched.under_way() == 0;
            let next = if is_quiet { quiet_since + quiet } else { until };
            match tokio::time::timeout_at(next.min(until), self.cdp.event()).await {
                Ok(event) => {
                    let event = event?;
                    if !event["sessionId"].as_str().is_some_and(|id| self.ids.contains(id)) {
                        continue;
                    }
                    if self.watched.note(&event) {
                        quiet_since = Instant::now();
                    }
                    self.answer(&event).await?;
                }
                Err(_) => return Ok(is_quiet),
            }
        }
    }

    /// What an event asks of us.
    async fn answer(&mut self, event: &Value) -> Result<(), Fault> {
        let params = &event["params"];
        let session = event["sessionId"].as_str().map(str::to_owned);
        match event["method"].as_str().unwrap_or_default() {
            // Our own tab is listened to already, and to ask for it twice would lose what comes meanwhile.
            "Target.attachedToTarget" if params["sessionId"] != self.id.as_str() => {
                let child = params["sessionId"].as_str().unwrap_or_default().to_owned();
                self.ids.insert(child.clone());
                self.listen(&child).await
            }
            "Fetch.requestPaused" => {
                if let Some(refused) = self.refused(params).await {
                    // What is aborted leaves the page as it is, and its load event may never come.
                    let reason = if refused.is_navigation() { "Aborted" } else { "BlockedByClient" };
                    self.watched.is_loaded |= refused.is_navigation();
                    let refusal = json!({ "requestId": params["requestId"], "errorReason": reason });
                    return self.cdp.tell(session.as_deref(), "Fetch.failRequest", refusal).await;
                }
                let mut go_on = json!({ "requestId": params["requestId"] });
                if self.own.is_own(params["request"]["url"].as_str().unwrap_or_default()) {
                    go_on["headers"] = self.headers(&params["request"]["headers"]);
                }
                self.cdp.tell(session.as_deref(), "Fetch.continueRequest", go_on).await
            }
            "Fetch.authRequired" => {
                let is_own = self.own.is_own(params["request"]["url"].as_str().unwrap_or_default());
                let answer = match &self.own.login {
                    Some((user, password)) if is_own && self.watched.may_log_in(&params["requestId"]) => {
                        json!({ "response": "ProvideCredentials", "username": user, "password": password })
                    }
                    _ => json!({ "response": "CancelAuth" }),
                };
                let answer = json!({ "requestId": params["requestId"], "authChallengeResponse": answer });
                self.cdp.tell(session.as_deref(), "Fetch.continueWithAuth", answer).await
            }
            _ => Ok(()),
        }
    }

    async fn refused(&mut self, params: &Value) -> Option<Refused> {
        let main = self.target.clone();
        self.fence.as_mut()?.judge(params, &main).await
    }

    fn headers(&self, present: &Value) -> Value {
        let is_set = |name: &str| self.own.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let kept = present.as_object().into_iter().flatten().filter(|(name, _)| !is_set(name));
        let kept = kept.map(|(name, value)| json!({ "name": name, "value": value }));
        kept.chain(self.own.headers.iter().map(|(name, value)| json!({ "name": name, "value": value }))).collect()
    }

    /// The page as a PNG, at a width and height in CSS pixels.
    pub(crate) async fn screenshot(&mut self, width: u32, height: u32, is_phone: bool) -> Result<Vec<u8>, Fault> {
        let id = self.id.clone();
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": if is_phone { 2 } else { 1 }, "mobile": is_phone });
        self.cdp.call(Some(&id), "Emulation.setDeviceMetricsOverride", size).await?;
        let taken = self.cdp.call(Some(&id), "Page.captureScreenshot", json!({ "format": "png" })).await?;
        let picture = STANDARD.decode(taken["data"].as_str().unwrap_or_default());
        picture.map_err(|error| Fault(format!("The browser's screenshot could not be decoded: {error}.")))
    }

    /// Closes the tab, and gives what was reported.
    pub(crate) async fn close(mut self) -> Watched {
        let _ = self.cdp.tell(None, "Target.closeTarget", json!({ "targetId": self.target })).await;
        self.watched.dialogs = self.cdp.take_dialogs();
        self.watched.refused = self.fence.take().map(|fence| fence.refused).unwrap_or_default();
        self.watched
    }
}
