//! `--add-host`, `--link`, and what goes into a network's endpoint.

use std::net::IpAddr;

use super::invalid;
use crate::cli::error::CliError;

/// `name:address` or `name=address`; the address may be the word `host-gateway` → `name:address`.
pub(super) fn extra_host(text: &str) -> Result<String, CliError> {
    let form = || invalid(format!("bad format for add-host: {text:?}: expected NAME:ADDRESS"));
    let split = text.find('=').or_else(|| text.find(':')).ok_or_else(form)?;
    let (name, address) = (&text[..split], &text[split + 1..]);
    if name.is_empty() {
        return Err(form());
    }
    let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
        return Err(invalid(format!("invalid IP address in add-host: {address:?}")));
    }
    Ok(format!("{name}:{address}"))
}

/// `name[:alias]` → `name:alias`.
pub(super) fn link(text: &str) -> Result<String, CliError> {
    match text.split(':').collect::<Vec<_>>()[..] {
        [name] if !name.is_empty() => Ok(format!("{name}:{}", name.trim_start_matches('/'))),
        [name, alias] if !name.is_empty() && !alias.is_empty() => Ok(text.to_owned()),
        _ => Err(invalid(format!("bad format for links: {text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_links() {
        for (text, expected) in [
            ("db:10.0.0.1", "db:10.0.0.1"),
            ("db=10.0.0.1", "db:10.0.0.1"),
            ("db:[::1]", "db:::1"),
            ("db=::1", "db:::1"),
            ("gw:host-gateway", "gw:host-gateway"),
        ] {
            assert_eq!(extra_host(text).expect("a host"), expected);
        }
        for bad in ["db", ":10.0.0.1", "db:nowhere", "db:"] {
            assert!(extra_host(bad).is_err(), "{bad:?}");
        }
        assert_eq!(link("db").expect("a link"), "db:db");
        assert_eq!(link("db:x").expect("a link"), "db:x");
        for bad in ["", "db:", ":x", "a:b:c"] {
            assert!(link(bad).is_err(), "{bad:?}");
        }
    }
}
