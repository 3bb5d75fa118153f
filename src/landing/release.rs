//! What the steps hand on, each to those behind it: what was not resolved cannot be pinned, and what was not pinned cannot be
//! undone.

use smoke::Report;

use crate::engine::Resolved;
use crate::model::ImageRef;
use crate::model::LaidFiles;
use crate::model::StackFiles;
use crate::model::Stage;
use crate::model::Step;
use crate::model::StepBack;
use crate::model::Tree;
use crate::store::Deployment;

/// What is to be landed. Made by the step resolve, or read from the record.
#[derive(Debug, Clone, Default)]
pub(super) struct Release {
    /// The exact images.
    pub(super) images: Vec<ImageRef>,
    /// The tree of the stack's files that belong to them; none: the stack's files come from no repository.
    pub(super) files: Option<Tree>,
    /// Whether it must not be rolled back past.
    pub(super) barrier: bool,
    /// What a look at its page has found when it was verified, where it is landed again.
    pub(super) verified_with: Option<Box<Report>>,
}

impl Release {
    /// What the record has of it.
    pub(super) fn recorded(deployment: &Deployment) -> Self {
        Self { images: deployment.images.clone(), files: deployment.files.clone(), barrier: deployment.barrier, verified_with: None }
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.images.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }
}

/// The stack's files, to be written. Made by the step preflight, once nothing speaks against them.
#[derive(Debug)]
pub(super) struct Laying {
    /// Those that belong to the release.
    pub(super) wanted: StackFiles,
    /// What stands in the stack's folder before.
    pub(super) before: LaidFiles,
}

/// What a release is landed on. Made by the step preflight.
#[derive(Debug)]
pub(super) struct Ground {
    /// The stack's files, where they come from a repository.
    pub(super) files: Option<Laying>,
    /// What the stack resolves to, and how it is pinned.
    pub(super) resolved: Resolved,
    /// What runs, for people; none: nothing does.
    pub(super) ran_before: Option<String>,
    /// What a look at the running page has found.
    pub(super) baseline: Option<Report>,
}

/// A change of the host, as the record has it: anybody who has one can undo it.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// What was pinned.
    pub(super) release: Release,
    /// The pin's bytes before, as the engine gave them.
    pub(super) before: String,
    /// The stack's files before, where they come from a repository.
    pub(super) files_before: Option<LaidFiles>,
    /// What ran before, for people; none: nothing did.
    pub(super) ran_before: Option<String>,
    /// What a look at the page before has found.
    pub(super) baseline: Option<Report>,
}

impl Change {
    /// The change that the record has of `deployment`; none: it never came to its pin.
    pub(super) fn recorded(deployment: &Deployment) -> Option<Self> {
        Some(Self {
            release: Release::recorded(deployment),
            before: deployment.pin_before.clone()?,
            files_before: deployment.files_before.clone(),
            ran_before: deployment.ran_before.clone(),
            baseline: deployment.baseline.clone(),
        })
    }
}

/// A release that is pinned. Made by the step pin.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) change: Change,
    pub(super) resolved: Resolved,
    /// The stack's files, where they come from a repository.
    pub(super) files: Option<Laying>,
}

impl Pinned {
    /// The way on: this release is brought up.
    pub(super) fn leg(&self) -> Leg<'_> {
        let Self { change, resolved, .. } = self;
        Leg { way: Way::Landing, images: &change.release.images, resolved, baseline: change.baseline.as_ref() }
    }
}

/// Which way things go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// What was ordered is landed.
    Landing,
    /// What was there before comes back.
    Unwinding,
}

impl Way {
    pub(super) fn up(self) -> Stage {
        match self {
            Self::Landing => Step::Up.into(),
            Self::Unwinding => StepBack::Up.into(),
        }
    }

    pub(super) fn health(self) -> Stage {
        match self {
            Self::Landing => Step::Health.into(),
            Self::Unwinding => StepBack::Health.into(),
        }
    }

    pub(super) fn smoke(self) -> Stage {
        match self {
            Self::Landing => Step::Smoke.into(),
            Self::Unwinding => StepBack::Smoke.into(),
        }
    }
}

/// Up, health and smoke: what is brought up, and which way things go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leg<'a> {
    pub(super) way: Way,
    /// What is pinned; empty where it was never pinned by us.
    pub(super) images: &'a [ImageRef],
    pub(super) resolved: &'a Resolved,
    /// What a look at the page has found before anything changed.
    pub(super) baseline: Option<&'a Report>,
}
