//! Random rulesets and packets, of small worlds, so that rules match often. The same seed makes the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pontoon::firewall::audit::Transport;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::stage::{A, B, BRIDGE_MAC, LEFT, RIGHT, Side};
use crate::harness::packets::frame::{BROADCAST, Mac};

pub struct Generator(StdRng);

/// Where a base chain is, and what may stand there.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Prerouting,
    Input,
    Forward,
    Postrouting,
    Anywhere,
}

/// A packet to send.
#[derive(Clone, Debug)]
pub struct Sent {
    pub side: Side,
    /// To which hardware address.
    pub to: Mac,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub transport: Transport,
    /// An echo's identifier, the same in its answer.
    pub echo: u16,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.random_range(0..of.len())]
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    fn number(&mut self, low: u16, high: u16) -> u16 {
        self.0.random_range(low..=high)
    }

    /// Tables of several families, and with some luck translation.
    pub fn ruleset(&mut self) -> String {
        let mut text = String::new();
        for table in 0..self.number(1, 3) {
            let family = self.one(&["ip", "inet", "inet", "ip6"]);
            text += &self.table(family, table);
        }
        if self.chance(50) {
            text += &self.nat();
        }
        text
    }

    fn table(&mut self, family: &str, number: u16) -> String {
        let v6 = family == "ip6";
        let postrouting = self.chance(40);
        let mut text = format!("table {family} t{number} {{\n");
        text += "  counter count { }\n";
        text += &self.sets(v6);
        // Later chains first: a chain must be there before a rule names it.
        for chain in (0..3).rev() {
            text += &format!("  chain c{chain} {{\n");
            for _ in 0..self.number(0, 4) {
                text += &self.rule(v6, Place::Anywhere, chain + 1, !postrouting);
            }
            text += "  }\n";
        }
        let mut places = vec![("forward", Place::Forward)];
        for (name, place) in [("prerouting", Place::Prerouting), ("input", Place::Input)] {
            if self.chance(45) {
                places.push((name, place));
            }
        }
        if postrouting {
            places.push(("postrouting", Place::Postrouting));
        }
        for (hook, place) in places {
            let priority = self.one(&[-350, -250, -150, -50, 0, 0, 10, 50, 150, 300]) + i32::from(number);
            let policy = self.one(&["accept", "accept", "drop"]);
            text += &format!("  chain {hook} {{\n    type filter hook {hook} priority {priority}; policy {policy};\n");
            for _ in 0..self.number(1, 6) {
                let rejects = !matches!(place, Place::Postrouting);
                text += &self.rule(v6, place, 0, rejects);
            }
            text += "  }\n";
        }
        text + "}\n"
    }

    fn sets(&mut self, v6: bool) -> String {
        let (kind, net) = if v6 { ("ipv6_addr", self.network(true)) } else { ("ipv4_addr", self.network(false)) };
        let (one, other) = (self.address(v6), self.address(v6));
        let port = self.number(1, 4);
        let verdicts: Vec<&str> = (0..3).map(|_| self.one(&["accept", "drop", "return", "jump c2"])).collect();
        let lines = [
            format!("set exact {{ type {kind}; elements = {{ {} }} }}", distinct(&[one.clone(), other.clone()])),
            format!("set ranges {{ type {kind}; flags interval; auto-merge; elements = {{ {net}, {one} }} }}"),
            format!(
                "set ports {{ type {kind} . inet_proto . inet_service; flags interval; elements = \
                 {{ {net} . tcp . {port}-{}, {other} . udp . {port} }} }}",
                port + 2
            ),
            format!("map verdicts {{ type {kind} : verdict; elements = {{ {one} : {} }} }}", verdicts[0]),
            format!(
                "map services {{ type inet_service : verdict; flags interval; elements = {{ {port} : {}, {}-{} : {} }} }}",
                verdicts[1],
                port + 1,
                port + 3,
                verdicts[2]
            ),
            format!("map marks {{ type inet_service : mark; elements = {{ {port} : 0x1, {} : 0x2 }} }}", port + 1),
        ];
        // Verdict maps jump to chains, which must come first for nft; it sorts that out within one file.
        lines.iter().map(|line| format!("  {line}\n")).collect()
    }

    fn address(&mut self, v6: bool) -> String {
        let (net, host) = (self.number(1, 2), self.number(1, 5));
        if v6 { format!("fd0{net}::{host}") } else { format!("10.{net}.0.{host}") }
    }

    fn network(&mut self, v6: bool) -> String {
        let net = self.number(1, 2);
        let (low, high) = (self.number(1, 2), self.number(3, 5));
        match (v6, self.number(0, 2)) {
            (false, 0) => format!("10.{net}.0.0/24"),
            (false, 1) => format!("10.{net}.0.2/31"),
            (false, _) => format!("10.{net}.0.{low}-10.{net}.0.{high}"),
            (true, 0) => format!("fd0{net}::/64"),
            (true, 1) => format!("fd0{net}::2/127"),
            (true, _) => format!("fd0{net}::{low}-fd0{net}::{high}"),
        }
    }

    fn rule(&mut self, v6: bool, place: Place, jumps_from: u16, rejects: bool) -> String {
        let mut words = Vec::new();
        for _ in 0..self.number(0, 2) {
            words.push(self.condition(v6));
        }
        for _ in 0..self.number(0, 1) {
            words.push(self.statement(place));
        }
        if let Some(verdict) = self.verdict(v6, jumps_from, rejects) {
            words.push(verdict);
        }
        if words.is_empty() {
            words.push("counter".to_owned());
        }
        format!("    {}\n", words.join(" "))
    }

    fn condition(&mut self, v6: bool) -> String {
        let ip = if v6 { "ip6" } else { "ip" };
        let side = self.one(&["saddr", "daddr"]);
        let (address, other, network) = (self.address(v6), self.address(v6), self.network(v6));
        let (port, more) = (self.number(1, 6), self.number(1, 3));
        let l4 = self.one(&["tcp", "udp", "th"]);
        let not = self.one(&["", "", "!= "]);
        let th = if l4 == "th" { "meta l4proto { tcp, udp } " } else { "" };
        match self.number(0, 33) {
            0 => format!("{ip} {side} {not}{address}"),
            1 => format!("{ip} {side} {not}{network}"),
            2 => format!("{ip} {side} {not}{{ {} }}", distinct(&[address, other])),
            3 => format!("{ip} {side} {not}@exact"),
            4 => format!("{ip} {side} {not}@ranges"),
            5 | 6 => format!("{th}{l4} dport {not}{port}"),
            7 => format!("{th}{l4} dport {not}{port}-{}", port + more),
            8 => format!("{th}{l4} dport {not}{{ {port}, {}-{} }}", port + 2, port + 4),
            9 => format!("{th}{l4} sport {not}{}", 1000 + more),
            10 => format!("meta l4proto {not}{}", self.one(&["tcp", "udp", "icmp", "{ tcp, udp }"])),
            11 => format!("iifname {not}\"{}\"", self.one(&["a0", "b0", "a*", "lo"])),
            12 => format!("oifname {not}\"{}\"", self.one(&["a0", "b0", "b*"])),
            13 => format!("iif {not}{}", self.one(&["a0", "b0"])),
            14 | 15 => {
                format!("ct state {}", self.one(&["new", "established,related", "invalid", "!= new", "untracked"]))
            }
            16 => self.one(&["ct direction original", "ct status dnat", "ct status & snat == snat"]).to_owned(),
            17 => format!("ct original {ip} daddr {address}"),
            18 => format!("meta l4proto {} ct original proto-dst {port}", self.one(&["tcp", "udp"])),
            19 => format!("meta mark {not}{}", self.number(0, 3)),
            20 => format!("meta mark & 0x3 == {}", self.number(0, 3)),
            21 => format!("ct mark {not}{}", self.number(0, 2)),
            22 => format!("fib daddr type {not}{}", self.one(&["local", "unicast", "broadcast"])),
            23 => format!("fib daddr . iif type {not}local"),
            24 => format!("fib saddr . iif oif {}", self.one(&["missing", "exists"])),
            25 => format!("{ip} saddr . {ip} daddr {not}{{ {address} . {other}, {network} . {address} }}"),
            26 => format!("meta l4proto {{ tcp, udp }} {ip} {side} . meta l4proto . th dport {not}@ports"),
            27 => format!("icmp{} type echo-request", if v6 { "v6" } else { "" }),
            28 => {
                self.one(&["tcp flags syn", "tcp flags & (syn|ack) == syn", "tcp flags syn,ack / syn,ack"]).to_owned()
            }
            29 => self.one(&["meta protocol ip", "meta pkttype host"]).to_owned(),
            30 => "ether saddr 02:00:00:00:01:02".to_owned(),
            31 => format!("iifname . meta l4proto {not}{{ \"a0\" . tcp, \"b0\" . udp }}"),
            32 => format!("{ip} {side} & {} == {address}", if v6 { "ffff::7" } else { "255.0.0.7" }),
            _ => match self.number(0, 9) {
                0 => "limit rate 1/hour burst 1 packets".to_owned(),
                1 => format!("{ip} {} 63", if v6 { "hoplimit" } else { "ttl" }),
                _ => format!("th dport {not}{port}"),
            },
        }
    }

    fn statement(&mut self, place: Place) -> String {
        let number = self.number(0, 3);
        match self.number(0, 8) {
            0 => "counter".to_owned(),
            1 => "counter name count".to_owned(),
            2 => format!("meta mark set {number}"),
            3 => format!("meta mark set meta mark {} {number}", self.one(&["or", "xor", "and"])),
            4 => format!("ct mark set {number}"),
            5 => "meta mark set ct mark".to_owned(),
            6 => "meta mark set th dport map @marks".to_owned(),
            7 if place == Place::Prerouting => "notrack".to_owned(),
            _ => "ct mark set meta mark".to_owned(),
        }
    }

    fn verdict(&mut self, v6: bool, jumps_from: u16, rejects: bool) -> Option<String> {
        let ip = if v6 { "ip6" } else { "ip" };
        let target = (jumps_from < 3).then(|| self.number(jumps_from, 2));
        Some(match (self.number(0, 15), target) {
            (0..=3, _) => "accept".to_owned(),
            (4..=6, _) => "drop".to_owned(),
            (7, _) => "return".to_owned(),
            (8 | 9, Some(target)) => format!("jump c{target}"),
            (10, Some(target)) => format!("goto c{target}"),
            (11, _) if rejects => self.one(&["reject", "meta l4proto tcp reject with tcp reset"]).to_owned(),
            (12, Some(0..=1)) if jumps_from < 2 => format!("{ip} saddr vmap @verdicts"),
            (13, Some(0..=1)) if jumps_from < 2 => "th dport vmap @services".to_owned(),
            (14, _) => "ct state vmap { new : accept, established : accept, invalid : drop }".to_owned(),
            _ => return None,
        })
    }

    fn nat(&mut self) -> String {
        let mut text = "table ip translation {\n".to_owned();
        let priority = self.one(&[-100, -90]);
        text += &format!("  chain to {{\n    type nat hook prerouting priority {priority};\n");
        for _ in 0..self.number(1, 3) {
            let condition = self.condition(false);
            let (host, port) = (self.number(2, 5), self.number(1, 6));
            let action = match self.number(0, 6) {
                0 => format!("dnat to 10.2.0.{host}"),
                1 => format!("meta l4proto {{ tcp, udp }} dnat to 10.2.0.{host}:{port}"),
                2 => format!("tcp dport {port} dnat to 10.1.0.{host}"),
                3 => format!("meta l4proto {{ tcp, udp }} redirect to :{port}"),
                4 => format!(
                    "dnat ip to meta l4proto . th dport map {{ tcp . {port} : 10.2.0.{host} . 7, udp . 1 : 10.2.0.3 . 9 }}"
                ),
                5 => "accept".to_owned(),
                _ => format!("dnat to ip daddr map {{ 10.1.0.1 : 10.2.0.{host}, 10.2.0.2 : 10.2.0.3 }}"),
            };
            text += &format!("    {condition} {action}\n");
        }
        text += "  }\n  chain from {\n    type nat hook postrouting priority 100;\n";
        for _ in 0..self.number(0, 2) {
            let condition = self.condition(false);
            let action = self.one(&["masquerade", "snat to 10.2.0.1", "snat to 10.2.0.77", "accept"]);
            text += &format!("    {condition} {action}\n");
        }
        text + "  }\n}\n"
    }

    /// A packet; `number` makes its source port its own.
    pub fn packet(&mut self, number: u16) -> Sent {
        let v6 = self.chance(25);
        let side = self.one(&[Side::Left, Side::Left, Side::Right]);
        let (near, far) = if side == Side::Left { (1, 2) } else { (2, 1) };
        let to = self.one(&[far, far, far, near]);
        let host = match (to == near, self.number(1, 5)) {
            // Back where it came from makes the router complain to the sender.
            (true, _) => 1,
            (false, host) => host,
        };
        let ip = |net: u16, host: u16| -> IpAddr {
            if v6 {
                Ipv6Addr::new(0xfd00 + net, 0, 0, 0, 0, 0, 0, host).into()
            } else {
                Ipv4Addr::new(10, net as u8, 0, host as u8).into()
            }
        };
        let destination = self.number(1, 8);
        let source = Some(if self.chance(30) { 1001 + number % 3 } else { 20_000 + number });
        let transport = match self.number(0, 6) {
            0..=2 => Transport::Tcp { source, destination: Some(destination), flags: 2 },
            3..=5 => Transport::Udp { source, destination: Some(destination) },
            _ => Transport::Icmp { kind: if v6 { 128 } else { 8 }, code: 0 },
        };
        let from = self.number(2, 5);
        let mac = if side == Side::Left { A } else { B };
        Sent { side, to: mac, source: ip(near, from), destination: ip(to, host), transport, echo: 100 + number }
    }
}

impl Generator {
    /// Tables of the bridge's family, and sometimes one of ip's for what is routed.
    pub fn bridge_ruleset(&mut self) -> String {
        let mut text = "table bridge guard {\n".to_owned();
        text += "  set bound { type ifname . ether_addr . ipv4_addr; elements = { \"a0\" . 02:00:00:00:01:02 . 10.1.0.2 } }\n";
        for hook in ["prerouting", "input", "forward", "output", "postrouting"] {
            if self.chance(50) {
                let policy = self.one(&["accept", "accept", "accept", "drop"]);
                let priority = self.one(&[-300, -200, 0, 300]);
                text +=
                    &format!("  chain {hook} {{\n    type filter hook {hook} priority {priority}; policy {policy};\n");
                for _ in 0..self.number(1, 4) {
                    text += &self.bridge_rule();
                }
                text += "  }\n";
            }
        }
        text += "}\n";
        if self.chance(60) {
            text += &self.table("ip", 0);
        }
        text
    }

    fn bridge_rule(&mut self) -> String {
        let port = self.number(1, 4);
        let not = self.one(&["", "", "!= "]);
        let side = self.one(&["s", "d"]);
        let condition = match self.number(0, 12) {
            0 => format!("ether {side}addr {not}02:00:00:00:0{}:02", self.number(1, 2)),
            1 => format!("iifname {not}\"{}\"", self.one(&["a0", "b0", "br0", "?"])).replace('?', ""),
            2 => format!("oifname {not}\"{}\"", self.one(&["a0", "b0", "br0"])),
            3 => format!("ip {side}addr {not}10.1.0.{port}"),
            4 => format!("tcp dport {not}{port}"),
            5 => format!("ether type {not}{}", self.one(&["ip", "arp", "ip6"])),
            6 => format!("meta ibrname {not}\"br0\""),
            7 => format!("meta obrname {not}\"br0\""),
            8 => format!("iifname . ether saddr . ip saddr {not}@bound"),
            9 => format!("meta mark {not}{}", port % 3),
            10 => format!("meta pkttype {not}{}", self.one(&["host", "broadcast", "other"])),
            11 => format!("meta protocol {not}ip"),
            _ => format!("meta l4proto {not}{}", self.one(&["tcp", "udp", "icmp"])),
        };
        let action = match self.number(0, 5) {
            0 => format!("meta mark set {}", port % 3),
            1 | 2 => "drop".to_owned(),
            3 => "counter".to_owned(),
            _ => "accept".to_owned(),
        };
        format!("    {condition} {action}\n")
    }

    /// The flags of a port.
    pub fn port(&mut self) -> String {
        let flags = ["isolated", "hairpin", "learning", "flood", "bcast_flood"];
        let words = flags.map(|flag| format!("{flag} {}", if self.chance(50) { "on" } else { "off" }));
        words.join(" ")
    }

    /// A frame on the bridge.
    pub fn frame(&mut self, number: u16) -> Sent {
        let side = self.one(&[Side::Left, Side::Right]);
        let (own, other, mac) = if side == Side::Left { (2, 3, RIGHT) } else { (3, 2, LEFT) };
        let nobody = [2, 0, 0, 0, 9, 9];
        let to = self.one(&[
            mac,
            mac,
            BRIDGE_MAC,
            BRIDGE_MAC,
            BRIDGE_MAC,
            BROADCAST,
            nobody,
            if mac == LEFT { B } else { A },
        ]);
        let host = self.one(&[other, other, 1]);
        let address = |host: u8| IpAddr::from(Ipv4Addr::new(10, 1, 0, host));
        let source = Some(20_000 + number);
        let transport = match self.number(0, 2) {
            0 => Transport::Tcp { source, destination: Some(self.number(1, 4)), flags: 2 },
            1 => Transport::Udp { source, destination: Some(self.number(1, 4)) },
            _ => Transport::Icmp { kind: 8, code: 0 },
        };
        Sent { side, to, source: address(own), destination: address(host), transport, echo: 100 + number }
    }
}

impl Generator {
    /// Tables as `iptables-restore` reads them.
    pub fn iptables(&mut self, v6: bool) -> String {
        let mut text = "*filter\n".to_owned();
        for chain in ["INPUT", "FORWARD"] {
            text += &format!(":{chain} {}\n", self.one(&["ACCEPT", "ACCEPT", "DROP"]));
        }
        text += ":USER -\n";
        for chain in ["USER", "FORWARD", "FORWARD", "FORWARD", "FORWARD", "INPUT", "INPUT"] {
            let conditions: Vec<String> = (0..self.number(0, 2)).map(|_| self.match_of(v6)).collect();
            let reset = "REJECT --reject-with tcp-reset";
            let target = match self.number(0, 9) {
                0..=2 => "ACCEPT",
                3 | 4 => "DROP",
                5 => "REJECT",
                6 if conditions.iter().any(|c| c.starts_with("-p tcp")) => reset,
                7 if chain != "USER" => "USER",
                8 => "RETURN",
                _ => "MARK --set-xmark 0x2/0x3",
            };
            text += &format!("-A {chain} {} -j {target}\n", one_protocol(&conditions));
        }
        text += "COMMIT\n*mangle\n:PREROUTING ACCEPT\n";
        let condition = self.match_of(v6);
        text += &format!("-A PREROUTING {condition} -j MARK --set-xmark 0x1/0x1\nCOMMIT\n");
        if self.chance(50) {
            let net = if v6 { ("fd02::", "[fd02::3]:2") } else { ("10.2.0.", "10.2.0.3:2") };
            text += "*nat\n:PREROUTING ACCEPT\n:POSTROUTING ACCEPT\n";
            let condition = one_protocol(&[self.match_of(v6)]);
            text += &match self.number(0, 3) {
                0 => format!("-A PREROUTING {condition} -j DNAT --to-destination {}4\n", net.0),
                1 => format!("-A PREROUTING -p tcp --dport 3 -j DNAT --to-destination {}\n", net.1),
                2 => "-A PREROUTING -p udp --dport 2:4 -j REDIRECT --to-ports 5\n".to_owned(),
                _ => "-A PREROUTING -m addrtype --dst-type LOCAL -j ACCEPT\n".to_owned(),
            };
            text += &format!(
                "-A POSTROUTING -o b0 -j {}\n",
                match self.number(0, 2) {
                    0 => "MASQUERADE".to_owned(),
                    1 => format!("SNAT --to-source {}77", net.0),
                    _ => "ACCEPT".to_owned(),
                }
            );
            text += "COMMIT\n";
        }
        text
    }

    fn match_of(&mut self, v6: bool) -> String {
        let (port, address) = (self.number(1, 6), self.address(v6));
        let not = self.one(&["", "", "! "]);
        let side = self.one(&["s", "d"]);
        let echo = if v6 { "-p icmpv6 -m icmp6 --icmpv6-type 128" } else { "-p icmp -m icmp --icmp-type 8" };
        match self.number(0, 13) {
            0 => format!("-p tcp --dport {port}"),
            1 => format!("-p udp --dport {port}:{}", port + 2),
            2 => format!("-{side} {address}"),
            3 => format!("{not}-i {}", self.one(&["a0", "b+"])),
            4 => {
                format!("-m conntrack {not}--ctstate {}", self.one(&["NEW", "ESTABLISHED,RELATED", "INVALID", "DNAT"]))
            }
            5 => format!("-m state --state {}", self.one(&["NEW", "ESTABLISHED", "INVALID"])),
            6 => format!("-m addrtype {not}--dst-type {}", self.one(&["LOCAL", "UNICAST"])),
            7 => format!("-p tcp -m multiport {not}--dports {port},{}:{}", port + 2, port + 4),
            8 => format!("-p udp -m multiport {not}--ports {port},1001"),
            9 => format!("-m mark {not}--mark {}/0x3", self.number(0, 3)),
            10 => echo.to_owned(),
            11 => format!("-m conntrack --ctorigdst {address}"),
            12 => format!("-p tcp -m conntrack {not}--ctorigdstport {port}"),
            _ => "-m comment --comment words -m conntrack --ctdir ORIGINAL".to_owned(),
        }
    }
}

/// Conditions of which only the first names a protocol.
fn one_protocol(conditions: &[String]) -> String {
    let mut named = false;
    let fits = conditions.iter().filter(|condition| {
        let names = condition.starts_with("-p ");
        !names || !std::mem::replace(&mut named, true)
    });
    fits.map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn distinct(words: &[String]) -> String {
    let mut words = words.to_vec();
    words.sort();
    words.dedup();
    words.join(", ")
}
