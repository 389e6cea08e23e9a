//! Flags and daemon.json → [`Config`], validated once.
//!
//! Names are dockerd's. The same option in file and flags with different values is an error, and so is an unknown key;
//! each error is one line that names the option. Nothing is created here.
//!
//! ```text
//! flags ────────┐
//!               ├─ merge ─► Options ─ validate ─► Config
//! daemon.json ──┘
//! ```

mod error;
mod options;
mod validate;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnetwork::Ipv4Network;

pub use error::ConfigError;
use options::Options;

/// Where the options are looked for when `--config-file` does not say.
pub const DEFAULT_CONFIG_FILE: &str = "/etc/pontoon/daemon.json";

/// The flags of `pontoon daemon`: dockerd's names.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DaemonArgs {
    /// Read options from this JSON file too (the same keys as dockerd's daemon.json)
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG_FILE)]
    config_file: PathBuf,
    #[command(flatten)]
    options: Options,
}

/// The daemon's options after validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// State that survives a restart: `/var/lib/pontoon`.
    pub data_root: PathBuf,
    /// State of running containers: `/run/pontoon`.
    pub exec_root: PathBuf,
    /// API sockets, absolute paths: `<exec root>/pontoon.sock`.
    pub hosts: Vec<PathBuf>,
    /// `--pidfile`: `<exec root>/pontoon.pid`.
    pub pidfile: PathBuf,
    /// `--group`: owner group of the sockets; a missing group is an error only if it was asked for.
    pub group: Option<String>,
    /// `-b`: `None` is a bridge of our own called `pontoon0`.
    pub bridge: BridgeChoice,
    /// `--bip`: the gateway's address, never the subnet's network or broadcast address.
    pub bip: Option<Ipv4Network>,
    /// `--fixed-cidr`: lies inside `bip` where both are given.
    pub fixed_cidr: Option<Ipv4Network>,
    /// `--default-address-pool`: where the default subnet is taken from if no `bip` is given. Empty: Docker's candidates.
    pub address_pools: Vec<AddressPool>,
    /// `--mtu`, 68 to 65535; 1500.
    pub mtu: u32,
    /// `--ip`, 0.0.0.0.
    pub default_ip: IpAddr,
    /// `--icc`, true.
    pub icc: bool,
    /// `--host-access`, true: containers reach what listens on the gateway's or on all of the host's addresses.
    pub host_access: bool,
    /// `--history-entries`, at least 100: how many of the newest entries the audit's history keeps; 100,000.
    pub history_entries: u64,
    /// `--repair`, true: what others change in the containers' network is put right, and not only told.
    pub repair: bool,
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
    pub log_opts: BTreeMap<String, String>,
    /// `--default-ulimit`: name, soft, hard.
    pub default_ulimits: Vec<(String, u64, u64)>,
    /// `--debug`, or `--log-level debug`.
    pub log_level: LogLevel,
    /// `--metrics-addr`: where metrics are served beside the API's sockets; `None`: nowhere.
    pub metrics_addr: Option<SocketAddr>,
    /// What was accepted without effect, for the daemon to log.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the configuration file, merges the flags in and validates the whole. Reads that file and nothing else;
    /// creates nothing.
    pub fn load(args: &DaemonArgs) -> Result<Self, ConfigError> {
        let path = &args.config_file;
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path == Path::new(DEFAULT_CONFIG_FILE) => {
                "{}".to_owned()
            }
            Err(source) => return Err(ConfigError::Read { path: path.clone(), source }),
        };
        Self::from_parts(&args.options, &text).map_err(|error| error.in_file(path))
    }

    /// The pure part of [`Config::load`]: flags and the text of the file.
    fn from_parts(flags: &Options, file: &str) -> Result<Self, ConfigError> {
        let file = Options::from_json(file)?;
        validate::validate(&Options::merge(flags.clone(), file)?)
    }
}

/// A range that default subnets are cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// The whole range.
    pub base: Ipv4Network,
    /// Prefix length of each subnet cut from it; at least that of `base`.
    pub size: u8,
}

impl AddressPool {
    /// The subnets of the pool in order, each with its first host address: the gateway's.
    pub fn subnets(self) -> impl Iterator<Item = Ipv4Network> {
        let first = u64::from(u32::from(self.base.network()));
        let step = 1u64 << (32 - u32::from(self.size.min(32)));
        let last = u64::from(u32::from(self.base.broadcast()));
        let starts = (first..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        starts.filter_map(move |start| Ipv4Network::new(u32::try_from(start + 1).ok()?.into(), self.size).ok())
    }
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

#[cfg(test)]
mod tests;
