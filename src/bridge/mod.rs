//! The bridge and what hangs off it: plan (pure) and apply (rtnetlink).
//!
//! - [`ipam`]: which address a container gets
//! - `settings`: which kernel parameters the bridge needs, and why
//! - `port`: the veth pair of one container
//! - `members`: which interfaces belong on the bridge; `strangers`: those that do not
//! - `neighbours`: who has which address, as the host believes; `answers`: whom the host answers
//! - `watch`: hears what others change; `faults`: what that means (pure); `repair`: puts it right; `culprit`: who it was
//! - `host`: what the host has already: routes, a bridge's address and ports
//! - `standing`: what should be, for who compares

mod answers;
mod culprit;
mod faults;
mod host;
pub mod ipam;
mod members;
mod neighbours;
mod port;
mod repair;
mod settings;
mod standing;
mod strangers;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use ipnetwork::Ipv4Network;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST};
use rtnetlink::packet_route::link::{
    BridgePortState, BridgeStpState, InfoBridge, InfoKind, LinkAttribute, LinkMessage,
};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec};
use tokio::sync::Mutex;

use crate::model::{Endpoint, NetworkOptions};
use crate::netns::{NetNs, NetNsError};

use members::Members;
use neighbours::Neighbour;

pub use host::{choose_bip, open_ports_of, routes, standing_address};
pub use port::{port_name, port_prefix};
pub use standing::{Stranger, is_port_name};
pub use watch::Watch;

/// In this time the end of a namespace has taken its port along, unless something holds it.
const USUAL_END: Duration = Duration::from_secs(1);
/// How long an answer of the kernel may take: an interface that cannot be read as text has none.
const PATIENCE: Duration = Duration::from_secs(2);

/// What went wrong on the bridge.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// A netlink request failed.
    #[error("cannot {step} {what}: {source}")]
    Netlink {
        /// What was attempted.
        step: &'static str,
        /// The interface, address or route.
        what: String,
        /// The kernel's answer.
        #[source]
        source: Box<rtnetlink::Error>,
    },
    /// No netlink socket.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[source] std::io::Error),
    /// A name that rules, paths or the kernel cannot carry.
    #[error("invalid bridge name {0:?}: 1 to 15 of a-z, A-Z, 0-9, '_', '.' and '-', beginning with a letter or digit")]
    Name(String),
    /// Something else has the name.
    #[error("{name} is not a bridge but an interface of kind {kind}; remove it or choose another bridge")]
    NotABridge {
        /// The interface.
        name: String,
        /// Its kind as `ip -d link` shows it.
        kind: String,
    },
    /// `-b` names nothing.
    #[error("bridge {0} does not exist; create it, or leave -b out for one of our own")]
    Missing(String),
    /// `-b` names a bridge that cannot be a gateway.
    #[error("bridge {0} has no IPv4 address; give it the gateway's")]
    NoAddress(String),
    /// Each default subnet overlaps a route of the host.
    #[error("could not find an available, non-overlapping IPv4 address pool among the defaults; choose one with --bip")]
    NoSubnet,
    /// A kernel parameter could not be set.
    #[error("cannot set {name} to {value}: {source}")]
    Sysctl {
        /// The path below `/proc/sys`.
        name: String,
        /// What it should be.
        value: &'static str,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// A port that should be there is not.
    #[error("cannot find port {port}: {source}; another program may have deleted it")]
    Index {
        /// The interface.
        port: String,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// Nothing that could be read came back.
    #[error("the kernel does not answer what {0} is; another program may have given it an alias that is no text")]
    Unanswered(String),
    /// The container's namespace could not be entered.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
}

/// The daemon's bridge.
#[derive(Clone)]
pub struct Bridge {
    netlink: Handle,
    /// Another one when somebody deleted the bridge, and it was made anew.
    index: Arc<AtomicU32>,
    options: Arc<NetworkOptions>,
    /// Made by us, not the operator's.
    own: bool,
    /// What is put up again when somebody else takes it down: a port that is attached but not open is not among them.
    /// Whoever repairs a port holds the lock meanwhile, so that none is put up after it was closed.
    open: Arc<Mutex<BTreeMap<String, OpenPort>>>,
    members: Members,
}

/// A port that traffic passes.
struct OpenPort {
    endpoint: Endpoint,
    /// Where its other end is, if that is known.
    netns: Option<NetNs>,
    /// 0: there was no such interface.
    index: u32,
    /// What it was made with: by a daemon with another `--mtu`, say. `None`: nobody keeps it.
    mtu: Option<u32>,
    /// It is up, or should be; before that, it is being opened.
    ready: bool,
}

impl Bridge {
    /// Creates the bridge, or adopts one that stands (with its ports), and sets address, MTU, forwarding, no router
    /// advertisements, no IPv6. The bridge is ours: what else it had in addresses goes.
    ///
    /// The firewall must hold its tables before: they refer to the bridge by name, and some of what is switched on here
    /// (`route_localnet`) is safe only behind them.
    pub async fn ensure(options: &NetworkOptions) -> Result<Self, BridgeError> {
        let name = &options.bridge;
        check_name(name)?;
        let netlink = connect()?;
        let standing = find_bridge(&netlink, name).await?;
        // A fixed address: otherwise a bridge takes over its ports' as they come and go, and its neighbours' ARP
        // entries go stale with each container.
        // Only those that differ: there are kernels that cannot even be told not to filter VLANs.
        let changed: Vec<_> = standing.iter().flat_map(faults::changed_settings).collect();
        // By itself: with spanning tree on, the kernel refuses the delay that comes with the rest.
        let spans = |setting: &&InfoBridge| matches!(setting, InfoBridge::StpState(_));
        for setting in changed.iter().filter(spans) {
            let message = LinkMessageBuilder::<LinkBridge>::new(name).append_info_data(setting.clone()).build();
            add(&netlink, message).await.map_err(failed("switch spanning tree off on", name))?;
        }
        let mut builder =
            LinkMessageBuilder::<LinkBridge>::new(name).stp_state(BridgeStpState::Disabled).forward_delay(0);
        // Told it again, the host would forget who has which address.
        if standing.as_ref().map(hardware_address) != Some(own_address(options)) {
            builder = builder.address(own_address(options));
        }
        for setting in changed {
            builder = builder.append_info_data(setting);
        }
        add(&netlink, builder.build()).await.map_err(failed("create bridge", name))?;
        let bridge = Self { own: true, ..Self::found(netlink, options).await? };
        match bridge.configure_own().await {
            Err(e) if standing.is_none() => {
                let _ = bridge.netlink.link().del(bridge.index()).execute().await;
                Err(e)
            }
            result => result.map(|()| bridge),
        }
    }

    /// Uses a bridge that belongs to the operator (`-b`): its address, MTU and IPv6 are left as they are; only the
    /// parameters that publishing and `icc` rest on are set. The same order as with [`Bridge::ensure`].
    pub async fn existing(options: &NetworkOptions) -> Result<Self, BridgeError> {
        check_name(&options.bridge)?;
        let bridge = Self::found(connect()?, options).await?;
        bridge.answer_containers_only().await?;
        settings::apply(&settings::shared(options))?;
        bridge.keep_hardware_address().await?;
        bridge.renew_port_flags().await?;
        Ok(bridge)
    }

    /// A bridge whose address nobody set has the lowest of its ports': with that port's container it would lose it, and its
    /// neighbours would speak to nobody until they ask again. Setting the address that it has makes it stay. (It also makes
    /// the host forget who has which address there, which is told it again.)
    async fn keep_hardware_address(&self) -> Result<(), BridgeError> {
        let name = &self.options.bridge;
        let Some(link) = find_bridge(&self.netlink, name).await? else { return Ok(()) };
        let known = self.neighbours().await?;
        let keep = LinkUnspec::new_with_index(link.header.index).address(hardware_address(&link)).build();
        self.netlink.link().set(keep).execute().await.map_err(failed("keep the hardware address of", name))?;
        for (address, mac) in known.iter().filter_map(Neighbour::as_told) {
            self.enter_neighbour(address, mac).await?;
        }
        Ok(())
    }

    async fn found(netlink: Handle, options: &NetworkOptions) -> Result<Self, BridgeError> {
        match find_bridge(&netlink, &options.bridge).await? {
            Some(link) => {
                let (index, options) = (Arc::new(link.header.index.into()), Arc::new(options.clone()));
                Ok(Self { netlink, index, options, own: false, open: Arc::default(), members: Members::default() })
            }
            None => Err(BridgeError::Missing(options.bridge.clone())),
        }
    }

    async fn configure_own(&self) -> Result<(), BridgeError> {
        let (links, name) = (self.netlink.link(), &self.options.bridge);
        // Before an MTU from which on the kernel makes IPv6's parameters anew, as they are for any interface: a bridge that
        // is up would have an IPv6 address for a moment.
        settings::apply(&settings::own(&self.options))?;
        // After its creation, not with it: only a change is remembered as the operator's wish, and otherwise the MTU
        // follows the ports'.
        let mtu = LinkUnspec::new_with_index(self.index()).mtu(self.options.mtu).build();
        links.set(mtu).execute().await.map_err(failed("set the MTU of", name))?;
        // Before the bridge is up for the first time, so that it never gets an IPv6 address.
        settings::apply(&settings::own(&self.options))?;
        settings::apply(&settings::shared(&self.options))?;
        self.switch_bridge_filter_off().await?;
        self.set_address().await?;
        self.renew_port_flags().await?;
        let up = LinkUnspec::new_with_index(self.index()).up().arp(true).build();
        links.set(up).execute().await.map_err(failed("bring up", name))
    }

    /// br_netfilter passes what crosses a bridge through the IP tables. It is one switch for all bridges of a network
    /// namespace, so it is ours to turn only where all bridges are.
    async fn switch_bridge_filter_off(&self) -> Result<(), BridgeError> {
        if !settings::bridge_filter_is_on() {
            return Ok(());
        }
        let request = self.netlink.link().get();
        let links: Vec<LinkMessage> = request.execute().try_collect().await.map_err(failed("list", "interfaces"))?;
        let foreign =
            |link: &&LinkMessage| port::kind(link) == Some(&InfoKind::Bridge) && link.header.index != self.index();
        match links.iter().find(foreign).and_then(interface_name) {
            None => settings::apply(&settings::no_bridge_filter()),
            Some(other) => {
                tracing::warn!(
                    %other,
                    "net.bridge.bridge-nf-call-iptables stays on, for there is another bridge: containers' frames pass \
                     other programs' tables, and with --icc=false they do not reach published ports of containers"
                );
                Ok(())
            }
        }
    }

    /// Gives the bridge the gateway's address, and no other.
    async fn set_address(&self) -> Result<(), BridgeError> {
        let (bip, name) = (self.options.bip, &self.options.bridge);
        let addresses =
            host::addresses(&self.netlink, self.index()).await.map_err(failed("read the addresses of", name))?;
        // Others go first: the kernel takes a primary address's secondaries along when it is deleted.
        for (_, message) in addresses.iter().filter(|(address, _)| *address != bip) {
            let request = self.netlink.address().del(message.clone());
            request.execute().await.map_err(failed("remove an earlier address of", name))?;
        }
        if addresses.iter().any(|(address, _)| *address == bip) {
            return Ok(());
        }
        let request = self.netlink.address().add(self.index(), bip.ip().into(), bip.prefix());
        request.execute().await.map_err(failed("add an address to", &format!("{name}: {bip}")))
    }

    /// Creates the veth pair straight into `netns`, with `eth0`'s MAC, address, MTU and default route; the host's side
    /// is enslaved but *down*, so nothing passes yet. On error nothing is left.
    pub async fn attach(&self, endpoint: &Endpoint, netns: &NetNs) -> Result<(), BridgeError> {
        self.members.begin(endpoint);
        let created = port::create(self, endpoint, netns).await;
        let index = created.as_ref().ok().and_then(|()| port::index(&endpoint.port).ok());
        self.members.end(&endpoint.port, index);
        created?;
        match port::configure(self, endpoint, netns).await {
            Ok(()) => Ok(()),
            Err(e) => {
                let _ = self.delete(&endpoint.port).await;
                index.into_iter().for_each(|index| self.members.gone(index));
                Err(e)
            }
        }
    }

    /// Lets traffic pass: the port goes up, and is kept so. Called after the firewall knows the endpoint, and has ended the
    /// flows of whoever had the address before.
    pub async fn open_port(&self, endpoint: &Endpoint, netns: Option<&NetNs>) -> Result<(), BridgeError> {
        let port = &endpoint.port;
        let index = port::index(port).unwrap_or_default();
        let mtu = self.own.then_some(self.options.mtu);
        let opening = OpenPort { endpoint: endpoint.clone(), netns: netns.cloned(), index, mtu, ready: false };
        self.open.lock().await.insert(port.clone(), opening);
        let up = LinkUnspec::new_with_name(port).up().build();
        self.netlink.link().set(up).execute().await.map_err(failed("open port", port))?;
        self.keep_open(port).await;
        Ok(())
    }

    /// Takes over the port of a container that runs already. It may have been made under other options, or by a daemon
    /// that knew less. One that is gone is an error, and for [`Watch`] to make anew.
    pub async fn adopt_port(&self, endpoint: &Endpoint, netns: Option<&NetNs>) -> Result<(), BridgeError> {
        if let Ok(index) = port::index(&endpoint.port) {
            self.members.adopt(index, endpoint);
        }
        let hardened = port::harden(self, endpoint).await;
        let opened = self.open_port(endpoint, netns).await;
        let link = find_link(&self.netlink, &endpoint.port).await;
        if let Some(open) = self.open.lock().await.get_mut(&endpoint.port).filter(|_| self.own) {
            open.mtu = link.ok().flatten().as_ref().and_then(faults::mtu);
        }
        self.keep_open(&endpoint.port).await;
        hardened.and(opened)
    }

    async fn keep_open(&self, port: &str) {
        if let Some(open) = self.open.lock().await.get_mut(port) {
            open.ready = true;
        }
    }

    fn index(&self) -> u32 {
        self.index.load(Ordering::Relaxed)
    }

    /// Stops traffic at once, both ways: the bridge takes nothing from the port any more and gives it nothing. That the port
    /// goes down as well, and stays so whatever goes on in the namespace, waits about 10 ms for the kernel and is done
    /// behind the caller's back. The pair itself goes with its namespace. A port that is gone is no error, and one that was
    /// never opened neither. The host forgets who had the address.
    pub async fn close_port(&self, endpoint: &Endpoint) -> Result<(), BridgeError> {
        let port = &endpoint.port;
        self.open.lock().await.remove(port);
        // By index from here on: the name may soon be another port's.
        let Ok(index) = nix::net::if_::if_nametoindex(port.as_str()) else {
            return self.delete_neighbour(endpoint.address).await.map(drop);
        };
        let silenced = port::set_state(self, index, BridgePortState::Disabled).await;
        if silenced.is_err() {
            self.set_down(index).await.map_err(failed("close port", port))?;
        }
        self.bury(index, port);
        self.delete_neighbour(endpoint.address).await.map(drop)
    }

    async fn set_down(&self, index: u32) -> Result<(), rtnetlink::Error> {
        let down = LinkUnspec::new_with_index(index).down().build();
        match self.netlink.link().set(down).execute().await {
            Err(e) if !is(&e, libc::ENODEV) => Err(e),
            _ => Ok(()),
        }
    }

    /// Deletes ports of ours on this bridge that belong to no endpoint (`keep` holds the names that do), and names
    /// them. Ports that others put on the bridge stay.
    pub async fn sweep(&self, keep: &BTreeSet<String>) -> Result<Vec<String>, BridgeError> {
        let mut swept = Vec::new();
        for name in self.ports().await?.into_iter().filter(|name| !keep.contains(name)) {
            self.delete(&name).await?;
            swept.push(name);
        }
        if !swept.is_empty() {
            // The host was told who has their addresses.
            for address in self.false_neighbours().await?.1 {
                let end = format!("{:04x}", address.to_bits() & 0xffff);
                if swept.iter().any(|name| name.ends_with(&end)) {
                    self.delete_neighbour(address).await?;
                }
            }
        }
        Ok(swept)
    }

    /// The names of our ports on this bridge.
    async fn ports(&self) -> Result<Vec<String>, BridgeError> {
        let request = self.netlink.link().get();
        let links: Vec<LinkMessage> =
            request.execute().try_collect().await.map_err(failed("list the ports of", &self.options.bridge))?;
        let ours = links.iter().filter(|link| port::controller(link) == Some(self.index())).filter_map(interface_name);
        Ok(ours.filter(|name| port::is_ours(name)).map(str::to_owned).collect())
    }

    /// Ports that stand already may have been made under other options.
    async fn renew_port_flags(&self) -> Result<(), BridgeError> {
        for name in self.ports().await? {
            port::set_flags(self, &name).await?;
        }
        Ok(())
    }

    /// Sees to it that a closed port goes. Its namespace's end takes it along, but that waits for the last socket: one that
    /// was cut off from its peer tries to say goodbye for minutes.
    fn bury(&self, index: u32, port: &str) {
        let (bridge, port) = (self.clone(), port.to_owned());
        tokio::spawn(async move {
            if let Err(error) = bridge.set_down(index).await {
                tracing::warn!(port, %error, "cannot set a closed port down");
            }
            tokio::time::sleep(USUAL_END).await;
            match bridge.netlink.link().del(index).execute().await {
                Ok(()) => tracing::debug!(port, "deleted a closed port whose namespace has not ended"),
                Err(e) if is(&e, libc::ENODEV) => {}
                Err(error) => return tracing::warn!(port, %error, "cannot delete a closed port"),
            }
            bridge.members.gone(index);
        });
    }

    async fn delete(&self, port: &str) -> Result<(), BridgeError> {
        let message = LinkUnspec::new_with_name(port).build();
        match self.netlink.link().del_with_message(message).execute().await {
            Err(e) if !is(&e, libc::ENODEV) => Err(failed("delete port", port)(e)),
            _ => Ok(()),
        }
    }
}

/// Names that mean themselves in an nft ruleset, in a path and on a command line. The kernel would allow more; nft reads
/// a final `*` as "anything that begins so".
fn check_name(name: &str) -> Result<(), BridgeError> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_.-".contains(b);
    let valid =
        (1..=15).contains(&name.len()) && name.bytes().all(|b| plain(&b)) && name.as_bytes()[0].is_ascii_alphanumeric();
    if valid { Ok(()) } else { Err(BridgeError::Name(name.to_owned())) }
}

/// A netlink conversation with the calling thread's namespace, served by the runtime.
fn connect() -> Result<Handle, BridgeError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(BridgeError::Socket)?;
    tokio::spawn(connection);
    Ok(handle)
}

/// The interface, if there is one of that name; an error if it is no bridge.
async fn find_bridge(netlink: &Handle, name: &str) -> Result<Option<LinkMessage>, BridgeError> {
    let Some(link) = find_link(netlink, name).await? else { return Ok(None) };
    match port::kind(&link) {
        Some(InfoKind::Bridge) => Ok(Some(link)),
        kind => Err(BridgeError::NotABridge {
            name: name.to_owned(),
            kind: kind.map_or_else(|| "device".to_owned(), ToString::to_string),
        }),
    }
}

async fn find_link(netlink: &Handle, name: &str) -> Result<Option<LinkMessage>, BridgeError> {
    let mut answers = netlink.link().get().match_name(name).execute();
    match tokio::time::timeout(PATIENCE, answers.try_next()).await {
        Ok(Ok(link)) => Ok(link),
        Ok(Err(e)) if is(&e, libc::ENODEV) => Ok(None),
        Ok(Err(e)) => Err(failed("look for", name)(e)),
        Err(_late) => Err(BridgeError::Unanswered(name.to_owned())),
    }
}

/// Makes an interface, or, without `NLM_F_EXCL`, changes one that stands.
async fn add(netlink: &Handle, message: LinkMessage) -> Result<(), rtnetlink::Error> {
    netlink.link().add(message).set_flags(NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE).execute().await
}

/// What our own bridge is held to: what a bridge is that was just made.
fn own_settings() -> [InfoBridge; 6] {
    [
        InfoBridge::StpState(BridgeStpState::Disabled),
        InfoBridge::VlanFiltering(false),
        InfoBridge::GroupFwdMask(0),
        // A bridge's own switch, beside the one for all that `switch_bridge_filter_off` turns.
        InfoBridge::NfCallIpTables(false),
        InfoBridge::NfCallIp6Tables(false),
        InfoBridge::NfCallArpTables(false),
    ]
}

/// The hardware address of our own bridge.
fn own_address(options: &NetworkOptions) -> Vec<u8> {
    ipam::mac_for(options.gateway()).0.to_vec()
}

fn hardware_address(link: &LinkMessage) -> Vec<u8> {
    let mut attributes = link.attributes.iter();
    attributes
        .find_map(|a| match a {
            LinkAttribute::Address(address) => Some(address.clone()),
            _ => None,
        })
        .unwrap_or_default()
}

fn interface_name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|a| match a {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// Whether the kernel's answer is this error number.
fn is(error: &rtnetlink::Error, errno: i32) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message) if message.raw_code() == -errno)
}

fn failed(step: &'static str, what: &str) -> impl FnOnce(rtnetlink::Error) -> BridgeError {
    let what = what.to_owned();
    move |source| BridgeError::Netlink { step, what, source: Box::new(source) }
}

/// The network of an address message.
type Addressed = (Ipv4Network, rtnetlink::packet_route::address::AddressMessage);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_name_means_itself_wherever_it_is_written() {
        for good in ["pontoon0", "br-1.5", "a", "0br", "abcdefghijklmno"] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
        for bad in ["", "abcdefghijklmnop", "br*", "@br", "br 0", ".", "..", "-br", "br/0", "br:1", "bré", "br\n"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
