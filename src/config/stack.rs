//! A service's stack and how Docker is reached: the checked form.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::AgentName;
use crate::model::Repository;
use crate::model::RolloutPlan;

/// What a service runs on, and what tagalong pins of it.
#[derive(Debug, Clone)]
pub enum Stack {
    /// A project of Docker Compose.
    Compose(ComposeStack),
    /// What agents run on their hosts, each as its own configuration says.
    Elsewhere(Elsewhere),
}

impl Stack {
    /// The folder on this host whose lock says that one at a time works on the stack, and in which its hooks run; none: it is not on
    /// this host.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Self::Compose(stack) => Some(&stack.dir),
            Self::Elsewhere(_) => None,
        }
    }

    /// What is pinned: at least one, unless an agent that was never there is still to say it.
    #[must_use]
    pub fn pins(&self) -> &[PinnedImage] {
        match self {
            Self::Compose(stack) => &stack.pins,
            Self::Elsewhere(elsewhere) => &elsewhere.pins,
        }
    }

    /// Whether an image of `repository` is pinned.
    #[must_use]
    pub fn has_image(&self, repository: &Repository) -> bool {
        self.pins().iter().any(|pin| pin.image == *repository)
    }

    /// Whether it stands on this host.
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self, Self::Compose(_))
    }

    /// The agents on whose hosts it stands, in the order of a rollout; none: it stands on this one.
    #[must_use]
    pub fn agents(&self) -> &[AgentName] {
        match self {
            Self::Compose(_) => &[],
            Self::Elsewhere(elsewhere) => &elsewhere.plan.hosts,
        }
    }

    /// How an order goes over its hosts; none: it stands on one host.
    #[must_use]
    pub fn rollout(&self) -> Option<&RolloutPlan> {
        match self {
            Self::Elsewhere(Elsewhere { plan, .. }) if plan.hosts.len() > 1 => Some(plan),
            _ => None,
        }
    }
}

/// What agents run on their hosts. Everything else about it stands in the agents' configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The agents, at least one, and how an order goes over them.
    pub plan: RolloutPlan,
    /// The images that are pinned, as far as they are known here.
    pub pins: Vec<PinnedImage>,
}

/// The compose files of a service and what tagalong pins in them.
#[derive(Debug, Clone)]
pub struct ComposeStack {
    /// The folder, absolute: the project directory, where `.env` stands.
    pub dir: PathBuf,
    /// The compose files, relative to `dir`; empty: what compose finds by itself there.
    pub files: Vec<PathBuf>,
    /// The compose project's name, always given to compose.
    pub project: String,
    /// What is pinned: at least one.
    pub pins: Vec<PinnedImage>,
    /// How.
    pub mode: PinChoice,
}

/// One image of a stack that tagalong pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedImage {
    /// The repository, as the compose file writes it.
    pub image: Repository,
    /// The variable in `.env` that holds the part behind the repository; none: mode `override` only.
    pub variable: Option<String>,
}

/// Which pin mode the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinChoice {
    /// `env` where it is proven to touch nothing else, `override` where it is not.
    Auto,
    /// The variable in `.env`, or refuse.
    Env,
    /// The generated override file.
    Override,
}

/// How Docker is reached.
#[derive(Debug, Clone)]
pub struct Docker {
    /// The command line client: a name looked up in `path`, or a path.
    pub program: String,
    /// `PATH` of every program that is run.
    pub path: String,
    /// `HOME` of every program that is run.
    pub home: String,
    /// `DOCKER_HOST`, when another daemon than the default is meant.
    pub host: Option<String>,
    /// `DOCKER_CONFIG`, when credentials and plugins are not in `HOME`.
    pub config_dir: Option<PathBuf>,
    /// How long a deployment waits for a daemon that does not answer.
    pub wait: Duration,
}
