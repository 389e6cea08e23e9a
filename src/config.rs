//! Flags and daemon.json → [`Config`], validated once.
//!
//! Names are dockerd's. The same option in file and flags with different values is an error, and so is an unknown key;
//! each error is one line that names the option. Nothing is created here.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnetwork::Ipv4Network;

/// The daemon's options after validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// State that survives a restart: `/var/lib/pontoon`.
    pub data_root: PathBuf,
    /// State of running containers: `/run/pontoon`.
    pub exec_root: PathBuf,
    /// API sockets, absolute paths: `/run/pontoon/pontoon.sock`.
    pub hosts: Vec<PathBuf>,
    /// `--pidfile`: `<exec root>/pontoon.pid`.
    pub pidfile: PathBuf,
    /// `--group`: owner group of the sockets; a missing group is an error only if it was asked for.
    pub group: Option<String>,
    /// `-b`: `None` is a bridge of our own called `pontoon0`.
    pub bridge: BridgeChoice,
    /// `--bip`.
    pub bip: Option<Ipv4Network>,
    /// `--fixed-cidr`: lies inside `bip` where both are given.
    pub fixed_cidr: Option<Ipv4Network>,
    /// `--mtu`, 68 to 65535; 1500.
    pub mtu: u32,
    /// `--ip`, 0.0.0.0.
    pub default_ip: IpAddr,
    /// `--icc`, true.
    pub icc: bool,
    /// `--ip-forward`, true.
    pub ip_forward: bool,
    /// `--ip-masq`, true.
    pub ip_masq: bool,
    /// `--dns`.
    pub dns: Vec<IpAddr>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-opt`.
    pub dns_options: Vec<String>,
    /// `--default-runtime`: `integrated`, or the name of an OCI command.
    pub runtime: String,
    /// `--cgroup-parent`: `pontoon`.
    pub cgroup_parent: String,
    /// `--log-driver`: `json-file`.
    pub log_driver: String,
    /// `--log-opt`.
    pub log_opts: std::collections::BTreeMap<String, String>,
    /// `--default-ulimit`: name, soft, hard.
    pub default_ulimits: Vec<(String, u64, u64)>,
    /// `--debug`, or `--log-level debug`.
    pub log_level: LogLevel,
}

/// Which bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeChoice {
    /// Ours: created if missing.
    Own(String),
    /// `-b name`: exists already, has its address.
    Existing(String),
    /// `-b none`: no default network; bridged containers are refused.
    Disabled,
}

/// `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// With the span timeline of each start.
    Debug,
    /// Default.
    Info,
    /// Only warnings and errors.
    Warn,
    /// Only errors.
    Error,
}
