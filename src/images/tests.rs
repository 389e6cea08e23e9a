//! The image store as its users see it.

use super::samples::{Home, Tar, digest, gzip, zstd};
use super::*;

fn options(reference: &str) -> ImportOptions {
    ImportOptions { reference: Some(reference.parse().unwrap()), ..ImportOptions::default() }
}

fn rootfs(text: &str) -> Vec<u8> {
    Tar::new().dir("./").dir("./etc").file("./etc/issue", text).end()
}

fn import(home: &Home, reference: &str, text: &str) -> Image {
    home.images.import(&rootfs(text)[..], &options(reference)).unwrap()
}

#[test]
fn import_sets_the_defaults_that_changes_name() {
    let home = Home::new();
    let options = ImportOptions {
        reference: Some("base".parse().unwrap()),
        changes: vec!["CMD [\"sh\"]".into(), "ENV A=1 B=\"2 3\"".into(), "EXPOSE 80".into(), "LABEL x=y".into()],
        message: "from a test".into(),
        platform: "linux/arm64".into(),
    };
    let tar = rootfs("hello");
    let image = home.images.import(&gzip(&tar)[..], &options).unwrap();
    assert_eq!(image.references, ["base:latest"]);
    assert_eq!((&*image.architecture, &*image.comment, image.size), ("arm64", "from a test", 5));
    assert_eq!(image.layers, [digest(&tar)]);
    assert_eq!(image.config.env, ["A=1", "B=2 3"]);
    let again = home.images.get("docker.io/library/base").unwrap();
    assert_eq!(again, image);
    assert_eq!(digest(&home.images.config(&image).unwrap()), image.id);
    let lower = home.images.rootfs(&image).lower;
    assert_eq!(std::fs::read_to_string(lower[0].join("etc/issue")).unwrap(), "hello");
}

#[test]
fn the_same_tar_however_compressed_is_one_layer() {
    let home = Home::new();
    let tar = rootfs("same");
    for (name, bytes) in [("plain", tar.clone()), ("gz", gzip(&tar)), ("zst", zstd(&tar))] {
        assert_eq!(home.images.import(&bytes[..], &options(name)).unwrap().layers, [digest(&tar)]);
    }
    assert_eq!(home.counts(), [1, 3, 0]);
}

#[test]
fn a_refused_import_leaves_nothing() {
    let home = Home::new();
    let bomb = zstd(&Tar::new().file("etc/zeros", vec![0; 100 << 20]).end());
    let device = samples::Header { flag: b'4', ..Default::default() };
    let mut truncated = rootfs("x");
    truncated.truncate(1200);
    for (archive, words) in [
        (Tar::new().file("ok", "1").file("../x", "").end(), "../x"),
        (Tar::new().file("ok", "1").entry("dev/sda", &device, b"").end(), "dev/sda"),
        (bomb, "etc/zeros"),
        (truncated, "ends inside"),
        (Vec::new(), "empty"),
        (vec![b'x'; 2000], "not a tar archive"),
    ] {
        let error = home.images.import(&archive[..], &options("x")).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is not in: {error}");
        assert_eq!((home.counts(), home.images.list().unwrap()), ([0, 0, 0], Vec::new()), "{words}");
    }
    let bad = ImportOptions { changes: vec!["RUN x".into()], ..options("x") };
    assert!(matches!(home.images.import(&rootfs("x")[..], &bad), Err(ImageError::Change(_))));
    let bad = ImportOptions { platform: "windows/amd64".into(), ..options("x") };
    assert!(matches!(home.images.import(&rootfs("x")[..], &bad), Err(ImageError::Change(_))));
}

#[test]
fn names_ids_and_prefixes_find_an_image() {
    let home = Home::new();
    let image = import(&home, "web:1", "a");
    let hex = image.id.hex().to_owned();
    for name in ["web:1", "docker.io/library/web:1", &hex, &hex[..12], &hex[..1], image.id.as_str()] {
        assert_eq!(home.images.get(name).unwrap().id, image.id, "{name}");
    }
    for (name, words) in [
        ("web", "No such image: web:latest"),
        ("nosuch:2", "No such image: nosuch:2"),
        ("Web", "invalid reference format: repository name (library/Web) must be lowercase"),
        ("a b", "invalid reference format"),
        (&"0".repeat(64), &format!("No such image: {}", "0".repeat(64))),
    ] {
        assert_eq!(home.images.get(name).unwrap_err().to_string(), words);
    }
    // More images until two ids begin alike.
    let mut firsts = std::collections::BTreeSet::from([hex[..1].to_owned()]);
    let shared = (0..17)
        .map(|n| import(&home, &format!("n:{n}"), &n.to_string()).id.hex()[..1].to_owned())
        .find(|first| !firsts.insert(first.clone()));
    assert!(matches!(home.images.get(&shared.unwrap()), Err(ImageError::Ambiguous(_))));
}

#[test]
fn a_tag_moves_and_the_image_that_had_it_dangles() {
    let home = Home::new();
    let (one, two) = (import(&home, "app", "1"), import(&home, "app", "2"));
    assert_eq!(home.images.get("app").unwrap().id, two.id);
    assert_eq!(home.images.get(one.id.as_str()).unwrap().references, [""; 0]);
    home.images.tag(one.id.short(), &"app:old".parse().unwrap()).unwrap();
    assert_eq!(home.images.get("app:old").unwrap().id, one.id);
    assert!(matches!(home.images.tag("nosuch", &"x".parse().unwrap()), Err(ImageError::NotFound(_))));
    let by_digest = format!("x@{}", one.id).parse().unwrap();
    let refused = home.images.tag("app", &by_digest).unwrap_err().to_string();
    assert_eq!(refused, "refusing to create a tag with a digest reference");
    // Newest first.
    let ids: Vec<_> = home.images.list().unwrap().into_iter().map(|image| image.id).collect();
    assert_eq!(ids, [two.id, one.id]);
}

#[test]
fn removal_tells_what_went() {
    let home = Home::new();
    let image = import(&home, "app:1", "x");
    home.images.tag("app:1", &"app:2".parse().unwrap()).unwrap();
    let untagged = |text: &str| Removed::Untagged(text.to_owned());
    assert_eq!(home.images.remove("app:1", false, &[]).unwrap(), [untagged("app:1")]);
    let user = [("abc".to_owned(), false)];
    assert!(matches!(home.images.remove("app:2", false, &user), Err(ImageError::Conflict(_))));
    assert_eq!(home.counts(), [1, 1, 0]);
    assert_eq!(
        home.images.remove("app:2", false, &[]).unwrap(),
        [untagged("app:2"), Removed::Deleted(image.id.to_string()), Removed::Deleted(image.layers[0].to_string())]
    );
    assert_eq!(home.counts(), [0, 0, 0]);
    assert!(matches!(home.images.remove("app:2", false, &[]), Err(ImageError::NotFound(_))));
}

#[test]
fn a_forced_removal_leaves_stopped_containers_what_they_need() {
    let home = Home::new();
    let image = import(&home, "app", "x");
    let row = crate::store::ContainerRow {
        id: "c".into(),
        name: "c".into(),
        image: image.id.to_string(),
        status: "exited".into(),
        body: "{}".into(),
    };
    home.images.store.insert_container(&row).unwrap();
    let removed = home.images.remove("app", true, &[("c".to_owned(), false)]).unwrap();
    assert_eq!(removed, [Removed::Untagged("app:latest".into()), Removed::Deleted(image.id.to_string())]);
    assert_eq!(home.images.list().unwrap(), []);
    assert!(matches!(home.images.get(image.id.short()), Err(ImageError::NotFound(_))));
    let home = home.reopen();
    let kept = home.images.store.image_by_id(&image.id).unwrap().unwrap();
    assert!(home.images.rootfs(&kept).lower[0].join("etc/issue").exists());
    home.images.release().unwrap();
    assert_eq!(home.counts(), [1, 1, 0]);
    home.images.store.delete_container("c").unwrap();
    home.images.release().unwrap();
    assert_eq!(home.counts(), [0, 0, 0]);
}

#[test]
fn the_next_start_sweeps_what_a_killed_one_left() {
    let home = Home::new();
    let image = import(&home, "kept", "x");
    for path in ["tmp/0123/blobs", "tmp/0123/layer/deep/er", "layers/feed", "layers/not hex"] {
        std::fs::create_dir_all(home.path(path)).unwrap();
    }
    std::fs::write(home.path("configs/feed"), "{}").unwrap();
    std::fs::write(home.path("tmp/0123/blobs/0"), "x").unwrap();
    let home = home.reopen();
    assert_eq!(home.counts(), [1, 1, 0]);
    assert_eq!(home.images.get("kept").unwrap(), image);
    assert!(home.images.rootfs(&image).lower[0].join("etc/issue").exists());
}

#[test]
fn layers_are_out_of_reach_for_the_hosts_users() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    for name in ["layers", "configs", "tmp"] {
        assert_eq!(std::fs::metadata(home.path(name)).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn concurrent_imports_and_removals_of_one_layer_lose_nothing() {
    let home = Home::new();
    let tar = rootfs("shared");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (images, tar) = (home.images.clone(), &tar);
            scope.spawn(move || {
                for round in 0..10 {
                    let name = format!("w{worker}:{round}");
                    let image = images.import(&tar[..], &options(&name)).unwrap();
                    assert!(images.rootfs(&image).lower[0].join("etc/issue").exists());
                    if round != 9 {
                        images.remove(&name, false, &[]).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(home.counts(), [1, 4, 0]);
}

#[test]
fn stacks_of_layers_are_named_as_docker_names_them() {
    let layers = [digest(b"a"), digest(b"b")];
    let chains = chain_ids(&layers);
    assert_eq!(chains[0], layers[0]);
    assert_eq!(chains[1], digest(format!("{} {}", layers[0], layers[1]).as_bytes()));
}
