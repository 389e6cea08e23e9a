//! `audit preview`: what a run would change, in edges. Pure.

use crate::containers::preview::Previewed;
use crate::model::NetworkMode;
use crate::model::audit::{Delta, Preview, Reach, VERSION};

/// What a run would change of who can talk to whom.
pub fn preview(previewed: &Previewed) -> Preview {
    let delta = match (&previewed.before, &previewed.change) {
        (Some(before), Some(change)) => Reach::of(before).apply(change),
        _ => Delta::default(),
    };
    let name = &previewed.name;
    let note = match &previewed.mode {
        NetworkMode::Bridge => None,
        NetworkMode::None => Some(format!("{name} would have no network: nobody reaches it, and it reaches nobody")),
        NetworkMode::Host => Some(format!(
            "{name} would be at the host's place: it reaches what the host reaches, and listens where the host listens"
        )),
        NetworkMode::Container(who) => Some(format!(
            "{name} would be at the place of {who}: what {who} may, it may, and what reaches {who} reaches it"
        )),
    };
    Preview {
        version: VERSION,
        name: name.to_string(),
        mode: previewed.mode.to_string(),
        delta,
        notes: note.into_iter().collect(),
        warnings: previewed.warnings.clone(),
    }
}
