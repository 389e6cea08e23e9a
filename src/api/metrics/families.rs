//! The metrics that there are; `docs/metrics.md` explains each.

use super::exposition::{Family, Kind};

macro_rules! families {
    ($($(#[$doc:meta])* $constant:ident: $kind:ident $name:literal, $help:literal;)*) => {
        $(pub(super) const $constant: Family = Family { name: $name, kind: Kind::$kind, help: $help };)*
        /// All of them.
        #[cfg(test)]
        pub(super) const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD: Gauge "pontoon_build_info", "Which build this daemon is, always 1";
    CONTAINERS: Gauge "pontoon_containers", "Containers by state";
    STARTS: Histogram "pontoon_container_start_duration_seconds", "How long starts of containers took, by their result";
    ENDPOINTS: Gauge "pontoon_endpoints", "Containers at the bridge";
    ELEMENTS: Gauge "pontoon_firewall_elements", "Elements that the firewall's sets and maps should have";
    COMMITS: Histogram "pontoon_firewall_commit_duration_seconds",
        "How long the firewall's transactions took to be in force, by their result";
    DENIED: Counter "pontoon_denied_packets_total", "Packets that the firewall dropped, by the kernel's counters";
    DENIED_OF: Counter "pontoon_container_denied_packets_total",
        "Packets that the firewall dropped, by the container that sent them (of the cause lan: that they were for)";
    LOGGED: Counter "pontoon_denied_packets_logged_total", "Dropped packets that the daemon was told of";
    LOST: Counter "pontoon_denied_packets_lost_total", "Dropped packets that were lost on the way to the daemon";
    LISTENS: Gauge "pontoon_denied_packets_listening", "Whether the daemon listens to the log of dropped packets";
    FOUND: Counter "pontoon_drift_found_total", "Differences found between what should be and what is, by subject";
    REPAIRED: Counter "pontoon_drift_repaired_total", "Differences that were put right, by subject";
    QUERIES: Counter "pontoon_dns_queries_total", "Messages to the server of names";
    ANSWERS: Counter "pontoon_dns_answers_total", "Questions for names, by where their answer came from";
    DNS_FAILURES: Counter "pontoon_dns_failures_total", "Questions for names without a good answer, by reason";
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

    #[test]
    fn each_is_explained() {
        for family in ALL {
            let row = format!("| `{}` | {} |", family.name, family.kind.as_str());
            assert!(DOCUMENT.contains(&row), "docs/metrics.md does not have: {row}");
        }
        let explained = DOCUMENT.matches("| `pontoon_").count();
        assert_eq!(explained, ALL.len(), "docs/metrics.md explains metrics that are not there");
    }

    #[test]
    fn names_are_as_prometheus_wants_them() {
        for Family { name, kind, help } in ALL {
            assert!(
                name.starts_with("pontoon_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_seconds"), *kind == Kind::Histogram, "{name}");
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}");
        }
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
