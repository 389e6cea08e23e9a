//! PAX extended header records: `<length> <key>=<value>\n`.

use super::sparse::PaxSparse;

/// The records that concern an entry; others are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
}

const DAMAGED: &str = "the extension header that follows it is damaged";
const NO_NUMBER: &str = "the extension header that follows it has a number that is none";

/// Reads all records of a header into `into`; a later record of a key replaces an earlier one.
pub(super) fn read(mut bytes: &[u8], into: &mut Records) -> Result<(), &'static str> {
    while !bytes.is_empty() {
        let digits = bytes.iter().position(|&b| b == b' ').ok_or(DAMAGED)?;
        let length = decimal(&bytes[..digits]).and_then(|n| usize::try_from(n).ok()).ok_or(DAMAGED)?;
        let record = bytes.get(digits + 1..length).ok_or(DAMAGED)?;
        let record = record.strip_suffix(b"\n").ok_or(DAMAGED)?;
        bytes = &bytes[length..];
        let equals = record.iter().position(|&b| b == b'=').ok_or(DAMAGED)?;
        keep(&record[..equals], &record[equals + 1..], into)?;
    }
    Ok(())
}

fn keep(key: &[u8], value: &[u8], into: &mut Records) -> Result<(), &'static str> {
    let number = || decimal(value).ok_or(NO_NUMBER);
    let text = || (!value.is_empty()).then(|| value.to_vec());
    match key {
        b"path" => into.path = text(),
        b"linkpath" => into.linkpath = text(),
        b"size" => into.size = Some(number()?),
        b"uid" => into.uid = Some(number()?),
        b"gid" => into.gid = Some(number()?),
        b"mtime" => into.mtime = Some(time(value).ok_or(NO_NUMBER)?),
        b"GNU.sparse.major" => into.sparse.major = Some(number()?),
        b"GNU.sparse.minor" => into.sparse.minor = Some(number()?),
        b"GNU.sparse.name" => into.sparse.name = text(),
        b"GNU.sparse.size" | b"GNU.sparse.realsize" => into.sparse.real_size = Some(number()?),
        b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => into.sparse.numbers.push(number()?),
        b"GNU.sparse.map" => {
            into.sparse.numbers =
                value.split(|&b| b == b',').map(|n| decimal(n).ok_or(NO_NUMBER)).collect::<Result<_, _>>()?;
        }
        _ => {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                into.xattrs.retain(|(known, _)| known != name);
                into.xattrs.push((name.to_vec(), value.to_vec()));
            }
        }
    }
    Ok(())
}

/// Digits only, at most 63 bits.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse::<i64>().ok().and_then(|n| u64::try_from(n).ok())
}

/// `[-]seconds[.fraction]`, to nanoseconds, rounded down.
fn time(bytes: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = i64::try_from(decimal(seconds.as_bytes())?).ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: u32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(bytes: &[u8]) -> Result<Records, &'static str> {
        let mut records = Records::default();
        read(bytes, &mut records).map(|()| records)
    }

    #[test]
    fn a_record_is_as_long_as_it_says() {
        let read = records(b"12 path=a\nb\n28 SCHILY.xattr.user.x=\0=\n\xff\n").unwrap();
        assert_eq!(read.path.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(read.xattrs, [(b"user.x".to_vec(), b"\0=\n\xff".to_vec())]);
        for damaged in [
            &b"x"[..],
            b"5",
            b"5 a=b",
            b"99 a=b\n",
            b"0 a=b\n",
            b"2 a=b\n",
            b"4 ab\n",
            b"-6 a=b\n",
            b"6 a=bc",
            b"18446744073709551615 a=b\n",
        ] {
            assert!(records(damaged).is_err(), "{damaged:?}");
        }
        assert!(records(b"10 size=x\n").is_err());
        assert!(records(b"11 size=-1\n").is_err());
    }

    #[test]
    fn times_have_fractions_and_may_lie_before_1970() {
        for (text, want) in [
            ("1350244992.023960108", Some((1_350_244_992, 23_960_108))),
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-3", Some((-3, 0))),
            ("1.0000000019", Some((1, 1))),
            ("", None),
            ("1.x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()), want, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = records(&bytes);
        }

        #[test]
        fn numbers_before_records_never_panic(length in 0u64..40, rest in "[a-z=,. 0-9\\n]{0,40}") {
            let _ = records(format!("{length} {rest}").as_bytes());
        }
    }
}
