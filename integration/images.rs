//! Images: import, load, tag, rmi, history; and archives that mean harm.

use std::io::Write;

use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::harness::image::{self, RootFs};
use crate::harness::{Cli, Host, Outcome};

/// Writes an archive where the host's clients can read it.
fn save(host: &Host, name: &str, content: &[u8]) -> String {
    let path = host.dir().join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

fn digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn config(layers: &[Vec<u8>], config: &serde_json::Value) -> Vec<u8> {
    let ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{}", digest(layer))).collect();
    let history: Vec<_> = ids.iter().map(|_| serde_json::json!({"created_by": "test layer"})).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z", "config": config,
        "rootfs": {"type": "layers", "diff_ids": ids}, "history": history,
    });
    config.to_string().into_bytes()
}

/// What `docker save` writes.
fn docker_archive(name: &str, layers: &[Vec<u8>], settings: &serde_json::Value) -> Vec<u8> {
    let config = config(layers, settings);
    let config_name = format!("{}.json", digest(&config));
    let mut archive = RootFs::empty().file(&config_name, 0o644, &config);
    let mut names = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        names.push(format!("layer{at}/layer.tar"));
        archive = archive.dir(&format!("layer{at}"), 0o755).file(&names[at], 0o644, layer);
    }
    let manifest = serde_json::json!([{"Config": config_name, "RepoTags": [name], "Layers": names}]);
    archive.file("manifest.json", 0o644, manifest.to_string().as_bytes()).tar()
}

/// What `skopeo copy oci-archive:` and `docker save` of today write. Each layer comes with its media type's suffix.
fn oci_layout(name: &str, layers: &[(Vec<u8>, &str)], settings: &serde_json::Value) -> Vec<u8> {
    let plain: Vec<_> = layers.iter().map(|(layer, _)| layer.clone()).collect();
    let mut archive = RootFs::empty().dir("blobs", 0o755).dir("blobs/sha256", 0o755);
    let mut blob = |content: &[u8], media: &str| {
        let old = std::mem::replace(&mut archive, RootFs::empty());
        archive = old.file(&format!("blobs/sha256/{}", digest(content)), 0o644, content);
        serde_json::json!({"mediaType": media, "digest": format!("sha256:{}", digest(content)), "size": content.len()})
    };
    let descriptors: Vec<_> = layers
        .iter()
        .map(|(layer, suffix)| {
            let packed = match *suffix {
                "+gzip" => gzip(layer),
                "+zstd" => zstd::encode_all(layer.as_slice(), 1).unwrap(),
                _ => layer.clone(),
            };
            blob(&packed, &format!("application/vnd.oci.image.layer.v1.tar{suffix}"))
        })
        .collect();
    let config = blob(&config(&plain, settings), "application/vnd.oci.image.config.v1+json");
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": descriptors});
    let mut manifest = blob(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
    manifest["annotations"] = serde_json::json!({"io.containerd.image.name": format!("docker.io/library/{name}"),
        "org.opencontainers.image.ref.name": name.split(':').next_back()});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [manifest]});
    archive
        .file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", 0o644, index.to_string().as_bytes())
        .tar()
}

/// Three layers: a base; one that deletes and hides; one on top.
fn three_layers() -> Vec<Vec<u8>> {
    let base = RootFs::busybox()
        .file("deleted", 0o644, b"never seen")
        .dir("hidden", 0o755)
        .file("hidden/old", 0o644, b"never seen")
        .file("changed", 0o644, b"old")
        .tar();
    let middle = RootFs::empty()
        .file(".wh.deleted", 0o644, b"")
        .dir("hidden", 0o755)
        .file("hidden/.wh..wh..opq", 0o644, b"")
        .file("hidden/new", 0o600, b"new")
        .tar();
    let top = RootFs::empty().file("changed", 0o644, b"new").tar();
    vec![base, middle, top]
}

#[track_caller]
fn shows_three_layers(host: &Host, image: &str) {
    let script =
        "cat /changed; echo; ls /deleted /hidden/old 2>&1 | grep -c 'No such'; ls -A /hidden; stat -c %a /hidden/new";
    host.run(image).sh(script).once().says("new\n2\nnew\n600");
}

#[test]
fn import_with_changes() {
    let host = Host::new();
    let tar = save(&host, "root.tar", &RootFs::busybox().tar());
    for cli in Cli::BOTH {
        let changes = [
            "ENTRYPOINT [\"echo\", \"says\"]",
            "CMD [\"hello\"]",
            "ENV A=b",
            "WORKDIR /var",
            "EXPOSE 80/tcp",
            "USER app",
            "LABEL made=here",
        ];
        let mut words = vec!["import", "--message", "by a test"];
        changes.iter().for_each(|change| words.extend(["--change", change]));
        let id = host.cli(cli, &[words.as_slice(), &[&tar, "made:1"]].concat()).ok();
        assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
        host.run("made:1").by(cli).once().says("says hello");
        host.run("made:1").by(cli).cmd(&["bye"]).once().says("says bye");
        host.run("made:1")
            .by(cli)
            .flags(&["--entrypoint", "sh"])
            .cmd(&["-c", "echo $A; pwd; id -un"])
            .once()
            .says("b\n/var\napp");
        let inspected = host.cli(
            cli,
            &[
                "inspect",
                "--type",
                "image",
                "--format",
                "{{.Id}} {{json .Config.ExposedPorts}} {{.Config.Labels.made}} {{.Comment}}",
                "made:1",
            ],
        );
        inspected.says(&format!("{id} {{\"80/tcp\":{{}}}} here by a test"));
        assert!(host.cli(cli, &["history", "made:1"]).ok().contains("by a test"));
        host.cli(cli, &["rmi", "made:1"]).ok();
    }
    // From stdin, compressed.
    let packed = gzip(&RootFs::busybox().tar());
    let piped =
        Outcome::of(&mut host.daemon().client(&host.namespaces, Cli::Docker, &["import", "-", "piped"]), &packed);
    piped.ok();
    host.run("piped").cmd(&["echo", "works"]).once().says("works");
}

#[test]
fn load_a_docker_archive_with_layers() {
    let host = Host::new();
    let settings = serde_json::json!({"Cmd": ["sh", "-c", "echo $GREETING"], "Env": ["PATH=/bin", "GREETING=hi"]});
    let archive = docker_archive("layered:2", &three_layers(), &settings);
    let path = save(&host, "layered.tar", &archive);
    for cli in Cli::BOTH {
        host.cli(cli, &["load", "--input", &path]).says("Loaded image: layered:2");
        shows_three_layers(&host, "layered:2");
        host.run("layered:2").by(cli).once().says("hi");
        assert_eq!(host.cli(cli, &["history", "--quiet", "layered:2"]).lines().len(), 3);
        host.cli(cli, &["rmi", "layered:2"]).ok();
    }
    // Compressed as a whole, from stdin.
    let piped = Outcome::of(&mut host.daemon().client(&host.namespaces, Cli::Docker, &["load"]), &gzip(&archive));
    piped.says("Loaded image: layered:2");
}

#[test]
fn load_an_oci_layout_with_gzip_and_zstd() {
    let host = Host::new();
    let layers: Vec<_> = three_layers().into_iter().zip(["+gzip", "+zstd", ""]).collect();
    let path = save(&host, "oci.tar", &oci_layout("oci:3", &layers, &serde_json::json!({"Env": ["PATH=/bin"]})));
    host.docker(&["load", "--input", &path]).says("Loaded image: oci:3");
    shows_three_layers(&host, "oci:3");
}

#[test]
fn layers_are_shared() {
    let host = Host::new();
    let layers = three_layers();
    let settings = serde_json::json!({});
    let size = || {
        let text = host.sh(&format!("du -s --block-size=1 {} | cut -f1", host.daemon().data_root.display())).ok();
        text.parse::<u64>().unwrap()
    };
    let one = save(&host, "one.tar", &docker_archive("one:1", &layers[..2], &settings));
    let two = save(&host, "two.tar", &docker_archive("two:1", &layers, &settings));
    host.docker(&["load", "-i", &one]).ok();
    let before = size();
    host.docker(&["load", "-i", &two]).ok();
    assert!(size() - before < 500_000, "the base layer was kept twice: {} bytes more", size() - before);
    host.docker(&["rmi", "one:1"]).ok();
    shows_three_layers(&host, "two:1");
}

#[test]
fn listing_tagging_and_removing() {
    let host = Host::new();
    let id = host.docker(&["images", "--quiet", "--no-trunc", "busybox"]).ok();
    for cli in Cli::BOTH {
        host.cli(cli, &["tag", "busybox", "example.net/team/box:2"]).ok();
        let names = host.cli(cli, &["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
        let mut names: Vec<_> = names.lines().collect();
        names.sort_unstable();
        assert_eq!(names, ["busybox:latest", "example.net/team/box:2"]);
        host.run("example.net/team/box:2").by(cli).cmd(&["true"]).once().ok();
        host.run(&id[7..19]).by(cli).cmd(&["true"]).once().ok();
        assert_eq!(host.cli(cli, &["rmi", "example.net/team/box:2"]).ok(), "Untagged: example.net/team/box:2");
        host.cli(cli, &["rmi", "nothing:1"]).ends_with(1).complains("No such image");
        host.cli(cli, &["tag", "busybox", "Not A Name"]).ends_with(1);
    }

    let container = host.run("busybox").cmd(&["sleep", "1000"]).start();
    let refused = host.docker(&["rmi", &id]).fails(1);
    assert!(refused.contains("conflict") && refused.contains(&container.id[..12]), "{refused}");
    container.verb(&["rm", "--force"]).ok();
    let removed = host.docker(&["rmi", "busybox"]).ok();
    assert!(removed.contains("Untagged: busybox:latest") && removed.contains(&format!("Deleted: {id}")), "{removed}");
    host.docker(&["images", "--quiet"]).says("");
    let layers = host.sh(&format!("find {} -name busybox -type f", host.daemon().data_root.display()));
    layers.says("");
}

#[test]
fn a_real_server_from_debians_packages() {
    let host = Host::new();
    let tar = image::redis().expect("Debian's redis can be fetched with apt-get, or was before");
    let change = "ENTRYPOINT [\"/usr/bin/redis-server\", \"--protected-mode\", \"no\", \"--save\", \"\"]";
    host.docker(&["import", "--change", change, "--change", "EXPOSE 6379", &tar.display().to_string(), "redis"]).ok();
    let redis = host.run("redis").name("redis").publish("6379:6379").flags(&["--read-only", "--user", "1000"]).start();
    redis.says("Ready to accept connections");
    host.lan().sh("exec 3<>/dev/tcp/192.0.2.1/6379; printf 'SET k v\\r\\nGET k\\r\\n' >&3; timeout 5 head -3 <&3 | tr -d '\\r'").says("+OK\n$1\nv");
    redis.exec(&["/usr/bin/redis-cli", "get", "k"]).says("v");
    redis.verb(&["stop"]).ok();
    assert_eq!(redis.inspect("{{.State.ExitCode}}"), "0", "redis ends in good order: {}", redis.logs());
}

#[test]
fn archives_that_mean_harm_are_refused_and_leave_nothing() {
    let host = Host::new();
    let outside = host.dir().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "untouched").unwrap();
    let away = outside.display().to_string();
    let files = || {
        host.sh(&format!(
            "cd {} && find . -path ./pontoon.db* -prune -o -print | sort",
            host.daemon().data_root.display()
        ))
        .ok()
    };
    let before = files();
    let plain = RootFs::empty;
    let evil = [
        ("../escape", plain().file("../escape", 0o644, b"x")),
        ("a/../../escape", plain().dir("a", 0o755).file("a/../../escape", 0o644, b"x")),
        ("way/file", plain().link("way", &away).file("way/file", 0o644, b"x")),
        ("up", plain().link("up", "../../../../../../../../..").file("up/file", 0o644, b"x")),
        ("hard", plain().entry("hard", EntryType::Link, 0o644, b"", Some("../../../../etc/passwd"))),
        ("hard", plain().entry("hard", EntryType::Link, 0o644, b"", Some("/etc/passwd"))),
        ("disk", plain().entry("disk", EntryType::Block, 0o644, b"", None)),
        ("memory", plain().entry("memory", EntryType::Char, 0o644, b"", None)),
    ];
    for (at, (entry, root)) in evil.into_iter().enumerate() {
        let tar = save(&host, &format!("evil{at}.tar"), &root.tar());
        for cli in Cli::BOTH {
            let outcome = host.cli(cli, &["import", &tar, "evil"]);
            outcome.ends_with(1).complains(entry);
            assert_eq!(files(), before, "{entry}: {outcome}");
        }
    }
    assert_eq!(std::fs::read_to_string(outside.join("file")).unwrap(), "untouched");
    assert_eq!(host.docker(&["images", "--format", "{{.Repository}}"]).ok(), "busybox");

    // Not tars, and halves of tars.
    let whole = RootFs::busybox().tar();
    for (name, content) in [
        ("words.tar", b"these are words".repeat(100)),
        ("half.tar", whole[..whole.len() / 2].to_vec()),
        ("broken.gz", gzip(&whole)[..5000].to_vec()),
    ] {
        let path = save(&host, name, &content);
        host.docker(&["import", &path, "broken"]).ends_with(1);
        host.docker(&["load", "-i", &path]).ends_with(1);
        assert_eq!(files(), before, "{name}");
    }
}

#[test]
fn decompression_bombs_are_refused() {
    let host = Host::new();
    let before = host.sh(&format!("du -s {}", host.daemon().data_root.display())).ok();
    // 64 GiB of zeroes, as a header that promises them, packed over and over.
    let mut header = tar::Header::new_gnu();
    header.set_path("zeroes").unwrap();
    header.set_mode(0o644);
    header.set_size(64 << 30);
    header.set_cksum();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(header.as_bytes()).unwrap();
    let zeroes = vec![0; 1 << 20];
    for _ in 0..(4 << 10) {
        encoder.write_all(&zeroes).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let path = save(&host, "bomb.tar.zst", &bomb);
    host.docker(&["import", &path, "bomb"]).ends_with(1).complains("zeroes");
    assert_eq!(host.sh(&format!("du -s {}", host.daemon().data_root.display())).ok(), before);
}

#[test]
fn archives_that_lie_are_refused() {
    let host = Host::new();
    let layers = three_layers();
    // A layer that is not what its configuration says.
    let mut lying = layers.clone();
    lying[2] = RootFs::empty().file("changed", 0o644, b"forged").tar();
    let config = config(&layers, &serde_json::json!({}));
    let name = format!("{}.json", digest(&config));
    let manifest =
        serde_json::json!([{"Config": name, "RepoTags": ["lying:1"], "Layers": ["0.tar", "1.tar", "2.tar"]}]);
    let mut archive =
        RootFs::empty().file(&name, 0o644, &config).file("manifest.json", 0o644, manifest.to_string().as_bytes());
    for (at, layer) in lying.iter().enumerate() {
        archive = archive.file(&format!("{at}.tar"), 0o644, layer);
    }
    let path = save(&host, "lying.tar", &archive.tar());
    host.docker(&["load", "-i", &path]).ends_with(1);
    assert_eq!(host.docker(&["images", "--format", "{{.Repository}}"]).ok(), "busybox");
}
