//! Which exact images a rollout lands, on every host the same.

use std::time::Duration;

use crate::executor::agents::Agents;
use crate::landing::Claimed;
use crate::landing::insist;
use crate::line::SentOrder;
use crate::model::AgentName;
use crate::model::ImageRef;
use crate::model::OrderKind;
use crate::model::Step;
use crate::registry::Registries;
use crate::store::Facts;
use crate::store::HostRun;

/// How long a registry may take. One that takes longer is left to the hosts.
const REGISTRY: Duration = Duration::from_secs(10);

/// Afterwards it is on disk which images the tag of the order means, where this server may ask their registry and gets an answer, and neither an
/// approval nor the order itself has settled it. None: this server must not go on.
pub(super) async fn settle(agents: &Agents, claimed: &mut Claimed) -> Option<()> {
    let deployment = &claimed.deployment;
    let order = &deployment.order;
    let is_settled = deployment.approved.is_some() || order.digest.is_some() || !deployment.images.is_empty();
    if order.kind != OrderKind::Deploy || order.dry_run || is_settled {
        return Some(());
    }
    let Some(images) = resolved(agents, claimed).await else { return Some(()) };
    let facts = Facts { images: Some(images.clone()), ..Facts::default() };
    let fence = deployment.fence();
    let keep = || agents.books.store.advance(&fence, Step::Guards.into(), &facts);
    insist(&fence.id, None, "which images a rollout lands could not be stored", keep).await?;
    claimed.deployment.images = images;
    Some(())
}

/// What the registry has under the tag now; none: it is not asked, or does not say it for all images.
async fn resolved(agents: &Agents, claimed: &Claimed) -> Option<Vec<ImageRef>> {
    let deployment = &claimed.deployment;
    let pins = claimed.service.stack.pins();
    if pins.is_empty() || !pins.iter().all(|pin| agents.may_ask_registry(&pin.image)) {
        return None;
    }
    let config = agents.config.now();
    let registries = Registries::new(config.docker.clone(), config.registries.clone());
    let tag = deployment.order.tag.as_ref()?;
    let mut images = Vec::with_capacity(pins.len());
    for pin in pins {
        // The digest is that of all platforms; a host of another one says so by itself.
        let asked = registries.resolve(&pin.image, Some(tag), None, ("linux", "amd64"));
        let why = match tokio::time::timeout(REGISTRY, asked).await {
            Ok(Ok(found)) => {
                images.push(ImageRef { repository: pin.image.clone(), tag: Some(tag.clone()), digest: found.digest, loaded: false });
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the registry of {} did not answer within {} s", pin.image, REGISTRY.as_secs()),
        };
        tracing::warn!(deployment = %deployment.id, why, "it is left to the hosts which images a tag means");
        return None;
    }
    Some(images)
}

/// The order as `host` gets it. None: this server must not go on.
pub(super) async fn order(agents: &Agents, claimed: &Claimed, runs: &[HostRun], host: &AgentName) -> Option<SentOrder> {
    let order = SentOrder::of(&claimed.deployment);
    Some(match order.order {
        OrderKind::Deploy if order.images.is_empty() && order.digest.is_none() => of_images(order, settled(claimed, runs)),
        OrderKind::Rollback if !order.images.is_empty() && !was_on(agents, claimed, host).await? => by_tag(order),
        _ => order,
    })
}

/// The images that were settled before; else those that the first host has found.
fn settled<'r>(claimed: &'r Claimed, runs: &'r [HostRun]) -> &'r [ImageRef] {
    let first = || runs.iter().find(|run| !run.goes_back && !run.images.is_empty()).map(|run| run.images.as_slice());
    match claimed.deployment.images.as_slice() {
        [] => first().unwrap_or_default(),
        images => images,
    }
}

/// The order, for these very images. One that was loaded has an id that is another one on the next host.
fn of_images(order: SentOrder, images: &[ImageRef]) -> SentOrder {
    if images.iter().any(|image| image.loaded) {
        return order;
    }
    // By its digest an agent of an earlier version knows a single image.
    let digest = if let [one] = images { Some(one.digest.clone()) } else { None };
    SentOrder { digest, images: images.iter().map(ToString::to_string).collect(), ..order }
}

/// The order for a host on which its release was never verified: that host looks at the registry for itself, and asks its own guards.
fn by_tag(order: SentOrder) -> SentOrder {
    let digest = order.digest.filter(|_| order.images.len() == 1);
    SentOrder { digest, images: Vec::new(), ..order }
}

/// Whether the images of the deployment were verified on `host`, as far as is recorded here. None: this server must not go on.
async fn was_on(agents: &Agents, claimed: &Claimed, host: &AgentName) -> Option<bool> {
    let deployment = &claimed.deployment;
    let look = || agents.books.store.was_verified_on(&deployment.order.service, host, &deployment.images);
    insist(&deployment.id, Some(host), "what a host had could not be read", look).await
}
