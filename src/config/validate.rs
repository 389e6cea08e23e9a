//! Merged options → [`Config`]: every value checked, every default filled in. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnetwork::Ipv4Network;

use super::options::Options;
use super::{AddressPool, BridgeChoice, Config, ConfigError, LogLevel};
use crate::model::{Hostname, parse_size, parse_ulimit};

/// `sun_path` of `struct sockaddr_un` holds 108 bytes, the last a NUL (unix(7)).
const SOCKET_PATH_MAX: usize = 107;
/// `IFNAMSIZ` less the NUL (netdevice(7)).
const INTERFACE_NAME_MAX: usize = 15;

pub(super) fn validate(options: &Options) -> Result<Config, ConfigError> {
    let data_root = absolute("data-root", said(&options.data_root), "/var/lib/pontoon")?;
    let exec_root = absolute("exec-root", said(&options.exec_root), "/run/pontoon")?;
    if data_root == exec_root {
        return Err(ConfigError::invalid(
            "exec-root",
            format!("{} is the data-root too: they must be two directories", exec_root.display()),
        ));
    }
    let own = |name: &str| exec_root.join(name).display().to_string();
    let pidfile = absolute("pidfile", said(&options.pidfile), &own("pontoon.pid"))?;
    let bridge = bridge(said(&options.bridge))?;
    let bip = said(&options.bip).map(bip).transpose()?;
    if bip.is_some() && bridge != BridgeChoice::Own(OWN_BRIDGE.to_owned()) {
        return Err(ConfigError::BridgeAndBip);
    }
    let fixed_cidr = said(&options.fixed_cidr).map(|text| fixed_cidr(text, bip)).transpose()?;

    let mut warnings = Vec::new();
    if options.live_restore == Some(false) {
        warnings.push("live-restore=false has no effect: containers always outlive the daemon".to_owned());
    }
    if options.userland_proxy == Some(true) {
        warnings.push("userland-proxy has no effect: published ports need no proxy process".to_owned());
    }

    Ok(Config {
        hosts: hosts(&options.hosts, &own("pontoon.sock"))?,
        data_root,
        pidfile,
        group: said(&options.group).map(str::to_owned),
        bridge,
        bip,
        fixed_cidr,
        address_pools: each("default-address-pool", &options.default_address_pools, address_pool)?,
        mtu: mtu(options.mtu)?,
        default_ip: match said(&options.ip) {
            Some(text) => parse("ip", text)?,
            None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        },
        icc: options.icc.unwrap_or(true),
        host_access: options.host_access.unwrap_or(true),
        history_entries: history_entries(options.history_entries)?,
        repair: options.repair.unwrap_or(true),
        ip_forward: options.ip_forward.unwrap_or(true),
        ip_masq: options.ip_masq.unwrap_or(true),
        dns: each("dns", &options.dns, |text| text.parse().map_err(|_| format!("{text:?} is not an IP address")))?,
        dns_search: each("dns-search", &options.dns_search, search_domain)?,
        dns_options: each("dns-opt", &options.dns_opts, dns_option)?,
        runtime: single("default-runtime", said(&options.default_runtime), "integrated")?,
        cgroup_parent: cgroup_parent(said(&options.cgroup_parent).unwrap_or("pontoon"))
            .map_err(|reason| ConfigError::invalid("cgroup-parent", reason))?,
        log_driver: log_driver(said(&options.log_driver))?,
        log_opts: log_opts(&options.log_opts)?,
        default_ulimits: each("default-ulimit", &options.default_ulimits, |text| {
            parse_ulimit(text).map_err(|error| error.to_string())
        })?,
        log_level: log_level(options.debug, said(&options.log_level))?,
        metrics_addr: said(&options.metrics_addr).map(metrics_addr).transpose()?,
        exec_root,
        warnings,
    })
}

/// The bridge that is ours to create.
const OWN_BRIDGE: &str = "pontoon0";

/// An empty string in daemon.json means the default, as in Docker's own example file.
fn said(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}

fn parse<T: FromStr<Err: std::fmt::Display>>(option: &'static str, text: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|error| ConfigError::invalid(option, format!("{text:?}: {error}")))
}

fn each<T>(
    option: &'static str,
    texts: &[String],
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, ConfigError> {
    texts.iter().map(|text| read(text).map_err(|reason| ConfigError::invalid(option, reason))).collect()
}

fn single(option: &'static str, value: Option<&str>, default: &str) -> Result<String, ConfigError> {
    word(value.unwrap_or(default)).map_err(|reason| ConfigError::invalid(option, reason))
}

fn word(text: &str) -> Result<String, String> {
    match text {
        "" => Err("must not be empty".to_owned()),
        _ if text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            Err(format!("{text:?} must not contain blanks or control characters"))
        }
        _ => Ok(text.to_owned()),
    }
}

fn absolute(option: &'static str, value: Option<&str>, default: &str) -> Result<PathBuf, ConfigError> {
    let text = value.unwrap_or(default);
    let path = Path::new(text);
    if !path.is_absolute() || text.chars().any(char::is_control) {
        return Err(ConfigError::invalid(option, format!("{text:?} is not an absolute path")));
    }
    // `components` drops doubled and trailing slashes, so that equal places compare equal.
    Ok(path.components().collect())
}

fn hosts(urls: &[String], default: &str) -> Result<Vec<PathBuf>, ConfigError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for url in urls.iter().map(String::as_str).chain(urls.is_empty().then_some("unix://")) {
        let path = match url.split_once("://") {
            Some(("unix", "")) => default,
            Some(("unix", path)) => path,
            Some((scheme, _)) => {
                let reason =
                    format!("{url:?}: the API is served on unix sockets only, not on {scheme}; use unix:///path");
                return Err(ConfigError::invalid("host", reason));
            }
            None => return Err(ConfigError::invalid("host", format!("{url:?}: expected unix:///path"))),
        };
        if path.len() > SOCKET_PATH_MAX {
            let reason =
                format!("{path:?} is {} bytes long: a socket's path has at most {SOCKET_PATH_MAX}", path.len());
            return Err(ConfigError::invalid("host", reason));
        }
        let path = absolute("host", Some(path), default)?;
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Unlike dockerd's, an address without a host is not every address: metrics tell who is there.
fn metrics_addr(text: &str) -> Result<SocketAddr, ConfigError> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let host = if matches!(host, "" | "localhost") { "127.0.0.1" } else { host };
    let wrong = || {
        let reason = format!("{text:?}: expected ADDRESS:PORT, such as 127.0.0.1:9323 or [::1]:9323, or :PORT");
        ConfigError::invalid("metrics-addr", reason)
    };
    let address: SocketAddr = format!("{host}:{port}").parse().map_err(|_| wrong())?;
    if address.port() == 0 { Err(wrong()) } else { Ok(address) }
}

fn bridge(name: Option<&str>) -> Result<BridgeChoice, ConfigError> {
    let Some(name) = name else { return Ok(BridgeChoice::Own(OWN_BRIDGE.to_owned())) };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    match name {
        "none" => Ok(BridgeChoice::Disabled),
        // nft reads a trailing `*` as a prefix match and the kernel takes nearly anything: allow what is safe in both.
        _ if !name.bytes().all(legal) || matches!(name, "." | "..") => Err(ConfigError::invalid(
            "bridge",
            format!("{name:?} is not an interface name: use letters, digits, '_', '.' and '-'"),
        )),
        _ if name.len() > INTERFACE_NAME_MAX => Err(ConfigError::invalid(
            "bridge",
            format!("{name:?} is longer than {INTERFACE_NAME_MAX} bytes, which the kernel does not take"),
        )),
        _ => Ok(BridgeChoice::Existing(name.to_owned())),
    }
}

fn network(option: &'static str, text: &str) -> Result<Ipv4Network, ConfigError> {
    let wrong = |why: &str| ConfigError::invalid(option, format!("invalid CIDR address {text:?}: {why}"));
    if text.contains(':') {
        return Err(wrong("only IPv4 is served"));
    }
    if !text.contains('/') {
        return Err(wrong("expected an address and a prefix length, such as 192.168.0.1/24"));
    }
    text.parse().map_err(|_| wrong("expected an address and a prefix length, such as 192.168.0.1/24"))
}

/// The gateway's address in its subnet. A network address, such as 192.168.0.128/25, means the subnet: its first host
/// is the gateway then.
fn bip(text: &str) -> Result<Ipv4Network, ConfigError> {
    let bip = network("bip", text)?;
    let wrong = |why: String| ConfigError::invalid("bip", format!("{text:?}: {why}"));
    if !(8..=30).contains(&bip.prefix()) {
        return Err(wrong("the prefix length must be between 8 and 30, to leave room for containers".to_owned()));
    }
    let first = bip.ip().octets()[0];
    if first == 0 || first == 127 || first >= 224 {
        return Err(wrong("not an address that hosts can have".to_owned()));
    }
    if bip.ip() == bip.broadcast() {
        return Err(wrong(format!("{} is the broadcast address of its subnet", bip.ip())));
    }
    if bip.ip() == bip.network() {
        let gateway = Ipv4Addr::from(u32::from(bip.network()) + 1);
        return Ipv4Network::new(gateway, bip.prefix()).map_err(|error| wrong(error.to_string()));
    }
    Ok(bip)
}

/// Host bits are dropped, as Docker does.
fn fixed_cidr(text: &str, bip: Option<Ipv4Network>) -> Result<Ipv4Network, ConfigError> {
    let range = network("fixed-cidr", text)?;
    let wrong = |why: String| ConfigError::invalid("fixed-cidr", format!("{text:?}: {why}"));
    let range = Ipv4Network::new(range.network(), range.prefix()).map_err(|error| wrong(error.to_string()))?;
    match bip {
        Some(bip) if !(bip.contains(range.network()) && bip.contains(range.broadcast())) => {
            Err(wrong(format!("not inside the subnet {}/{} of --bip", bip.network(), bip.prefix())))
        }
        _ => Ok(range),
    }
}

fn address_pool(text: &str) -> Result<AddressPool, String> {
    let form = || format!("{text:?}: expected base=CIDR,size=PREFIX, such as base=172.30.0.0/16,size=24");
    let (mut base, mut size) = (None, None);
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("base", value)) if base.is_none() => base = value.parse::<Ipv4Network>().ok(),
            Some(("size", value)) if size.is_none() => size = value.parse::<u8>().ok(),
            _ => return Err(form()),
        }
    }
    let (Some(base), Some(size)) = (base, size) else { return Err(form()) };
    if size < base.prefix() || size > 30 {
        return Err(format!("{text:?}: size must be between the prefix of base, {}, and 30", base.prefix()));
    }
    let base = Ipv4Network::new(base.network(), base.prefix()).map_err(|error| format!("{text:?}: {error}"))?;
    Ok(AddressPool { base, size })
}

/// 0 is the default, as in Docker's example file. 68 is IPv4's least (RFC 791).
fn mtu(value: Option<i64>) -> Result<u32, ConfigError> {
    match value {
        None | Some(0) => Ok(1500),
        Some(bytes) => match u32::try_from(bytes) {
            Ok(bytes @ 68..=65535) => Ok(bytes),
            _ => Err(ConfigError::invalid("mtu", format!("{bytes} is not between 68 and 65535 bytes"))),
        },
    }
}

/// Fewer would say nothing of yesterday; a million take a gigabyte.
fn history_entries(value: Option<i64>) -> Result<u64, ConfigError> {
    let entries = value.unwrap_or(100_000);
    let told = || format!("{entries} is not between 100 and 1000000 entries");
    let in_bounds = u64::try_from(entries).ok().filter(|entries| (100..=1_000_000).contains(entries));
    in_bounds.ok_or_else(|| ConfigError::invalid("history-entries", told()))
}

fn search_domain(text: &str) -> Result<String, String> {
    let valid = text == "." || text.parse::<Hostname>().is_ok();
    if valid { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a valid domain")) }
}

/// A word of resolv.conf, such as `ndots:2`.
fn dns_option(text: &str) -> Result<String, String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    let valid = !text.is_empty() && text.bytes().all(legal);
    if valid { Ok(text.to_owned()) } else { Err(format!("{text:?} is not an option of resolv.conf, such as ndots:2")) }
}

/// Directories below the root of each control group hierarchy.
fn cgroup_parent(text: &str) -> Result<String, String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'@');
    let name =
        |part: &str| !part.is_empty() && part.len() <= 255 && part.bytes().all(legal) && !matches!(part, "." | "..");
    let valid = text.strip_prefix('/').unwrap_or(text).split('/').all(name);
    if valid { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a path of control groups, such as /pontoon")) }
}

fn log_driver(value: Option<&str>) -> Result<String, ConfigError> {
    match value.unwrap_or("json-file") {
        driver @ ("json-file" | "none") => Ok(driver.to_owned()),
        other => Err(ConfigError::invalid("log-driver", format!("{other:?}: there are json-file and none"))),
    }
}

fn log_opts(pairs: &[String]) -> Result<BTreeMap<String, String>, ConfigError> {
    let wrong = |reason: String| ConfigError::invalid("log-opt", reason);
    let mut opts = BTreeMap::new();
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or_else(|| wrong(format!("{pair:?}: expected KEY=VALUE")))?;
        if !matches!(key, "max-size" | "max-file") {
            return Err(wrong(format!(
                "unknown log opt {key:?} for json-file log driver: there are max-size and max-file"
            )));
        }
        if key == "max-file" && value.parse::<u32>().map_or(true, |files| files == 0) {
            return Err(wrong(format!("max-file: {value:?} is not a number of files, at least 1")));
        }
        if key == "max-size" && value != "-1" {
            parse_size(value).map_err(|error| wrong(format!("max-size: {error}")))?;
        }
        opts.insert(key.to_owned(), value.to_owned());
    }
    Ok(opts)
}

fn log_level(debug: Option<bool>, level: Option<&str>) -> Result<LogLevel, ConfigError> {
    let level = match level.unwrap_or("info") {
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" | "warning" => LogLevel::Warn,
        "error" | "fatal" => LogLevel::Error,
        other => {
            return Err(ConfigError::invalid("log-level", format!("{other:?}: there are debug, info, warn and error")));
        }
    };
    Ok(if debug == Some(true) { LogLevel::Debug } else { level })
}
