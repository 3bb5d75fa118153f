//! Cookies. Over https their names begin with `__Host-`, which browsers take from this very host over https alone, so neither a
//! neighbouring host nor somebody on the way can set one. Plain http is for this host itself.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::COOKIE;

/// A cookie of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cookie {
    /// Says whose session it is.
    Session,
    /// Says that a login by a forge has begun in this browser.
    Login,
}

impl Cookie {
    fn name(self, is_https: bool) -> &'static str {
        match (self, is_https) {
            (Self::Session, true) => "__Host-tagalong",
            (Self::Session, false) => "tagalong",
            (Self::Login, true) => "__Host-tagalong-login",
            (Self::Login, false) => "tagalong-login",
        }
    }

    /// What the browser sends; none where it sends several of that name, since one of them may be another's.
    pub(super) fn of(self, request: &HttpRequest, is_https: bool) -> Option<&str> {
        let lines = request.headers().get_all(COOKIE).filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut mine = pairs.filter(|(name, _)| *name == self.name(is_https)).map(|(_, value)| value);
        let value = mine.next()?;
        mine.next().is_none().then_some(value)
    }

    /// The header that sets it for so long.
    pub(super) fn set(self, value: &str, is_https: bool, life: Duration) -> String {
        let secure = if is_https { "; Secure" } else { "" };
        let name = self.name(is_https);
        format!("{name}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", life.as_secs())
    }

    /// The header that removes it.
    pub(super) fn unset(self, is_https: bool) -> String {
        self.set("", is_https, Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::test::TestRequest;

    use super::Cookie;

    #[test]
    fn a_cookie_counts_under_its_own_name_and_once() {
        for (line, https, plain) in [
            ("__Host-tagalong=a", Some("a"), None),
            ("tagalong=a", None, Some("a")),
            ("x=1; __Host-tagalong=a;y", Some("a"), None),
            ("__Host-tagalong=a; __Host-tagalong=b", None, None),
            ("__host-tagalong=a", None, None),
            ("__Host-tagalong", None, None),
            ("tagalong=a=b; tagalong-login=c", None, Some("a=b")),
        ] {
            let request = TestRequest::default().insert_header(("cookie", line)).to_http_request();
            assert_eq!((Cookie::Session.of(&request, true), Cookie::Session.of(&request, false)), (https, plain), "{line}");
        }
    }

    #[test]
    fn a_cookie_is_for_no_script_and_for_no_other_host() {
        assert_eq!(
            Cookie::Session.set("v", true, Duration::from_secs(9)),
            "__Host-tagalong=v; Path=/; Max-Age=9; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(Cookie::Login.unset(false), "tagalong-login=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }
}
