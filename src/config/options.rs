//! Options as they were written, in flags or in daemon.json, and their merge.
//!
//! One struct serves both sources. Its fields are called like daemon.json's keys (which are plural where an option
//! repeats); the flags' names are given beside them. Maps of the file become the `key=value` strings that the flags
//! take, so that validation reads one form only.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};

use super::ConfigError;

/// What one source says; `None` and empty lists are "not said".
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Options {
    /// Root directory of state that survives a restart [default: /var/lib/pontoon]
    #[arg(long, value_name = "DIR", help_heading = "Daemon")]
    pub(super) data_root: Option<String>,
    /// Root directory of the state of running containers [default: /run/pontoon]
    #[arg(long, value_name = "DIR", help_heading = "Daemon")]
    pub(super) exec_root: Option<String>,
    /// Socket to serve the API on, unix://PATH; may be repeated [default: unix://EXEC_ROOT/pontoon.sock]
    #[arg(short = 'H', long = "host", value_name = "URL", help_heading = "Daemon")]
    pub(super) hosts: Vec<String>,
    /// File that holds the daemon's process id while it runs [default: EXEC_ROOT/pontoon.pid]
    #[arg(short = 'p', long, value_name = "FILE", help_heading = "Daemon")]
    pub(super) pidfile: Option<String>,
    /// Group that owns the sockets [default: pontoon, if there is such a group]
    #[arg(short = 'G', long, value_name = "NAME", help_heading = "Daemon")]
    pub(super) group: Option<String>,
    /// Log more, with a timeline of each start
    #[arg(short = 'D', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Daemon")]
    pub(super) debug: Option<bool>,
    /// What to log: debug, info, warn, error [default: info]
    #[arg(short = 'l', long, value_name = "LEVEL", help_heading = "Daemon")]
    pub(super) log_level: Option<String>,
    /// Serve metrics here too, as HTTP without TLS: ADDRESS:PORT; without an address, on 127.0.0.1
    #[arg(long, value_name = "ADDRESS", help_heading = "Daemon")]
    pub(super) metrics_addr: Option<String>,
    /// Accepted: containers always outlive the daemon
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Daemon")]
    pub(super) live_restore: Option<bool>,

    /// Existing bridge to attach containers to; "none" disables the default network
    #[arg(short = 'b', long, value_name = "NAME", help_heading = "Network")]
    pub(super) bridge: Option<String>,
    /// Address and subnet of the bridge, such as 192.168.0.1/24 [default: the first private subnet no route covers]
    #[arg(long, value_name = "CIDR", help_heading = "Network")]
    pub(super) bip: Option<String>,
    /// Range inside the subnet that containers' addresses come from
    #[arg(long, value_name = "CIDR", help_heading = "Network")]
    pub(super) fixed_cidr: Option<String>,
    /// Where the default subnet is taken from: base=CIDR,size=PREFIX; may be repeated
    #[arg(long = "default-address-pool", value_name = "POOL", help_heading = "Network")]
    #[serde(deserialize_with = "pools")]
    pub(super) default_address_pools: Vec<String>,
    /// MTU of the bridge and of the containers' interfaces, in bytes [default: 1500]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, help_heading = "Network")]
    pub(super) mtu: Option<i64>,
    /// Host address for published ports that name none [default: 0.0.0.0]
    #[arg(long, value_name = "ADDRESS", help_heading = "Network")]
    pub(super) ip: Option<String>,
    /// Turn on net.ipv4.ip_forward [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Network")]
    pub(super) ip_forward: Option<bool>,
    /// Masquerade what containers send outside [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Network")]
    pub(super) ip_masq: Option<bool>,
    /// Let containers talk to each other [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Network")]
    pub(super) icc: Option<bool>,
    /// Let containers reach what listens on the host; false leaves them names, echo and published ports [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Network")]
    pub(super) host_access: Option<bool>,
    /// Put right what others change in the containers' network; false only watches: see `pontoon audit drift`
    /// [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Network")]
    pub(super) repair: Option<bool>,
    /// How many of the newest entries `audit history` keeps, about [default: 100000]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, help_heading = "Network")]
    pub(super) history_entries: Option<i64>,
    /// Accepted: there is no proxy process
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, help_heading = "Network")]
    pub(super) userland_proxy: Option<bool>,
    /// DNS server for containers; may be repeated [default: the host's]
    #[arg(long, value_name = "ADDRESS", help_heading = "Network")]
    pub(super) dns: Vec<String>,
    /// DNS search domain for containers; may be repeated [default: the host's]
    #[arg(long, value_name = "DOMAIN", help_heading = "Network")]
    pub(super) dns_search: Vec<String>,
    /// DNS option for containers; may be repeated [default: the host's]
    #[arg(long = "dns-opt", value_name = "OPTION", help_heading = "Network")]
    pub(super) dns_opts: Vec<String>,

    /// Runtime: "integrated", or an OCI command such as runc [default: integrated]
    #[arg(long, value_name = "NAME", help_heading = "Containers")]
    pub(super) default_runtime: Option<String>,
    /// Parent of the containers' cgroups [default: pontoon]
    #[arg(long, value_name = "NAME", help_heading = "Containers")]
    pub(super) cgroup_parent: Option<String>,
    /// Where containers' output goes: json-file or none [default: json-file]
    #[arg(long, value_name = "DRIVER", help_heading = "Containers")]
    pub(super) log_driver: Option<String>,
    /// Option of the log driver, max-size=10m or max-file=3; may be repeated
    #[arg(long = "log-opt", value_name = "KEY=VALUE", help_heading = "Containers")]
    #[serde(deserialize_with = "map")]
    pub(super) log_opts: Vec<String>,
    /// Limit for all containers, NAME=SOFT or NAME=SOFT:HARD; may be repeated
    #[arg(long = "default-ulimit", value_name = "LIMIT", help_heading = "Containers")]
    #[serde(deserialize_with = "ulimits")]
    pub(super) default_ulimits: Vec<String>,
}

/// Runs `$visit!(field)` for every option. The compiler finds a field that is missing here: the pattern is exhaustive.
macro_rules! every_option {
    ($visit:ident) => {
        $visit!(
            data_root,
            exec_root,
            hosts,
            pidfile,
            group,
            debug,
            log_level,
            metrics_addr,
            live_restore,
            bridge,
            bip,
            fixed_cidr,
            default_address_pools,
            mtu,
            ip,
            ip_forward,
            ip_masq,
            icc,
            host_access,
            repair,
            history_entries,
            userland_proxy,
            dns,
            dns_search,
            dns_opts,
            default_runtime,
            cgroup_parent,
            log_driver,
            log_opts,
            default_ulimits
        )
    };
}

impl Options {
    /// Reads the text of a daemon.json.
    pub(super) fn from_json(text: &str) -> Result<Self, ConfigError> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|error| ConfigError::Json(error.to_string()))?;
        let unknown: Vec<&str> = object.keys().map(String::as_str).filter(|key| !Self::knows(key)).collect();
        if !unknown.is_empty() {
            return Err(ConfigError::UnknownKey(unknown.join(", ")));
        }
        // serde's type errors do not say which key they are about: ask key by key when there is one.
        Self::deserialize(serde_json::Value::Object(object.clone())).map_err(|whole| {
            for (key, value) in object {
                let alone = serde_json::Map::from_iter([(key.clone(), value)]);
                if let Err(error) = Self::deserialize(serde_json::Value::Object(alone)) {
                    return ConfigError::Type { key, reason: error.to_string() };
                }
            }
            ConfigError::Json(whole.to_string())
        })
    }

    fn knows(key: &str) -> bool {
        macro_rules! keys {
            ($($field:ident),*) => { [$(stringify!($field)),*] };
        }
        every_option!(keys).iter().any(|field| field.replace('_', "-") == key)
    }

    /// Joins both sources. Options that both give with different values are an error that lists them all.
    pub(super) fn merge(flags: Self, file: Self) -> Result<Self, ConfigError> {
        let mut conflicts: Vec<String> = Vec::new();
        macro_rules! join {
            ($($field:ident),*) => {{
                let Self { $($field),* } = flags;
                Self { $($field: {
                    if $field.is_said() && file.$field.is_said() && $field != file.$field {
                        conflicts.push(format!(
                            "{}: (from flag: {}, from file: {})",
                            stringify!($field).replace('_', "-"), $field.show(), file.$field.show(),
                        ));
                    }
                    if $field.is_said() { $field } else { file.$field }
                }),* }
            }};
        }
        let merged = every_option!(join);
        if conflicts.is_empty() { Ok(merged) } else { Err(ConfigError::Conflict(conflicts.join(", "))) }
    }
}

/// An option's value that may be absent.
trait Said {
    fn is_said(&self) -> bool;
    /// As Go prints it, since that is what Docker's users know.
    fn show(&self) -> String;
}

impl<T: fmt::Display> Said for Option<T> {
    fn is_said(&self) -> bool {
        self.is_some()
    }
    fn show(&self) -> String {
        self.as_ref().map(T::to_string).unwrap_or_default()
    }
}

impl Said for Vec<String> {
    fn is_said(&self) -> bool {
        !self.is_empty()
    }
    fn show(&self) -> String {
        format!("[{}]", self.join(" "))
    }
}

/// What Go's flag package takes for a boolean.
fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// `{"k": "v"}` → `["k=v"]`.
fn map<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<String>, D::Error> {
    let map = BTreeMap::<String, String>::deserialize(source)?;
    Ok(map.into_iter().map(|(key, value)| format!("{key}={value}")).collect())
}

/// `[{"base": "172.30.0.0/16", "size": 24}]` → `["base=172.30.0.0/16,size=24"]`.
fn pools<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "lowercase")]
    struct Pool {
        #[serde(alias = "Base")]
        base: String,
        #[serde(alias = "Size")]
        size: u8,
    }
    let pools = Vec::<Pool>::deserialize(source)?;
    Ok(pools.into_iter().map(|pool| format!("base={},size={}", pool.base, pool.size)).collect())
}

/// `{"nofile": {"Name": "nofile", "Soft": 20, "Hard": 40}}` → `["nofile=20:40"]`.
fn ulimits<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Limit {
        #[serde(rename = "Name")]
        name: Option<String>,
        #[serde(rename = "Soft")]
        soft: i64,
        #[serde(rename = "Hard")]
        hard: i64,
    }
    let limits = BTreeMap::<String, Limit>::deserialize(source)?;
    Ok(limits
        .into_iter()
        .map(|(key, limit)| format!("{}={}:{}", limit.name.unwrap_or(key), limit.soft, limit.hard))
        .collect())
}
