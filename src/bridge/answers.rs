//! For whom the host answers ARP, on an operator's bridge with `icc=false`.
//!
//! Containers' ports are isolated then, and the host answers their ARP for each other (`proxy_arp_pvlan`, see
//! [`super::settings`]). The kernel's switch is for all of the bridge: it would answer whoever is at its other ports, too, for
//! each address of the subnet, and a whole LAN would send to this host. So the guard marks the ARP requests that come by
//! other ports ([`STRANGERS_REQUEST`]), and a routing rule has no route for them: the kernel answers for what it would
//! forward, and that is nothing. For the host's own addresses it answers as ever; they are looked up before (table local).

use futures_util::TryStreamExt;
use rtnetlink::IpVersion;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::{Bridge, BridgeError, failed, is};
use crate::model::STRANGERS_REQUEST;

/// After table local (0), and before whatever else may know a way.
const PRIORITY: u32 = 1;

impl Bridge {
    /// Strangers would be answered, if it were not for the rule.
    fn answers_for_neighbours(&self) -> bool {
        !self.own && !self.options.icc
    }

    /// Sets the rule where it is needed, and takes it away where it is not. Before the switch is on.
    pub(super) async fn answer_containers_only(&self) -> Result<(), BridgeError> {
        match self.answers_for_neighbours() {
            true => self.repair_answers().await.map(drop),
            false => self.forget_rules().await,
        }
    }

    /// The rule, set if it is missing: what was wrong, in words.
    pub(super) async fn repair_answers(&self) -> Result<Option<String>, BridgeError> {
        if !self.answers_for_neighbours() || !self.rules().await?.is_empty() {
            return Ok(None);
        }
        let name = &self.options.bridge;
        let request = self
            .netlink
            .rule()
            .add()
            .v4()
            .table_id(0)
            .priority(PRIORITY)
            .input_interface(name)
            .fw_mark(STRANGERS_REQUEST);
        match request.action(RuleAction::Unreachable).execute().await {
            Err(e) if !is(&e, libc::EEXIST) => {
                Err(failed("keep the host from answering ARP for neighbours on", name)(e))
            }
            _ => Ok(Some(format!("deleted the routing rule of {name} for strangers' ARP requests"))),
        }
    }

    async fn forget_rules(&self) -> Result<(), BridgeError> {
        for rule in self.rules().await? {
            match self.netlink.rule().del(rule).execute().await {
                Err(e) if !is(&e, libc::ENOENT) => {
                    return Err(failed("take off a routing rule of", &self.options.bridge)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn rules(&self) -> Result<Vec<RuleMessage>, BridgeError> {
        let name = &self.options.bridge;
        let all = self.netlink.rule().get(IpVersion::V4).execute();
        let all: Vec<RuleMessage> = all.try_collect().await.map_err(failed("read the routing rules of", name))?;
        Ok(all.into_iter().filter(|rule| is_ours(rule, name)).collect())
    }
}

fn is_ours(rule: &RuleMessage, bridge: &str) -> bool {
    let has = |wanted: &RuleAttribute| rule.attributes.contains(wanted);
    rule.header.action == RuleAction::Unreachable
        && has(&RuleAttribute::Priority(PRIORITY))
        && has(&RuleAttribute::FwMark(STRANGERS_REQUEST))
        && has(&RuleAttribute::Iifname(bridge.to_owned()))
}
