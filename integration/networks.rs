//! The three networks as clients see them: lists, who is on them, and the news of who comes and goes.

use serde_json::Value;

use crate::harness::{Cli, Host};

#[test]
fn three_and_who_is_on_them() {
    let host = Host::with(&["--bip", "192.168.0.128/25"]);
    let web = host.run("busybox").name("web").cmd(&["sleep", "1000"]).start();
    for cli in Cli::BOTH {
        let ls = |words: &[&str]| host.cli(cli, &[&["network", "ls"], words].concat()).ok();
        let table = ls(&[]);
        let cells: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells[0], ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]);
        let rows: Vec<&[&str]> = cells[1..].iter().map(|row| &row[1..]).collect();
        assert_eq!(rows, [["bridge", "bridge", "local"], ["host", "host", "local"], ["none", "null", "local"]]);
        let ids: Vec<&str> = cells[1..].iter().map(|row| row[0]).collect();
        assert_eq!(ls(&["--quiet"]), ids.join("\n"));
        let long = ls(&["-q", "--no-trunc", "--filter", "name=bridge"]);
        assert!(long.len() == 64 && long.starts_with(ids[0]), "{long}");
        assert_eq!(ls(&["--filter", "driver=null", "--format", "{{.Name}} {{.Internal}}"]), "none false");
        assert_eq!(ls(&["--filter", "type=custom", "--quiet"]), "");
        let json: Value = serde_json::from_str(&ls(&["--filter", "name=host", "--format", "{{json .}}"])).unwrap();
        assert_eq!((&json["Name"], &json["IPv6"]), (&"host".into(), &"false".into()));

        let inspect = |words: &[&str]| host.cli(cli, &[&["network", "inspect"], words].concat());
        let on_it = "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}";
        assert_eq!(inspect(&["-f", on_it, ids[0]]).ok(), format!("web {}/25", web.address()));
        let both: Value = serde_json::from_str(&inspect(&["bridge", "none"]).ok()).unwrap();
        assert_eq!(both[0]["IPAM"]["Config"][0]["Subnet"], "192.168.0.128/25");
        assert_eq!((&both[1]["Name"], &both[1]["Id"].as_str().unwrap()[..12]), (&"none".into(), ids[2]));
        let lone = inspect(&["nowhere", "host"]);
        lone.ends_with(1).complains_as(cli, "network nowhere not found", "No such network: nowhere");
        assert!(lone.stdout.contains("\"Name\": \"host\""), "{lone}");
        host.cli(cli, &["inspect", "-f", "{{.Driver}}", "none"]).says("null");
    }
    // As old as the daemon's data, whichever daemon it is.
    let created = || host.docker(&["network", "inspect", "-f", "{{.Created}}", "host"]).ok();
    let before = created();
    assert!(!before.starts_with("1970"), "{before}");
    host.kill_daemon();
    host.restart_daemon();
    assert_eq!(created(), before);
}

#[test]
fn who_comes_and_goes_is_told() {
    let host = Host::new();
    let format = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}";
    for (network, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null")] {
        let container = host.run("busybox").name(network).net(network).cmd(&["sleep", "1000"]).start();
        let joined = host.run("busybox").net(&format!("container:{network}")).cmd(&["true"]).start();
        joined.wait();
        container.verb(&["rm", "--force"]).ok();
        let filter = format!("network={network}");
        let events = |format: &str| {
            let window = ["events", "--since", "1h", "--until", "0s", "--format", format, "--filter", &filter];
            host.docker(&window).ok()
        };
        let expected = ["connect", "disconnect"].map(|action| format!("network {action} {network} {driver}"));
        assert_eq!(events(format), expected.join("\n"));
        let id = host.docker(&["network", "inspect", "-f", "{{.Id}}", network]).ok();
        let about = format!("{id} {}", container.id);
        assert_eq!(events("{{.Actor.ID}} {{.Actor.Attributes.container}}"), format!("{about}\n{about}"));
    }
    // A start that fails comes and goes, too.
    host.run("busybox").name("bad").cmd(&["/no/such"]).attempt().ends_with(127);
    let told = host.docker(&["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"]).ok();
    let told: Vec<&str> = told.lines().rev().take(3).collect();
    assert_eq!(told, ["disconnect", "connect", "create"]);
}
