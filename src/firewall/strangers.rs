//! Options → what keeps strangers on the daemon's own bridge from the host.
//!
//! A container with `NET_ADMIN` outside of a user namespace can make interfaces in the host's network (rtnetlink's
//! `IFLA_TARGET_NETNSID`), and have them be ports of the bridge. What enters by such a port is bridged to no container
//! (`guard`). The host's side sees only that a packet came by the bridge, so what entered by a container's port says so in a
//! bit of its mark, and nothing else is taken. An operator's bridge has ports of the operator's: nothing of this is there.

use nftables::types::{NfChainType, NfHook};

use super::inet::RAW;
use super::names::{ADMITTED, Cause, Family};
use super::plan::{Plan, condemn};
use super::syntax::*;
use super::transaction::Object;
use crate::model::NetworkOptions;

/// The first that the host's side does, before conntrack; and the chain for all that comes first.
pub(super) fn first(plan: &mut Plan<'_>) {
    plan.base("raw_prerouting", NfChainType::Filter, NfHook::Prerouting, RAW);
    if !plan.options.own_bridge {
        return;
    }
    plan.cause(Cause::Stranger);
    // What the host itself sends to a group comes back to it without having been on the bridge.
    let stranger = vec![plan.in_by_bridge(), unmarked(ADMITTED), not_from_this_host(), condemn(Cause::Stranger)];
    plan.rule("raw_prerouting", stranger, "by no container's port");
    plan.rule("raw_prerouting", vec![plan.in_by_bridge(), unmark(ADMITTED)], "others' marks are others' business");
}

/// The table of the family arp, for a bridge of the daemon's own.
pub(super) fn arp(options: &NetworkOptions) -> Vec<Object> {
    let mut plan = Plan::new(options, Family::Arp);
    plan.cause(Cause::Stranger);
    plan.base("input", NfChainType::Filter, NfHook::Input, 0);
    let stranger = vec![plan.in_by_bridge(), unmarked(ADMITTED), condemn(Cause::Stranger)];
    plan.rule("input", stranger, "by no container's port");
    plan.objects()
}
