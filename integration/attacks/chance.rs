//! What nobody thought of: frames of all kinds with bits turned by chance.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::honest;
use super::lies::Cast;
use crate::harness::Host;
use crate::harness::packets::frame::{ARP, IPV4};
use crate::harness::packets::{Attack, Station, volley, volley_at};

const WAITS: [&str; 2] = ["sleep", "1000"];
/// How often each frame is sent, each time with other bits turned.
const TIMES: usize = 8;

/// The frames of these attacks with up to eight bits turned anywhere before the token, mostly in headers. The number in the
/// name makes them again.
fn turned(attacks: &[Attack], random: &mut StdRng) -> Vec<Attack> {
    let all = attacks.iter().flat_map(|attack| std::iter::repeat_n(attack, TIMES));
    all.map(|attack| {
        attack.anew(|frame, token| {
            // Not every fragment has it.
            let end = frame.windows(token.len()).position(|window| window == token).unwrap_or(34);
            for _ in 0..random.random_range(1..=8) {
                frame[random.random_range(0..end)] ^= 1 << random.random_range(0..8);
            }
        })
    })
    .collect()
}

fn seeded(what: &str) -> StdRng {
    let seed = rand::random();
    // Shown if the test fails.
    eprintln!("{what}: seed {seed}");
    StdRng::seed_from_u64(seed)
}

/// With `icc=false` the expectation is simple.
#[test]
fn no_bit_opens_the_way_to_a_neighbour() {
    let host = Host::with(&["--icc=false"]);
    host.sh("for key in accept_source_route=1 rp_filter=0 accept_local=1; do
        for where in all pontoon0; do sysctl -qw net.ipv4.conf.$where.$key; done; done")
        .ok();
    let (mallory, victim) = (host.run("busybox").cmd(&WAITS).start(), host.run("busybox").serving().start());
    let (mallory, victim) = (host.station(&mallory), host.station(&victim));
    let (gateway, service) = (host.station_at("pontoon0"), host.service("127.0.0.1:5000"));
    let mut random = seeded("icc=false");
    let direct = [honest::ipv4(&mallory, &victim, victim.mac), honest::link_layer(&mallory, &victim)].concat();
    let routed = honest::ipv4(&mallory, &victim, gateway.mac);
    for kinds in [direct, routed] {
        let frames = turned(&kinds, &mut random);
        volley(&mallory, &[&victim], &frames).nothing();
        volley_at(&mallory, &[&service], &frames).nothing();
        host.without_defences(|| volley(&mallory, &[&victim], &frames).something());
    }
}

/// With `icc=true` what is heard is true.
#[test]
fn no_bit_makes_a_lie_pass() {
    let host = Host::new();
    let [liar, victim, other] = [(); 3].map(|()| host.run("busybox").cmd(&WAITS).start());
    let [liar, victim, other] = [&liar, &victim, &other].map(|it| host.station(it));
    let gateway = host.station_at("pontoon0");
    let cast = Cast { liar: &liar, victim: &victim, other: &other, gateway: &gateway };
    let mut random = seeded("icc=true");
    let truths = [honest::ipv4(&liar, &victim, victim.mac), honest::link_layer(&liar, &victim)].concat();
    let lies = [cast.arp(), cast.mac(), cast.ip(victim.ip, victim.mac), cast.impossible_ip(), cast.offices()].concat();
    for kinds in [truths, lies] {
        let (true_by_chance, lies): (Vec<_>, Vec<_>) = turned(&kinds, &mut random)
            .into_iter()
            .partition(|attack| attack.frames().iter().any(|frame| is_true(frame, &liar)));
        volley(&liar, &[&victim], &lies).nothing();
        volley(&liar, &[&victim], &true_by_chance);
        host.without_defences(|| volley(&liar, &[&victim], &lies).something());
    }
}

/// Untagged IPv4 or ARP under the sender's own MAC and address.
fn is_true(frame: &[u8], sender: &Station<'_>) -> bool {
    let ip = sender.ip.octets();
    let kind = u16::from_be_bytes([frame[12], frame[13]]);
    frame[6..12] == sender.mac
        && match kind {
            IPV4 => frame[26..30] == ip,
            ARP => frame[22..28] == sender.mac && frame[28..32] == ip,
            _ => false,
        }
}
