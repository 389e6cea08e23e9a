//! What the bridge and its ports should be, for who compares; and all of it put right at once.

use std::collections::BTreeMap;

use rtnetlink::packet_core::Nla;

use super::{Bridge, BridgeError, port, settings};

/// Whether an interface is called as ports of containers are.
pub fn is_port_name(name: &str) -> bool {
    port::is_ours(name)
}

impl Bridge {
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
