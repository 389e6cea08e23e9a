//! Pontoon: a container host agent whose subject is the network.
//!
//! This is the map of the house. Every behaviour lives in exactly one room, and imports point one way:
//!
//! | room | what it does | may import |
//! |---|---|---|
//! | [`model`] | ids, names, addresses, ports, container specs, the network intent; no I/O | – |
//! | [`sys`] | the only `unsafe`, each block with its reason | – |
//! | [`config`] | flags and daemon.json → a validated [`config::Config`] | `model` |
//! | [`store`] | SQLite: what must survive the daemon | `model` |
//! | [`netns`] | network namespaces | `model`, `sys` |
//! | [`bridge`] | the bridge, veth pairs, address pools | `model`, `netns`, `sys` |
//! | [`firewall`] | intent → nftables, applied as one transaction; [`firewall::audit`]: what the kernel does with a packet, and why | `model`, `sys` |
//! | [`dns`] | hosts, resolv.conf and hostname files; the server for names | `model`, `sys` |
//! | [`images`] | references, archives, layers | `model`, `store`, `sys` |
//! | [`runner`] | the shim and the OCI runtimes | `model`, `sys` |
//! | [`check`] | what this machine can do, tried in namespaces to throw away | `firewall`, `model`, `sys` |
//! | [`containers`] | what a container is: its life from create to remove | all of the above |
//! | [`audit`] | who can talk to whom, and why: intent, kernel and real packets side by side | all of the above |
//! | [`api`] | the Docker Engine API over HTTP, and the audit's | `audit`, `containers`, `firewall`, `images`, `model`, `config` |
//! | [`report`] | the audit's answers as one page | `model` |
//! | [`cli`] | docker's grammar, a client of the API like any other | `model`, `report` |
//! | [`daemon`] | composition root: config → store → reconcile → serve → drain | all |
//!
//! `bridge`, `netns`, `dns`, `firewall`, `images`, `runner` and `store` do not import each other, with two
//! exceptions: `images` keeps its catalogue in `store`, and `bridge` puts one end of a veth pair into a `netns`.
//! `scripts/check-layers` holds this in CI.

pub mod api;
pub mod audit;
pub mod bridge;
pub mod check;
pub mod cli;
pub mod config;
pub mod containers;
pub mod daemon;
pub mod dns;
pub mod firewall;
pub mod images;
pub mod model;
pub mod netns;
pub mod report;
pub mod runner;
pub mod store;
pub mod sys;
