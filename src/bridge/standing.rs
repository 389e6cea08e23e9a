//! What the bridge and its ports should be, for who compares; and all of it put right at once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rtnetlink::LinkUnspec;
use rtnetlink::packet_core::Nla;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};

use super::{Bridge, BridgeError, failed, is, port, settings};

/// Whether an interface is called as ports of containers are.
pub fn is_port_name(name: &str) -> bool {
    port::is_ours(name)
}

/// What is on the bridge and does not belong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// A port, by index.
    Port(u32),
    /// An entry of the forwarding table: the port's index (or the bridge's), and a hardware address.
    Entry(u32, [u8; 6]),
    /// What the host believes of who has an address.
    Neighbour(Ipv4Addr),
}

impl Bridge {
    /// Takes it away. What has gone by itself is no error.
    pub async fn expel(&self, stranger: &Stranger) -> Result<(), BridgeError> {
        let done = match stranger {
            Stranger::Port(index) => {
                let off = LinkUnspec::new_with_index(*index).nocontroller().build();
                self.netlink.link().set(off).execute().await
            }
            Stranger::Entry(index, mac) => {
                let mut message = NeighbourMessage::default();
                message.header.family = AddressFamily::Bridge;
                message.header.ifindex = *index;
                message.header.flags = NeighbourFlags::Controller;
                message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
                self.netlink.neighbours().del(message).execute().await
            }
            Stranger::Neighbour(address) => return self.delete_neighbour(*address).await.map(drop),
        };
        match done {
            Err(e) if !is(&e, libc::ENODEV) && !is(&e, libc::ENOENT) => {
                Err(failed("take off what does not belong to", &self.options.bridge)(e))
            }
            _ => Ok(()),
        }
    }

    /// Made by us, not the operator's.
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// What each port of a container's is told: attribute (`IFLA_BRPORT_…`) and value.
    pub fn port_flags(&self) -> Vec<(u16, u32)> {
        let flags = port::flags(&self.options);
        let number = |flag: &rtnetlink::packet_route::link::InfoBridgePort| {
            let mut bytes = vec![0; flag.value_len()];
            flag.emit_value(&mut bytes);
            let value = match *bytes {
                [low, high] => u16::from_ne_bytes([low, high]).into(),
                _ => bytes.first().copied().unwrap_or_default().into(),
            };
            (flag.kind(), value)
        };
        flags.iter().map(number).collect()
    }

    /// Kernel parameters that are kept, by their paths below `/proc/sys`, with their values.
    pub fn parameters(&self) -> Vec<(String, &'static str)> {
        let mut wanted = settings::shared(&self.options);
        if self.own {
            wanted.extend(settings::own(&self.options));
        }
        wanted
    }

    /// Ports that are open, with their indices; 0 where there was no such interface.
    pub async fn open_ports(&self) -> BTreeMap<String, u32> {
        let open = self.open.lock().await;
        open.iter().filter(|(_, port)| port.ready).map(|(name, port)| (name.clone(), port.index)).collect()
    }

    /// Puts right what [`super::Watch`] would, without its having heard of anything.
    pub async fn restore(&self) -> Result<(), BridgeError> {
        self.repair_settings().await?;
        self.repair().await?;
        for name in self.open_ports().await.into_keys() {
            self.repair_port(&name, true).await?;
            self.repair_neighbour(&name).await?;
            if self.own {
                let size = LinkUnspec::new_with_name(&name).mtu(self.options.mtu).build();
                self.netlink.link().set(size).execute().await.map_err(failed("set the MTU of port", &name))?;
            }
        }
        let census = self.census().await?;
        for index in census.strangers {
            self.throw_out(index).await?;
        }
        for (port, mac) in census.entries {
            self.forget_entry(port, mac).await?;
        }
        Ok(())
    }
}
