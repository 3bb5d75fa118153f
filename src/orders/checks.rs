//! Whether the checks of an order's commit are green: its forge is asked, again and again and with growing pauses, until they are green,
//! or red, or the time for it is over.

use std::time::Duration;

use crate::clock;
use crate::clock::Backoff;
use crate::config::RequiredChecks;
use crate::config::Source;
use crate::forge::ForgeError;
use crate::forge::ForgeErrorKind;
use crate::forge::Question as AtTheForge;
use crate::forge::Told;
use crate::forge::listed;
use crate::model::CommitName;
use crate::model::Order;
use crate::model::Refusal;
use crate::orders::Deployer;
use crate::orders::answer::Answer;
use crate::orders::answer::Question;
use crate::orders::guards;

/// How long the forge may take for all that it is asked about one order.
pub(super) const DEADLINE: Duration = Duration::from_mins(1);
/// The pauses between two questions about the same order.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(15)).spread();

/// What a decision is made by, beside the forge's answer.
struct Asked<'a> {
    source: &'a Source,
    required: &'a RequiredChecks,
    since_ms: i64,
    /// How often the forge was asked before.
    times: u32,
    now_ms: i64,
}

impl Deployer {
    /// What the forge says about the checks of the order's commit.
    pub(super) async fn checks(&self, question: &Question<'_>) -> Answer {
        let wanted = question.service.source.as_ref();
        let wanted = wanted.and_then(|source| Some((source, guards::wants_checks(question.order, &source.admission)?)));
        let Some((source, required)) = wanted else {
            return Answer::passes_since("The configuration requires no checks any more.".to_owned());
        };
        let told = self.ask_forge(question.order, source, required).await;
        let Question { since_ms, times, .. } = *question;
        decided(&Asked { source, required, since_ms, times, now_ms: clock::now_ms() }, told)
    }

    async fn ask_forge(&self, order: &Order, source: &Source, required: &RequiredChecks) -> Result<Told, ForgeError> {
        let commit = order.commit.as_deref().and_then(|commit| CommitName::parse(commit).ok());
        let commit =
            commit.ok_or_else(|| ForgeError::not_asked("The order names no commit; send the one that the image was built from."))?;
        let forge = self.forges.get(&source.forge)?;
        let question =
            AtTheForge { repository: &source.repository, commit: &commit, git_ref: order.git_ref.as_deref(), which: &required.which };
        let late = |_| Err(ForgeError::too_slow(DEADLINE));
        tokio::time::timeout(DEADLINE, forge.checks(&question)).await.unwrap_or_else(late)
    }
}

fn decided(asked: &Asked<'_>, told: Result<Told, ForgeError>) -> Answer {
    let wait_ms = i64::try_from(asked.required.wait.as_millis()).unwrap_or(i64::MAX);
    let ends_ms = asked.since_ms.saturating_add(wait_ms);
    let left = Duration::from_millis(u64::try_from(ends_ms - asked.now_ms).unwrap_or_default());
    let wait_s = asked.required.wait.as_secs_f64();
    let again = || AGAIN.after(asked.times + 1).min(left);
    let no = |why: String| Answer::Refused(Refusal::Checks(why));
    let Told { commit, checks } = match told {
        Ok(told) => told,
        Err(error) => return without_an_answer(asked, &error, left),
    };
    let own = if checks.own.is_empty() {
        String::new()
    } else {
        format!(" {} was left out, since tagalong reports it itself.", listed(&checks.own))
    };
    let in_the_way = checks.in_the_way();
    if checks.are_green() {
        return Answer::passes_since(format!("The checks of commit {commit} are green: {}.{own}", listed(&checks.green)));
    }
    if in_the_way.is_empty() {
        return no(format!("No check is required of commit {commit}, so nothing says whether it is good.{own}"));
    }
    if !checks.red.is_empty() {
        return no(format!("The checks of commit {commit} are not green: {in_the_way}."));
    }
    if left.is_zero() {
        return no(format!("The checks of commit {commit} were not green within {wait_s} s (checks_wait_s): {in_the_way}."));
    }
    Answer::Waits(again(), format!("It waits for the checks of commit {commit}: {in_the_way}.{own}"))
}

/// What is done where the forge has said nothing of the checks. It is never a yes.
fn without_an_answer(asked: &Asked<'_>, error: &ForgeError, left: Duration) -> Answer {
    let forge = &asked.source.forge;
    let repository = &asked.source.repository;
    let no = |why: String| Answer::Refused(Refusal::Checks(why));
    let wait =
        |after: Duration| Answer::Waits(after, format!("It waits for the forge {forge}, which must say how its checks are. {error}"));
    match error.kind {
        ForgeErrorKind::RateLimited { until_ms } => {
            let after = Duration::from_millis(u64::try_from(until_ms - asked.now_ms).unwrap_or_default());
            if after < left {
                wait(after.max(AGAIN.after(1)))
            } else {
                no(format!("The forge {forge} cannot be asked about the checks in time: {error}"))
            }
        }
        ForgeErrorKind::Unreachable | ForgeErrorKind::Odd if asked.required.waits_for_forge && !left.is_zero() => {
            wait(AGAIN.after(asked.times + 1).min(left))
        }
        ForgeErrorKind::Unreachable | ForgeErrorKind::Odd => no(format!("The forge {forge} did not say how the checks are: {error}")),
        ForgeErrorKind::Refused | ForgeErrorKind::NotFound if error.status.is_none() => no(error.to_string()),
        ForgeErrorKind::Refused | ForgeErrorKind::NotFound => no(format!(
            "The forge {forge} did not say how the checks are: {error} The token of {forge} must be allowed to read the contents, the checks \
             and the commit statuses of {repository}."
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Asked;
    use super::decided;
    use crate::config::Admission;
    use crate::config::RequiredChecks;
    use crate::config::Source;
    use crate::config::WhichChecks;
    use crate::forge::Checks;
    use crate::forge::ForgeError;
    use crate::forge::Light;
    use crate::forge::Required;
    use crate::forge::Seen;
    use crate::forge::Told;
    use crate::model::Commit;
    use crate::model::ForgeRepository;
    use crate::model::KeyId;
    use crate::model::Refusal;
    use crate::orders::answer::Answer;

    fn told(light: Option<Light>) -> Told {
        let seen: Vec<Seen> = light.map(|light| Seen { name: "test".into(), run: None, number: 1, light }).into_iter().collect();
        let commit = Commit::parse(&"1f".repeat(20)).expect("a commit");
        Told { commit, checks: Checks::of(&[Required::named("test")], &seen) }
    }

    /// What is decided in the second `at_s` of a wait of 100 s, in a few words.
    fn at(at_s: i64, waits_for_forge: bool, told: Result<Told, ForgeError>) -> (&'static str, String) {
        let required = RequiredChecks { which: WhichChecks::Named(vec!["test".into()]), wait: Duration::from_secs(100), waits_for_forge };
        let source = Source {
            forge: KeyId::parse("hub").expect("an id"),
            repository: ForgeRepository::parse("acme/web").expect("a repository"),
            report: false,
            environment: String::new(),
            admission: Admission::default(),
        };
        let asked = Asked { source: &source, required: &required, since_ms: 1_000_000, times: 2, now_ms: 1_000_000 + at_s * 1000 };
        match decided(&asked, told) {
            Answer::Passes { said, .. } => ("go", said.concat()),
            Answer::Waits(after, why) => {
                let left = Duration::from_secs(u64::try_from(100 - at_s).unwrap_or_default());
                assert!(after <= left && (after >= Duration::from_secs(1) || after == left), "{after:?}");
                ("wait", why)
            }
            Answer::Refused(Refusal::Checks(why)) => ("no", why),
            Answer::Refused(other) => panic!("{other}"),
        }
    }

    #[test]
    fn only_green_checks_let_an_order_go() {
        for (at_s, light, decision, part) in [
            (0, Some(Light::Green), "go", "are green: test."),
            (500, Some(Light::Green), "go", "are green: test."),
            (0, Some(Light::Red), "no", "are not green: test is red."),
            (0, Some(Light::Pending), "wait", "It waits for the checks of commit 1f1f1f"),
            (99, Some(Light::Pending), "wait", "test is pending."),
            (100, Some(Light::Pending), "no", "were not green within 100 s (checks_wait_s): test is pending."),
            (0, None, "wait", "test is missing."),
            (100, None, "no", "test is missing."),
        ] {
            let (decided, why) = at(at_s, false, Ok(told(light)));
            assert!(decided == decision && why.contains(part), "{at_s} {light:?}: {decided} {why}");
        }
        let nothing = Told { checks: Checks::default(), ..told(None) };
        assert_eq!(at(0, true, Ok(nothing)).0, "no");
    }

    #[test]
    fn a_forge_that_says_nothing_never_lets_an_order_go() {
        let away = || Err(ForgeError::too_slow(Duration::from_mins(1)));
        for (at_s, waits, decision) in [(0, false, "no"), (0, true, "wait"), (99, true, "wait"), (100, true, "no")] {
            assert_eq!(at(at_s, waits, away()).0, decision, "{at_s} {waits}");
        }
        for waits in [false, true] {
            assert_eq!(at(0, waits, Err(ForgeError::not_asked("No."))), ("no", "No.".to_owned()));
        }
    }
}
