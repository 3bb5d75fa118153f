//! Why an order is not taken, or not carried out at its turn: one sentence for each reason.

use crate::model::AgentName;
use crate::model::DeploymentId;
use crate::model::Guard;
use crate::model::ServiceName;
use crate::model::Tag;

/// Why an order is not taken, or is not carried out when its turn comes. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such service.
    #[error("There is no service {0}; `tagalong status` lists the services.")]
    UnknownService(ServiceName),
    /// The tag is none of those that may be landed.
    #[error("The tag {tag} does not match tag_pattern {pattern} of {service}.")]
    TagPattern {
        /// What was asked for.
        tag: Tag,
        /// What it has to match.
        pattern: String,
        /// Of which service.
        service: ServiceName,
    },
    /// The order is for a ref that may not be landed.
    #[error("{}; only {} may be deployed to {service} (source.refs).", no_ref(.given.as_deref()), .refs.join(", "))]
    Ref {
        /// The ref of the order.
        given: Option<String>,
        /// Those that may be landed.
        refs: Vec<String>,
        /// Of which service.
        service: ServiceName,
    },
    /// Whoever is behind the order may not order it.
    #[error("{}; only {} may order a deployment of {service} (source.actors).", no_actor(.given.as_deref()), .actors.join(", "))]
    Actor {
        /// Who it is, as the forge says.
        given: Option<String>,
        /// Those who may.
        actors: Vec<String>,
        /// Of which service.
        service: ServiceName,
    },
    /// Nobody has approved of it in time, nobody can, or something else was approved.
    #[error("{0}")]
    Approval(String),
    /// The image that is to be approved cannot be landed.
    #[error("{why}")]
    Image {
        /// Which guard says so.
        guard: Guard,
        /// Why.
        why: String,
    },
    /// An order waits that needs no approval any more, and this one would need one.
    #[error(
        "An order of {0} is already waiting that needs no further approval, and this one needs one; try again when it has ended, or cancel it."
    )]
    Unapproved(ServiceName),
    /// The stack's files come from git, and the order does not say which.
    #[error("{}; send the full name of the commit that the image was built from, since the stack's files of {service} come from git.", no_commit(.given.as_deref()))]
    NoFiles {
        /// What the order names.
        given: Option<String>,
        /// Of which service.
        service: ServiceName,
    },
    /// The checks of its commit are not green, or nobody can say so.
    #[error("{0}")]
    Checks(String),
    /// A freeze is in force, or nobody can say whether one is.
    #[error("{0}")]
    Frozen(String),
    /// One digest was named, and there are several images.
    #[error("{0} pins several images, so a single digest is ambiguous; leave the digest out.")]
    ManyImages(ServiceName),
    /// A rollback holds the service.
    #[error(
        "The rollback {by} has held {service} since {since}; run `tagalong resume {service}` to let CI deploy again, or order this with `--force`."
    )]
    Held {
        /// Which service.
        service: ServiceName,
        /// The rollback.
        by: String,
        /// When it was ordered, UTC.
        since: String,
    },
    /// A deployment left the service for an operator.
    #[error(
        "Deployment {by} of {service} has needed an operator since {since}; run `tagalong resume {service}` to let CI deploy again, or \
        order this with `--force`."
    )]
    NeedsOperator {
        /// Which service.
        service: ServiceName,
        /// The deployment.
        by: String,
        /// When it ended, UTC.
        since: String,
    },
    /// A newer release is live.
    #[error("Run {mine} is older than run {live}, which deployment {by} deployed; order it with `--force` to deploy it anyway.")]
    Late {
        /// The run number of the order.
        mine: i64,
        /// That of the newest verified deployment.
        live: i64,
        /// That deployment.
        by: String,
    },
    /// The host itself has ordered something meanwhile.
    #[error(
        "Deployment {newest} of {service} was ordered on the host itself while this order was on its way; look at it and order this again."
    )]
    Newer {
        /// Which service.
        service: ServiceName,
        /// That deployment.
        newest: DeploymentId,
    },
    /// A control plane asks for an image that is none of the service's.
    #[error("The image {image} is none of those of {service}; which images it has is decided by the configuration of its host.")]
    Foreign {
        /// What was asked for.
        image: String,
        /// Which service.
        service: ServiceName,
    },
    /// The host of the service cannot be asked now.
    #[error("Nothing was changed for {service}, because {why}; try again when it is back.")]
    Away {
        /// Which service.
        service: ServiceName,
        /// Why not.
        why: String,
    },
    /// A host of the service is nobody's.
    #[error(
        "{service} has the host {host}, which is neither an enrolled agent nor a [host.{host}] of the configuration; run `tagalong agent token {host}` \
         and enrol it, or correct hosts in [service.{service}]."
    )]
    UnknownHost {
        /// Which service.
        service: ServiceName,
        /// What it names.
        host: AgentName,
    },
    /// It waited too long.
    #[error("The order waited {waited_s} s, which is longer than max_wait_s = {most_s}; order it again.")]
    Age {
        /// How long it waited.
        waited_s: i64,
        /// How long it might.
        most_s: u64,
    },
    /// There is no release before the one that runs.
    #[error(
        "{0} has no earlier verified release, except those that a rollback has left; `tagalong status {0}` lists what you can name with --to."
    )]
    NoPrevious(ServiceName),
    /// There is no release that could be landed again.
    #[error("{0} has no verified release yet that could be deployed again; deploy a tag, or run `tagalong adopt {0}` if it runs already.")]
    NothingToRepair(ServiceName),
    /// A rollback goes to a tag that never ran here, so that nobody has let its release pass.
    #[error(
        "The tag {tag} is no verified release of {service}, so a rollback to it would pass by the guards of {service}; order a deployment of it, \
        or roll back to one that `tagalong status {service}` lists."
    )]
    NeverRan {
        /// The tag.
        tag: String,
        /// Of which service.
        service: ServiceName,
    },
    /// A rollback goes to a deployment that is no verified release.
    #[error("Deployment {id} is not a verified release of {service}; `tagalong status {service}` lists them.")]
    NoRelease {
        /// Which one.
        id: DeploymentId,
        /// Of which service.
        service: ServiceName,
    },
    /// What was gone back to is in the record as nothing that was verified.
    #[error(
        "The record has no verified release of {0} with the images of that rollback; roll back to one that `tagalong status {0}` lists."
    )]
    NotVerified(ServiceName),
    /// A release in between says that it must not be undone.
    #[error(
        "{release} of {service} says that it must not be undone (because of a migration, say); roll back with `--force` if the data allows it."
    )]
    Barrier {
        /// Its tag.
        release: String,
        /// Of which service.
        service: ServiceName,
    },
    /// The watch over a release wants to go back from it, and it is not what serves any more, or a newer order is under way.
    #[error("Deployment {0} is not what serves any more, or a newer order is under way, so its watch does not go back.")]
    Overtaken(DeploymentId),
    /// The delivery id came with another body before.
    #[error("The delivery id was already used for a different body; give every order its own id.")]
    IdReused,
    /// It is to be ordered once more, but has not ended yet.
    #[error("Deployment {0} has not ended yet; follow it with `tagalong logs {0} -f`.")]
    NotEnded(DeploymentId),
    /// Too many orders wait.
    #[error("{0} orders are already waiting; try again when some of them have ended.")]
    Full(i64),
    /// Another order of the service waits, and this one may not take its place.
    #[error(
        "Deployment {waiting} of {service} is already waiting; try again when it has ended, or end it with `tagalong cancel {waiting}`."
    )]
    Waiting {
        /// Of which service.
        service: ServiceName,
        /// The one that waits.
        waiting: DeploymentId,
    },
    /// The journals of what runs cannot be stored.
    #[error("The journal cannot be written, most likely because the disk is full; free some space and try again.")]
    Unwritable,
}

impl Refusal {
    /// The guard that says no; none: the call does not fit, or there is no room for now.
    #[must_use]
    pub fn guard(&self) -> Option<Guard> {
        match self {
            Self::TagPattern { .. } => Some(Guard::TagPattern),
            Self::Ref { .. } | Self::NoFiles { .. } => Some(Guard::Ref),
            Self::Actor { .. } => Some(Guard::Actor),
            Self::Approval(_) => Some(Guard::Approval),
            Self::Image { guard, .. } => Some(*guard),
            Self::Checks(_) => Some(Guard::Checks),
            Self::Frozen(_) => Some(Guard::Frozen),
            Self::ManyImages(_) => Some(Guard::DigestMismatch),
            Self::Held { .. } => Some(Guard::Held),
            Self::NeedsOperator { .. } => Some(Guard::NeedsOperator),
            Self::Late { .. } | Self::Newer { .. } => Some(Guard::Late),
            Self::Age { .. } => Some(Guard::Age),
            Self::NoPrevious(_) | Self::NothingToRepair(_) | Self::NoRelease { .. } | Self::NeverRan { .. } | Self::NotVerified(_) => {
                Some(Guard::NoTarget)
            }
            Self::Barrier { .. } => Some(Guard::Barrier),
            Self::Foreign { .. } => Some(Guard::NotFound),
            Self::UnknownService(_)
            | Self::Unapproved(_)
            | Self::Overtaken(_)
            | Self::IdReused
            | Self::NotEnded(_)
            | Self::Full(_)
            | Self::Waiting { .. }
            | Self::Away { .. }
            | Self::UnknownHost { .. }
            | Self::Unwritable => None,
        }
    }
}

fn no_ref(given: Option<&str>) -> String {
    given.map_or_else(
        || "The order names no git ref; send it as ref, like refs/heads/main".to_owned(),
        |given| format!("The order is for the ref {given}"),
    )
}

fn no_commit(given: Option<&str>) -> String {
    given.map_or_else(|| "The order names no commit".to_owned(), |given| format!("The order names the commit {given} in short"))
}

fn no_actor(given: Option<&str>) -> String {
    given.map_or_else(
        || "No forge has said who is behind the order; send it from a job with its OIDC token".to_owned(),
        |given| format!("{given} is behind the order"),
    )
}
