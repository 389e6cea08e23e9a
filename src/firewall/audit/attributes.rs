//! Netlink attributes: type, length, value, padded to four bytes (netlink(7)).

/// The attributes of a message or of a nest. Bytes that are no whole attribute end it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u16,
    pub(super) value: &'a [u8],
}

const HEADER: usize = 4;
/// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`, which are not part of the type.
const FLAGS: u16 = 0xc000;

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes([*self.0.first()?, *self.0.get(1)?]));
        let kind = u16::from_ne_bytes([*self.0.get(2)?, *self.0.get(3)?]) & !FLAGS;
        let value = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this type.
    pub(super) fn get(self, kind: u16) -> Option<&'a [u8]> {
        let mut all = self;
        all.find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// A nest; absent and empty are the same.
    pub(super) fn nest(self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or_default())
    }

    /// A string, with or without its NUL.
    pub(super) fn text(self, kind: u16) -> Option<String> {
        self.get(kind).map(text)
    }

    /// nf_tables' numbers are in network order.
    pub(super) fn be32(self, kind: u16) -> Option<u32> {
        self.get(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn be64(self, kind: u16) -> Option<u64> {
        self.get(kind)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// rtnetlink's numbers are in the machine's order.
    pub(super) fn ne32(self, kind: u16) -> Option<u32> {
        self.get(kind)?.try_into().ok().map(u32::from_ne_bytes)
    }

    pub(super) fn byte(self, kind: u16) -> Option<u8> {
        self.get(kind)?.first().copied()
    }
}

pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// Appends an attribute, padded.
pub(super) fn push(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(HEADER + value.len()).expect("attributes that we write are short");
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        push(&mut bytes, 1, b"name\0");
        push(&mut bytes, 0x8000 | 2, &7_u32.to_be_bytes());
        let attributes = Attributes(&bytes);
        assert_eq!(attributes.text(1).as_deref(), Some("name"));
        assert_eq!(attributes.be32(2), Some(7));
        assert_eq!(attributes.get(3), None);
    }

    #[test]
    fn a_cut_attribute_is_the_end() {
        let mut bytes = Vec::new();
        push(&mut bytes, 1, b"abcdefgh");
        for cut in 0..bytes.len() {
            assert_eq!(Attributes(&bytes[..cut]).count(), 0);
        }
        assert_eq!(Attributes(&[0; 16]).count(), 0, "an attribute without a header's length would never end");
    }
}
