//! When a push that the remote has refused is tried again. Every push of a branch goes through here, and the answer survives a
//! restart: calls, a timer, a new commit, or an app that restarts in a loop are no reason to ask the remote again. Another
//! address or credential is.

use std::hash::DefaultHasher;
use std::hash::Hash as _;
use std::hash::Hasher as _;
use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::config;
use crate::dataset::git::Repo;
use crate::dataset::remote::Pushed;

/// How long a refused ref is left alone.
pub(super) const WAIT: Duration = Duration::from_mins(5);
/// A wait that ends later than this was recorded while the clock was wrong.
const LONGEST_MS: i64 = 2 * WAIT.as_millis() as i64;
/// One line for each refused ref: until when (ms), a digest of address and credential, the ref, and the remote's message.
const MEMO: &str = "refused";

struct Refusal {
    until_ms: i64,
    shown: String,
    to: String,
    why: String,
}

impl Refusal {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let until_ms = words.next()?.parse().ok()?;
        let shown = words.next()?.to_owned();
        let to = words.next()?.to_owned();
        let why = words.next()?.to_owned();
        Some(Self { until_ms, shown, to, why })
    }

    fn line(&self) -> String {
        format!("{} {} {} {}\n", self.until_ms, self.shown, self.to, self.why.replace('\n', " "))
    }
}

impl Repo {
    /// Why nothing is pushed to the ref `to` now; none if it may be tried.
    pub(super) fn held_back(&self, to: &str) -> Option<String> {
        let refusal = self.refusals().into_iter().find(|refusal| refusal.to == to)?;
        let until = clock::utc(refusal.until_ms);
        Some(format!("{}; the next try is after {until}, or at once when the address or the credential changes", refusal.why))
    }

    /// Records the remote's answer to a push to `to`.
    pub(super) fn note_answer(&self, to: &str, answer: &Pushed) {
        let mut refusals = self.refusals();
        let before = refusals.len();
        refusals.retain(|refusal| refusal.to != to);
        match answer {
            Pushed::Refused(why) => refusals.push(Refusal {
                until_ms: clock::now_ms() + clock::spread(WAIT).as_millis() as i64,
                shown: credential_shown(&self.settings),
                to: to.to_owned(),
                why: why.clone(),
            }),
            _ if refusals.len() == before => return,
            _ => {}
        }
        let lines: String = refusals.iter().map(Refusal::line).collect();
        if let Err(error) = self.set_memo(MEMO, &lines) {
            tracing::warn!(dataset = %self.settings.name, %error, "the refusal of a push by the remote could not be recorded; it will be \
            tried again early");
        }
    }

    /// How long until the first refused push may be tried again; none if none is waiting.
    pub(super) fn next_try(&self) -> Option<Duration> {
        let next_ms = self.refusals().iter().map(|refusal| refusal.until_ms).min()?;
        Some(Duration::from_millis((next_ms - clock::now_ms()).max(0) as u64))
    }

    /// The refusals that are still in force.
    fn refusals(&self) -> Vec<Refusal> {
        let Some(text) = self.memo(MEMO) else { return Vec::new() };
        let now_ms = clock::now_ms();
        let shown = credential_shown(&self.settings);
        let counts = |refusal: &Refusal| (now_ms..=now_ms + LONGEST_MS).contains(&refusal.until_ms) && refusal.shown == shown;
        text.lines().filter_map(Refusal::parse).filter(counts).collect()
    }
}

/// Distinguishes addresses with their credentials, and reveals neither.
fn credential_shown(settings: &config::Dataset) -> String {
    let written = |file: &Path| file.metadata().and_then(|meta| Ok((meta.len(), meta.modified()?))).ok();
    let mut hash = DefaultHasher::new();
    settings.remote.hash(&mut hash);
    if let Some(login) = &settings.login {
        (&login.user, &login.secret_file, written(&login.secret_file)).hash(&mut hash);
    }
    if let Some(key) = &settings.ssh_key_file {
        (key, written(key)).hash(&mut hash);
    }
    format!("{:016x}", hash.finish())
}
