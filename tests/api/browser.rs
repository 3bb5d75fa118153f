//! A browser, as small as it can be: it keeps cookies by their names, says where a form was sent from, and follows nothing by itself.

use std::cell::RefCell;
use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;

use crate::support::Answer;
use crate::support::Call;
use crate::support::Rig;

/// A browser of somebody.
pub(crate) struct Browser<'r> {
    pub(crate) rig: &'r Rig,
    pub(crate) cookies: RefCell<BTreeMap<String, String>>,
    /// What it says with every call.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// What a browser says of a form that our own page sent.
pub(crate) const SAME: &[(&str, &str)] = &[("sec-fetch-site", "same-origin")];

impl<'r> Browser<'r> {
    pub(crate) fn new(rig: &'r Rig) -> Self {
        Self { rig, cookies: RefCell::default(), headers: Vec::new() }
    }

    /// As it is seen behind a proxy on this host, which says where it is and that it came by https.
    pub(crate) fn behind_proxy(rig: &'r Rig, address: &str) -> Self {
        let headers = vec![("x-forwarded-for", address.to_owned()), ("x-forwarded-proto", "https".to_owned())];
        Self { headers, ..Self::new(rig) }
    }

    fn call(&self, method: Method, path: &str, body: String) -> Call {
        let call = Call::new(method, path, body.into_bytes());
        let call = self.headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        let cookies: Vec<String> = self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if cookies.is_empty() { call } else { call.header("cookie", cookies.join("; ")) }
    }

    async fn done(&self, call: Call) -> Answer {
        let answer = call.send(self.rig).await;
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let (name, rest) = line.split_once('=').unwrap();
            let (value, attributes) = rest.split_once(';').unwrap();
            for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax"] {
                assert!(rest.contains(attribute), "{line}");
            }
            assert!(!attributes.contains("Domain") && name.starts_with("__Host-") == attributes.contains("; Secure"), "{line}");
            if attributes.contains("Max-Age=0;") {
                self.cookies.borrow_mut().remove(name);
            } else {
                self.cookies.borrow_mut().insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.done(self.call(Method::GET, path, String::new())).await
    }

    /// With these headers beside.
    pub(crate) async fn get_with(&self, path: &str, headers: &[(&'static str, &str)]) -> Answer {
        let call = headers.iter().fold(self.call(Method::GET, path, String::new()), |call, (name, value)| call.header(name, *value));
        self.done(call).await
    }

    /// A form that one of our own pages sends.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_as(path, fields, SAME).await
    }

    /// A form, of which the browser says this.
    pub(crate) async fn post_as(&self, path: &str, fields: &[(&str, &str)], says: &[(&'static str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let call = self.call(Method::POST, path, body).header("content-type", "application/x-www-form-urlencoded");
        self.done(says.iter().fold(call, |call, (name, value)| call.header(name, *value))).await
    }

    pub(crate) async fn log_in(&self, name: &str, password: &str) -> Answer {
        self.post("/login", &[("name", name), ("password", password)]).await
    }

    /// The token of the forms on this session's pages.
    pub(crate) async fn form_token(&self) -> String {
        let page = self.get("/sessions").await;
        assert_eq!(page.status, 200, "{page:?}");
        let (_, rest) = page.text.split_once("name=\"form_token\" value=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// Whether its session counts.
    pub(crate) async fn is_in(&self) -> bool {
        let page = self.get("/sessions").await;
        assert!(page.status == 200 || (page.status == 303 && page.header("location").starts_with("/login")), "{page:?}");
        page.status == 200
    }
}

/// A call of whoever is on the host, over the server's socket.
pub(crate) async fn on_the_host(rig: &Rig, call: Call) -> Answer {
    let client = reqwest::Client::builder().unix_socket(rig.dir().join("server.sock")).build().unwrap();
    Answer::of(call.try_open(&client, "http://tagalong").await.unwrap()).await
}

/// Adds a user with a password.
pub(crate) async fn add_user(rig: &Rig, name: &str, scopes: &[&str], password: Option<&str>) {
    let added = on_the_host(rig, Call::post("/api/v1/users", &json!({ "name": name, "scopes": scopes }))).await;
    assert_eq!(added.status, 200, "{added:?}");
    if let Some(password) = password {
        let hash = tagalong::http::auth::password::new_hash(&text::Secret::new(password.to_owned())).unwrap();
        let set = on_the_host(rig, Call::post(&format!("/api/v1/users/{name}"), &json!({ "password_hash": hash }))).await;
        assert_eq!(set.status, 200, "{set:?}");
    }
}

/// A one-time code of the user.
pub(crate) async fn code_of(rig: &Rig, name: &str) -> String {
    let made = on_the_host(rig, Call::new(Method::POST, &format!("/api/v1/users/{name}/code"), Vec::new())).await;
    assert_eq!(made.status, 200, "{made:?}");
    made.json()["code"].as_str().unwrap().to_owned()
}
