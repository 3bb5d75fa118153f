//! What the token of a job costs at the door, with its issuer's keys at hand: taken apart, verified, judged by ten policies.
//!
//!     cargo bench --bench oidc [-- ROUNDS]
//!
//! Printed are the median and the 99th percentile for each kind of key; it ends with status 1 when a median is over 1 ms.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench ends when something is wrong")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "it runs programs and says what it measured")]

use std::fmt::Write as _;
use std::time::Duration;
use std::time::Instant;

use tagalong::clock;
use tagalong::config::Config;
use tagalong::config::OidcPolicy;
use tagalong::oidc::KeySets;
use tagalong::oidc::Looked;
use tagalong::oidc::Token;
use tagalong::oidc::prove;

use issuer::Issuer;
use issuer::SigningKey;

#[path = "../tests/api/issuer.rs"]
#[allow(dead_code, reason = "tests need more of it")]
mod issuer;

const LIMIT: Duration = Duration::from_millis(1);

/// Ten policies of which the last one is meant.
fn policies(issuer: &Issuer) -> Vec<OidcPolicy> {
    let mut text = "version = 1\n[server]\n".to_owned();
    for number in 0..9 {
        let other = issuer.policy(&["read"]).replace("web-main", &format!("other-{number}")).replace("7001", &format!("800{number}"));
        let _ = writeln!(text, "{other}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text + &issuer.policy(&["read"])).unwrap();
    Config::load(file.path()).unwrap().oidc
}

/// From the header of a call to who calls.
async fn verify(sets: &KeySets, policies: &[OidcPolicy], given: &str) -> String {
    let token = Token::parse(given).unwrap();
    prove(sets, policies, &token).await.unwrap();
    let looked = Looked::at(policies, &token, clock::now_ms());
    let (at, _) = looked.accepted().expect("it is accepted");
    format!("{} {}", policies[at].id, token.digest())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let rounds: usize = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(2000);
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let mut is_missed = false;
    for key in [SigningKey::rsa("key-1"), SigningKey::p256("key-1"), SigningKey::ed25519("key-1")] {
        let algorithm = key.algorithm();
        let issuer = Issuer::start_at("/api/actions", key).await;
        let (sets, policies, token) = (KeySets::default(), policies(&issuer), issuer.token());
        let who = verify(&sets, &policies, &token).await;
        assert!(who.starts_with("web-main "), "{who}");
        let mut took: Vec<Duration> = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let began = Instant::now();
            assert_eq!(verify(&sets, &policies, &token).await, who);
            took.push(began.elapsed());
        }
        assert_eq!(issuer.asked(), 1, "the keys were at hand");
        took.sort_unstable();
        let (median, late) = (took[rounds / 2], took[rounds * 99 / 100]);
        println!("{algorithm}: median {} µs, 99 % within {} µs, of {rounds}", median.as_micros(), late.as_micros());
        is_missed |= median > LIMIT;
    }
    if is_missed {
        println!("over the limit of {} ms", LIMIT.as_millis());
        std::process::exit(1);
    }
}
