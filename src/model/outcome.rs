//! How a deployment can end.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::CancelledBy;
use crate::model::DeploymentId;
use crate::model::OrderKind;
use crate::model::ServiceName;

/// The guard that refused an order. Its name is the same in the API, the documents and the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The tag does not match the service's `tag_pattern`.
    TagPattern,
    /// The order is for a git ref that is not among the service's `source.refs`.
    Ref,
    /// Whoever is behind the order is not among the service's `source.actors`.
    Actor,
    /// The checks of the order's commit (`source.require_checks`) are not green, or the image was built from another commit.
    Checks,
    /// A freeze (`[[freeze]]`) is in force, or nobody can say whether one is.
    Frozen,
    /// The resolved compose configuration breaks a rule of the service's policy whose level is `refuse`.
    Policy,
    /// A rollback holds the service.
    Held,
    /// The last deployment of the service needs an operator.
    NeedsOperator,
    /// A newer release is live.
    Late,
    /// The order waited longer than `max_wait_s`.
    Age,
    /// A release in between says that it must not be undone.
    Barrier,
    /// There is nothing to roll back to.
    NoTarget,
    /// The tag has a different digest than the order expects.
    DigestMismatch,
    /// The registry does not know the tag or digest.
    NotFound,
    /// The image is not built for this platform.
    Platform,
    /// The compose project does not resolve, or does not use the pin.
    Stack,
    /// Too little disk or too few inodes.
    Disk,
    /// A program that drives the engine is missing, or has a version that is refused. Records and callers know it by the word of the
    /// first engine.
    #[serde(rename = "compose_version")]
    EngineVersion,
    /// The `before` hook failed.
    BeforeHook,
    /// Nothing of the service runs, so there is nothing to adopt.
    NothingRuns,
}

impl Guard {
    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TagPattern => "tag_pattern",
            Self::Ref => "ref",
            Self::Actor => "actor",
            Self::Checks => "checks",
            Self::Frozen => "frozen",
            Self::Policy => "policy",
            Self::Held => "held",
            Self::NeedsOperator => "needs_operator",
            Self::Late => "late",
            Self::Age => "age",
            Self::Barrier => "barrier",
            Self::NoTarget => "no_target",
            Self::DigestMismatch => "digest_mismatch",
            Self::NotFound => "not_found",
            Self::Platform => "platform",
            Self::Stack => "stack",
            Self::Disk => "disk",
            Self::EngineVersion => "compose_version",
            Self::BeforeHook => "before_hook",
            Self::NothingRuns => "nothing_runs",
        }
    }
}

/// How a deployment ended. Only [`Outcome::Live`] is success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The release serves and was verified from outside.
    Live {
        /// Warnings for the operator.
        warnings: Vec<String>,
        /// Whether the page was looked at; without a `[smoke]` table nothing but the containers' health is known.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        page_seen: bool,
    },
    /// The previous release was restored and verified.
    RolledBack {
        /// Why the new release failed.
        why: String,
        /// The restored release.
        to: String,
        /// Whether the restored release had ever been verified before.
        verified_before: bool,
    },
    /// The new release failed, and restoring the previous one failed too.
    RollbackFailed {
        /// Why the new release failed.
        why: String,
        /// Why the previous release could not be restored.
        and: String,
    },
    /// A newer order took its place while it waited.
    Superseded {
        /// That order.
        by: DeploymentId,
    },
    /// A guard refused it; nothing was changed.
    Refused {
        /// Which guard.
        guard: Guard,
        /// Why.
        why: String,
    },
    /// It ended before the pin; nothing was changed.
    Failed {
        /// Why.
        why: String,
    },
    /// The stack was changed, the release failed, and there is no previous release.
    Broken {
        /// Why it failed.
        why: String,
        /// What still runs.
        runs: String,
    },
    /// The stack is left as it is for an operator.
    NeedsOperator {
        /// Why.
        why: String,
    },
    /// Somebody cancelled it, or an operator's rollback took over.
    Cancelled {
        /// Who, or by what.
        by: CancelledBy,
        /// Whether anything had been changed.
        changed: bool,
        /// Whether the previous release was restored and verified.
        brought_back: bool,
    },
    /// A dry run: everything up to preflight succeeded; nothing was changed.
    DryRun {
        /// What would have been pinned.
        would_pin: String,
    },
}

/// What a version before this one wrote says nothing of it.
fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

impl Outcome {
    /// The name, as the API, the metrics and the record show it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Live { .. } => "live",
            Self::RolledBack { .. } => "rolled_back",
            Self::RollbackFailed { .. } => "rollback_failed",
            Self::Superseded { .. } => "superseded",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::Broken { .. } => "broken",
            Self::NeedsOperator { .. } => "needs_operator",
            Self::Cancelled { .. } => "cancelled",
            Self::DryRun { .. } => "dry_run",
        }
    }

    /// Every name, for metrics that show zero before the first.
    pub const NAMES: [&'static str; 10] =
        ["live", "rolled_back", "rollback_failed", "superseded", "refused", "failed", "broken", "needs_operator", "cancelled", "dry_run"];

    /// The CLI's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Live { .. } | Self::DryRun { .. } => 0,
            Self::RolledBack { .. } => 10,
            Self::RollbackFailed { .. } => 11,
            Self::Superseded { .. } => 12,
            Self::Refused { .. } => 13,
            Self::Failed { .. } => 14,
            Self::Broken { .. } => 15,
            Self::NeedsOperator { .. } => 16,
            Self::Cancelled { .. } => 17,
        }
    }

    /// Whether what the service runs, or what is known of it, may be another since: an adoption counts as well.
    #[must_use]
    pub fn is_change(&self) -> bool {
        match self {
            Self::Live { .. }
            | Self::RolledBack { .. }
            | Self::RollbackFailed { .. }
            | Self::Broken { .. }
            | Self::NeedsOperator { .. } => true,
            Self::Cancelled { changed, .. } => *changed,
            Self::Superseded { .. } | Self::Refused { .. } | Self::Failed { .. } | Self::DryRun { .. } => false,
        }
    }

    /// How an order of that kind ended, as one sentence: a rollback that worked reads as a rollback.
    #[must_use]
    pub fn summary(&self, kind: OrderKind) -> String {
        let text = self.to_string();
        let live = |words: &str| text.strip_prefix("live").map(|rest| format!("{words}{rest}"));
        let sentence = match (kind, self) {
            (OrderKind::Rollback, Self::Live { .. }) => live("rollback done, the earlier release serves again"),
            (OrderKind::Repair, Self::Live { .. }) => live("repaired, the recorded release serves again"),
            (OrderKind::Adopt, Self::Live { .. }) => live("adopted"),
            _ => None,
        };
        sentence.unwrap_or(text)
    }

    /// The command that a person runs next after the deployment `id` of `service` has ended so; none: there is nothing to do.
    #[must_use]
    pub fn next_step(&self, id: &DeploymentId, service: &ServiceName) -> Option<String> {
        match self {
            Self::RolledBack { .. } => Some(format!("tagalong logs {id}")),
            Self::RollbackFailed { .. } | Self::Cancelled { changed: true, brought_back: false, .. } => {
                Some(format!("tagalong repair {service}"))
            }
            Self::Broken { .. } | Self::Failed { .. } => Some(format!("tagalong retry {id}")),
            Self::NeedsOperator { .. } => Some(format!("tagalong rollback {service}")),
            _ => None,
        }
    }

    /// Whether the order succeeded.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.exit_code() == 0
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Live { warnings, page_seen } => {
                f.write_str(if *page_seen { "live: verified" } else { "live: healthy; the page was not looked at" })?;
                if warnings.is_empty() { Ok(()) } else { write!(f, ", with a warning: {}", warnings.join("; ")) }
            }
            Self::RolledBack { why, to, verified_before: true } => write!(f, "rolled back, the previous release {to} was restored: {why}"),
            Self::RolledBack { why, to, verified_before: false } => {
                write!(f, "rolled back, the previous release {to} was restored (it had never been verified before): {why}")
            }
            Self::RollbackFailed { why, and } => write!(f, "rollback failed: {why}; restoring the previous release failed too: {and}"),
            Self::Superseded { by } => write!(f, "superseded by {by} while it waited"),
            Self::Refused { guard, why } => write!(f, "refused ({}), nothing was changed: {why}", guard.as_str()),
            Self::Failed { why } => write!(f, "failed, nothing was changed: {why}"),
            Self::Broken { why, runs } => write!(f, "broken, and there is no previous release to restore: {why}; {runs}"),
            Self::NeedsOperator { why } => write!(f, "needs an operator: {why}"),
            Self::Cancelled { by, changed: false, .. } => write!(f, "cancelled by {by}, nothing was changed"),
            Self::Cancelled { by, brought_back: true, .. } => write!(f, "cancelled by {by}, the previous release was restored"),
            Self::Cancelled { by, .. } => write!(f, "cancelled by {by}, the previous release was NOT restored"),
            Self::DryRun { would_pin } => write!(f, "dry run, nothing was changed: would pin {would_pin}"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::Guard;
    use super::Outcome;
    use crate::model::CancelledBy;
    use crate::model::DeploymentId;

    pub(in crate::model) fn one_of_each() -> Vec<Outcome> {
        let s = || "because".to_owned();
        vec![
            Outcome::Live { warnings: vec![s()], page_seen: false },
            Outcome::RolledBack { why: s(), to: s(), verified_before: true },
            Outcome::RollbackFailed { why: s(), and: s() },
            Outcome::Superseded { by: DeploymentId::from_parts(1, 2) },
            Outcome::Refused { guard: Guard::Disk, why: s() },
            Outcome::Failed { why: s() },
            Outcome::Broken { why: s(), runs: s() },
            Outcome::NeedsOperator { why: s() },
            Outcome::Cancelled { by: CancelledBy::Nameless, changed: true, brought_back: false },
            Outcome::DryRun { would_pin: s() },
        ]
    }

    #[test]
    fn outcomes_have_one_text_form_and_their_exit_codes() {
        let codes: Vec<u8> = one_of_each().iter().map(Outcome::exit_code).collect();
        assert_eq!(codes, [0, 10, 11, 12, 13, 14, 15, 16, 17, 0]);
        for outcome in one_of_each() {
            let text = serde_json::to_string(&outcome).unwrap_or_default();
            assert_eq!(serde_json::from_str::<Outcome>(&text).ok().as_ref(), Some(&outcome));
            assert!(text.starts_with(&format!("{{\"outcome\":\"{}\"", outcome.name())), "{text}");
        }
        assert_eq!(one_of_each().iter().map(Outcome::name).collect::<Vec<_>>(), Outcome::NAMES);
        // Records hold this word, and the version before reads them.
        let guard = serde_json::to_value(Guard::EngineVersion).ok();
        assert_eq!((guard, Guard::EngineVersion.as_str()), (Some("compose_version".into()), "compose_version"));
    }
}
