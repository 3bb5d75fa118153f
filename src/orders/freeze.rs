//! Whether a freeze keeps an order back. One that cannot say whether it is in force counts as one that is.

use std::time::Duration;

use calendar::Plan;
use calendar::Seen;
use calendar::Stretch;
use jiff::Timestamp;

use crate::config::Config;
use crate::config::Freeze;
use crate::config::Service;
use crate::model::Refusal;
use crate::orders::Deployer;
use crate::orders::answer::Answer;
use crate::orders::answer::Question;
use crate::orders::holidays::holidays;

/// How long an order waits before it is asked again whether a freeze is over: a person may have changed it.
const AGAIN: Duration = Duration::from_secs(10);
/// For so long it counts that no freeze is in force, where a file decides that may change.
const COUNTS_FOR_MS: i64 = 60_000;

/// What a freeze says about a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Force {
    /// It is not in force; when it will be.
    Open(Option<Stretch>),
    /// It is in force until then, without a pause; none: nobody can foresee its end.
    Closed(Stretch, Option<Timestamp>),
    /// Nobody can say; why.
    Unknown(String),
}

/// Whether a freeze is configured that the service is under.
pub(super) fn is_wanted(config: &Config, service: &Service) -> bool {
    config.freezes_of(service).next().is_some()
}

/// What `freeze` says about the moment `now_ms`.
pub(super) async fn force(freeze: &Freeze, now_ms: i64) -> Force {
    let events = match &freeze.holidays {
        Some((file, zone)) => match holidays(file.clone(), zone.clone()).await {
            Ok(events) => events,
            Err(why) => return Force::Unknown(why),
        },
        None => Vec::new(),
    };
    let Ok(now) = Timestamp::from_millisecond(now_ms) else { return Force::Unknown("This host has no usable clock.".to_owned()) };
    match (Plan { events, ..freeze.plan.clone() }).at(now) {
        Seen::Free { next } => Force::Open(next),
        Seen::Within { stretch, until } => Force::Closed(stretch, until),
    }
}

impl Deployer {
    /// What is said about the freezes that the order's service is under: any that is in force wins, and one that refuses before one that
    /// lets it wait.
    #[allow(clippy::unused_self, reason = "a guard like the others")]
    pub(super) async fn freeze(&self, question: &Question<'_>) -> Answer {
        let mut said = Vec::new();
        let mut until_ms: Option<i64> = None;
        let mut waits: Option<(Duration, String)> = None;
        for freeze in question.config.freezes_of(question.service) {
            let force = force(freeze, question.now_ms).await;
            if let Force::Open(next) = &force {
                let next = next.as_ref().map(|next| next.from.as_millisecond());
                let changes = freeze.holidays.is_some().then_some(question.now_ms + COUNTS_FOR_MS);
                until_ms = [until_ms, next, changes].into_iter().flatten().min();
                continue;
            }
            match judged(freeze, &force, question) {
                Answer::Passes { said: why, .. } => said.extend(why),
                Answer::Waits(after, why) => waits = waits.filter(|(longer, _)| *longer >= after).or(Some((after, why))),
                Answer::Refused(refusal) => return Answer::Refused(refusal),
            }
        }
        waits.map_or(Answer::Passes { said, until_ms }, |(after, why)| Answer::Waits(after.min(AGAIN), why))
    }
}

/// What a freeze that is in force, or may be, says about an order.
fn judged(freeze: &Freeze, force: &Force, question: &Question<'_>) -> Answer {
    let Some(what) = in_force(freeze, force) else { return Answer::passes() };
    let refused = |then: &str| Answer::Refused(Refusal::Frozen(format!("{what} {then}")));
    match (question.order.overruling_reason(), force) {
        (Some(reason), _) => Answer::passes_since(format!("{what} {} has overruled that: {reason}", question.order.caller)),
        (None, _) if question.order.force => refused("An order that is to overrule that needs a reason beside --force."),
        (None, Force::Closed(_, Some(until))) if freeze.waits => {
            let left_ms = until.as_millisecond().saturating_sub(question.now_ms);
            let wait = Duration::from_millis(u64::try_from(left_ms).unwrap_or_default());
            if wait <= question.left() {
                return Answer::Waits(wait, format!("{what} The order waits until then."));
            }
            let most_s = question.service.max_wait.as_secs();
            refused(&format!(
                "The order may not wait so long (max_wait_s = {most_s}); deploy after that, or force the order with a reason."
            ))
        }
        (None, Force::Unknown(_)) => refused("Put that right and try again later, or force the order with a reason."),
        _ => refused("Deploy after that, or force the order with a reason."),
    }
}

/// What is said of a freeze that is in force or may be, as one sentence or more; none: it is not.
pub(super) fn in_force(freeze: &Freeze, force: &Force) -> Option<String> {
    let id = &freeze.id;
    match force {
        Force::Open(_) => None,
        Force::Closed(stretch, until) => {
            let until = until.map_or_else(
                || "with no end that could be foreseen".to_owned(),
                |until| format!("until {}", stretch.zone.local_text(until)),
            );
            Some(format!("The freeze {id} ({}) is in force {until}.", stretch.name))
        }
        Force::Unknown(why) => Some(format!("Nobody can say whether the freeze {id} is in force: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::Force;
    use super::force;
    use super::judged;
    use crate::config::Config;
    use crate::model::Order;
    use crate::model::OrderKind;
    use crate::orders::answer::Answer;
    use crate::orders::answer::Question;
    use crate::orders::sample::order;

    /// A server whose one service is under one freeze, in which `lines` stand.
    fn config(folder: &Path, lines: &str) -> Config {
        let text = format!(
            "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\nsocket = \"\"\n[service.web]\ndir = \"/\"\nproject = \"web\"\nimage = \"a.example/web\"\n\
             [[freeze]]\nid = \"night\"\nzone = \"Europe/Paris\"\n{lines}\n"
        );
        Config::read(&text, Path::new("x.toml"), folder).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the freeze says at `at` to an order that came `age_s` before.
    async fn at(lines: &str, at: &str, age_s: i64, change: impl FnOnce(&mut Order)) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let broken = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VEVENT\nEND:VCALENDAR\n";
        std::fs::write(folder.path().join("broken.ics"), broken).expect("a file");
        let config = config(folder.path(), lines);
        let mut order = order(OrderKind::Deploy);
        change(&mut order);
        let service = config.service(&order.service).expect("a service");
        let now_ms = at.parse::<jiff::Timestamp>().expect("a moment").as_millisecond();
        let came_ms = now_ms - age_s * 1000;
        let question =
            Question { config: &config, service, order: &order, deployment: None, hold: None, came_ms, since_ms: now_ms, times: 0, now_ms };
        let freeze = config.freezes_of(service).next().expect("a freeze");
        let force = force(freeze, now_ms).await;
        match judged(freeze, &force, &question) {
            Answer::Passes { said, .. } if said.is_empty() => match force {
                Force::Open(Some(next)) => format!("open until {}", next.from),
                _ => "open".to_owned(),
            },
            Answer::Passes { said, .. } => said.concat(),
            Answer::Waits(after, why) => format!("waits {} s: {why}", Duration::as_secs(&after)),
            Answer::Refused(refusal) => format!("no: {refusal}"),
        }
    }

    const NIGHT: &str = "weekly = [\"Sat 22:00–Sun 02:30\"]";
    const WAITS: &str = "weekly = [\"Sat 22:00–Sun 02:30\"]\non_freeze = \"wait\"";

    /// The clocks of Paris go from 02:00 to 03:00 on 2026-03-29, and from 03:00 to 02:00 on 2026-10-25.
    #[tokio::test]
    async fn a_freeze_ends_when_clocks_show_it_whatever_they_do_meanwhile() {
        for (moment, wanted) in [
            ("2026-03-28T20:59:59Z", "open until 2026-03-28T21:00:00Z"),
            ("2026-03-28T21:00:00Z", "in force until Sun 2026-03-29 03:30 Europe/Paris"),
            ("2026-03-29T01:29:59Z", "in force until Sun 2026-03-29 03:30 Europe/Paris"),
            ("2026-03-29T01:30:00Z", "open until 2026-04-04T20:00:00Z"),
            ("2026-10-24T20:00:00Z", "in force until Sun 2026-10-25 02:30 Europe/Paris"),
            ("2026-10-25T00:30:00Z", "in force until Sun 2026-10-25 02:30 Europe/Paris"),
            ("2026-10-25T01:30:00Z", "open until 2026-10-31T21:00:00Z"),
        ] {
            let said = at(NIGHT, moment, 0, |_| {}).await;
            assert!(said.contains(wanted), "{moment}: {said}");
        }
    }

    #[tokio::test]
    async fn an_order_is_refused_or_waits_and_whoever_may_overrules_that_with_a_reason() {
        let during = "2026-03-29T01:00:00Z";
        let force = |reason: &'static str| move |order: &mut Order| (order.force, order.reason) = (true, Some(reason.to_owned()));
        let why = "The freeze night (Sat 22:00–Sun 02:30) is in force until Sun 2026-03-29 03:30 Europe/Paris";
        assert_eq!(at(NIGHT, during, 0, |_| {}).await, format!("no: {why}. Deploy after that, or force the order with a reason."));
        assert_eq!(at(WAITS, during, 0, |_| {}).await, format!("waits 1800 s: {why}. The order waits until then."));
        assert_eq!(at(WAITS, during, 1800, |_| {}).await, format!("waits 1800 s: {why}. The order waits until then."));
        assert!(at(WAITS, during, 1801, |_| {}).await.contains("may not wait so long (max_wait_s = 3600)"));
        assert_eq!(at(NIGHT, during, 0, force("down")).await, format!("{why}. tagalong has overruled that: down"));
        assert!(at(NIGHT, during, 0, force(" ")).await.ends_with("needs a reason beside --force."));
        assert_eq!(at(NIGHT, "2026-03-29T12:00:00Z", 0, force(" ")).await, "open until 2026-04-04T20:00:00Z");
        for lines in ["holidays_file = \"gone.ics\"", "holidays_file = \"broken.ics\"\non_freeze = \"wait\"", "holidays_file = \".\""] {
            let said = at(lines, during, 0, |_| {}).await;
            assert!(said.starts_with("no: Nobody can say whether the freeze night is in force: "), "{said}");
            assert!(said.ends_with(" Put that right and try again later, or force the order with a reason."), "{said}");
            assert!(at(lines, during, 0, force("down")).await.ends_with("has overruled that: down"));
        }
    }
}
