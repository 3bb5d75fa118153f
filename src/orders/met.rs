//! What an order of CI would meet now, guard by guard, before anybody has ordered anything.

use std::time::Duration;

use ::policy::Policy;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::api::GuardNow;
use crate::api::Says;
use crate::clock;
use crate::config::Admission;
use crate::config::Approval;
use crate::config::Config;
use crate::config::Freeze;
use crate::config::RefPattern;
use crate::config::Service;
use crate::config::WhichChecks;
use crate::model::Guard;
use crate::orders::freeze;
use crate::orders::freeze::Force;

/// How long a disk has for the holidays of one freeze, however long what came before it took.
const MOMENT: Duration = Duration::from_millis(250);

/// What the guards would say to an order of CI for the service; `held` is why its orders are refused anyway.
pub(super) async fn guards(config: &Config, service: &Service, held: Option<&str>, until: Instant) -> Vec<GuardNow> {
    let mut all = Vec::new();
    if let Some(held) = held {
        all.push(GuardNow { guard: Guard::Held, says: Says::Refuses, why: held.to_owned() });
    }
    all.extend(service.approval.as_ref().map(|approval| approved(config, approval)));
    for freeze in config.freezes_of(service) {
        let now_ms = clock::now_ms();
        let looked = timeout_at(until.max(Instant::now() + MOMENT), freeze::force(freeze, now_ms)).await;
        let force = looked.unwrap_or_else(|_| Force::Unknown("Its holidays could not be read in time.".to_owned()));
        let last_ms = now_ms.saturating_add(i64::try_from(service.max_wait.as_millis()).unwrap_or(i64::MAX));
        all.push(frozen(freeze, &force, last_ms));
    }
    all.extend(service.source.iter().flat_map(|source| of_the_source(&source.admission)));
    all.extend(of_the_policy(&service.policy));
    all
}

/// Orders of CI need every approval that there is.
fn approved(config: &Config, approval: &Approval) -> GuardNow {
    let names: Vec<&str> = approval.approvers(&config.people).map(|person| person.id.as_str()).collect();
    let why = match approval.needed {
        1 => format!("An order must be approved by {}, and nobody approves their own.", names.join(" or ")),
        needed => format!("An order must be approved by {needed} of {}, and nobody approves their own.", names.join(", ")),
    };
    GuardNow { guard: Guard::Approval, says: Says::Asks, why }
}

/// What the stack must not break; which stack it is depends on the order.
fn of_the_policy(policy: &Policy) -> Option<GuardNow> {
    let refused: Vec<&str> = policy.refusing().map(|rule| rule.rule().name).collect();
    let why = || format!("A compose configuration that breaks one of these rules is refused: {}.", refused.join(", "));
    (!refused.is_empty()).then(|| GuardNow { guard: Guard::Policy, says: Says::Asks, why: why() })
}

/// `last_ms`: until when an order that came now might wait.
fn frozen(freeze: &Freeze, force: &Force, last_ms: i64) -> GuardNow {
    let now = |says: Says, why: String| GuardNow { guard: Guard::Frozen, says, why };
    match (force, freeze::in_force(freeze, force)) {
        (Force::Closed(_, Some(end)), Some(why)) if freeze.waits && end.as_millisecond() <= last_ms => now(Says::Waits, why),
        (_, Some(why)) => now(Says::Refuses, why),
        (Force::Open(Some(next)), None) => {
            let from = next.zone.local_text(next.from);
            now(Says::Passes, format!("The freeze {} ({}) begins {from}.", freeze.id, next.name))
        }
        (_, None) => now(Says::Passes, format!("The freeze {} does not begin within a week.", freeze.id)),
    }
}

/// What depends on the order.
fn of_the_source(admission: &Admission) -> Vec<GuardNow> {
    let asks = |guard: Guard, why: String| GuardNow { guard, says: Says::Asks, why };
    let mut all = Vec::new();
    if !admission.refs.is_empty() {
        let refs: Vec<&str> = admission.refs.iter().map(RefPattern::as_str).collect();
        all.push(asks(Guard::Ref, format!("Only {} may be deployed.", refs.join(", "))));
    }
    if !admission.actors.is_empty() {
        all.push(asks(Guard::Actor, format!("Only {} may order a deployment.", admission.actors.join(", "))));
    }
    all.extend(admission.checks.as_ref().map(|required| {
        let which = match &required.which {
            WhichChecks::Named(names) => names.join(", "),
            WhichChecks::Protected => "those that the branch protection requires".to_owned(),
        };
        asks(Guard::Checks, format!("The checks of the commit must be green: {which}."))
    }));
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::time::Instant;

    use super::guards;
    use crate::api::Says;
    use crate::config::Config;
    use crate::model::Guard;
    use crate::orders::sample::web;

    const CONFIG: &str = r#"
version = 1
[server]
listen = ["127.0.0.1:0"]
socket = ""
public_url = "https://tagalong.example.com"
[[notify]]
id = "to-ada"
kind = "webhook"
url = "https://hooks.example.com/ada"
secret_file = "hook.secret"
events = []
[[notify]]
id = "to-bob"
kind = "webhook"
url = "https://hooks.example.com/bob"
secret_file = "hook.secret"
events = []
[[person]]
id = "ada"
actors = ["ada"]
notify = "to-ada"
[[person]]
id = "bob"
actors = ["bob"]
notify = "to-bob"
[service.web]
dir = "/srv/web"
project = "web"
image = "a.example/web"
[service.web.approval]
approvers = ["ada", "bob"]
[service.web.policy]
rules = { privileged = "refuse", labels = "warn" }
"#;

    #[tokio::test]
    async fn an_approval_and_rules_that_refuse_are_among_the_guards() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("hook.secret"), format!("whsec_{}", "a".repeat(40))).expect("a file");
        let config = Config::read(CONFIG, Path::new("x.toml"), folder.path()).unwrap_or_else(|error| panic!("{error}"));
        let service = config.service(&web()).expect("a service");
        let all = guards(&config, service, None, Instant::now()).await;
        let seen: Vec<_> = all.iter().map(|one| (one.guard, one.says, one.why.as_str())).collect();
        assert_eq!(
            seen,
            [
                (Guard::Approval, Says::Asks, "An order must be approved by ada or bob, and nobody approves their own."),
                (Guard::Policy, Says::Asks, "A compose configuration that breaks one of these rules is refused: privileged."),
            ]
        );
    }
}
