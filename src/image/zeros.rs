//! The chunks of free space: nothing but zeros, of few lengths, as long as 128 MiB. They are named and written
//! without making the zeros.

use super::chunk::{BLOCK_BYTES, frame_header};
use super::{ChunkId, MAX_CHUNK_BYTES};
use crate::units::{MIB, usize_from};
use sha2::{Digest, Sha256};
use std::io;

/// SHA-256 of 1, 2, 4, ... 128 MiB of zeros, in its eight words: the lengths at which free space is cut. Hashing
/// them takes a tenth of a second for each image.
const KNOWN: [[u32; 8]; 8] = [
    [0x30E1_4955, 0xEBF1_3522, 0x66DC_2FF8, 0x067E_6810, 0x4607_E750, 0xABB9_D3B3, 0x6582_B8AF, 0x909F_CB58],
    [0x5647_F05E, 0xC189_5894, 0x7D32_874E, 0xEB78_8FA3, 0x96A0_5D0B, 0xAB7C_1B71, 0xF112_CEB7, 0xE9B3_1EEE],
    [0xBB9F_8DF6, 0x1474_D25E, 0x71FA_0072, 0x2318_CD38, 0x7396_CA17, 0x3660_5E12, 0x4882_1CC0, 0xDE3D_3AF8],
    [0x2DAE_B1F3, 0x6095_B44B, 0x3184_10B3, 0xF4E8_B5D9, 0x89DC_C7BB, 0x023D_1426, 0xC492_DAB0, 0xA305_3E74],
    [0x080A_CF35, 0xA507_AC98, 0x49CF_CBA4, 0x7DC2_AD83, 0xE01B_7566, 0x3A51_6279, 0xC8B9_D243, 0xB719_643E],
    [0x83EE_4724, 0x5398_ADEE, 0x79BD_9C0A, 0x8BC5_7B82, 0x1E92_ABA1, 0x0F5F_9ADE, 0x8A5D_1FAE, 0x4D8C_4302],
    [0x3B6A_07D0, 0xD404_FAB4, 0xE23B_6D34, 0xBC66_96A6, 0xA312_DD92, 0x8213_3238, 0x5E5A_F7C0, 0x1C42_1351],
    [0x254B_CC3F, 0xC4F2_7172, 0x636D_F4BF, 0x32DE_9F10, 0x7F62_0D55, 0x9B20_D760, 0x197E_452B, 0x9745_3917],
];

impl ChunkId {
    /// The name of so many zeros.
    #[must_use]
    pub fn of_zeros(length_bytes: u64) -> Self {
        known(length_bytes).unwrap_or_else(|| hashed(length_bytes))
    }
}

fn known(length_bytes: u64) -> Option<ChunkId> {
    let position = length_bytes.is_power_of_two().then(|| (length_bytes / MIB).checked_ilog2()).flatten()?;
    let words = KNOWN.get(usize::try_from(position).ok()?)?;
    let mut name = [0; 32];
    for (part, word) in name.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *part = word.to_be_bytes();
    }
    Some(ChunkId(name))
}

fn hashed(length_bytes: u64) -> ChunkId {
    let zeros = [0; 4096];
    let mut hash = Sha256::new();
    let mut left = usize_from(length_bytes);
    while let Some(part) = zeros.get(..left.min(zeros.len())).filter(|part| !part.is_empty()) {
        hash.update(part);
        left = left.saturating_sub(part.len());
    }
    ChunkId(hash.finalize().into())
}

/// Replaces `out` by a frame of `length_bytes` zeros, at most [`MAX_CHUNK_BYTES`]: run-length blocks of four bytes.
pub fn encode_zeros(length_bytes: u64, out: &mut Vec<u8>) -> io::Result<()> {
    if length_bytes > MAX_CHUNK_BYTES {
        return Err(io::Error::other("content of a chunk beyond 128 MiB"));
    }
    out.clear();
    out.extend_from_slice(&frame_header(length_bytes));
    let mut left = usize_from(length_bytes);
    loop {
        let block = left.min(BLOCK_BYTES);
        left = left.saturating_sub(block);
        super::chunk::run_block(block, 0, left == 0, out);
        if left == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Decoder, check_frame};

    #[test]
    fn names_of_zeros_are_hashes_of_zeros() {
        for length in (20..28).map(|bits| 1 << bits).chain([1, 4096, MIB - 1, MIB + 1, 3 * MIB]) {
            assert_eq!(ChunkId::of_zeros(length), hashed(length), "{length}");
        }
    }

    #[test]
    fn frames_of_zeros_are_read_like_all_others() {
        for length in [1, 7, 131_071, 131_072, 131_073, MIB, 3 * MIB + 5, 64 * MIB] {
            let (mut frame, mut content) = (Vec::new(), Vec::new());
            encode_zeros(length, &mut frame).unwrap();
            let id = ChunkId::of_zeros(length);
            assert_eq!(check_frame(id, frame.as_slice()).unwrap(), length);
            Decoder::new().unwrap().decode(id, &frame, length, &mut content).unwrap();
            assert!(content.iter().all(|byte| *byte == 0) && frame.len() < 4096, "{length}");
        }
        assert!(encode_zeros(MAX_CHUNK_BYTES + 1, &mut Vec::new()).is_err());
    }
}
