//! Which bytes of the volume are used, and how small `ntfsresize` can make it.
//!
//! `$Bitmap` has a bit for each whole cluster and covers all metadata. Outside the clusters are the sectors
//! behind the last whole one and the backup boot sector; they are always used.

use super::attribute::kind;
use super::boot_sector::BootSector;
use super::mft::{Mft, number};
use super::mft_record::Reference;
use super::runlist::Run;
use super::stream::Stream;
use crate::filesystem::bitmap::insert_set_bits;
use crate::filesystem::{Error, MOST_WRITTEN_BEHIND_BYTES};
use crate::units::{ByteRange, MIB, RangeSet, u64_from, usize_from};

const STRUCTURE: &str = "the NTFS cluster bitmap";
/// How much of the bitmap is in memory at a time.
const PIECE_BYTES: u64 = MIB;
/// `$Boot` has this length.
const BOOT_BYTES: u64 = 8192;

/// What a capture has to read.
pub(super) struct Usage {
    pub(super) used: RangeSet,
    pub(super) minimum_bytes: u64,
    /// Clusters that Windows has marked as unreadable.
    pub(super) bad_clusters: u64,
}

/// Reads the map and checks that it covers the system files.
pub(super) fn read(mft: &Mft<'_>) -> Result<Usage, Error> {
    let boot = &mft.boot;
    let bitmap = mft.system_stream(number::BITMAP, kind::DATA, "")?;
    let mut used = read_bitmap(mft, &bitmap)?;
    check_files(mft, &used)?;
    let bad_clusters = bad_clusters(mft)?;
    let minimum_bytes = if bad_clusters > 0 {
        boot.size_bytes()
    } else {
        minimum_bytes(mft, used.total_bytes())?.min(boot.size_bytes())
    };

    let volume_bytes = mft.volume.size_bytes();
    used.insert(ByteRange::new(0, BOOT_BYTES.min(volume_bytes)));
    used.insert(ByteRange::new(boot.clusters_end(), boot.size_bytes().min(volume_bytes)));
    // In a partition that is larger than its file system, Windows may keep the backup boot sector in the
    // last sector of the partition.
    used.insert(ByteRange::new(volume_bytes.saturating_sub(boot.sector_bytes), volume_bytes));
    Ok(Usage { used, minimum_bytes: minimum_bytes.min(volume_bytes), bad_clusters })
}

/// The clusters whose bits are set.
fn read_bitmap(mft: &Mft<'_>, bitmap: &Stream) -> Result<RangeSet, Error> {
    let BootSector { cluster_count, cluster_bytes, .. } = mft.boot;
    let length = cluster_count.div_ceil(8);
    let corrupt = |fact| Error::corrupt(STRUCTURE, bitmap.position(0), fact);
    if bitmap.initialized_bytes < length {
        let bits = bitmap.initialized_bytes;
        return Err(corrupt(format!("{bits} valid bytes for {cluster_count} clusters")));
    }
    if bitmap.runs().iter().any(|run| run.lcn.is_none() && run.vcn.saturating_mul(cluster_bytes) < length) {
        return Err(corrupt("it has a hole".to_owned()));
    }
    let mut used = RangeSet::new();
    let mut offset = 0u64;
    while offset < length {
        let piece = PIECE_BYTES.min(length.saturating_sub(offset));
        let bits = bitmap.read(mft.volume, STRUCTURE, offset, usize_from(piece))?;
        let first = offset.saturating_mul(8);
        let count = cluster_count.saturating_sub(first).min(u64_from(bits.len()).saturating_mul(8));
        insert_set_bits(&mut used, &bits, first, count, cluster_bytes);
        offset = offset.saturating_add(piece);
    }
    Ok(used)
}

/// Refuses a map in which clusters are free that every NTFS uses, or that were needed to judge this one: the
/// root directory, a hibernation file, an attribute list.
fn check_files(mft: &Mft<'_>, used: &RangeSet) -> Result<(), Error> {
    for (number, kind) in [
        (number::MFT, kind::DATA),
        (number::MFT, kind::BITMAP),
        (number::MFT_MIRROR, kind::DATA),
        (number::LOG_FILE, kind::DATA),
        (number::BITMAP, kind::DATA),
        (number::BOOT, kind::DATA),
    ] {
        mft.system_stream(number, kind, "")?;
    }
    for (number, run) in mft.opened() {
        let Some(lcn) = run.lcn else { continue };
        let end = lcn.saturating_add(run.clusters);
        if !used.contains(ByteRange::new(mft.boot.cluster_start(lcn), mft.boot.cluster_start(end))) {
            return Err(Error::corrupt(
                STRUCTURE,
                mft.boot.cluster_start(lcn),
                format!("clusters {lcn} to {} of file {number} are marked free", end.saturating_sub(1)),
            ));
        }
    }
    Ok(())
}

/// `$BadClus:$Bad` is a hole as long as the volume, filled where clusters are bad.
fn bad_clusters(mft: &Mft<'_>) -> Result<u64, Error> {
    let base = mft.base(Reference(number::BAD_CLUSTERS))?;
    let bad = mft.stream(&base, kind::DATA, "$Bad")?;
    let runs = bad.as_ref().map(Stream::runs).unwrap_or_default();
    Ok(runs.iter().filter(|run| run.lcn.is_some()).fold(0, |sum, run| sum.saturating_add(run.clusters)))
}

/// The first byte behind which of these runs of clusters no more than `most_bytes` lie.
fn few_behind(cluster_bytes: u64, runs: &[Run], most_bytes: u64) -> u64 {
    let byte = |lcn: u64| lcn.saturating_mul(cluster_bytes);
    let place = |run: &Run| run.lcn.map(|lcn| (byte(lcn), byte(lcn.saturating_add(run.clusters))));
    let mut places: Vec<(u64, u64)> = runs.iter().filter_map(place).collect();
    places.sort_unstable_by(|one, other| other.cmp(one));
    let mut left = most_bytes;
    for (start, end) in places {
        let length = end.saturating_sub(start);
        if length > left {
            return end.saturating_sub(left);
        }
        left = left.saturating_sub(length);
    }
    0
}

/// `ntfsresize` moves every cluster but the first run of `$MFT`, a `$MFTMirr` in pieces, and anything of a
/// volume whose `$Bitmap` has an attribute list (`collect_resize_constraints` in its source). It needs two
/// clusters more than that; the rest of the reserve is for the longer run lists of files that it has to cut
/// to pieces, and for a system that can start. It writes the records of moved files where they stand and moves `$MFT`
/// last: of that, no more than a deploy keeps in memory may lie behind the new end.
fn minimum_bytes(mft: &Mft<'_>, in_use_bytes: u64) -> Result<u64, Error> {
    let boot = &mft.boot;
    let bitmap = mft.base(Reference(number::BITMAP))?;
    if Mft::has_list(&bitmap)? {
        return Ok(boot.size_bytes());
    }
    let table = mft.system_stream(number::MFT, kind::DATA, "")?;
    let mirror = mft.system_stream(number::MFT_MIRROR, kind::DATA, "")?;
    let fixed_mirror = if mirror.runs().len() > 1 { mirror.runs() } else { &[] };
    let fixed_end = table
        .runs()
        .iter()
        .take(1)
        .chain(fixed_mirror)
        .filter_map(|run| run.lcn.map(|lcn| boot.cluster_start(lcn.saturating_add(run.clusters))))
        .max()
        .unwrap_or_default()
        .max(few_behind(boot.cluster_bytes, table.runs(), MOST_WRITTEN_BEHIND_BYTES));
    let reserve =
        boot.cluster_bytes.saturating_mul(2).saturating_add(4 * MIB).saturating_add(in_use_bytes / 16);
    Ok(fixed_end.max(in_use_bytes.saturating_add(reserve)).max(fixed_end.saturating_add(reserve)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_of_the_master_file_table_lie_behind_a_smallest_size() {
        let run = |lcn: u64, clusters: u64| Run { vcn: 0, lcn: Some(lcn), clusters };
        let runs = [run(4, 1000), run(5000, 100), Run { vcn: 0, lcn: None, clusters: 9 }, run(3000, 50)];
        assert_eq!(few_behind(4096, &runs, 2000 * 4096), 0, "as much as there is");
        assert_eq!(few_behind(4096, &runs, 150 * 4096), 1004 * 4096, "the two last runs");
        assert_eq!(few_behind(4096, &runs, 120 * 4096), 3030 * 4096, "a part of the run before the last");
        assert_eq!(few_behind(4096, &runs, 0), 5100 * 4096);
        assert_eq!(few_behind(4096, &[], 0), 0);
        assert_eq!(few_behind(u64::MAX, &[run(u64::MAX, u64::MAX)], 1), 0, "saturates");
    }
}
