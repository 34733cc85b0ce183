//! Cluster accounting: does `$Bitmap` say what the files say?
//!
//! A volume that is only marked for a check, with a log that needs no replay, may have a wrong `$Bitmap`. It is the truth
//! where every cluster of every record of the table is marked used, none belongs to two, and none is marked that belongs
//! to nobody. This is what `ntfsresize` looks at as well before it changes such a volume.

use super::attribute::{Form, kind};
use super::mft::{Mft, number};
use super::mft_record::Record;
use super::runlist;
use super::stream::Stream;
use crate::filesystem::Error;
use crate::units::{ByteRange, RangeSet, usize_from};

const STRUCTURE: &str = "the bitmap of the NTFS MFT";
/// How much of the table's bitmap is in memory at a time.
const PIECE_BYTES: u64 = 64 << 10;
const PIECE_BITS: u64 = PIECE_BYTES * 8;
/// A volume in more pieces is not accounted for: this is 64 MiB of memory.
const MAX_RUNS: usize = 4 << 20;

/// Compares all records with the clusters that are marked, as they are in the map of a volume; `None` where they agree,
/// else the first difference.
pub(super) fn difference(mft: &Mft<'_>, used: &RangeSet) -> Result<Option<String>, Error> {
    let mut runs = Vec::new();
    if let Some(fact) = collect(mft, &mut runs)? {
        return Ok(Some(fact));
    }
    runs.sort_unstable();
    let (mut end, mut total) = (0u64, 0u64);
    for (lcn, clusters) in runs {
        let behind = lcn.saturating_add(clusters);
        if lcn < end {
            return Ok(Some(format!("cluster {lcn} belongs to two files")));
        }
        if !used.contains(ByteRange::new(mft.boot.cluster_start(lcn), mft.boot.cluster_start(behind))) {
            let last = behind.saturating_sub(1);
            return Ok(Some(format!("clusters {lcn} to {last} belong to a file and are marked free")));
        }
        end = behind;
        total = total.saturating_add(clusters);
    }
    let belonging = mft.boot.cluster_start(total);
    // What else the map has stands behind the clusters.
    let marked = used.within(ByteRange::new(0, mft.boot.clusters_end())).map(ByteRange::length).sum::<u64>();
    Ok((belonging != marked).then(|| format!("{marked} bytes are marked used, {belonging} belong to files")))
}

/// The runs of every record in use, as (first cluster, clusters).
fn collect(mft: &Mft<'_>, runs: &mut Vec<(u64, u64)>) -> Result<Option<String>, Error> {
    let bitmap = mft.system_stream(number::MFT, kind::BITMAP, "")?;
    let count = mft.record_count();
    let mut bits = Vec::new();
    for number in 0..count {
        let bit = number % PIECE_BITS;
        if bit == 0 {
            bits = read_bits(mft, &bitmap, number / 8)?;
        }
        let byte = bits.get(usize_from(bit / 8)).copied().unwrap_or_default();
        let mask = u32::try_from(bit % 8).ok().and_then(|bit| 1u8.checked_shl(bit)).unwrap_or_default();
        let is_marked = byte & mask != 0;
        match mft.record(number) {
            Ok(record) if is_marked => add_runs(mft, &record, runs)?,
            Ok(_) => return Ok(Some(format!("file {number} is in use and marked free"))),
            Err(error @ Error::Io { .. }) => return Err(error),
            // Windows keeps records for the table itself in reserve.
            Err(_) if is_marked && mft.is_unused(number)? => {}
            Err(error) if is_marked => return Ok(Some(format!("file {number} is marked used: {error}"))),
            Err(_) => {}
        }
        if runs.len() > MAX_RUNS {
            return Ok(Some(format!("its files are in more than {MAX_RUNS} pieces")));
        }
    }
    Ok(None)
}

fn read_bits(mft: &Mft<'_>, bitmap: &Stream, offset: u64) -> Result<Vec<u8>, Error> {
    let length = PIECE_BYTES.min(bitmap.data_bytes.saturating_sub(offset));
    bitmap.read(mft.volume, STRUCTURE, offset, usize_from(length))
}

fn add_runs(mft: &Mft<'_>, record: &Record, runs: &mut Vec<(u64, u64)>) -> Result<(), Error> {
    for attribute in record.attributes() {
        let Form::NonResident { lowest_vcn, pairs, .. } = attribute?.form else { continue };
        let decoded = runlist::decode(pairs, lowest_vcn, mft.boot.cluster_count);
        let decoded = decoded.map_err(|fact| record.corrupt(fact))?;
        runs.extend(decoded.into_iter().filter_map(|run| Some((run.lcn?, run.clusters))));
    }
    Ok(())
}
