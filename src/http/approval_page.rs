//! The form in which an approver enters a code: one page without a script, which shows what is to be approved.

use std::fmt::Write as _;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest as _;
use sha2::Sha256;
use text::without_controls;

use crate::clock;
use crate::model::ImageRef;
use crate::model::OrderKind;
use crate::orders::Form;

/// What is said above the form, or in its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Said<'a> {
    /// It is done.
    Good(&'a str),
    /// It is not.
    Bad(&'a str),
}

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#f4f5f7;--card:#fff;--ink:#1b1f24;--soft:#59636e;--line:#d8dee4;--go:#1a7f37;--good:#dafbe1;--bad:#ffebe9;--edge:#cf222e}\
@media(prefers-color-scheme:dark){:root{--page:#0d1117;--card:#161b22;--ink:#e6edf3;--soft:#9198a1;--line:#30363d;--go:#238636;--good:#12261e;--bad:#25171c;--edge:#f85149}}\
*{box-sizing:border-box}\
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:36rem;margin:0 auto;padding:2rem 1rem}\
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.5rem}\
h1{margin:0 0 1rem;font-size:1.375rem;line-height:1.3;overflow-wrap:anywhere}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.375rem 1rem;margin:0 0 1.5rem}\
dt{color:var(--soft)}\
dd{margin:0;min-width:0;overflow-wrap:anywhere}\
.said{margin:0 0 1.25rem;padding:.75rem 1rem;border-radius:8px;border-left:4px solid var(--go);background:var(--good)}\
.bad{border-color:var(--edge);background:var(--bad)}\
.said:last-child{margin:0}\
label{display:block;margin-bottom:.375rem;font-weight:600}\
input{width:100%;padding:.75rem;border:1px solid var(--line);border-radius:8px;background:var(--page);color:inherit;\
font:1.25rem ui-monospace,monospace;letter-spacing:.08em;text-transform:uppercase}\
button{width:100%;margin-top:1rem;padding:.75rem;border:0;border-radius:8px;background:var(--go);color:#fff;font:inherit;font-weight:600;cursor:pointer}\
input:focus-visible,button:focus-visible{outline:3px solid var(--go);outline-offset:2px}\
p.small{margin:1rem 0 0;color:var(--soft);font-size:.875rem}\
@media(max-width:28rem){dl{display:block}dd{margin-bottom:.5rem}}";

/// Nothing but our own style is taken, and what is typed goes nowhere but here.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
});

/// The form of an order.
pub(super) fn form(status: StatusCode, form: &Form, said: Option<Said<'_>>) -> HttpResponse {
    let order = &form.deployment.order;
    let tag = order.tag.as_ref().map_or("a release", |tag| tag.as_str());
    let title = match order.kind {
        OrderKind::Rollback => format!("Approve the rollback of {} to {tag}?", order.service),
        _ => format!("Approve the deployment of {tag} to {}?", order.service),
    };
    let mut body = format!("<h1>{}</h1>", html(&title));
    body += &said.map_or_else(String::new, |said| notice(&said));
    body += "<dl>";
    for (name, value) in facts(form) {
        let _ = write!(body, "<dt>{name}</dt><dd>{}</dd>", html(&value));
    }
    body += "</dl><form method=\"post\"><label for=\"code\">Your code</label>\
             <input id=\"code\" name=\"code\" required autofocus maxlength=\"40\" autocomplete=\"one-time-code\" autocapitalize=\"characters\" \
             spellcheck=\"false\" placeholder=\"XXXX-XXXX-XXXX\"><button>Approve</button></form>";
    let _ = write!(
        body,
        "<p class=\"small\">The code is in the message that brought you here. It approves exactly the images above, once, for {}. \
         If you do not want this, close the page: without an approval nothing happens.</p>",
        html(form.approver.as_str())
    );
    page(status, &title, &body)
}

/// A page that says something and asks for nothing.
pub(super) fn message(status: StatusCode, said: &Said<'_>) -> HttpResponse {
    page(status, "Approval", &format!("<h1>Approval</h1>{}", notice(said)))
}

fn notice(said: &Said<'_>) -> String {
    match said {
        Said::Good(text) => format!("<p class=\"said\" role=\"status\">{}</p>", html(text)),
        Said::Bad(text) => format!("<p class=\"said bad\" role=\"alert\">{}</p>", html(text)),
    }
}

/// What is to be approved.
fn facts(form: &Form) -> Vec<(&'static str, String)> {
    let deployment = &form.deployment;
    let order = &deployment.order;
    let mut facts = vec![("Service", order.service.to_string())];
    facts.extend(form.images.iter().map(|image| ("Image", ImageRef::to_string(image))));
    let by = order.actor.as_ref().map_or_else(|| order.caller.to_string(), |actor| format!("{actor} ({})", order.caller));
    facts.push(("Ordered by", format!("{by}, {}", clock::utc(deployment.created_ms))));
    let texts = [("Reason", &order.reason), ("Commit", &order.commit), ("Ref", &order.git_ref), ("Workflow run", &order.run_url)];
    facts.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))));
    let given: Vec<String> = form.given.iter().map(|one| one.who.to_string()).collect();
    let by = if given.is_empty() { String::new() } else { format!(", by {}", given.join(", ")) };
    facts.push(("Approvals", format!("{} of {}{by}", given.len(), form.needed)));
    facts.push(("Until", clock::utc(form.until_ms)));
    facts.push(("Deployment", deployment.id.to_string()));
    facts
}

fn page(status: StatusCode, title: &str, body: &str) -> HttpResponse {
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\"><title>{}</title><style>{STYLE}</style></head><body><main><div class=\"card\">{body}</div></main>\
         </body></html>\n",
        html(title)
    );
    HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}

/// Words from outside as text of a page.
fn html(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for c in without_controls(words).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::html;

    #[test]
    fn words_from_outside_are_text_of_the_page() {
        assert_eq!(html("<b a=\"x\" c='y'>&\u{1b}[1m"), "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp; [1m");
    }
}
