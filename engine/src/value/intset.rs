//! A sorted set of integers, each as wide as the widest needs: 2, 4 or 8 bytes, as in Redis.
//!
//! ```text
//! [u8 width] integers, little-endian, ascending
//! ```
//! An empty set has no bytes. A set never becomes narrower again.

use super::thin::ThinBytes;

const WIDTH_BYTES: usize = 1;

/// An owned integer set.
#[derive(Clone, Debug, Default)]
pub struct IntSet {
    bytes: ThinBytes,
}

/// An integer set as read.
#[derive(Clone, Copy, Debug)]
pub struct IntSetRef<'a> {
    bytes: &'a [u8],
}

/// The integer that a byte string is the canonical text of: what Redis would store as one.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let canonical = match digits {
        [] => false,
        [b'0'] => !negative,
        [first, ..] => (b'1'..=b'9').contains(first) && digits.len() <= 19,
    };
    if !canonical {
        return None;
    }
    let mut number = 0_i64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = i64::from(digit - b'0');
        number = number.checked_mul(10)?;
        // Negative numbers reach one further.
        number = if negative { number.checked_sub(digit)? } else { number.checked_add(digit)? };
    }
    Some(number)
}

impl<'a> IntSetRef<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub fn to_int_set(self) -> IntSet {
        IntSet { bytes: ThinBytes::from(self.bytes) }
    }

    /// Bytes an integer: 2, 4 or 8.
    pub fn width(self) -> usize {
        self.bytes.first().map_or(2, |&width| usize::from(width))
    }

    pub fn len(self) -> usize {
        self.bytes.len().saturating_sub(WIDTH_BYTES) / self.width()
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The integer of an index in ascending order.
    pub fn get(self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| self.read(index))
    }

    pub fn contains(self, number: i64) -> bool {
        width_of(number) <= self.width() && self.search(number).is_ok()
    }

    pub fn iter(self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + use<'a> {
        (0..self.len()).map(move |index| self.read(index))
    }

    /// The index of a number, or where it would go.
    fn search(self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.read(middle).cmp(&number) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    fn read(self, index: usize) -> i64 {
        let width = self.width();
        let start = WIDTH_BYTES + index * width;
        match &self.bytes[start..start + width] {
            &[a, b] => i64::from(i16::from_le_bytes([a, b])),
            &[a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            bytes => i64::from_le_bytes(bytes.try_into().expect("widths are 2, 4 or 8")),
        }
    }
}

impl IntSet {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn view(&self) -> IntSetRef<'_> {
        IntSetRef::new(&self.bytes)
    }

    pub fn len(&self) -> usize {
        self.view().len()
    }

    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes.memory_bytes()
    }

    /// True if it was not there.
    pub fn add(&mut self, number: i64) -> bool {
        if self.bytes.is_empty() {
            self.bytes.push(2);
        }
        let width = width_of(number);
        if width > self.view().width() {
            self.widen(width);
        }
        let Err(index) = self.view().search(number) else { return false };
        let width = self.view().width();
        self.bytes.insert(WIDTH_BYTES + index * width, &number.to_le_bytes()[..width]);
        true
    }

    /// True if it was there.
    pub fn remove(&mut self, number: i64) -> bool {
        let width = self.view().width();
        match self.view().search(number) {
            Ok(index) if width_of(number) <= width => {
                let start = WIDTH_BYTES + index * width;
                self.bytes.remove(start..start + width);
                self.bytes.shrink_if_sparse();
                true
            }
            _ => false,
        }
    }

    pub(super) fn into_thin(self) -> ThinBytes {
        self.bytes
    }

    pub(super) fn from_thin(bytes: ThinBytes) -> Self {
        Self { bytes }
    }

    fn widen(&mut self, width: usize) {
        let mut wide = ThinBytes::with_capacity(WIDTH_BYTES + (self.len() + 1) * width);
        wide.push(width as u8);
        self.view().iter().for_each(|n| wide.extend_from_slice(&n.to_le_bytes()[..width]));
        self.bytes = wide;
    }
}

fn width_of(number: i64) -> usize {
    if i16::try_from(number).is_ok() {
        2
    } else if i32::try_from(number).is_ok() {
        4
    } else {
        8
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_canonical_text_is_an_integer() {
        for number in [0, 1, -1, 10, -10, i64::MAX, i64::MIN, 1 << 40] {
            assert_eq!(parse_integer(number.to_string().as_bytes()), Some(number));
        }
        for text in ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "9223372036854775808"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_integer(b"-9223372036854775809"), None);
        assert_eq!(parse_integer(b"99999999999999999999"), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_standard_set(
            edits in prop::collection::vec(
                (any::<bool>(), prop_oneof![
                    5 => -9_i64..9,
                    2 => any::<i16>().prop_map(i64::from),
                    1 => any::<i32>().prop_map(i64::from),
                    1 => any::<i64>(),
                ]), 0..80)
        ) {
            let mut set = IntSet::new();
            let mut model = BTreeSet::new();
            let mut width = 2;
            for (add, number) in edits {
                if add {
                    width = width.max(width_of(number));
                    prop_assert_eq!(set.add(number), model.insert(number));
                } else {
                    prop_assert_eq!(set.remove(number), model.remove(&number));
                }
                prop_assert_eq!(set.view().contains(number), add);
                prop_assert_eq!(set.len(), model.len());
                prop_assert_eq!(set.view().width(), width);
            }
            prop_assert!(set.view().iter().eq(model.iter().copied()));
            prop_assert_eq!(set.view().get(0), model.first().copied());
            prop_assert_eq!(set.view().get(model.len()), None);
        }
    }
}
