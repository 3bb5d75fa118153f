//! What the browser reports, kept as it comes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::browser::cdp::Dialog;
use crate::browser::console;
use crate::browser::fence::Refused;

/// A page that asks for more than this in the time of one check is told from its first ones.
const MOST: usize = 20_000;

/// One request of the page, its frames or its workers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) url: String,
    pub(crate) method: String,
    /// `Document`, `Stylesheet`, `Script`, `Image`, …
    pub(crate) kind: String,
    pub(crate) status: Option<u16>,
    pub(crate) status_text: String,
    pub(crate) protocol: String,
    pub(crate) mime: String,
    pub(crate) bytes: u64,
    pub(crate) sent_headers: Value,
    pub(crate) got_headers: Value,
    /// When it began, in seconds since 1970, and how long it took, in ms.
    pub(crate) began_s: f64,
    pub(crate) took_ms: f64,
    began: f64,
    /// The frame and the document in it that asked.
    frame: String,
    loader: String,
    /// Why it did not come, in the browser's words.
    pub(crate) failed: Option<String>,
    /// Whether the page's own rules or mixed content kept it from being asked for.
    pub(crate) blocked: Option<String>,
    is_over: bool,
}

/// Mixed content as the browser saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mixed {
    pub(crate) url: String,
    pub(crate) kind: String,
    /// `MixedContentBlocked`, `MixedContentAutomaticallyUpgraded` or `MixedContentWarning`.
    pub(crate) resolution: String,
}

/// Everything that was reported.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Whether the page's load event came.
    pub(crate) is_loaded: bool,
    /// Where the browser was kept from going.
    pub(crate) refused: BTreeSet<Refused>,
    /// The dialogs that the page opened.
    pub(crate) dialogs: Vec<Dialog>,
    /// Whether there was more to keep than is kept.
    pub(crate) is_over_full: bool,
    /// In the order in which they began; a redirect is a request of its own.
    pub(crate) requests: Vec<Request>,
    /// Each address and kind once: the browser may report one twice.
    pub(crate) mixed: BTreeSet<Mixed>,
    /// Errors that scripts write to the console.
    pub(crate) console: Vec<String>,
    /// Exceptions that nothing caught.
    pub(crate) exceptions: Vec<String>,
    open: BTreeMap<String, usize>,
    logins: BTreeSet<String>,
}

impl Watched {
    /// How many requests are under way. A stream that stays open does not keep a page from being loaded.
    pub(crate) fn under_way(&self) -> usize {
        let lasting = |index: &&usize| matches!(self.requests[**index].kind.as_str(), "EventSource" | "WebSocket" | "Media" | "Ping");
        self.open.values().filter(|index| !lasting(index)).count()
    }

    /// Whether credentials were not tried for this request yet: wrong ones would be asked for again and again.
    pub(crate) fn may_log_in(&mut self, id: &Value) -> bool {
        self.logins.insert(id.to_string())
    }

    /// Keeps what `event` says. Whether it is a sign that the page is still busy.
    pub(crate) fn note(&mut self, event: &Value) -> bool {
        let params = &event["params"];
        let id = format!("{} {}", event["sessionId"], params["requestId"]);
        match event["method"].as_str().unwrap_or_default() {
            "Page.loadEventFired" => self.is_loaded = true,
            "Page.frameNavigated" => self.leaves(&params["frame"]),
            "Network.requestWillBeSent" => self.begins(id, params),
            "Network.responseReceived" => self.answered(&id, &params["response"]),
            "Network.loadingFinished" => self.ends(&id, params, None),
            "Network.loadingFailed" => self.ends(&id, params, Some(text(&params["errorText"]))),
            "Audits.issueAdded" => self.issue(&params["issue"]),
            "Runtime.exceptionThrown" => {
                let details = &params["exceptionDetails"];
                let said = [&details["exception"]["description"], &details["text"]].into_iter().find_map(Value::as_str);
                self.is_over_full |= push(&mut self.exceptions, said.unwrap_or_default());
            }
            "Runtime.consoleAPICalled" if params["type"] == "error" => {
                self.is_over_full |= push(&mut self.console, &console::message(params["args"].as_array().map_or(&[], Vec::as_slice)));
            }
            // Failed requests and mixed content are reported elsewhere, with more to say.
            "Log.entryAdded" if params["entry"]["level"] == "error" => {
                let source = params["entry"]["source"].as_str().unwrap_or_default();
                if !matches!(source, "network" | "security") {
                    self.is_over_full |= push(&mut self.console, params["entry"]["text"].as_str().unwrap_or_default());
                }
            }
            _ => return false,
        }
        true
    }

    /// A frame shows another document: what the one before still asked for is given up, and nothing more is said of it.
    fn leaves(&mut self, frame: &Value) {
        let id = text(&frame["id"]);
        let loader = text(&frame["loaderId"]);
        let requests = &self.requests;
        self.open.retain(|_, index| requests.get(*index).is_none_or(|request| request.frame != id || request.loader == loader));
    }

    fn begins(&mut self, id: String, params: &Value) {
        let request = &params["request"];
        if let Some(redirect) = params.get("redirectResponse") {
            self.answered(&id, redirect);
            self.ends(&id, params, None);
        }
        if text(&request["url"]).starts_with("data:") {
            return;
        }
        if self.requests.len() >= MOST {
            self.is_over_full = true;
            return;
        }
        self.open.insert(id, self.requests.len());
        self.requests.push(Request {
            url: text(&request["url"]),
            method: text(&request["method"]),
            kind: text(&params["type"]),
            frame: text(&params["frameId"]),
            loader: text(&params["loaderId"]),
            sent_headers: request["headers"].clone(),
            began_s: params["wallTime"].as_f64().unwrap_or_default(),
            began: params["timestamp"].as_f64().unwrap_or_default(),
            ..Request::default()
        });
    }

    fn answered(&mut self, id: &str, response: &Value) {
        let Some(request) = self.open.get(id).and_then(|index| self.requests.get_mut(*index)) else { return };
        request.status = response["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        request.status_text = text(&response["statusText"]);
        request.protocol = text(&response["protocol"]);
        request.mime = text(&response["mimeType"]);
        request.got_headers = response["headers"].clone();
    }

    fn ends(&mut self, id: &str, params: &Value, failed: Option<String>) {
        let Some(request) = self.open.remove(id).and_then(|index| self.requests.get_mut(index)) else { return };
        request.is_over = true;
        let frame = request.frame.clone();
        let has_failed = failed.is_some() && params["canceled"] != true;
        request.took_ms = (params["timestamp"].as_f64().unwrap_or(request.began) - request.began).max(0.0) * 1000.0;
        request.bytes = params["encodedDataLength"].as_f64().unwrap_or_default() as u64;
        request.blocked = params["blockedReason"].as_str().map(str::to_owned);
        // What the page itself gave up is no fault.
        request.failed = failed.filter(|_| params["canceled"] != true || request.blocked.is_some());
        // The browser has no whole page, and no load event will come.
        let is_page = request.kind == "Document" && self.requests.first().is_some_and(|first| first.frame == frame);
        self.is_loaded |= is_page && has_failed;
    }

    fn issue(&mut self, issue: &Value) {
        if issue["code"] != "MixedContentIssue" {
            return;
        }
        let details = &issue["details"]["mixedContentIssueDetails"];
        self.mixed.insert(Mixed {
            url: text(&details["insecureURL"]),
            kind: text(&details["resourceType"]),
            resolution: text(&details["resolutionStatus"]),
        });
    }
}

/// The first ones tell what is wrong. Whether there is no room for this one.
fn push(list: &mut Vec<String>, said: &str) -> bool {
    const MOST_SAID: usize = 50;
    let is_new = !list.iter().any(|known| known == said);
    if is_new && list.len() < MOST_SAID {
        list.push(said.to_owned());
        return false;
    }
    is_new
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Watched;

    #[test]
    fn a_redirect_is_a_request_of_its_own_and_what_is_given_up_does_not_last() {
        let mut watched = Watched::default();
        let event = |method: &str, params| json!({ "method": method, "sessionId": "s", "params": params });
        let begins =
            |kind: &str, url: &str| json!({ "requestId": "1", "type": kind, "request": { "url": url, "method": "GET" }, "timestamp": 1.0 });
        let mut second = begins("Document", "https://a.test/new");
        second["redirectResponse"] = json!({ "status": 302 });
        second["timestamp"] = 1.5.into();
        watched.note(&event("Network.requestWillBeSent", begins("Document", "https://a.test/")));
        watched.note(&event("Network.requestWillBeSent", second));
        assert_eq!((watched.requests.len(), watched.under_way()), (2, 1));
        assert_eq!((watched.requests[0].status, watched.requests[0].took_ms), (Some(302), 500.0));
        watched.note(&event("Network.loadingFailed", json!({ "requestId": "1", "errorText": "net::ERR_ABORTED", "canceled": true })));
        assert_eq!((watched.under_way(), &watched.requests[1].failed), (0, &None));
        let mut icon = begins("Other", "https://a.test/favicon.ico");
        (icon["frameId"], icon["loaderId"]) = ("f".into(), "old".into());
        watched.note(&event("Network.requestWillBeSent", icon));
        watched.note(&event("Page.frameNavigated", json!({ "frame": { "id": "f", "loaderId": "old" } })));
        assert_eq!(watched.under_way(), 1);
        watched.note(&event("Page.frameNavigated", json!({ "frame": { "id": "f", "loaderId": "new" } })));
        assert_eq!(watched.under_way(), 0);
        watched.note(&event("Network.requestWillBeSent", begins("EventSource", "https://a.test/events")));
        assert_eq!(watched.under_way(), 0);
    }
}
