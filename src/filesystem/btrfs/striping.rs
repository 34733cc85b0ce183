//! How the bytes of a chunk are spread over its stripes.
//!
//! A stripe is what a chunk has of one device. Without parity, the first `copies` stripes hold the first column, the next
//! ones the second column, and so on; bytes go to the columns by turns, 64 KiB to each. With parity every stripe holds
//! data and parity by turns: in each row of 64 KiB the first column stands one stripe further on.
//!
//! ```text
//! RAID0, 3 stripes     0 1 2     RAID10, 4 stripes    0 0 1 1     RAID5, 3 stripes    0 1 P
//!                      3 4 5                          2 2 3 3                         P 2 3
//!                      6 7 8                          4 4 5 5                         5 P 4
//! ```
//!
//! Kernel: `btrfs_raid_array` and `btrfs_map_block` in `fs/btrfs/volumes.c`.

use crate::units::{ByteRange, usize_from};

/// `BTRFS_STRIPE_LEN`: bytes after which the next column follows.
pub(super) const STRIPE_LEN: u64 = 64 << 10;

/// `BTRFS_BLOCK_GROUP_*`, bits of the `type` of a chunk.
mod profile {
    pub(super) const RAID0: u64 = 1 << 3;
    pub(super) const RAID1: u64 = 1 << 4;
    pub(super) const DUP: u64 = 1 << 5;
    pub(super) const RAID10: u64 = 1 << 6;
    pub(super) const RAID5: u64 = 1 << 7;
    pub(super) const RAID6: u64 = 1 << 8;
    pub(super) const RAID1C3: u64 = 1 << 9;
    pub(super) const RAID1C4: u64 = 1 << 10;
    /// Everything that says how a chunk is laid out: `BTRFS_BLOCK_GROUP_PROFILE_MASK`.
    pub(super) const MASK: u64 = 0x7F8;
}

/// The form of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Striping {
    /// Stripes that hold different data.
    columns: u64,
    /// How often each byte is there.
    copies: u64,
    /// Parities of each row.
    parities: u64,
    /// True where the copies of a byte lie on one device.
    is_on_one_device: bool,
}

impl Striping {
    /// The form of a chunk of this `type` with so many stripes; `sub_stripes` counts for RAID10 alone. `None` where there is none:
    /// another number of stripes than the profile needs, or a profile that is none.
    pub(super) fn of(flags: u64, stripes: u16, sub_stripes: u16) -> Option<Self> {
        let stripes = u64::from(stripes);
        let (columns, copies, parities) = match flags & profile::MASK {
            0 => (1, 1, 0),
            profile::DUP | profile::RAID1 => (1, 2, 0),
            profile::RAID1C3 => (1, 3, 0),
            profile::RAID1C4 => (1, 4, 0),
            profile::RAID0 => (stripes, 1, 0),
            profile::RAID10 if sub_stripes == 2 => (stripes.checked_div(2)?, 2, 0),
            profile::RAID5 => (stripes.checked_sub(1)?, 1, 1),
            profile::RAID6 => (stripes.checked_sub(2)?, 1, 2),
            _ => return None,
        };
        let is_on_one_device = flags & profile::DUP != 0;
        let form = Self { columns, copies, parities, is_on_one_device };
        (columns > 0 && form.stripes() == stripes).then_some(form)
    }

    const fn stripes(self) -> u64 {
        self.columns.saturating_mul(self.copies).saturating_add(self.parities)
    }

    /// True where bytes go to several stripes by turns.
    const fn is_striped(self) -> bool {
        self.columns > 1 || self.parities > 0
    }

    /// True where no two stripes are on one device.
    pub(super) const fn is_apart(self) -> bool {
        !self.is_on_one_device
    }

    /// True where a byte that cannot be read is made of what else is in its row.
    pub(super) const fn has_parity(self) -> bool {
        self.parities > 0
    }

    /// How often each byte is there to be read.
    pub(super) const fn copies(self) -> u64 {
        self.copies
    }

    /// Bytes that a chunk of so many bytes has in each stripe; `None` where it has no whole number of rows, or `stripe_len` of the chunk is
    /// not what is known.
    pub(super) fn stripe_bytes(self, chunk_bytes: u64, stripe_len: u64) -> Option<u64> {
        let bytes = chunk_bytes.checked_div(self.columns)?;
        let row = self.columns.checked_mul(STRIPE_LEN)?;
        let is_divided = stripe_len == STRIPE_LEN && chunk_bytes.checked_rem(row) == Some(0);
        (is_divided || !self.is_striped()).then_some(bytes)
    }

    /// Where bytes of the chunk lie, or whatever has to stay with them: every copy, and of a row with parity the same
    /// bytes of every stripe. `place` is told the stripe, from 0, and bytes counted from its start.
    pub(super) fn places(self, bytes: ByteRange, place: &mut dyn FnMut(usize, ByteRange)) {
        if self.parities > 0 {
            let rows = self.rows(bytes).into_iter().filter(|row| !row.is_empty());
            let stripes = 0..usize_from(self.stripes());
            rows.for_each(|row| stripes.clone().for_each(|stripe| place(stripe, row)));
            return;
        }
        for column in 0..self.columns {
            let part = ByteRange::new(self.offset(column, bytes.start()), self.offset(column, bytes.end()));
            let first = column.saturating_mul(self.copies);
            if !part.is_empty() {
                let stripes = first..first.saturating_add(self.copies);
                stripes.for_each(|stripe| place(usize_from(stripe), part));
            }
        }
    }

    /// Where the first byte of a column stands that is not before byte `at` of the chunk, in bytes from the start of its stripes.
    fn offset(self, column: u64, at: u64) -> u64 {
        let (row, before, within) = self.split(at);
        let start = row.saturating_mul(STRIPE_LEN);
        match column.cmp(&before) {
            std::cmp::Ordering::Less => start.saturating_add(STRIPE_LEN),
            std::cmp::Ordering::Equal => start.saturating_add(within),
            std::cmp::Ordering::Greater => start,
        }
    }

    /// The row and the column of a byte of the chunk, both from 0, and how many of their bytes stand before it.
    fn split(self, at: u64) -> (u64, u64, u64) {
        let (number, within) = (at / STRIPE_LEN, at % STRIPE_LEN);
        let row = number.checked_div(self.columns).unwrap_or(0);
        (row, number.checked_rem(self.columns).unwrap_or(0), within)
    }

    /// The bytes of each stripe that stay with these bytes of the chunk: those of the row that they begin within, of whole rows, and of
    /// the row that they end within. Each may be empty.
    fn rows(self, bytes: ByteRange) -> [ByteRange; 3] {
        let first_end =
            bytes.start().checked_next_multiple_of(STRIPE_LEN).unwrap_or(u64::MAX).min(bytes.end());
        let last_start = bytes.end().saturating_sub(bytes.end() % STRIPE_LEN).max(first_end);
        let part = |part: ByteRange| {
            let (row, _, within) = self.split(part.start());
            let start = row.saturating_mul(STRIPE_LEN).saturating_add(within);
            ByteRange::at(start, part.length()).unwrap_or_default()
        };
        let (first_row, last_row) =
            (self.split(first_end).0, self.split(last_start.saturating_sub(1)).0.saturating_add(1));
        let whole = if first_end < last_start {
            ByteRange::new(first_row.saturating_mul(STRIPE_LEN), last_row.saturating_mul(STRIPE_LEN))
        } else {
            ByteRange::default()
        };
        [part(ByteRange::new(bytes.start(), first_end)), whole, part(ByteRange::new(last_start, bytes.end()))]
    }

    /// Where a copy of bytes of the chunk is read, `copy` from 0: pieces in their order, each with its stripe, and bytes counted from its
    /// start.
    pub(super) fn copy(self, bytes: ByteRange, copy: u64) -> Vec<(usize, ByteRange)> {
        let mut pieces = Vec::new();
        let mut at = bytes.start();
        while at < bytes.end() {
            let (row, column, within) = self.split(at);
            let turn = at.saturating_sub(within).saturating_add(STRIPE_LEN);
            let end = if self.is_striped() { turn.min(bytes.end()) } else { bytes.end() };
            let stripe = if self.parities > 0 {
                row.saturating_add(column).checked_rem(self.stripes()).unwrap_or(0)
            } else {
                column.saturating_mul(self.copies).saturating_add(copy)
            };
            let start = row.saturating_mul(STRIPE_LEN).saturating_add(within);
            let length = end.saturating_sub(at);
            pieces.extend(ByteRange::at(start, length).map(|place| (usize_from(stripe), place)));
            at = end;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::RangeSet;
    use std::collections::BTreeSet;

    /// Profiles, each with its name, its bit of the `type`, and a number of stripes.
    fn forms() -> Vec<(&'static str, u64, u16)> {
        vec![
            ("single", 0, 1),
            ("DUP", profile::DUP, 2),
            ("RAID1", profile::RAID1, 2),
            ("RAID1C4", profile::RAID1C4, 4),
            ("RAID0", profile::RAID0, 1),
            ("RAID0", profile::RAID0, 3),
            ("RAID10", profile::RAID10, 4),
            ("RAID10", profile::RAID10, 6),
            ("RAID5", profile::RAID5, 2),
            ("RAID5", profile::RAID5, 4),
            ("RAID6", profile::RAID6, 3),
            ("RAID6", profile::RAID6, 5),
        ]
    }

    /// The stripes that hold the 64 KiB of this number, and the row that they stand in, by the definition of each profile; of parity only
    /// the stripe with the data.
    fn slow(name: &str, stripes: u64, number: u64) -> (Vec<u64>, u64) {
        match name {
            "RAID0" => (vec![number % stripes], number / stripes),
            "RAID10" => {
                let pair = number % (stripes / 2) * 2;
                (vec![pair, pair + 1], number / (stripes / 2))
            }
            "RAID5" | "RAID6" => {
                let data = stripes - if name == "RAID5" { 1 } else { 2 };
                let row = number / data;
                (vec![(row + number % data) % stripes], row)
            }
            _ => ((0..stripes).collect(), number),
        }
    }

    /// In sectors of 4 KiB, sixteen of which are a turn.
    #[test]
    fn every_byte_is_where_the_definition_says() {
        const SECTOR: u64 = 4096;
        for (name, flags, stripes) in forms() {
            let form = Striping::of(flags, stripes, 2).unwrap();
            let stripes = u64::from(stripes);
            let mut random = 0x5EED_u64;
            let mut below = |limit: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) % limit
            };
            for _ in 0..300 {
                let first = below(200);
                let last = first + below(120);
                let bytes = ByteRange::new(first * SECTOR, last * SECTOR);
                let mut expected: BTreeSet<(u64, u64)> = BTreeSet::new();
                for sector in first..last {
                    let (holders, row) = slow(name, stripes, sector / 16);
                    let at = row * 16 + sector % 16;
                    let is_parity = name == "RAID5" || name == "RAID6";
                    let all = if is_parity { (0..stripes).collect() } else { holders.clone() };
                    expected.extend(all.iter().map(|stripe| (*stripe, at)));
                    for copy in 0..form.copies() {
                        let range = ByteRange::at(sector * SECTOR, SECTOR).unwrap();
                        let place = ByteRange::at(at * SECTOR, SECTOR).unwrap();
                        let holder = usize::try_from(holders[usize::try_from(copy).unwrap()]).unwrap();
                        assert_eq!(form.copy(range, copy), [(holder, place)], "{name} of {stripes}");
                    }
                }
                let mut found: Vec<RangeSet> = (0..stripes).map(|_| RangeSet::new()).collect();
                form.places(bytes, &mut |stripe, range| found[stripe].insert(range));
                let found: BTreeSet<(u64, u64)> = (0u64..)
                    .zip(&found)
                    .flat_map(|(stripe, set)| {
                        let sectors = set.iter().flat_map(|range| {
                            assert_eq!((range.start() % SECTOR, range.end() % SECTOR), (0, 0));
                            range.start() / SECTOR..range.end() / SECTOR
                        });
                        sectors.map(move |sector| (stripe, sector)).collect::<Vec<_>>()
                    })
                    .collect();
                assert_eq!(found, expected, "{name} of {stripes}: {bytes}");
                // In pieces the same.
                let pieces = form.copy(bytes, 0);
                assert_eq!(pieces.iter().map(|(_, range)| range.length()).sum::<u64>(), bytes.length());
            }
        }
    }

    #[test]
    fn a_chunk_has_as_many_stripes_as_its_form_needs() {
        for (flags, stripes, sub_stripes) in [
            (0, 2, 1),
            (profile::DUP, 1, 1),
            (profile::RAID1, 3, 1),
            (profile::RAID10, 5, 2),
            (profile::RAID10, 4, 1),
            (profile::RAID5, 1, 1),
            (profile::RAID6, 2, 1),
            (profile::RAID0, 0, 1),
            (profile::RAID0 | profile::RAID1, 2, 1),
        ] {
            assert_eq!(Striping::of(flags, stripes, sub_stripes), None, "{flags:#x} {stripes}");
        }
        let raid0 = Striping::of(profile::RAID0, 3, 1).unwrap();
        assert_eq!(raid0.stripe_bytes(6 * STRIPE_LEN, STRIPE_LEN), Some(2 * STRIPE_LEN));
        assert_eq!(raid0.stripe_bytes(5 * STRIPE_LEN, STRIPE_LEN), None);
        assert_eq!(raid0.stripe_bytes(6 * STRIPE_LEN, 4096), None);
        assert_eq!(raid0.copy(ByteRange::new(0, 6 * STRIPE_LEN), 0).len(), 6);
    }
}
