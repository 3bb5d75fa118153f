//! Calls that were refused, for the operator alone: the caller learns nothing of why.
//!
//! A flood costs two counters: at most [`MOST_PER_S`] calls of a second are looked at closer, and what is kept and logged of them
//! is bounded. What somebody with a right secret meets is kept apart, so that strangers do not push it out.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::api;
use crate::clock;
use crate::model::KeyId;

/// How many refused calls of one second are looked at closer.
const MOST_PER_S: u64 = 20;
/// How many kinds of refused calls are kept in mind, of strangers and of key holders each.
const MOST_KEPT: usize = 64;
/// How many lines of a minute go to the log.
const MOST_LINES_PER_MIN: u64 = 30;

/// Which check a call did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// It shows no proof.
    NoProof,
    /// It shows two proofs at once, a header twice, or a form that is none.
    Malformed,
    /// No secret of ours makes this signature over this body.
    Signature,
    /// It was signed so many seconds after our clock, or before it.
    Clock(i64),
    /// No key has this bearer token.
    Token,
    /// The read token has run out or is another server's.
    ReadToken,
    /// The key is not valid at this time.
    KeyTime,
    /// A bearer or read token came in the clear.
    InTheClear,
    /// The body is too large, too slow, or broke off.
    Body,
    /// The key may not do this.
    Scope,
    /// It is no reload secret of a dataset.
    ReloadSecret,
    /// Too many calls of its address had failed before.
    TooMany,
    /// Its delivery id came before, with another body.
    IdReused,
    /// It shows the token of a job that is none, or of an issuer that no policy names.
    JobToken,
    /// The issuer has no such key, as far as is known.
    JobKey,
    /// The issuer's key did not sign the token.
    JobSignature,
    /// The token is a right one, but no policy accepts it.
    JobClaims,
    /// The call says something else than its token.
    JobCall,
    /// No forge of ours made the signature of this native webhook.
    ForgeSignature,
    /// The address of a form is not one that was sent to an approver.
    Form,
    /// The code of an approval was wrong.
    Code,
    /// The name and password, or the code, of a login was wrong.
    Login,
    /// A page of another site sent it, or a form of another session.
    OtherSite,
    /// The browser called the dashboard by a name that is not this server's.
    OtherName,
    /// It opens the line of an agent and shows no key that counts.
    AgentKey,
    /// It has the key of an agent, and is another machine or another process.
    AgentClone,
    /// It would enrol an agent, and shows no code that was made.
    AgentCode,
}

impl Check {
    const NAMES: [&'static str; 27] = [
        "no_proof",
        "malformed",
        "signature",
        "clock",
        "token",
        "read_token",
        "key_time",
        "in_the_clear",
        "body",
        "scope",
        "reload_secret",
        "too_many",
        "id_reused",
        "oidc_token",
        "oidc_key",
        "oidc_signature",
        "oidc_claims",
        "oidc_call",
        "forge_signature",
        "approval_form",
        "approval_code",
        "login",
        "other_site",
        "other_name",
        "agent_key",
        "agent_clone",
        "agent_code",
    ];

    fn at(self) -> usize {
        match self {
            Self::NoProof => 0,
            Self::Malformed => 1,
            Self::Signature => 2,
            Self::Clock(_) => 3,
            Self::Token => 4,
            Self::ReadToken => 5,
            Self::KeyTime => 6,
            Self::InTheClear => 7,
            Self::Body => 8,
            Self::Scope => 9,
            Self::ReloadSecret => 10,
            Self::TooMany => 11,
            Self::IdReused => 12,
            Self::JobToken => 13,
            Self::JobKey => 14,
            Self::JobSignature => 15,
            Self::JobClaims => 16,
            Self::JobCall => 17,
            Self::ForgeSignature => 18,
            Self::Form => 19,
            Self::Code => 20,
            Self::Login => 21,
            Self::OtherSite => 22,
            Self::OtherName => 23,
            Self::AgentKey => 24,
            Self::AgentClone => 25,
            Self::AgentCode => 26,
        }
    }

    fn name(self) -> &'static str {
        Self::NAMES[self.at()]
    }

    /// What is wrong and what to look at.
    fn words(self) -> String {
        match self {
            Self::NoProof => "The call has neither a signature nor a bearer token.".to_owned(),
            Self::Malformed => "The call shows two proofs at once, a header twice, or a proof that is not well formed.".to_owned(),
            Self::Signature => {
                "No key of the configuration makes this signature over this body: another secret was used, or the body or the path was \
                 changed on the way."
                    .to_owned()
            }
            Self::Clock(off_s) => {
                let side = if off_s < 0 { "behind" } else { "ahead of" };
                format!("The time of the signature is {} s {side} the clock of this host; 300 s are allowed.", off_s.unsigned_abs())
            }
            Self::Token => "No key of the configuration has this bearer token.".to_owned(),
            Self::ReadToken => "The read token has run out, or is of another server.".to_owned(),
            Self::KeyTime => "The key is not valid at this time (not_before, not_after).".to_owned(),
            Self::InTheClear => "A bearer or read token came over plain http.".to_owned(),
            Self::Body => "The body was too large or too slow, or broke off.".to_owned(),
            Self::Scope => "The scopes or the refs of the key do not allow this call.".to_owned(),
            Self::ReloadSecret => "No dataset has this reload secret.".to_owned(),
            Self::TooMany => "Too many calls from this address had failed within the minute.".to_owned(),
            Self::IdReused => {
                "The delivery id (webhook-id or Idempotency-Key) was already used for a different body; every call needs its own id."
                    .to_owned()
            }
            Self::JobToken => {
                "The OIDC token is not well formed, is signed in a way that is not accepted, or comes from an issuer that no [[oidc]] policy \
                 names."
                    .to_owned()
            }
            Self::JobKey => "The issuer's key set does not have the key that the OIDC token names, or could not be fetched; see the log.".to_owned(),
            Self::JobSignature => "The issuer's key did not sign this OIDC token.".to_owned(),
            Self::JobClaims => {
                "The OIDC token is genuine, but it has expired, or no [[oidc]] policy accepts its claims; `tagalong oidc explain` says why."
                    .to_owned()
            }
            Self::JobCall => "The call names another commit, ref or run than its OIDC token, or a deployment of another run.".to_owned(),
            Self::Form => "The address of an approval form is not one that was sent to an approver of that order.".to_owned(),
            Self::Code => "The code of an approval was wrong; the journal of its deployment says how often.".to_owned(),
            Self::Login => "The name and password, or the code, of a login to the dashboard was wrong.".to_owned(),
            Self::OtherSite => "A page of another site, or a form of another session, tried to change something in the dashboard.".to_owned(),
            Self::OtherName => {
                "A browser called the dashboard by a name that is not the one in server.public_url; a proxy in front must pass on the header Host."
                    .to_owned()
            }
            Self::AgentKey => {
                "It opens the line of an agent and shows no key that counts: it was never enrolled here, was revoked, or replays what an agent \
                 once sent."
                    .to_owned()
            }
            Self::AgentClone => {
                "It has the key of an agent, but is another machine or a second process; `tagalong agent list` shows which.".to_owned()
            }
            Self::AgentCode => "It would enrol an agent, and shows no code that `tagalong agent token` made.".to_owned(),
            Self::ForgeSignature => {
                "No [[forge]] with a webhook_secret_file made the signature of this webhook, or it has the headers of several schemes; compare \
                 the secret with the one that is set at the forge."
                    .to_owned()
            }
        }
    }
}

/// Calls of one kind from one address.
#[derive(Debug)]
struct Kept {
    check: Check,
    key: Option<KeyId>,
    address: Option<IpAddr>,
    count: u64,
    first_ms: i64,
    last_ms: i64,
}

#[derive(Debug, Default)]
struct Memory {
    /// Of those who have a right secret, and of everybody else.
    known: Vec<Kept>,
    strangers: Vec<Kept>,
    /// The minute of the last line in the log, and how many it has.
    lines: (i64, u64),
}

/// What was refused since the start.
#[derive(Debug, Default)]
pub struct RefusedCalls {
    counts: [AtomicU64; 27],
    /// The second in which calls are looked at, and how many were.
    second: AtomicI64,
    looked_at: AtomicU64,
    memory: Mutex<Memory>,
}

impl RefusedCalls {
    /// Counts a refused call. Whether it is to be looked at closer, and noted: not where very many come.
    pub(super) fn count(&self, check: Check) -> bool {
        self.counts[check.at()].fetch_add(1, Ordering::Relaxed);
        let now_s = clock::now_ms() / 1000;
        if self.second.swap(now_s, Ordering::Relaxed) != now_s {
            self.looked_at.store(0, Ordering::Relaxed);
        }
        self.looked_at.fetch_add(1, Ordering::Relaxed) < MOST_PER_S
    }

    /// Keeps in mind what was found out about a call that was counted, and logs it.
    pub(super) fn note(&self, check: Check, key: Option<&KeyId>, address: Option<IpAddr>) {
        let now_ms = clock::now_ms();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Memory { known, strangers, lines } = &mut *memory;
        let kept = keep(if key.is_some() { known } else { strangers }, check, key, address, now_ms);
        // The first, and then fewer and fewer.
        if !kept.count.is_power_of_two() || !may_log(lines, now_ms) {
            return;
        }
        let count = kept.count;
        let key = kept.key.as_ref().map_or("unknown", |key| key.as_str());
        let address = address.map_or_else(|| "socket".to_owned(), |address| address.to_string());
        tracing::warn!(check = check.name(), key, address, count, why = check.words(), "a call was refused");
    }

    /// What was refused, the newest first.
    pub(super) fn list(&self) -> api::RefusedCalls {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let view = |kept: &Kept| api::RefusedCall {
            check: kept.check.name().to_owned(),
            why: kept.check.words(),
            key: kept.key.as_ref().map(ToString::to_string),
            address: kept.address.map(|address| address.to_string()),
            count: kept.count,
            first_ms: kept.first_ms,
            last_ms: kept.last_ms,
        };
        let mut calls: Vec<api::RefusedCall> = memory.known.iter().chain(&memory.strangers).map(view).collect();
        calls.sort_by_key(|call| std::cmp::Reverse(call.last_ms));
        let count = |(name, count): (&&str, &AtomicU64)| (String::from(*name), count.load(Ordering::Relaxed));
        let counts = Check::NAMES.iter().zip(&self.counts).map(count).filter(|(_, count)| *count > 0).collect();
        api::RefusedCalls { counts, calls }
    }
}

/// The entry of such calls, which has one more. The one that was quiet longest makes room.
fn keep<'k>(all: &'k mut Vec<Kept>, check: Check, key: Option<&KeyId>, address: Option<IpAddr>, now_ms: i64) -> &'k Kept {
    let is_it = |one: &Kept| one.check.at() == check.at() && one.address == address && one.key.as_ref() == key;
    let at = all.iter().position(is_it).unwrap_or_else(|| {
        if all.len() >= MOST_KEPT
            && let Some((oldest, _)) = all.iter().enumerate().min_by_key(|(_, one)| one.last_ms)
        {
            all.swap_remove(oldest);
        }
        all.push(Kept { check, key: key.cloned(), address, count: 0, first_ms: now_ms, last_ms: now_ms });
        all.len() - 1
    });
    let kept = &mut all[at];
    kept.check = check;
    kept.count += 1;
    kept.last_ms = now_ms;
    kept
}

fn may_log((minute, lines): &mut (i64, u64), now_ms: i64) -> bool {
    let now = now_ms / 60_000;
    if *minute != now {
        (*minute, *lines) = (now, 0);
    }
    *lines += 1;
    *lines <= MOST_LINES_PER_MIN
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::net::Ipv4Addr;

    use super::Check;
    use super::MOST_KEPT;
    use super::RefusedCalls;
    use crate::model::KeyId;

    fn stranger(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    #[test]
    fn what_is_kept_is_bounded_and_strangers_push_nobody_out() {
        let calls = RefusedCalls::default();
        let ci = KeyId::parse("ci").unwrap();
        calls.note(Check::Clock(-400), Some(&ci), Some(stranger(1)));
        for number in 0..=255 {
            calls.note(Check::NoProof, None, Some(stranger(number)));
            calls.note(Check::NoProof, None, Some(stranger(number)));
        }
        let shown = calls.list();
        assert_eq!(shown.calls.len(), MOST_KEPT + 1);
        let known = shown.calls.iter().find(|call| call.key.is_some()).expect("it is kept");
        assert_eq!((known.check.as_str(), known.count), ("clock", 1));
        assert!(known.why.contains("400 s behind"), "{}", known.why);
        assert!(shown.calls.iter().filter(|call| call.key.is_none()).all(|call| call.count == 2));
    }

    #[test]
    fn a_flood_is_counted_and_not_looked_at() {
        let calls = RefusedCalls::default();
        let looked_at = (0..10_000).filter(|_| calls.count(Check::Signature)).count();
        // The clock may turn to the next second meanwhile.
        assert!((20..=60).contains(&looked_at), "{looked_at}");
        assert_eq!(calls.list().counts["signature"], 10_000);
    }
}
