//! HFS+ and HFSX (Apple, Technical Note 1150), bare or embedded in an HFS wrapper.
//!
//! Invariants:
//!
//! - A block is used where the allocation file says so, along all its extents. It is believed only where it has as many
//!   free blocks as the volume header counts, and calls headers, special files and journal used.
//! - The map is true only where the header says that the volume was unmounted, and where no transaction is in the journal.
//! - Linux looks for the alternate header near the end of its device, so the whole volume is the file system.
//!
//! ```text
//! 0      1 KiB                                                              1 KiB before the end
//! | boot | volume header | allocation blocks: allocation file, catalog, ... | alternate header | 512 bytes |
//! ```

mod allocation;
mod header;
mod journal;
mod tree;

use self::header::Header;
use super::judgement::{Identity, Judgement, settle};
use super::{Error, Reading};
use crate::blockio::{ReadAt, Window};
use crate::schema::{FileSystem, FileSystemKind};
use crate::units::{ByteRange, RangeSet};

/// Sees the volume header, or that of a wrapper around one.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    let is_there = header::is_there(volume)? || header::embedded(volume)?.is_some();
    Ok(is_there.then_some(FileSystemKind::HfsPlus))
}

/// Reads headers, journal and allocation file. Below the header, damage and unknown forms are states of a reading that
/// still tells the label and the size.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let Some(embedded) = header::embedded(volume)? else {
        return read_volume(volume);
    };
    let window = Window::new(volume, embedded).map_err(|_| {
        Error::corrupt(header::WRAPPER, header::AT, format!("{embedded} of it do not lie on the volume"))
    })?;
    let inner = read_volume(&window)?;
    let size_bytes = volume.size_bytes();
    let around = RangeSet::of(ByteRange::new(0, size_bytes));
    let used = inner.used.map(|used| {
        let mut all = around;
        all.remove(embedded);
        for range in used.iter() {
            let moved = |at: u64| embedded.start().saturating_add(at);
            all.insert(ByteRange::new(moved(range.start()), moved(range.end())));
        }
        all
    });
    let used_bytes = used.as_ref().map(RangeSet::total_bytes);
    let file_system = FileSystem { size_bytes, minimum_bytes: size_bytes, used_bytes, ..inner.file_system };
    Ok(Reading { file_system, used })
}

fn read_volume(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let header = Header::read(volume, header::AT)?;
    let label = match tree::volume_name(volume, &header) {
        Err(error @ Error::Io { .. }) => return Err(error),
        label => label.ok().flatten(),
    };
    let judged = settle(judge(volume, &header))?;
    let size_bytes = volume.size_bytes();
    Ok(judged.of(Identity {
        kind: FileSystemKind::HfsPlus,
        uuid: None,
        label,
        block_size_bytes: header.block_bytes,
        size_bytes,
    }))
}

fn judge(volume: &dyn ReadAt, header: &Header) -> Result<Judgement, Error> {
    header.check_geometry(volume.size_bytes())?;
    let hint = header.check_alternate(volume)?;
    let journal = journal::read(volume, header)?;
    let why = header.unfinished().or(journal.unfinished);
    if let Some(why) = why {
        let fact = format!(
            "it {why}; mount it and unmount it once on macOS, or run fsck.hfsplus on it, or capture it with \
             --when-dirty raw"
        );
        return Ok(Judgement::Dirty { fact });
    }
    let mut used = allocation::read(volume, header, &journal.places)?;
    used.insert(ByteRange::new(0, header::AT.saturating_add(header::LENGTH)));
    // The alternate header, and what lies behind the last block.
    let end = volume.size_bytes();
    used.insert(ByteRange::new(header.end().min(header::alternate_at(end)), end));
    Ok(Judgement::Clean { map: used, hints: hint.into_iter().collect() })
}
