//! Links: one container is given the names, the address and the exposed ports of another.
//!
//! A link is held by its source, and its target is known by id: it outlives renames, stops and restarts of the target. What
//! it does follows from both ends' places in the network, and lasts as long as both have one:
//!
//! | what | where it comes from | when it changes |
//! |---|---|---|
//! | firewall holes, DNS names | [`crate::model::Endpoint::links`] | with either endpoint, at once |
//! | lines of the source's `/etc/hosts` | the links of the source, the endpoints of their targets | the same |
//! | environment ([`environment()`]) | the target as the source starts | with the source's next start |
//!
//! A target that is removed leaves its links behind, as with Docker: the source does not start without what it was promised,
//! until the link is taken away (`rm --link /source/alias`). Another container of the same name is not what was meant.

mod environment;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use super::cell::Cell;
use super::engine::Engine;
use super::error::EngineError;
use super::journal::log_error;
use super::origin::inherit;
use super::record::{Container, Status};
use super::{ErrorKind, files};
use crate::dns;
use crate::model::{ContainerId, EnvVar, Link, LinkSpec, NetworkMode, NetworkSpec};

/// A link whose target runs.
pub(super) struct Linked {
    alias: String,
    target: Arc<Container>,
    address: Ipv4Addr,
}

impl Linked {
    /// Address and names of its line in the source's hosts file.
    pub(super) fn hosts_line(&self) -> (Ipv4Addr, Vec<String>) {
        let name = self.target.name.as_str();
        let hostname = Engine::hostname(&self.target);
        let name = (name != self.alias).then(|| name.to_owned());
        (self.address, [Some(self.alias.clone()), hostname, name].into_iter().flatten().collect())
    }
}

/// The environment that links give to their source.
pub(super) fn environment(source: &Container, links: &[Linked]) -> Vec<EnvVar> {
    let of = |link: &Linked| {
        let (expose, env) = (&link.target.spec.network.expose, &link.target.spec.process.env);
        environment::variables(source.name.as_str(), &link.alias, link.address, expose, env)
    };
    links.iter().flat_map(of).collect()
}

/// `/source/alias`.
fn link_name(source: &Container, link: &LinkSpec) -> String {
    format!("/{}/{}", source.name, link.alias)
}

/// What [`crate::model::Endpoint`] holds of a container's links.
pub(super) fn intended(spec: &NetworkSpec) -> Vec<Link> {
    spec.links.iter().map(|link| Link { target: link.target.clone(), alias: link.alias.clone() }).collect()
}

/// Refuses aliases that would mean two things, and names the first of them. `extra_hosts` are the names of `--add-host`.
fn check_aliases<'n>(links: &[LinkSpec], extra_hosts: impl Iterator<Item = &'n str>) -> Result<(), EngineError> {
    let mut aliases: BTreeMap<String, &LinkSpec> = BTreeMap::new();
    let mut prefixes: BTreeMap<String, &LinkSpec> = BTreeMap::new();
    for link in links {
        let refuse = |other: &LinkSpec, why: &str| {
            Err(EngineError::invalid(format!(
                "conflicting links: the alias {:?} of container {} {why} the alias {:?} of container {}: give one of them \
                 another alias (--link name:alias)",
                link.alias, link.name, other.alias, other.name
            )))
        };
        if let Some(other) = aliases.insert(link.alias.to_ascii_lowercase(), link) {
            return refuse(other, "is also");
        }
        if let Some(other) = prefixes.insert(environment::prefix(&link.alias), link)
            && other.target != link.target
        {
            return refuse(other, "would have the same environment variables as");
        }
    }
    for name in extra_hosts {
        if let Some(link) = aliases.get(&name.to_ascii_lowercase()) {
            return Err(EngineError::invalid(format!(
                "conflicting options: {:?} is both the alias of a link to container {} and a name given with --add-host",
                link.alias, link.name
            )));
        }
    }
    Ok(())
}

impl Engine {
    /// Finds the targets of `--link`, each as `(target, alias)`. Said twice in the same words, a link is one link.
    ///
    /// # Errors
    /// What Docker says; 400 even for a target that does not exist, since 404 would make the docker command line pull the
    /// image.
    pub(super) fn resolve_links(
        &self,
        asked: &[(String, String)],
        spec: &NetworkSpec,
    ) -> Result<Vec<LinkSpec>, EngineError> {
        let mut links: Vec<LinkSpec> = Vec::with_capacity(asked.len());
        for (who, alias) in asked {
            let target = self.link_target(who)?;
            let link = LinkSpec { target: target.id.clone(), alias: alias.clone(), name: target.name.clone() };
            if !links.contains(&link) {
                links.push(link);
            }
        }
        check_aliases(&links, spec.extra_hosts.iter().map(|(name, _)| name.as_str()))?;
        let own = spec.hostname.as_deref().into_iter().chain(std::iter::once("localhost"));
        for name in own {
            if let Some(link) = links.iter().find(|link| link.alias.eq_ignore_ascii_case(name)) {
                return Err(EngineError::invalid(format!(
                    "conflicting options: the alias {:?} of a link to container {} is what the container itself is called: \
                     give the link another alias (--link name:alias)",
                    link.alias, link.name
                )));
            }
        }
        Ok(links)
    }

    /// The container whose place in the network is meant: of one that joined another's, the other's.
    fn link_target(&self, who: &str) -> Result<Arc<Container>, EngineError> {
        let missing = |who: &str, error: &EngineError| {
            EngineError::invalid(format!("could not get container for {who}: {error}"))
        };
        let mut target = self.get(who).map_err(|error| missing(who, &error))?;
        for _ in 0..self.cells().len() {
            let NetworkMode::Container(next) = &target.spec.network.mode else { break };
            target = self.get(next).map_err(|error| missing(next, &error))?;
        }
        match target.spec.network.mode {
            NetworkMode::Bridge => Ok(target),
            NetworkMode::Host => Err(EngineError::invalid(
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
            )),
            NetworkMode::None | NetworkMode::Container(_) => Err(EngineError::invalid(format!(
                "Cannot link to /{}, as it does not belong to the default network",
                target.name
            ))),
        }
    }

    /// The target of a link by the link's name.
    pub(super) fn link_end(&self, name: &str) -> Option<Arc<Cell>> {
        let (source, alias) = name.trim_start_matches('/').split_once('/')?;
        let source = self.find(source).ok()?.snapshot();
        let link = source.spec.network.links.iter().find(|link| link.alias.eq_ignore_ascii_case(alias))?;
        self.registry().by_id(&link.target)
    }

    /// A container's links, if all targets run.
    pub(super) fn linked(&self, source: &Container) -> Result<Vec<Linked>, EngineError> {
        let all = source.spec.network.links.iter();
        all.map(|link| self.follow(link).ok_or_else(|| self.not_linked(source, link))).collect()
    }

    /// Those of a container's links whose targets run.
    pub(super) fn linked_now(&self, source: &Container) -> Vec<Linked> {
        source.spec.network.links.iter().filter_map(|link| self.follow(link)).collect()
    }

    fn follow(&self, link: &LinkSpec) -> Option<Linked> {
        let target = self.registry().by_id(&link.target)?.snapshot();
        let address = target.attached.as_ref().filter(|_| target.state.status.is_running())?.address;
        Some(Linked { alias: link.alias.clone(), target, address })
    }

    /// Docker's words, and its status.
    fn not_linked(&self, source: &Container, link: &LinkSpec) -> EngineError {
        let gone = self.registry().by_id(&link.target).is_none();
        let name = link_name(source, link);
        let hint =
            if gone { format!(" (it was removed: rm --link {name} takes the link away)") } else { String::new() };
        EngineError::new(
            ErrorKind::Internal,
            format!("Cannot link to a non running container: /{} AS {name}{hint}", self.name_of(link)),
        )
    }

    /// What a link's target is called now; of one that was removed, what it was called when it was linked.
    fn name_of(&self, link: &LinkSpec) -> String {
        let target = self.registry().by_id(&link.target);
        target.map_or_else(|| link.name.to_string(), |cell| cell.snapshot().name.to_string())
    }

    /// A target of its links is between two lives: a start would fail now, and not in a moment.
    pub(super) fn awaits_target(&self, source: &Container) -> bool {
        let restarting = |link: &LinkSpec| {
            let target = self.registry().by_id(&link.target);
            target.is_some_and(|cell| cell.snapshot().state.status == Status::Restarting)
        };
        source.spec.network.links.iter().any(restarting)
    }

    /// `HostConfig.Links`: `/target:/source/alias`.
    pub fn shown_links(&self, source: &Container) -> Vec<String> {
        let links = source.spec.network.links.iter();
        links.map(|link| format!("/{}:{}", self.name_of(link), link_name(source, link))).collect()
    }

    /// The names that links give to their targets, `/source/alias`, by target.
    pub fn names_by_links(&self) -> BTreeMap<ContainerId, Vec<String>> {
        let mut names: BTreeMap<ContainerId, Vec<String>> = BTreeMap::new();
        for cell in self.cells() {
            let source = cell.snapshot();
            for link in &source.spec.network.links {
                names.entry(link.target.clone()).or_default().push(link_name(&source, link));
            }
        }
        names
    }

    /// `docker rm --link /source/alias`: names, holes and established flows end now, the environment with the next start.
    pub async fn unlink(&self, name: &str) -> Result<(), EngineError> {
        let bare = name.trim_start_matches('/');
        let Some((source, alias)) = bare.split_once('/') else {
            self.find(bare)?;
            return Err(EngineError::conflict("Conflict, cannot remove the default link name of the container"));
        };
        let unknown = || EngineError::not_found(format!("No such container: {name}: there is no such link"));
        let cell = self.find(source).map_err(|_| unknown())?;
        let alias = alias.to_owned();
        let (engine, missing) = (self.clone(), unknown());
        // Goes on when the caller goes away.
        let removal = async move {
            let _operation = cell.operation.lock().await;
            if cell.is_removed() { Err(missing) } else { engine.unlink_locked(&cell, &alias, missing).await }
        };
        tokio::spawn(inherit(removal)).await.map_err(EngineError::internal)?
    }

    async fn unlink_locked(&self, cell: &Cell, alias: &str, missing: EngineError) -> Result<(), EngineError> {
        let mut source = (*cell.snapshot()).clone();
        let links = &mut source.spec.network.links;
        let at = links.iter().position(|link| link.alias.eq_ignore_ascii_case(alias)).ok_or(missing)?;
        let link = links.remove(at);
        if let Some(endpoint) = &mut source.attached {
            endpoint.links.retain(|held| held.alias != link.alias);
        }
        {
            let _hosts = cell.hosts();
            // First the line: a daemon that dies behind it still knows the link, and writes the line again.
            log_error("take a link's line out of a hosts file", self.relink(&source, Some(&link.alias)));
            if let Err(error) = self.keep(&source) {
                log_error("put a link's line back into a hosts file", self.relink(&cell.snapshot(), None));
                return Err(error);
            }
            cell.publish(source.clone());
        }
        tracing::info!(container = %source.id.short(), name = %source.name, alias = link.alias, "unlinked");
        self.readmit(&source).await
    }

    /// A container's place in the network has changed, or its name: its own hosts file and those of the containers that
    /// link to it follow.
    pub(super) fn follow_links(&self, changed: &Container) {
        for cell in self.cells() {
            let links = &cell.snapshot().spec.network.links;
            if links.iter().any(|link| link.target == changed.id) || (cell.id == changed.id && !links.is_empty()) {
                self.follow_targets(&cell);
            }
        }
    }

    /// Brings the link lines of a running container's hosts file up to date.
    pub(super) fn follow_targets(&self, cell: &Cell) {
        // Read under the lock: of two changes that come together, the later writer has seen both.
        let _hosts = cell.hosts();
        log_error("bring a hosts file up to date", self.relink(&cell.snapshot(), None));
    }

    /// Rewrites the lines of a running container's links, and of the alias that it had until now.
    fn relink(&self, source: &Container, had: Option<&str>) -> Result<(), EngineError> {
        let Some(endpoint) = source.attached.as_ref().filter(|_| source.state.status.is_running()) else {
            return Ok(());
        };
        let lines: Vec<_> = self.linked_now(source).iter().map(Linked::hosts_line).collect();
        let aliases: Vec<&str> = source.spec.network.links.iter().map(|link| link.alias.as_str()).chain(had).collect();
        if aliases.is_empty() {
            return Ok(());
        }
        let path = self.files(&source.id).hosts;
        let Some(text) = files::read_bounded(&path)? else {
            // What fills a disk through its hosts file gets a plain one.
            return self.write_hosts(source, Some(endpoint), &lines);
        };
        let new = dns::relink(&text, endpoint.address, &aliases, &lines);
        if new == text { Ok(()) } else { files::rewrite(Path::new(&path), &new, text.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(target: u8, name: &str, alias: &str) -> LinkSpec {
        let target = ContainerId::from_bytes([target; 32]);
        LinkSpec { target, alias: alias.to_owned(), name: name.parse().expect("name") }
    }

    fn refusal(links: &[LinkSpec], extra: &[&str]) -> Option<String> {
        check_aliases(links, extra.iter().copied()).err().map(|error| error.message)
    }

    #[test]
    fn an_alias_means_one_container() {
        let several =
            [link(1, "db", "db"), link(1, "db", "store"), link(2, "cache", "cache"), link(1, "db", "my-store")];
        assert_eq!(refusal(&several, &["gateway"]), None);
        let twice = refusal(&[link(1, "db", "store"), link(2, "cache", "Store")], &[]).expect("a refusal");
        assert!(twice.contains("\"Store\" of container cache is also the alias \"store\" of container db"), "{twice}");
        assert!(refusal(&[link(1, "db", "a"), link(1, "db", "A")], &[]).is_some());
        let host = refusal(&[link(1, "db", "store")], &["STORE"]).expect("a refusal");
        assert!(host.contains("\"store\"") && host.contains("--add-host"), "{host}");
    }

    #[test]
    fn two_targets_do_not_share_variables() {
        let mixed = refusal(&[link(1, "db", "my-db"), link(2, "other", "my_db")], &[]).expect("a refusal");
        assert!(mixed.contains("environment variables"), "{mixed}");
        assert_eq!(refusal(&[link(1, "db", "my-db"), link(1, "db", "my_db")], &[]), None);
    }
}
