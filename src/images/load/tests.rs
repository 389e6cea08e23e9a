//! Archives of `docker save` and OCI tools, whole and broken.

use serde_json::{Value, json};

use crate::images::samples::{Header, Home, Tar, digest, gzip, zstd};
use crate::images::{ImageError, Loaded};
use crate::model::Digest;

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| digest(layer)).collect();
    let value = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}, "created": "2026-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": diff_ids}
    });
    value.to_string().into_bytes()
}

fn layer(name: &str) -> Vec<u8> {
    Tar::new().file(name, name).end()
}

/// `docker save`'s format with the layers under the names given.
fn docker(tags: &Value, config: &[u8], layers: &[&str], entries: Tar) -> Vec<u8> {
    let manifest = json!([{"Config": "config.json", "RepoTags": tags, "Layers": layers}]).to_string();
    entries.file("config.json", config).file("manifest.json", manifest).end()
}

fn blob(tar: Tar, bytes: &[u8]) -> Tar {
    tar.file(format!("blobs/sha256/{}", digest(bytes).hex()), bytes)
}

fn descriptor(bytes: &[u8], more: &Value) -> Value {
    let mut descriptor = json!({"digest": digest(bytes), "size": bytes.len()});
    for (key, value) in more.as_object().unwrap() {
        descriptor[key] = value.clone();
    }
    descriptor
}

/// Adds an image's blobs, and answers its manifest.
fn oci(mut tar: Tar, layers: &[&[u8]], stored: &[&[u8]]) -> (Tar, Vec<u8>) {
    let config = config(layers);
    let described: Vec<Value> = stored.iter().map(|layer| descriptor(layer, &json!({}))).collect();
    let manifest = json!({"config": descriptor(&config, &json!({})), "layers": described}).to_string().into_bytes();
    for bytes in stored.iter().copied().chain([&config[..], &manifest[..]]) {
        tar = blob(tar, bytes);
    }
    (tar, manifest)
}

fn index(manifests: &[Value]) -> String {
    json!({"schemaVersion": 2, "manifests": manifests}).to_string()
}

fn archive_error(result: Result<Vec<Loaded>, ImageError>) -> String {
    match result {
        Err(ImageError::Archive(reason)) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn docker_save_with_several_layers_compressed_or_not() {
    let (one, two, three) = (layer("one"), layer("two"), layer("three"));
    let config = config(&[&one, &two, &three, &one]);
    let entries = || {
        Tar::new()
            .file("a/layer.tar", &one)
            .file("b", gzip(&two))
            .file("c", zstd(&three))
            .symlink("d/layer.tar", "../a/layer.tar")
    };
    let names = ["a/layer.tar", "b", "c", "d/layer.tar"];
    let plain = docker(&json!(["docker.io/library/app:1", "registry.example/app:2"]), &config, &names, entries());
    for archive in [plain.clone(), gzip(&plain), zstd(&plain)] {
        let home = Home::new();
        let loaded = home.images.load(&archive[..]).unwrap();
        let references = vec!["app:1".to_owned(), "registry.example/app:2".to_owned()];
        assert_eq!(loaded, [Loaded { id: digest(&config), references }]);
        let image = home.images.get("app:1").unwrap();
        assert_eq!(image.size, 3 + 3 + 5 + 3);
        assert_eq!(home.images.config(&image).unwrap(), config);
        assert_eq!(home.counts(), [3, 1, 0]);
        // Uppermost first; a layer that comes twice is there once.
        let lower = home.images.rootfs(&image).lower;
        let names = ["one", "three", "two"];
        assert_eq!(lower.len(), 3);
        for (path, name) in lower.iter().zip(names) {
            assert_eq!(std::fs::read_to_string(path.join(name)).unwrap(), name);
        }
    }
}

#[test]
fn an_image_without_names_and_one_without_layers() {
    let home = Home::new();
    let config = config(&[]);
    let loaded = home.images.load(&docker(&Value::Null, &config, &[], Tar::new())[..]).unwrap();
    assert_eq!(loaded, [Loaded { id: digest(&config), references: Vec::new() }]);
    assert_eq!(home.images.get(digest(&config).short()).unwrap().references, [""; 0]);
}

#[test]
fn layers_are_shared_and_their_sizes_known() {
    let home = Home::new();
    let (base, top) = (layer("base"), layer("top"));
    let first = config(&[&base]);
    let second = config(&[&base, &top]);
    let both = |config: &[u8], tag: &str, layers: &[&str]| {
        docker(&json!([tag]), config, layers, Tar::new().file("base", &base).file("top", &top))
    };
    home.images.load(&both(&first, "first", &["base"])[..]).unwrap();
    home.images.load(&both(&second, "second", &["base", "top"])[..]).unwrap();
    assert_eq!(home.counts(), [2, 2, 0]);
    assert_eq!(home.images.get("second").unwrap().size, 7);
    home.images.remove("first", false, &[]).unwrap();
    assert_eq!(home.counts(), [2, 1, 0]);
    home.images.remove("second", false, &[]).unwrap();
    assert_eq!(home.counts(), [0, 0, 0]);
}

#[test]
fn a_root_marked_opaque_hides_the_layers_below() {
    let home = Home::new();
    let (base, top) = (layer("base"), Tar::new().file(".wh..wh..opq", "").file("top", "").end());
    let config = config(&[&base, &top]);
    home.images
        .load(&docker(&json!(["x"]), &config, &["b", "t"], Tar::new().file("b", &base).file("t", &top))[..])
        .unwrap();
    assert_eq!(home.images.rootfs(&home.images.get("x").unwrap()).lower.len(), 1);
}

#[test]
fn oci_layouts_by_name_and_platform() {
    let host = super::Platform::host();
    let (ours, theirs) = (layer("ours"), layer("theirs"));
    let (tar, our_manifest) = oci(Tar::new(), &[&ours], &[&gzip(&ours)]);
    let (tar, their_manifest) = oci(tar, &[&theirs], &[&zstd(&theirs)]);
    let attestation =
        json!({"digest": digest(b"x"), "size": 1, "platform": {"os": "unknown", "architecture": "unknown"}});
    let nested = index(&[
        descriptor(&their_manifest, &json!({"platform": {"os": "linux", "architecture": "other"}})),
        attestation,
        descriptor(&our_manifest, &json!({"platform": {"os": host.os, "architecture": host.architecture}})),
    ]);
    let top = index(&[
        descriptor(
            nested.as_bytes(),
            &json!({"annotations": {
                "io.containerd.image.name": "docker.io/library/app:1", "org.opencontainers.image.ref.name": "1"
            }}),
        ),
        descriptor(
            &their_manifest,
            &json!({"annotations": {"org.opencontainers.image.ref.name": "x.example/theirs:2"}}),
        ),
        // A bare tag names nothing.
        descriptor(&their_manifest, &json!({"annotations": {"org.opencontainers.image.ref.name": "latest"}})),
    ]);
    let tar =
        blob(tar, nested.as_bytes()).file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#).file("index.json", top);
    let home = Home::new();
    let loaded = home.images.load(&gzip(&tar.end())[..]).unwrap();
    // The unnamed one is the same image as theirs:2.
    assert_eq!(loaded.len(), 2);
    let image = home.images.get("app:1").unwrap();
    assert_eq!(image.layers, [digest(&ours)]);
    assert_eq!(home.images.get("x.example/theirs:2").unwrap().layers, [digest(&theirs)]);
    assert_eq!(home.images.list().unwrap().len(), 2);
    assert_eq!(home.counts(), [2, 2, 0]);
}

#[test]
fn an_index_without_this_platform_says_what_it_has() {
    let theirs = layer("theirs");
    let (tar, manifest) = oci(Tar::new(), &[&theirs], &[&theirs]);
    let top = index(&[descriptor(&manifest, &json!({"platform": {"os": "linux", "architecture": "s390x"}}))]);
    let home = Home::new();
    let reason = archive_error(home.images.load(&tar.file("index.json", top).end()[..]));
    assert!(reason.contains("no image for linux/") && reason.contains("linux/s390x"), "{reason}");
}

#[test]
fn broken_archives_are_refused_and_leave_nothing() {
    let good = layer("good");
    let config_good = config(&[&good]);
    let simple = |config: &[u8], layers: &[&str]| docker(&json!(["x"]), config, layers, Tar::new().file("l", &good));
    let (oci_tar, manifest) = oci(Tar::new(), &[&good], &[&good]);
    let wrong_size = index(&[json!({"digest": digest(&manifest), "size": 1})]);
    let forged = blob(Tar::new(), b"other").file(format!("blobs/sha256/{}", digest(&manifest).hex()), b"other");
    let forged_index = index(&[json!({"digest": digest(&manifest), "size": 5})]);
    let device = Header { flag: b'3', ..Header::default() };
    let evil = Tar::new().symlink("out", "/etc").file("out/passwd", "x").end();
    let huge = vec![b' '; 5 << 20];
    for (archive, words) in [
        (Tar::new().file("etc/passwd", "").end(), "docker import"),
        (simple(&config_good, &["missing"]), "\"missing\", which is not in it"),
        (simple(&config_good, &["../l"]), "\"../l\", which is not in it"),
        (simple(&config_good, &[]), "it has 1 layers, its manifest 0"),
        (simple(&config(&[&layer("else")]), &["l"]), "is not what the image's configuration says"),
        (simple(b"{}", &[]), "image configuration"),
        (simple(b"not json", &[]), "image configuration"),
        (simple(&huge, &[]), "longer than"),
        (Tar::new().file("manifest.json", "[").end(), "manifest.json"),
        (docker(&json!(["UPPER:1"]), &config_good, &["l"], Tar::new().file("l", &good)), "must be lowercase"),
        (docker(&json!(["x"]), &config(&[b"junk"]), &["l"], Tar::new().file("l", b"junk")), "inside"),
        (
            docker(&json!(["x"]), &config(&[&vec![7; 600]]), &["l"], Tar::new().file("l", vec![7; 600])),
            "not a tar archive",
        ),
        (oci_tar.clone().file("index.json", wrong_size).end(), "is not what its descriptor says"),
        (forged.file("index.json", forged_index).end(), "is not what its descriptor says"),
        (
            oci_tar.clone().file("index.json", index(&[json!({"digest": "sha256:../../x", "size": 1})])).end(),
            "index.json",
        ),
        (Tar::new().entry("dev", &device, b"").end(), "only files and links"),
        (Tar::new().symlink("manifest.json", "/etc/passwd").end(), "leaves the archive"),
        (Tar::new().symlink("manifest.json", "manifest.json").end(), "docker import"),
        (Tar::new().file("../manifest.json", "[]").end(), ".."),
        (docker(&json!(["x"]), &config(&[&evil]), &["l"], Tar::new().file("l", &evil)), "out/passwd"),
        (gzip(&simple(&config_good, &["l"]))[..300].to_vec(), ""),
        (simple(&config_good, &["l"])[..1000].to_vec(), "ends inside"),
        (b"".to_vec(), "empty"),
        (b"\xfd7zXZ\0\0".to_vec(), "xz"),
    ] {
        let home = Home::new();
        let error = home.images.load(&archive[..]).unwrap_err();
        assert!(matches!(error, ImageError::Archive(_) | ImageError::Entry { .. }), "{error}");
        assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
        assert_eq!(home.counts(), [0, 0, 0], "{words}");
        assert_eq!(home.images.list().unwrap(), []);
    }
}

#[test]
fn a_broken_second_image_keeps_the_first_from_appearing() {
    let (good, bad) = (layer("good"), layer("bad"));
    let manifest = json!([
        {"Config": "a.json", "RepoTags": ["a:1"], "Layers": ["good"]},
        {"Config": "b.json", "RepoTags": ["b:1"], "Layers": ["good", "bad"]},
    ]);
    let tar = Tar::new().file("good", &good).file("bad", "truncated").file("a.json", config(&[&good]));
    let tar = tar.file("b.json", config(&[&good, &bad])).file("manifest.json", manifest.to_string());
    let home = Home::new();
    assert!(home.images.load(&tar.end()[..]).is_err());
    assert_eq!((home.counts(), home.images.list().unwrap().len()), ([0, 0, 0], 0));
}
