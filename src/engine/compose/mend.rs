//! Finishing what a `docker compose up` left half done when it, or Docker itself, was ended.
//!
//! To replace a container, compose makes the new one as `<first 12 digits of the old id>_NAME`, stops and removes the old
//! one, and gives the new one its `NAME`. Ended between, it leaves the new one under the first name, and its own next `up`
//! starts it so: nothing that reaches the service by container name finds it any more. A Docker that was ended while it
//! removed the old one leaves that one `dead`: it never runs again, and keeps the name.

use std::collections::BTreeSet;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use process::Stream;

use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::container::Container;
use crate::engine::container::ContainerState;
use crate::engine::error::EngineError;

/// How long Docker may take to finish a removal.
const PATIENCE: Duration = Duration::from_secs(45);
/// How often tagalong checks whether it has.
const AGAIN: Duration = Duration::from_millis(500);

/// What is to be done with a container that an `up` or a removal left behind.
#[derive(Debug, PartialEq, Eq)]
enum Mend<'a> {
    /// Docker could not finish removing it: it is removed by force, which frees its name.
    Clear(&'a Container),
    /// Another container that runs or has run has its place: it is removed.
    Remove(&'a Container),
    /// It is the only one for its place, so it gets its intended name.
    Rename(&'a Container, &'a str),
}

impl Compose {
    /// Afterwards no container of the services `touched` is half removed or has a temporary name of compose. Gives back what
    /// is there then.
    ///
    /// # Errors
    /// When Docker does not answer, or does not let go of a container within a time.
    pub(super) async fn mend(
        &self,
        touched: &[&str],
        cancel: &Cancel,
        each: &mut impl FnMut(Stream, String),
    ) -> Result<Vec<Container>, EngineError> {
        let until = Instant::now() + PATIENCE;
        let mut mentioned = BTreeSet::new();
        let mut last = String::new();
        loop {
            let there = self.containers(cancel).await?;
            let mends = mends(touched, &there);
            let Some(first) = mends.first() else { return Ok(there) };
            if Instant::now() >= until {
                return Err(stuck(first, &last));
            }
            for mend in &mends {
                let line = mend.line();
                if mentioned.insert(line.clone()) {
                    each(Stream::Out, line);
                }
                match self.carry_mend_out(mend, cancel).await {
                    Err(EngineError::Failed { why, .. }) => last = why,
                    done => done?,
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(EngineError::Cancelled { what: WHAT.to_owned() }),
                // What was refused is tried again after a while: Docker may be at that removal itself.
                () = tokio::time::sleep(if last.is_empty() { Duration::ZERO } else { AGAIN }) => {}
            }
        }
    }

    async fn carry_mend_out(&self, mend: &Mend<'_>, cancel: &Cancel) -> Result<(), EngineError> {
        let commands: &[&[&str]] = match mend {
            Mend::Remove(one) if one.is_running() => &[&["stop", &one.id], &["rm", "-f", &one.id]],
            Mend::Clear(one) | Mend::Remove(one) => &[&["rm", "-f", &one.id]],
            Mend::Rename(one, to) => &[&["rename", &one.id, to]],
        };
        for args in commands {
            self.ask(&self.docker_command(args.iter().copied(), QUESTION), WHAT, cancel).await?;
        }
        Ok(())
    }
}

const WHAT: &str = "repairing what an interrupted docker compose left behind";

impl Mend<'_> {
    fn line(&self) -> String {
        match self {
            Self::Clear(one) => format!("removing {} by force, because Docker left it half removed ({})", one.name, one.state),
            Self::Remove(one) => format!("removing {}: compose was interrupted while it replaced this container", one.name),
            Self::Rename(_, to) => format!("renaming a container back to {to}: compose was interrupted while it replaced this container"),
        }
    }
}

fn stuck(mend: &Mend<'_>, last: &str) -> EngineError {
    let (Mend::Clear(one) | Mend::Remove(one) | Mend::Rename(one, _)) = mend;
    let short = one.id.get(..12).unwrap_or(&one.id);
    EngineError::Failed {
        what: WHAT.to_owned(),
        why: format!(
            "Docker still has {} ({}) after {} s: {last}. Run `docker rm -f {short}`; if that fails too, restart Docker",
            one.name,
            one.state,
            PATIENCE.as_secs()
        ),
    }
}

fn mends<'a>(touched: &[&str], there: &'a [Container]) -> Vec<Mend<'a>> {
    let mine = || there.iter().filter(|one| touched.contains(&one.service.as_str()) && !one.is_one_off);
    let given_up: Vec<Mend<'a>> = mine().filter(|one| is_given_up(one)).map(Mend::Clear).collect();
    if !given_up.is_empty() {
        // What keeps a name may be among them: the rest is looked at when they are gone.
        return given_up;
    }
    let places: BTreeSet<&str> = mine().filter_map(temporary_for).collect();
    let mut mends = Vec::new();
    for place in places {
        let mut all: Vec<&Container> = there.iter().filter(|one| one.name == place || temporary_for(one) == Some(place)).collect();
        // What runs stays before what ran, and that before what never did; else the newest does.
        all.sort_by_key(|one| (one.is_running(), was_started(one), one.created_at.parse::<jiff::Timestamp>().ok()));
        let Some(kept) = all.pop() else { continue };
        mends.extend(all.into_iter().map(Mend::Remove));
        if mends.is_empty() && kept.name != place {
            mends.push(Mend::Rename(kept, place));
        }
    }
    mends
}

fn is_given_up(container: &Container) -> bool {
    matches!(container.state, ContainerState::Dead | ContainerState::Removing)
}

fn was_started(container: &Container) -> bool {
    !container.started_at.is_empty() && !container.started_at.starts_with("0001-")
}

/// The `NAME` of a container that compose named `<12 hex digits>_NAME`.
fn temporary_for(container: &Container) -> Option<&str> {
    let (id, meant) = container.name.split_once('_').filter(|_| container.is_replacement)?;
    (id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && !meant.is_empty()).then_some(meant)
}

#[cfg(test)]
mod tests {
    use crate::engine::compose::containers::tests::container;
    use crate::engine::compose::mend::Mend;
    use crate::engine::compose::mend::mends;
    use crate::engine::container::Container;

    fn made(name: &str, state: &str, minute: u8) -> Container {
        let created_at = format!("2026-01-01T00:{minute:02}:00Z");
        let started_at = if state == "created" { "0001-01-01T00:00:00Z".into() } else { created_at.clone() };
        Container { name: name.into(), id: name.into(), created_at, started_at, is_replacement: true, ..container("web", state, 0) }
    }

    const NAME: &str = "site-web-1";
    const NEW: &str = "0123456789ab_site-web-1";
    const NEWER: &str = "fedcba987654_site-web-1";

    /// `rm NAME`, `mv NAME`, in order.
    fn mends_of(there: &[Container]) -> String {
        let word = |mend: &Mend<'_>| match mend {
            Mend::Clear(one) => format!("clear {}", one.name),
            Mend::Remove(one) => format!("rm {}", one.name),
            Mend::Rename(one, to) => format!("mv {} {to}", one.name),
        };
        mends(&["web"], there).iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_one_that_is_to_stay_stays() {
        let cases: [(&[(&str, &str)], String); 12] = [
            (&[(NAME, "running")], String::new()),
            (&[(NEW, "created")], format!("mv {NEW} {NAME}")),
            (&[(NEW, "running")], format!("mv {NEW} {NAME}")),
            (&[(NAME, "running"), (NEW, "created")], format!("rm {NEW}")),
            (&[(NAME, "exited"), (NEW, "created")], format!("rm {NEW}")),
            (&[(NAME, "dead"), (NEW, "created")], format!("clear {NAME}")),
            (&[(NAME, "removing"), (NEW, "running")], format!("clear {NAME}")),
            (&[(NAME, "dead")], format!("clear {NAME}")),
            (&[(NEW, "dead"), (NAME, "running")], format!("clear {NEW}")),
            (&[(NAME, "exited"), (NEW, "running")], format!("rm {NAME}")),
            (&[(NAME, "running"), (NEW, "running")], format!("rm {NAME}")),
            (&[(NEW, "running"), (NEWER, "created")], format!("rm {NEWER}")),
        ];
        for (there, wanted) in cases {
            let there: Vec<Container> = there.iter().zip(1..).map(|((name, state), minute)| made(name, state, minute)).collect();
            assert_eq!(mends_of(&there), wanted, "{there:?}");
        }
    }

    #[test]
    fn what_is_none_of_ours_is_left_alone() {
        let other = Container { service: "db".into(), ..made(NEW, "dead", 1) };
        let by_hand = Container { is_one_off: true, ..made(NAME, "dead", 1) };
        let no_replacement = Container { is_replacement: false, ..made(NEW, "running", 1) };
        assert_eq!(mends_of(&[other, by_hand, no_replacement]), "");
    }
}
