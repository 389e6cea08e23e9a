//! Attacks on the network between containers, judged by what packets really do.
//!
//! The attacker is root in its container with `NET_ADMIN` and `NET_RAW`: it sends any frame, sets any address and route,
//! makes any interface of its own. Namespaces of the host (`--network host`, `--pid host` of a privileged container) are
//! not given to it: who has these is the host. (Without a user namespace, `NET_ADMIN` can make interfaces there, by
//! rtnetlink's `IFLA_TARGET_NETNSID`: `intruders` has what becomes of those on the bridge.) Each attack is tried against the defence, where nothing of it may come
//! through, and without, where it must: that is the control.

mod bridges;
mod chance;
mod devices;
mod forwarding;
mod holes;
mod honest;
mod host_access;
mod intruders;
mod isolation;
mod lan;
mod lies;
mod links;
mod loopback;
mod moments;
mod neighbours;
mod shadows;
mod spoofing;
mod stopped;
mod strangers;
