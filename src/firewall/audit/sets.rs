//! Sets made ready for looking up: by hash where keys are exact, by search where they are ranges.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::bytecode::{Element, Set};

/// An index of a set's elements, by their position in it.
#[derive(Debug)]
pub(super) struct Index {
    fields: Vec<usize>,
    exact: HashMap<Box<[u8]>, u32, FixedState>,
    /// Of plain keys: starts of ranges by rising key; `None` ends one.
    starts: Vec<(Box<[u8]>, Option<u32>)>,
    /// Of concatenations, in the order of the set.
    boxes: Vec<Boxed>,
    catch_all: Option<u32>,
}

/// The first and the last key (inclusive) of an element of ranges, and its position.
type Boxed = (Box<[u8]>, Box<[u8]>, u32);

/// What a lookup with a partly unknown key can find.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This element, or none.
    Certain(Option<u32>),
    /// One of several, or none.
    Possible,
}

impl Index {
    pub(super) fn of(set: &Set) -> Self {
        let mut index = Self {
            fields: set.fields.clone(),
            exact: HashMap::default(),
            starts: Vec::new(),
            boxes: Vec::new(),
            catch_all: None,
        };
        for (at, element) in set.elements.iter().enumerate() {
            index.add(set, u32::try_from(at).expect("fewer elements than that"), element);
        }
        // Where a range ends as the next begins, the beginning counts: it comes last.
        index.starts.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.is_some().cmp(&b.1.is_some())));
        index
    }

    fn add(&mut self, set: &Set, at: u32, element: &Element) {
        let key = || element.key.clone().into_boxed_slice();
        match &element.last {
            _ if element.catches_all => self.catch_all = Some(at),
            Some(last) if *last != element.key => self.boxes.push((key(), last.clone().into_boxed_slice(), at)),
            None if set.interval && set.fields.len() == 1 => {
                self.starts.push((key(), (!element.ends).then_some(at)));
            }
            _ => {
                self.exact.insert(key(), at);
            }
        }
    }

    /// The position of the element that matches, given which bytes of the key are unknown.
    pub(super) fn find(&self, key: &[u8], unknown: u128) -> Found {
        if unknown != 0 {
            return self.guess(key, unknown);
        }
        let found = self.exact.get(key).copied().or_else(|| self.range(key)).or_else(|| self.boxed(key));
        Found::Certain(found.or(self.catch_all))
    }

    fn range(&self, key: &[u8]) -> Option<u32> {
        let after = self.starts.partition_point(|(start, _)| start.as_ref() <= key);
        self.starts.get(after.checked_sub(1)?)?.1
    }

    fn boxed(&self, key: &[u8]) -> Option<u32> {
        let inside = |(first, last, _): &&Boxed| {
            self.ranges().all(|range| {
                first.get(range.clone()) <= key.get(range.clone()) && key.get(range.clone()) <= last.get(range)
            })
        };
        self.boxes.iter().find(inside).map(|(_, _, at)| *at)
    }

    /// Where each field lies in a key.
    fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.fields.iter().scan(0, |start, length| {
            let range = *start..*start + length;
            *start = range.end;
            Some(range)
        })
    }

    /// Whether any element agrees with the bytes that are known. Ranges count as agreeing unless a field that is wholly
    /// known lies outside.
    fn guess(&self, key: &[u8], unknown: u128) -> Found {
        let known = |at: usize| unknown >> at & 1 == 0;
        let exact = |other: &[u8]| key.iter().zip(other).enumerate().all(|(at, (a, b))| !known(at) || a == b);
        let boxed = |first: &[u8], last: &[u8]| {
            self.ranges().all(|range| {
                !range.clone().all(known)
                    || first.get(range.clone()) <= key.get(range.clone()) && key.get(range.clone()) <= last.get(range)
            })
        };
        let possible = self.starts.iter().any(|(_, at)| at.is_some())
            || self.exact.keys().any(|other| exact(other))
            || self.boxes.iter().any(|(first, last, _)| boxed(first, last));
        if possible { Found::Possible } else { Found::Certain(self.catch_all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(interval: bool, fields: &[usize], elements: Vec<Element>) -> Index {
        Index::of(&Set {
            name: "s".to_owned(),
            handle: 1,
            interval,
            dynamic: false,
            key_type: 0,
            fields: fields.to_vec(),
            object_kind: None,
            elements,
        })
    }

    fn element(key: &[u8]) -> Element {
        Element { key: key.to_vec(), ..Element::default() }
    }

    fn end(key: &[u8]) -> Element {
        Element { ends: true, ..element(key) }
    }

    #[test]
    fn exact_keys() {
        let index = set(false, &[2], vec![element(&[0, 80]), element(&[1, 187])]);
        assert_eq!(index.find(&[1, 187], 0), Found::Certain(Some(1)));
        assert_eq!(index.find(&[1, 186], 0), Found::Certain(None));
        assert_eq!(index.find(&[0, 80], 0b10), Found::Possible);
        assert_eq!(index.find(&[9, 80], 0b10), Found::Certain(None), "the byte that is known is in none");
    }

    #[test]
    fn ranges_end_before_their_ends_and_may_touch() {
        // 10–19, 20–29, 40 to the end.
        let elements = vec![element(&[40]), end(&[20]), element(&[20]), end(&[30]), element(&[10]), end(&[0])];
        let index = set(true, &[1], elements);
        let find = |key: u8| index.find(&[key], 0);
        assert_eq!(find(9), Found::Certain(None));
        assert_eq!(find(10), Found::Certain(Some(4)));
        assert_eq!(find(19), Found::Certain(Some(4)));
        assert_eq!(find(20), Found::Certain(Some(2)));
        assert_eq!(find(30), Found::Certain(None));
        assert_eq!(find(255), Found::Certain(Some(0)));
    }

    #[test]
    fn concatenations_match_field_by_field() {
        let range = Element { last: Some(vec![20, 0, 0, 0, 0, 90, 0, 0]), ..element(&[10, 0, 0, 0, 0, 80, 0, 0]) };
        let exact = Element { last: Some(vec![1; 8]), ..element(&[1; 8]) };
        let other = Element { catches_all: true, ..Element::default() };
        let index = set(true, &[4, 4], vec![range, exact, other]);
        assert_eq!(index.find(&[15, 9, 9, 9, 0, 85, 0, 0], 0), Found::Certain(Some(0)));
        assert_eq!(index.find(&[15, 0, 0, 0, 0, 91, 0, 0], 0), Found::Certain(Some(2)), "the catch-all");
        assert_eq!(index.find(&[1; 8], 0), Found::Certain(Some(1)));
    }
}
