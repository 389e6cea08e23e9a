//! What is unpacked, and what is refused.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::images::samples::{Header, Tar};

/// A directory with a layer's root in it, and a place that no layer may reach.
struct Place {
    home: TempDir,
}

impl Place {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("root")).unwrap();
        fs::create_dir(home.path().join("outside")).unwrap();
        fs::write(home.path().join("outside/secret"), "untouched").unwrap();
        Self { home }
    }

    fn unpack(&self, tar: Tar) -> Result<Unpacked, ImageError> {
        let budget = Budget::new(1 << 30, 10_000);
        unpack(&tar.end()[..], &self.root(""), &budget)
    }

    fn root(&self, path: &str) -> std::path::PathBuf {
        self.home.path().join("root").join(path)
    }

    /// Nothing but the root has changed.
    fn outside_is_untouched(&self) -> bool {
        let names = |path: &Path| {
            let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let secret = self.home.path().join("outside/secret");
        let meta = fs::symlink_metadata(&secret).unwrap();
        names(self.home.path()) == ["outside", "root"]
            && names(&self.home.path().join("outside")) == ["secret"]
            && fs::read_to_string(&secret).unwrap() == "untouched"
            && (meta.nlink(), meta.uid(), meta.mode()) == (1, 0, 0o100_644)
    }
}

fn refusal(result: Result<Unpacked, ImageError>) -> (String, String) {
    match result {
        Err(ImageError::Entry { entry, reason }) => (entry, reason),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    let n = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    Some(value[..n].to_vec())
}

#[test]
fn owners_modes_times_and_attributes_arrive() {
    let place = Place::new();
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let special = Header { mode: 0o4755, owner: (1000, 2000), mtime: 12345, ..Header::default() };
    let unpacked = place
        .unpack(
            Tar::new()
                .entry("./", &Header { flag: b'5', mode: 0o711, mtime: 7, ..Header::default() }, b"")
                .entry(
                    "sgid",
                    &Header { flag: b'5', mode: 0o2775, owner: (0, 50), mtime: 99, ..Header::default() },
                    b"",
                )
                .pax(&[
                    ("mtime", b"54321.5"),
                    ("SCHILY.xattr.security.capability", capability),
                    ("SCHILY.xattr.user.note", b"a\0b"),
                ])
                .entry("sgid/ping", &special, b"program")
                .file("sgid/plain", "12345")
                .hardlink("sgid/same", "./sgid/ping")
                .entry("sgid/fifo", &Header { flag: b'6', mode: 0o620, owner: (5, 6), ..Header::default() }, b"")
                .entry("link", &Header { flag: b'2', link: b"/etc/passwd", owner: (7, 8), ..Header::default() }, b"")
                .file("implied/by/path", "x"),
        )
        .unwrap();
    assert_eq!(unpacked.size, 7 + 5 + 1);
    let meta = |path: &str| fs::symlink_metadata(place.root(path)).unwrap();
    assert_eq!((meta("").mode() & 0o7777, meta("").mtime()), (0o711, 7));
    assert_eq!((meta("sgid").mode() & 0o7777, meta("sgid").gid(), meta("sgid").mtime()), (0o2775, 50, 99));
    let ping = meta("sgid/ping");
    assert_eq!((ping.mode() & 0o7777, ping.uid(), ping.gid(), ping.nlink()), (0o4755, 1000, 2000, 2));
    assert_eq!((ping.mtime(), ping.mtime_nsec()), (54321, 500_000_000));
    assert_eq!(meta("sgid/same").ino(), ping.ino());
    // A set-group-id directory does not hand its group down.
    assert_eq!(meta("sgid/plain").gid(), 0);
    let fifo = meta("sgid/fifo");
    assert!(fifo.file_type().is_fifo());
    assert_eq!((fifo.mode() & 0o7777, fifo.uid(), fifo.gid(), fifo.mtime()), (0o620, 5, 6, 1_000_000_000));
    assert_eq!((meta("link").uid(), meta("link").gid(), meta("link").mtime()), (7, 8, 1_000_000_000));
    assert_eq!(fs::read_link(place.root("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!((meta("implied/by").mode() & 0o7777, meta("implied/by").uid()), (0o755, 0));
    assert_eq!(xattr(&place.root("sgid/ping"), "security.capability").as_deref(), Some(&capability[..]));
    assert_eq!(xattr(&place.root("sgid/ping"), "user.note").as_deref(), Some(&b"a\0b"[..]));
}

#[test]
fn links_inside_the_root_are_followed_as_merged_usr_needs() {
    let place = Place::new();
    let tar = Tar::new().symlink("bin", "usr/bin").dir("usr/bin").file("bin/sh", "shell");
    let tar = tar.symlink("usr/lib", "../lib64").dir("lib64").file("usr/lib/ld.so", "loader");
    place.unpack(tar.hardlink("bin/bash", "bin/sh").dir("bin/applets")).unwrap();
    assert_eq!(fs::read_to_string(place.root("usr/bin/sh")).unwrap(), "shell");
    assert_eq!(fs::read_to_string(place.root("lib64/ld.so")).unwrap(), "loader");
    assert_eq!(fs::symlink_metadata(place.root("usr/bin/bash")).unwrap().nlink(), 2);
    assert!(place.root("usr/bin/applets").is_dir());
    assert!(fs::symlink_metadata(place.root("bin")).unwrap().is_symlink());
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let place = Place::new();
    place
        .unpack(
            Tar::new()
                .file("a", "old")
                .file("a", "new")
                .file("d/x", "1")
                .dir("d")
                .symlink("l", "d")
                .dir("l")
                .file("tree/deep/er", "1")
                .file("tree", "now a file")
                .symlink("s", "a")
                .file("s", "not through the link"),
        )
        .unwrap();
    assert_eq!(fs::read_to_string(place.root("a")).unwrap(), "new");
    assert!(place.root("d/x").exists());
    assert!(fs::symlink_metadata(place.root("l")).unwrap().is_dir());
    assert_eq!(fs::read_to_string(place.root("tree")).unwrap(), "now a file");
    assert!(fs::symlink_metadata(place.root("s")).unwrap().is_file());
}

#[test]
fn whiteouts_become_overlayfs_ones() {
    let place = Place::new();
    place
        .unpack(
            Tar::new()
                .file("a/.wh.gone", "")
                .file("b/.wh..wh..opq", "")
                .file("b/kept", "1")
                // In either order, what this layer has itself stays.
                .file("c/.wh.again", "")
                .file("c/again", "1")
                .file("d/there", "1")
                .file("d/.wh.there", "")
                .file("e/.wh.dir", "")
                .file("e/dir/file", "1")
                .file("f/dir/file", "1")
                .file("f/.wh.dir", "")
                // aufs's bookkeeping.
                .dir(".wh..wh.plnk")
                .file(".wh..wh.aufs", ""),
        )
        .unwrap();
    let gone = fs::symlink_metadata(place.root("a/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(xattr(&place.root("b"), "trusted.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert!(fs::symlink_metadata(place.root("c/again")).unwrap().is_file());
    assert!(fs::symlink_metadata(place.root("d/there")).unwrap().is_file());
    assert!(is_opaque(&place.root("e/dir")) && is_opaque(&place.root("f/dir")));
    assert!(place.root("e/dir/file").exists() && place.root("f/dir/file").exists());
    assert!(!is_opaque(&place.root("a")) && !is_opaque(&place.root("c")));
    let names: Vec<_> = fs::read_dir(place.root("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn attacks_are_refused_by_the_entrys_name() {
    let device = |flag| Header { flag, ..Header::default() };
    let pax = |key: &'static str, value: &'static [u8]| Tar::new().pax(&[(key, value)]);
    let long = "n".repeat(5000);
    for (name, tar) in [
        ("../outside/secret", Tar::new().file("../outside/secret", "x")),
        ("a/../../outside/x", Tar::new().file("a/../../outside/x", "x")),
        ("..", Tar::new().dir("..")),
        ("/outside", Tar::new().file("/outside", "x")),
        ("out/secret", Tar::new().symlink("out", "/etc").file("out/secret", "x")),
        ("out/passwd", Tar::new().symlink("out", "/proc/self/root").file("out/passwd", "x")),
        ("loop/x", Tar::new().symlink("loop", "loop").file("loop/x", "x")),
        ("nowhere/x", Tar::new().symlink("nowhere", "missing").file("nowhere/x", "x")),
        ("file/x", Tar::new().file("file", "1").file("file/x", "x")),
        ("climb", Tar::new().symlink("climb", "../outside")),
        ("a/climb", Tar::new().symlink("a/climb", "x/../../../outside")),
        // Lexically inside, but not where its directory really is.
        (
            "deep/l/secret",
            Tar::new()
                .dir("a")
                .symlink("a/b", "..")
                .symlink("deep", "a")
                .symlink("a/b/deep/l", "b/../../outside")
                .file("deep/l/secret", "x"),
        ),
        ("hard", Tar::new().hardlink("hard", "../outside/secret")),
        ("hard", Tar::new().hardlink("hard", "/etc/passwd")),
        ("hard", Tar::new().symlink("out", "/etc").hardlink("hard", "out/passwd")),
        ("hard", Tar::new().hardlink("hard", "missing")),
        ("hard", Tar::new().hardlink("hard", "no/such/place")),
        ("hard", Tar::new().hardlink("hard", "hard")),
        ("hard", Tar::new().dir("d").hardlink("hard", "d")),
        ("hard", Tar::new().file(".wh.x", "").hardlink("hard", "x")),
        ("dev/sda", Tar::new().entry("dev/sda", &device(b'4'), b"")),
        ("dev/null", Tar::new().entry("dev/null", &device(b'3'), b"")),
        ("odd", Tar::new().entry("odd", &device(b'V'), b"")),
        (".", Tar::new().symlink(".", "/")),
        ("./", Tar::new().entry("./", &device(b'6'), b"")),
        (".wh.", Tar::new().file(".wh.", "")),
        (".wh..", Tar::new().file(".wh..", "")),
        (".wh...", Tar::new().file(".wh...", "")),
        (".wh./x", Tar::new().file(".wh./x", "")),
        (".wh..wh..opq/x", Tar::new().file(".wh..wh..opq/x", "")),
        ("out/.wh.passwd", Tar::new().symlink("out", "/etc").file("out/.wh.passwd", "")),
        ("out/.wh..wh..opq", Tar::new().symlink("out", "/etc").file("out/.wh..wh..opq", "")),
        (&long, Tar::new().file(&long, "")),
        ("x", pax("SCHILY.xattr.trusted.overlay.redirect", b"/").file("x", "")),
        ("x", pax("SCHILY.xattr.user.overlay.opaque", b"y").file("x", "")),
        ("x", pax("uid", b"4294967295").file("x", "")),
        ("x", pax("gid", b"99999999999").file("x", "")),
        ("a\0b", pax("path", b"a\0b").file("x", "")),
        ("link", pax("linkpath", b"a\0b").symlink("link", "x")),
        ("a\n../b\u{1b}", Tar::new().entry("a\n../b\u{1b}", &device(b'3'), b"")),
    ] {
        let place = Place::new();
        let (entry, reason) = refusal(place.unpack(tar));
        assert_eq!(entry, name, "{reason}");
        assert!(!reason.is_empty());
        assert!(place.outside_is_untouched(), "{name}");
    }
    // What is shown to a person cannot move their terminal's cursor.
    let error = ImageError::Entry { entry: "a\n\u{1b}".to_owned(), reason: String::new() };
    assert!(!error.to_string().contains(['\n', '\u{1b}']));
}

#[test]
fn bounds_hold() {
    let small = |disk, entries, tar: Tar| {
        let place = Place::new();
        unpack(&tar.end()[..], &place.root(""), &Budget::new(disk, entries))
    };
    let (entry, reason) = refusal(small(10_000, 10, Tar::new().file("a", "1").file("big", vec![1; 9000])));
    assert!(entry == "big" && reason.contains("larger than the free space"), "{entry} {reason}");
    let (entry, reason) = refusal(small(u64::MAX, 3, Tar::new().dir("a").dir("b").dir("c").dir("d")));
    assert!(entry == "d" && reason.contains("entries"), "{entry} {reason}");
    // One entry whose path makes a thousand directories.
    let deep = "d/".repeat(1000) + "f";
    assert_eq!(refusal(small(u64::MAX, 500, Tar::new().file(&deep, ""))).0, deep);
    assert!(small(u64::MAX, 1001, Tar::new().file(&deep, "")).is_ok());
    // A file of a terabyte that is all hole.
    let hole = Tar::new().pax(&[("GNU.sparse.size", b"1099511627776"), ("GNU.sparse.map", b"0,1")]).file("hole", "x");
    let (entry, reason) = refusal(small(u64::MAX, 10, hole));
    assert!(entry == "hole" && reason.contains("decompression bomb"), "{entry} {reason}");
}

#[test]
fn sparse_files_keep_their_holes() {
    let place = Place::new();
    let map = b"1\n1048576\n3\n";
    let mut data = map.to_vec();
    data.resize(512, 0);
    data.extend_from_slice(b"end");
    let tar = Tar::new()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"v1"),
            ("GNU.sparse.realsize", b"2097152"),
        ])
        .file("GNUSparseFile.0/v1", data)
        .pax(&[("GNU.sparse.size", b"1048576"), ("GNU.sparse.map", b"0,2,4096,2")])
        .file("v01", "abcd");
    assert_eq!(place.unpack(tar).unwrap().size, (2 << 20) + (1 << 20));
    let v1 = fs::read(place.root("v1")).unwrap();
    assert!(v1.len() == 2 << 20 && &v1[1 << 20..(1 << 20) + 3] == b"end");
    let v01 = fs::read(place.root("v01")).unwrap();
    assert!(v01.len() == 1 << 20 && &v01[..2] == b"ab" && &v01[4096..4098] == b"cd");
    assert!(fs::metadata(place.root("v01")).unwrap().blocks() < 64);
}

fn component() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("a"),
        Just("b"),
        Just("c"),
        Just(".."),
        Just("."),
        Just(""),
        Just("outside"),
        Just("secret"),
        Just(".wh.a"),
        Just(".wh..wh..opq")
    ]
}

fn path() -> impl Strategy<Value = String> {
    (any::<bool>(), prop::collection::vec(component(), 1..5)).prop_map(|(absolute, parts)| {
        if absolute && parts.len() > 2 { format!("/{}", parts.join("/")) } else { parts.join("/") }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// No sequence of entries reaches anything outside the root, whether it is refused or not.
    #[test]
    fn nothing_leaves_the_root(
        entries in prop::collection::vec((0u8..5, path(), path()), 1..12),
    ) {
        let place = Place::new();
        // Each entry alone against what the ones before it left: a refusal must not end the attack.
        for (kind, at, target) in entries {
            let tar = match kind {
                0 => Tar::new().file(&at, "overwritten"),
                1 => Tar::new().dir(&at),
                2 => Tar::new().symlink(&at, &target),
                3 => Tar::new().hardlink(&at, &target),
                _ => Tar::new().symlink(&at, place.home.path().join("outside").to_str().unwrap()),
            };
            let _ = place.unpack(tar);
            prop_assert!(place.outside_is_untouched());
        }
    }
}
