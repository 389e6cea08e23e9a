//! The formats that tar writers use, and damage of every kind.

use proptest::prelude::*;

use super::*;
use crate::images::samples::{Header, Tar, seal};

fn read_all(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, ImageError> {
    let mut tar = TarStream::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = tar.next()? {
        let mut data = Vec::new();
        let mut buffer = [0; 700];
        loop {
            match tar.read_data(&mut buffer)? {
                0 => break,
                n => data.extend_from_slice(&buffer[..n]),
            }
        }
        all.push((entry, data));
    }
    tar.finish()?;
    Ok(all)
}

fn paths(bytes: &[u8]) -> Vec<String> {
    read_all(bytes).unwrap().into_iter().map(|(entry, _)| printable(&entry.path)).collect()
}

#[test]
fn what_the_tar_crate_writes_is_read_back() {
    let mut builder = tar::Builder::new(Vec::new());
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o4755);
    header.set_uid(3_000_000);
    header.set_mtime(1 << 40);
    header.set_size(5);
    builder.append_data(&mut header, &long, &b"hello"[..]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(600);
    header.set_mode(0o600);
    builder.append_data(&mut header, "dir/name", &[7; 600][..]).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "link", &long).unwrap();
    let all = read_all(&builder.into_inner().unwrap()).unwrap();
    let (first, data) = &all[0];
    assert_eq!(
        (printable(&first.path), first.mode, first.uid, &data[..]),
        (long.clone(), 0o4755, 3_000_000, &b"hello"[..])
    );
    assert_eq!(first.mtime, (1 << 40, 0));
    assert_eq!((&all[1].0.kind, all[1].1.len()), (&Kind::File(600), 600));
    assert_eq!(all[2].0.kind, Kind::Symlink(long.into_bytes()));
}

#[test]
fn extension_headers_speak_for_the_next_entry_only() {
    let tar = Tar::new()
        .pax(&[
            ("path", b"pax/name"),
            ("uid", b"70000"),
            ("mtime", b"-1.5"),
            ("comment", b"x"),
            ("SCHILY.xattr.user.a", b"1"),
        ])
        .extension(b'L', b"gnu/name\0")
        .file("short", "1")
        .extension(b'g', b"12 path=all\n")
        .file("second", "2")
        .dir("third/")
        .file("old-style-directory/", "");
    let all = read_all(&tar.end()).unwrap();
    let first = &all[0].0;
    assert_eq!((printable(&first.path), first.uid, first.mtime), ("pax/name".to_owned(), 70000, (-2, 500_000_000)));
    assert_eq!(first.xattrs.len(), 1);
    let second = &all[1].0;
    assert_eq!((&*second.path, second.uid, second.xattrs.len()), (&b"second"[..], 0, 0));
    assert_eq!(all[3].0.kind, Kind::Directory);
}

#[test]
fn a_ustar_prefix_is_part_of_the_name() {
    let mut block: [u8; 512] = Tar::new().file("name", "").end()[..512].try_into().unwrap();
    block[345..348].copy_from_slice(b"a/b");
    seal(&mut block);
    assert_eq!(paths(&block), ["a/b/name"]);
    block[257..265].copy_from_slice(b"ustar  \0");
    seal(&mut block);
    assert_eq!(paths(&block), ["name"]);
}

#[test]
fn gnus_old_sparse_format_has_its_map_in_headers() {
    let mut block: [u8; 512] =
        Tar::new().entry("sparse", &Header { flag: b'S', size: Some(5), ..Header::default() }, b"").end()[..512]
            .try_into()
            .unwrap();
    block[257..265].copy_from_slice(b"ustar  \0");
    let number = |block: &mut [u8; 512], at: usize, n: u64| {
        block[at..at + 12].copy_from_slice(format!("{n:011o}\0").as_bytes());
    };
    for (at, n) in (386..).step_by(12).zip([0, 1, 4096, 1, 8192, 1, 12288, 1]) {
        number(&mut block, at, n);
    }
    block[482] = 1;
    number(&mut block, 483, 20000);
    seal(&mut block);
    let mut more = [0; 512];
    number(&mut more, 0, 16384);
    number(&mut more, 12, 1);
    let bytes = Tar::new().raw(&block).raw(&more).raw(b"abcde").raw(&[0; 507]).file("after", "").end();
    let all = read_all(&bytes).unwrap();
    let Kind::Sparse(20000, extents) = &all[0].0.kind else { panic!("{:?}", all[0]) };
    assert_eq!((extents.len(), extents[4]), (5, Extent { offset: 16384, length: 1 }));
    assert_eq!((&all[0].1[..], &all[1].0.path[..]), (&b"abcde"[..], &b"after"[..]));
}

#[test]
fn huge_extension_headers_are_not_read() {
    for flag in [b'x', b'L', b'K', b'g'] {
        let header = Header { flag, size: Some(8 << 30), ..Header::default() };
        let tar = Tar::new().file("before", "").entry("x", &header, b"").end();
        match read_all(&tar) {
            Err(ImageError::Entry { entry, reason }) => {
                assert_eq!(entry, "before");
                assert!(reason.contains("over 1 MiB"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn damage_is_told_apart() {
    let good = Tar::new().file("first", vec![1; 2000]).file("second", "2").end();
    let error = |bytes: &[u8]| read_all(bytes).unwrap_err().to_string();
    assert!(error(&good[..1500]).contains("ends inside entry \"first\""));
    assert!(error(&good[..700]).contains("ends inside entry \"first\""));
    assert!(error(&good[..3000]).contains("ends inside entry \"first\""));
    let mut flipped = good.clone();
    flipped[2560] ^= 1;
    assert!(error(&flipped).contains("\"first\"") && error(&flipped).contains("damaged"));
    assert!(error(&[b'x'; 1024]).contains("not a tar archive"));
    assert!(error(&Tar::new().pax(&[("path", b"x")]).end()).contains("ends inside an entry"));
    // The end's empty blocks may be missing, as GNU tar allows.
    assert_eq!(paths(&good[..good.len() - 1024]), ["first", "second"]);
    let negative = Tar::new().entry("x", &Header { size: Some(0), ..Header::default() }, b"");
    let mut block: [u8; 512] = negative.end()[..512].try_into().unwrap();
    block[124..136].copy_from_slice(&[0xff; 12]);
    seal(&mut block);
    assert!(error(&block).contains("size"));
}

#[test]
fn a_size_in_pax_records_is_the_true_one() {
    let tar = Tar::new().pax(&[("size", b"700")]).entry("x", &Header { size: Some(0), ..Header::default() }, &[5; 700]);
    let all = read_all(&tar.file("after", "").end()).unwrap();
    assert_eq!((all[0].1.len(), all.len()), (700, 2));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read_all(&bytes);
    }

    /// Damage anywhere, with a checksum that holds: fields say anything.
    #[test]
    fn random_fields_never_panic(flips in prop::collection::vec((0usize..512, any::<u8>()), 1..30), flag in any::<u8>()) {
        let mut bytes = Tar::new().pax(&[("GNU.sparse.map", b"0,1,5,2"), ("GNU.sparse.size", b"9")]).file("x", "abc").end();
        for at in (0..bytes.len() - 1024).step_by(1024) {
            let block: &mut [u8; 512] = (&mut bytes[at..at + 512]).try_into().unwrap();
            for &(offset, value) in &flips {
                block[offset] = value;
            }
            block[156] = if flag % 2 == 0 { flag } else { block[156] };
            seal(block);
        }
        let _ = read_all(&bytes);
    }

    #[test]
    fn names_and_data_survive(entries in prop::collection::vec(("[a-z./é\\n]{1,150}", prop::collection::vec(any::<u8>(), 0..1500)), 0..6)) {
        let mut tar = Tar::new();
        for (name, data) in &entries {
            tar = tar.file(name, data);
        }
        let read: Vec<_> = read_all(&tar.end()).unwrap().into_iter().map(|(e, d)| (printable(&e.path), d)).collect();
        for ((name, data), (read_name, read_data)) in entries.iter().zip(&read) {
            prop_assert_eq!(name, read_name);
            prop_assert_eq!(data, read_data);
        }
    }
}
