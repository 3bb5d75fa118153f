//! The cookies of one look: a page that sets one and redirects to itself would otherwise loop for us and for no browser.

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;
use reqwest::header::HeaderValue;
use reqwest::header::SET_COOKIE;
use url::Url;

/// At most so many are kept: enough for a login, too few to be filled up.
const MOST: usize = 64;

/// Names and values by the origin that set them, which alone gets them back.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Cookies(BTreeMap<(String, Vec<u8>), Vec<u8>>);

/// Host and port. What was set over http goes on to https of the same host, where a site sends its visitors.
fn owner(url: &Url) -> Option<String> {
    let port = url.port().map_or_else(String::new, |port| port.to_string());
    url.host_str().map(|host| format!("{host}:{port}"))
}

impl Cookies {
    /// Takes what an answer from `url` sets.
    pub(super) fn take(&mut self, url: &Url, headers: &HeaderMap) {
        let Some(owner) = owner(url) else { return };
        for header in headers.get_all(SET_COOKIE) {
            let pair = header.as_bytes().split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
            let Some(equals) = pair.iter().position(|b| *b == b'=') else { continue };
            let (name, value) = pair.split_at(equals);
            if self.0.len() < MOST {
                self.0.insert((owner.clone(), name.trim_ascii().to_vec()), value[1..].trim_ascii().to_vec());
            }
        }
    }

    /// The `Cookie` header for a request to `url`, if it has any.
    pub(super) fn header(&self, url: &Url) -> Option<HeaderValue> {
        let asked = owner(url)?;
        let mut line = Vec::new();
        for ((owner, name), value) in &self.0 {
            if *owner == asked {
                if !line.is_empty() {
                    line.extend_from_slice(b"; ");
                }
                line.extend_from_slice(name);
                line.push(b'=');
                line.extend_from_slice(value);
            }
        }
        if line.is_empty() { None } else { HeaderValue::from_bytes(&line).ok() }
    }
}
