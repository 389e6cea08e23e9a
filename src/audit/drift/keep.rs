//! What nobody hears of is looked at from time to time, and put right where it is ours: pins of namespaces, flows that were
//! written into conntrack, parameters of the bridge that were otherwise when the daemon began.
//!
//! The kernel would tell of each new flow, but that costs each connection of each container some microseconds; so all are
//! looked at together, and the more seldom the longer it takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{admission, has_own_namespace, namespaces, parameters};
use crate::containers::engine::Network;
use crate::containers::{Container, Engine};
use crate::firewall::strays::{self, Stray};
use crate::model::audit::Difference;
use crate::model::{ContainerId, Place, Tampering};

/// Between two looks, at least.
const SELDOM: Duration = Duration::from_secs(4);
/// Before the second look at what the first one found: what is under way has come to its end by then.
const AGAIN: Duration = Duration::from_secs(1);
/// A look is at most a twentieth of the time.
const SHARE: u32 = 20;

/// Looks as long as the daemon runs.
pub async fn keep(engine: Engine) {
    let Some(network) = engine.default_network() else { return };
    loop {
        let took = look(&engine, network).await;
        tokio::time::sleep(SELDOM.max(took * SHARE)).await;
    }
}

/// How long one look takes.
async fn look(engine: &Engine, network: &Network) -> Duration {
    let begun = Instant::now();
    let changed = parameters::cure_own(&network.options, &engine.ledger().beginning().parameters);
    let (pins, flows) = (pins(engine).await, flows(engine, network).await);
    let took = begun.elapsed();
    if !pins.is_empty() || !flows.is_empty() || !changed.is_empty() {
        tokio::time::sleep(AGAIN).await;
    }
    if !pins.is_empty() {
        let found = self::pins(engine).await.into_iter().filter(|(id, found)| pins.get(id) == Some(found));
        let again = found.map(|(id, _)| id).collect();
        tell(engine, Place::Namespaces, repin(engine, again).await);
    }
    if !flows.is_empty() {
        let again = self::flows(engine, network).await.into_iter().filter(|flow| flows.contains(flow)).collect();
        tell(engine, Place::Flows, end(again).await);
    }
    if !changed.is_empty() {
        let again = parameters::cure_own(&network.options, &engine.ledger().beginning().parameters);
        let again: Vec<_> = again.into_iter().filter(|parameter| changed.contains(parameter)).collect();
        tell(engine, Place::Parameters, parameters::write(&again));
    }
    took
}

fn tell(engine: &Engine, place: Place, what: Vec<String>) {
    if !what.is_empty() {
        engine.tampered(Tampering { place, what, repaired: true, process: None });
    }
}

/// Containers whose pin is wrong, and how.
async fn pins(engine: &Engine) -> BTreeMap<ContainerId, Difference> {
    let containers: Vec<Arc<Container>> = engine.settled().0.into_iter().filter(|it| has_own_namespace(it)).collect();
    let look = move || {
        let wrong = |it: &Container| namespaces::difference(it, &namespaces::of_process(it)?);
        containers.iter().filter_map(|it| Some((it.id.clone(), wrong(it)?))).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// What was wrong with the pins of these, and is not any more.
pub(super) async fn repin(engine: &Engine, containers: Vec<ContainerId>) -> Vec<String> {
    let engine = engine.clone();
    let work = move || {
        let cure = |container: &Container| {
            let wrong = namespaces::difference(container, &namespaces::of_process(container)?)?;
            match namespaces::cure(container) {
                Ok(()) => Some(wrong.what),
                Err(error) => {
                    tracing::warn!(container = %container.name, %error, "cannot pin a container's network namespace again");
                    None
                }
            }
        };
        let cure = |container: &Container| if has_own_namespace(container) { cure(container) } else { None };
        containers.iter().filter_map(|id| engine.undisturbed(id, cure)?).collect()
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

async fn flows(engine: &Engine, network: &Network) -> Vec<Stray> {
    let admission = admission(engine, network);
    match tokio::task::spawn_blocking(move || admission.strays()).await {
        Ok(Ok(strays)) => strays,
        _ => Vec::new(),
    }
}

/// Which flows were ended.
async fn end(flows: Vec<Stray>) -> Vec<String> {
    let what = flows.iter().map(|flow| flow.what.clone()).collect();
    match tokio::task::spawn_blocking(move || strays::end(flows)).await {
        Ok(Ok(())) => what,
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot end flows that nothing admits: they go on until they end");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}
