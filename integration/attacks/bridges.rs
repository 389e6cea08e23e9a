//! Two bridges on one host, each with a daemon: the containers of one are outside for those of the other.

use super::honest;
use crate::harness::Host;
use crate::harness::packets::volley;

const WAITS: [&str; 2] = ["sleep", "1000"];

#[test]
fn containers_of_another_bridge_are_outside() {
    let mut host = Host::new();
    host.sh("ip link add br7 type bridge && ip address add 10.7.0.1/24 dev br7 && ip link set br7 up").ok();
    host.start_second_daemon(&["--bridge", "br7"]);
    let mallory = host.run("busybox").cmd(&WAITS).start();
    host.docker_second(&["run", "-d", "--name", "web", "-p", "8081:80", "busybox", "httpd", "-f", "-h", "/www"]).ok();
    let pid = host.docker_second(&["inspect", "--format", "{{.State.Pid}}", "web"]).ok().parse().unwrap();
    // What is published there, is for everybody.
    mallory.exec(&["wget", "-qO-", "http://192.0.2.1:8081/"]).says("hello");

    let (mallory, victim) = (host.station(&mallory), host.station_of(pid));
    let gateway = host.station_at("pontoon0");
    let attacks = || honest::ipv4(&mallory, &victim, gateway.mac);
    volley(&mallory, &[&victim], &attacks()).nothing();
    volley(&victim, &[&mallory], &honest::ipv4(&victim, &mallory, host.station_at("br7").mac)).nothing();
    host.second().kill(&host.namespaces);
    host.without_defences(|| volley(&mallory, &[&victim], &attacks()).everything());
    host.second().start(&host.namespaces);
    volley(&mallory, &[&victim], &attacks()).nothing();
}
