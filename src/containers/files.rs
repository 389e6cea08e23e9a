//! The files that are bound over a container's own: hosts, hostname, resolv.conf.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::ContainerFiles;
use super::engine::Engine;
use super::error::EngineError;
use super::record::Container;
use crate::dns::{self, Asks, HostsFile, ResolvOptions};
use crate::model::{Endpoint, Names, NetworkMode};

/// A hostname is at most 64 bytes (utsname).
const HOSTNAME_MAX: usize = 64;
/// Bytes of a hosts file that are read: lines of a thousand links, and of what users write.
const LARGEST: u64 = 1 << 20;

impl Engine {
    /// The container's hostname: its own, the host's (open), or nothing for a joined one, which shares its target's.
    pub(super) fn hostname(container: &Container) -> Option<String> {
        match container.spec.network.mode {
            NetworkMode::Host => match &container.spec.network.hostname {
                Some(name) => Some(name.clone()),
                None => nix::unistd::gethostname().ok()?.into_string().ok(),
            },
            NetworkMode::None | NetworkMode::Bridge | NetworkMode::Container(_) => {
                let name = container.spec.network.hostname.as_deref().unwrap_or(container.id.short());
                Some(name.chars().take(HOSTNAME_MAX).collect())
            }
        }
    }

    /// What a bridged container is called, and what it calls others.
    pub(super) fn names(&self, container: &Container) -> Result<Names, EngineError> {
        let spec = &container.spec.network;
        let dns = if spec.dns.is_empty() { &self.config().dns } else { &spec.dns };
        Ok(Names {
            hostname: Self::hostname(container).unwrap_or_default(),
            domain: spec.domainname.clone(),
            extra: self.extra_hosts(container)?,
            // The container's own loopback: it asks there itself, and the host's loopback is nobody else's.
            upstreams: dns.iter().filter(|server| !server.is_loopback()).copied().collect(),
        })
    }

    /// Writes hosts, hostname and resolv.conf of a container that is about to start.
    /// `links` are the lines of its links: addresses and names.
    pub(super) fn write_files(
        &self,
        container: &Container,
        endpoint: Option<&Endpoint>,
        links: &[(Ipv4Addr, Vec<String>)],
    ) -> Result<(), EngineError> {
        let files = self.files(&container.id);
        let hostname = Self::hostname(container).unwrap_or_default();
        write_text(&files.hostname, &format!("{hostname}\n"))?;
        self.write_hosts(container, endpoint, links)?;
        self.write_resolv_conf(container, &files)
    }

    /// Writes a container's hosts file anew.
    pub(super) fn write_hosts(
        &self,
        container: &Container,
        endpoint: Option<&Endpoint>,
        links: &[(Ipv4Addr, Vec<String>)],
    ) -> Result<(), EngineError> {
        write_text(&self.files(&container.id).hosts, &self.hosts_text(container, endpoint, links)?)
    }

    fn hosts_text(
        &self,
        container: &Container,
        endpoint: Option<&Endpoint>,
        links: &[(Ipv4Addr, Vec<String>)],
    ) -> Result<String, EngineError> {
        let network = &container.spec.network;
        let extra = self.extra_hosts(container)?;
        if network.mode == NetworkMode::Host {
            let mut text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
            for (name, address) in extra {
                text.push_str(&format!("{address}\t{name}\n"));
            }
            return Ok(text);
        }
        let hostname = Self::hostname(container).unwrap_or_default();
        let own = endpoint.map(|it| (it.address, hostname, network.domainname.clone()));
        Ok(HostsFile { ipv6: crate::netns::kernel_has_ipv6(), extra, links: links.to_vec(), own }.render())
    }

    /// `--add-host`, with `host-gateway` as the bridge's address.
    fn extra_hosts(&self, container: &Container) -> Result<Vec<(String, IpAddr)>, EngineError> {
        let resolve = |(name, address): &(String, String)| {
            let address = match (address.as_str(), self.network()) {
                ("host-gateway", Some(network)) => IpAddr::V4(network.gateway()),
                ("host-gateway", None) => {
                    return Err(EngineError::invalid(
                        "unable to derive the IP value for host-gateway: there is no bridge",
                    ));
                }
                (text, _) => text
                    .parse()
                    .map_err(|_| EngineError::invalid(format!("invalid IP address in add-host: {text:?}")))?,
            };
            Ok((name.clone(), address))
        };
        container.spec.network.extra_hosts.iter().map(resolve).collect()
    }

    /// A resolv.conf that the user edited inside the container is left alone: it is written only while its text is what
    /// was written before.
    fn write_resolv_conf(&self, container: &Container, files: &ContainerFiles) -> Result<(), EngineError> {
        let (network, config) = (&container.spec.network, self.config());
        let or = |own: &[String], daemon: &[String]| if own.is_empty() { daemon.to_vec() } else { own.to_vec() };
        let overrides = ResolvOptions {
            servers: if network.dns.is_empty() { config.dns.clone() } else { network.dns.clone() },
            search: or(&network.dns_search, &config.dns_search),
            options: or(&network.dns_options, &config.dns_options),
        };
        let host = dns::host_resolv_conf().unwrap_or_default();
        let asks = match (&network.mode, self.network()) {
            (NetworkMode::Host, _) => Asks::Host,
            (NetworkMode::Bridge, Some(options)) => Asks::Gateway(options.gateway()),
            _ => Asks::Reachable,
        };
        let text = dns::resolv_conf(&host, &overrides, asks);
        let written_before = self.container_dir(&container.id).join("resolv.conf.written");
        let untouched = match (std::fs::read(&files.resolv_conf), std::fs::read(&written_before)) {
            (Ok(now), Ok(then)) => now == then,
            _ => true,
        };
        if untouched {
            write_text(&files.resolv_conf, &text)?;
            write_text(&written_before, &text)?;
        }
        Ok(())
    }
}

/// Writes in place: a file that is bound into a container must keep its inode.
fn write_text(path: &Path, text: &str) -> Result<(), EngineError> {
    std::fs::write(path, text).map_err(|source| about("write", path, &source))
}

/// Reads a file that a container can write; `None` if it is larger than any such file that is meant.
pub(super) fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>, EngineError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
    read.map_err(|source| about("read", path, &source))?;
    Ok((text.len() as u64 <= LARGEST).then_some(text))
}

/// Replaces a text of `old` bytes in place, for readers who may look at any moment: there is none in which the file is
/// empty, or ends in a piece of the old text.
pub(super) fn rewrite(path: &Path, text: &[u8], old: usize) -> Result<(), EngineError> {
    let mut padded = text.to_vec();
    padded.resize(old.max(text.len()), b'\n');
    let write = || {
        let file = File::options().write(true).open(path)?;
        file.write_all_at(&padded, 0)?;
        file.set_len(text.len() as u64)
    };
    write().map_err(|source| about("write", path, &source))
}

fn about(verb: &str, path: &Path, source: &std::io::Error) -> EngineError {
    EngineError::internal(std::io::Error::new(source.kind(), format!("cannot {verb} {}: {source}", path.display())))
}

impl ContainerFiles {
    /// What is bound over which path of the container.
    pub(super) fn binds(&self) -> Vec<(PathBuf, String)> {
        vec![
            (self.resolv_conf.clone(), "/etc/resolv.conf".to_owned()),
            (self.hostname.clone(), "/etc/hostname".to_owned()),
            (self.hosts.clone(), "/etc/hosts".to_owned()),
        ]
    }
}
