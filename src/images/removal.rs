//! `docker rmi`: what goes, what only loses a name, and what is refused. Docker's rules and words.

use super::ImageError;
use crate::model::ImageId;

/// What is asked for, and what stands in its way.
#[derive(Clone, Debug)]
pub(super) struct Removal<'a> {
    pub(super) id: &'a ImageId,
    /// The image's references.
    pub(super) references: &'a [String],
    /// The one that was named; `None` if the image was named by its id.
    pub(super) by_reference: Option<&'a str>,
    /// `--force`.
    pub(super) force: bool,
    /// Containers that use the image: short id, is running.
    pub(super) users: &'a [(String, bool)],
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// References that go.
    pub(super) untag: Vec<String>,
    /// The image itself goes.
    pub(super) delete: bool,
    /// But out of sight only: stopped containers that use it can still start.
    pub(super) retain: bool,
}

/// Decides.
///
/// # Errors
///
/// [`ImageError::Conflict`].
pub(super) fn plan(removal: &Removal<'_>) -> Result<Plan, ImageError> {
    let Removal { id, references, by_reference, force, users } = removal;
    let running = users.iter().find(|(_, running)| *running);
    let stopped = users.iter().find(|(_, running)| !*running).filter(|_| !force);
    if let Some(reference) = by_reference {
        let last = references.len() <= 1;
        // Without its last name the image would dangle: only by force.
        if let (true, false, Some((container, _))) = (last, *force, users.first()) {
            return Err(ImageError::Conflict(format!(
                "unable to remove repository reference {reference:?} (must force) - \
                 container {container} is using its referenced image {}",
                id.short()
            )));
        }
        // Forced while a container runs: the name goes, the image stays for the container.
        let delete = last && running.is_none();
        return Ok(Plan { untag: vec![(*reference).to_owned()], delete, retain: delete && !users.is_empty() });
    }
    let conflict =
        |how: &str, why: String| Err(ImageError::Conflict(format!("unable to delete {} ({how}) - {why}", id.short())));
    if let Some((container, _)) = running {
        return conflict("cannot be forced", format!("image is being used by running container {container}"));
    }
    if references.len() > 1 && !force {
        return conflict("must be forced", "image is referenced in multiple repositories".to_owned());
    }
    if let Some((container, _)) = stopped {
        return conflict("must be forced", format!("image is being used by stopped container {container}"));
    }
    Ok(Plan { untag: references.to_vec(), delete: true, retain: !users.is_empty() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(references: &[&str], by: Option<&str>, force: bool, users: &[(&str, bool)]) -> Result<Plan, String> {
        let id = ImageId::from_sha256([0xab; 32]);
        let references: Vec<String> = references.iter().map(|&r| r.to_owned()).collect();
        let users: Vec<(String, bool)> = users.iter().map(|&(id, running)| (id.to_owned(), running)).collect();
        plan(&Removal { id: &id, references: &references, by_reference: by, force, users: &users })
            .map_err(|e| e.to_string())
    }

    fn retained(untag: &[&str]) -> Result<Plan, String> {
        goes(untag, true).map(|plan| Plan { retain: true, ..plan })
    }

    fn goes(untag: &[&str], delete: bool) -> Result<Plan, String> {
        Ok(Plan { untag: untag.iter().map(|&r| r.to_owned()).collect(), delete, retain: false })
    }

    #[test]
    fn the_last_name_takes_the_image_along() {
        assert_eq!(decide(&["a:1"], Some("a:1"), false, &[]), goes(&["a:1"], true));
        assert_eq!(decide(&["a:1", "b:1"], Some("a:1"), false, &[]), goes(&["a:1"], false));
        // A name may go while a container uses the image, as long as another remains.
        assert_eq!(decide(&["a:1", "b:1"], Some("a:1"), false, &[("c", true)]), goes(&["a:1"], false));
        assert_eq!(decide(&["a:1"], None, false, &[]), goes(&["a:1"], true));
        assert_eq!(decide(&[], None, false, &[]), goes(&[], true));
    }

    #[test]
    fn conflicts_have_dockers_words() {
        assert_eq!(
            decide(&["a:1"], Some("a:1"), false, &[("abc", false)]).unwrap_err(),
            "conflict: unable to remove repository reference \"a:1\" (must force) - \
             container abc is using its referenced image abababababab"
        );
        for force in [false, true] {
            assert_eq!(
                decide(&["a:1"], None, force, &[("abc", true)]).unwrap_err(),
                "conflict: unable to delete abababababab (cannot be forced) - \
                 image is being used by running container abc"
            );
        }
        assert_eq!(
            decide(&["a:1"], None, false, &[("abc", false)]).unwrap_err(),
            "conflict: unable to delete abababababab (must be forced) - image is being used by stopped container abc"
        );
        assert_eq!(
            decide(&["a:1", "b:1"], None, false, &[]).unwrap_err(),
            "conflict: unable to delete abababababab (must be forced) - image is referenced in multiple repositories"
        );
    }

    #[test]
    fn force_takes_all_but_what_runs() {
        assert_eq!(decide(&["a:1", "b:1"], None, true, &[("abc", false)]), retained(&["a:1", "b:1"]));
        assert_eq!(decide(&["a:1"], Some("a:1"), true, &[("abc", false)]), retained(&["a:1"]));
        assert_eq!(decide(&["a:1"], Some("a:1"), true, &[("abc", true)]), goes(&["a:1"], false));
    }
}
