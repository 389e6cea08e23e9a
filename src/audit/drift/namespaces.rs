//! Pinned network namespaces: the pin of a container that runs holds the namespace that its process is in.

use std::fs::File;
use std::io::ErrorKind;

use super::difference::{of, ours, theirs};
use crate::containers::Container;
use crate::model::audit::{Difference, Subject};
use crate::netns::{self, NetNs, NetNsError};

/// The namespace of a container's process, while it lives.
pub(super) fn of_process(container: &Container) -> Option<File> {
    if container.state.pid <= 0 { None } else { netns::of_process(container.state.pid).ok() }
}

/// What is wrong with the pin of a container that has a namespace of its own; `namespace` is its process's.
pub(super) fn difference(container: &Container, namespace: &File) -> Option<Difference> {
    let (name, pin) = (&container.name, &container.sandbox);
    let wanted = netns::identity(namespace).ok()?;
    let tell = |kind: &str, what: String| Some(of(name.as_str(), ours(Subject::Namespace, kind, what)));
    let identity = NetNs::open(pin.as_ref()).and_then(|pinned| pinned.identity());
    match identity {
        Ok(found) if found == wanted => None,
        Ok(_) => tell(
            "pin-moved",
            format!("{pin} is the pin of another network namespace than {name}'s: who joins {name} ends up there"),
        ),
        Err(NetNsError::NotPinned { .. }) => {
            tell("pin-missing", format!("{pin}, the pin of {name}'s network namespace, is an empty file"))
        }
        Err(NetNsError::Step { source, .. }) if source.kind() == ErrorKind::NotFound => {
            tell("pin-missing", format!("{pin}, the pin of {name}'s network namespace, is gone"))
        }
        Err(error) => tell("pin-missing", format!("the pin of {name}'s network namespace cannot be opened: {error}")),
    }
}

/// A container that joined another's namespace before that one was restarted.
pub(super) fn left_behind(container: &Container) -> Option<Difference> {
    if !crate::audit::reading::is_left_behind(container) {
        return None;
    }
    let name = &container.name;
    let what = format!(
        "{name} is in the network of before the container that it joined was restarted: nothing but lo is there"
    );
    let remedy = format!("start it anew, which joins it to the network of now: `docker restart {name}`");
    Some(of(name.as_str(), theirs(Subject::Namespace, "joined-left-behind", what, remedy)))
}

/// Pins the namespace of the container's process again.
pub(super) fn cure(container: &Container) -> Result<(), NetNsError> {
    let Some(namespace) = of_process(container) else { return Ok(()) };
    NetNs::at(container.sandbox.as_ref()).repin(&namespace)
}
