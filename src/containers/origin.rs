//! Whose doing it is what a task does.
//!
//! A request's work goes through many hands before it changes the network, so the origin travels with the task
//! (tokio's task-local values) and not as an argument. A task that is spawned on its behalf takes it along by
//! [`inherit`]; one that forgets to is the daemon's own doing, and the history says so.

use crate::model::audit::Origin;

tokio::task_local! {
    static ORIGIN: Origin;
}

/// Does work as somebody's doing.
pub async fn on_behalf_of<F: Future>(origin: Origin, work: F) -> F::Output {
    ORIGIN.scope(origin, work).await
}

/// Work for a task of its own, that stays the doing of whoever is served here.
pub fn inherit<F: Future>(work: F) -> impl Future<Output = F::Output> {
    ORIGIN.scope(current(), work)
}

/// Whose doing this is.
pub(super) fn current() -> Origin {
    ORIGIN.try_with(Clone::clone).unwrap_or(Origin::Daemon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_of_its_own_is_still_somebodys_doing() {
        assert_eq!(current(), Origin::Daemon);
        let both = on_behalf_of(Origin::Policy, async {
            let heir = tokio::spawn(inherit(async { current() })).await.expect("no panic");
            let other = tokio::spawn(async { current() }).await.expect("no panic");
            (heir, other)
        });
        assert_eq!(both.await, (Origin::Policy, Origin::Daemon));
    }
}
