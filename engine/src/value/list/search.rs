//! Lists searched by value: LREM, LPOS, LINSERT.

use super::{EncodingLimits, End, List};

impl List {
    /// The index of the first item equal to `pivot`, for LINSERT.
    pub fn find(&self, pivot: &[u8]) -> Option<usize> {
        self.iter().position(|item| item == pivot)
    }

    /// LPOS: indices of items equal to `wanted`, seen from one end. The first `skip` matches are
    /// passed over, `count_max` are returned, `compare_max` items are looked at (0: all).
    pub fn positions(
        &self,
        wanted: &[u8],
        from: End,
        skip: usize,
        count_max: usize,
        compare_max: usize,
    ) -> Vec<usize> {
        let looked_at = if compare_max == 0 { usize::MAX } else { compare_max };
        let matches = |(index, item): (usize, &[u8])| (item == wanted).then_some(index);
        match from {
            End::Head => {
                let items = self.iter().enumerate().take(looked_at);
                items.filter_map(matches).skip(skip).take(count_max).collect()
            }
            End::Tail => {
                let items = (0..self.len()).rev().zip(self.iter().rev()).take(looked_at);
                items.filter_map(matches).skip(skip).take(count_max).collect()
            }
        }
    }

    /// LREM: removes up to `count_max` items equal to `unwanted`, seen from one end; says how many.
    pub fn remove(
        &mut self,
        unwanted: &[u8],
        from: End,
        count_max: usize,
        limits: &EncodingLimits,
    ) -> usize {
        let mut indices = self.positions(unwanted, from, 0, count_max, 0);
        indices.sort_unstable();
        // From the end, so that the indices still to come stay right; runs go at once.
        let mut end = indices.len();
        while end > 0 {
            let mut start = end - 1;
            while start > 0 && indices[start - 1] + 1 == indices[start] {
                start -= 1;
            }
            self.delete(indices[start]..indices[end - 1] + 1, limits);
            end = start;
        }
        indices.len()
    }
}
