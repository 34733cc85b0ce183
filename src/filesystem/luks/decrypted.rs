//! The data of a volume as they are without their encryption. Nothing of them is kept.

use super::cipher::Cipher;
use super::header::Data;
use crate::blockio::{ReadAt, past_the_end};
use crate::units::{ByteRange, MIB, u64_from, usize_from};
use std::io;
use zeroize::Zeroizing;

/// What is decrypted at a time, at most.
const PIECE_BYTES: u64 = MIB;

/// The data, from their first byte on.
pub(super) struct Decrypted<'a> {
    pub(super) volume: &'a dyn ReadAt,
    pub(super) data: &'a Data,
    pub(super) cipher: Cipher,
}

impl ReadAt for Decrypted<'_> {
    fn size_bytes(&self) -> u64 {
        self.data.range.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let wanted = ByteRange::at(offset, u64_from(buffer.len())).ok_or_else(past_the_end)?;
        if wanted.end() > self.size_bytes() {
            return Err(past_the_end());
        }
        let sector_bytes = u64_from(self.data.sector_bytes).max(1);
        let mut left = buffer;
        let mut at = wanted.start();
        while !left.is_empty() {
            let within = at.checked_rem(sector_bytes).unwrap_or(0);
            let start = at.saturating_sub(within);
            let end = wanted.end().next_multiple_of(sector_bytes).min(start.saturating_add(PIECE_BYTES));
            let mut sectors = Zeroizing::new(vec![0; usize_from(end.saturating_sub(start))]);
            self.volume.read_at(self.data.range.start().saturating_add(start), &mut sectors)?;
            let number = self.data.first_sector.wrapping_add(start / 512);
            self.cipher.decrypt(number, self.data.sector_bytes, &mut sectors);
            let plain = sectors.get(usize_from(within)..).unwrap_or_default();
            let (part, rest) = left.split_at_mut(plain.len().min(left.len()));
            part.copy_from_slice(plain.get(..part.len()).ok_or_else(past_the_end)?);
            at = at.saturating_add(u64_from(part.len()));
            left = rest;
        }
        Ok(())
    }

    fn will_need(&self, range: ByteRange) {
        let start = self.data.range.start();
        if let Some(place) = ByteRange::at(start.saturating_add(range.start()), range.length()) {
            self.volume.will_need(place.intersection(self.data.range));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::read_vec;

    #[test]
    fn any_stretch_of_the_data_reads_as_a_part_of_the_whole() {
        let volume: Vec<u8> =
            (0..3 * 1024 * 1024u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let data = Data {
            range: ByteRange::new(4096, 4096 + 2 * MIB + 12_288),
            cipher: "aes-xts-plain64".to_owned(),
            key_bytes: 64,
            sector_bytes: 4096,
            first_sector: 7,
        };
        let cipher = Cipher::new(&data.cipher, &[3; 64]).unwrap();
        let decrypted = Decrypted { volume: &volume.as_slice(), data: &data, cipher };
        let size = decrypted.size_bytes();
        let whole = read_vec(&decrypted, 0, usize_from(size)).unwrap();
        for (at, length) in
            [(0, 1), (1, 4095), (4095, 2), (5000, MIB), (MIB - 1, MIB + 3), (size - 1, 1), (7, 0)]
        {
            let part = read_vec(&decrypted, at, usize_from(length)).unwrap();
            assert!(part == whole[usize_from(at)..usize_from(at + length)], "{length} bytes at {at}");
        }
        assert!(decrypted.read_at(size, &mut [0]).is_err() && decrypted.read_at(u64::MAX, &mut [0]).is_err());
    }
}
