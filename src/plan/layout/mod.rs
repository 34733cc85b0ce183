//! Where each partition goes: the layout of one target disk.
//!
//! A layout is decided in bytes and placed on the target's sectors. [`Ground`] is what it stands on: the
//! pieces of the image in disk order, and how much of the target the table leaves to them.
//!
//! ```text
//!      front                                        usable end
//!   0    |                                                | back  disk end
//!   +----+-----+------------+-----------------------------+-----+
//!   |table| gap | piece 0    | piece 1 ...                 |table|
//!   +----+-----+------------+-----------------------------+-----+
//! ```

mod around;
mod dynamic;
mod gpt;
mod mbr;
mod original;
mod pieces;

pub(super) use dynamic::divide;
pub(super) use pieces::{Piece, Tie};

use super::dynamic_disk;
use super::keep::{self, Kept};
use super::refusal::{Part, Refusal};
use super::sizing::{self, Sizing, Why};
use super::special::Special;
use crate::machine::MachineDisk;
use crate::schema::{Disk, Layout, PartitionWish, Role, Table, Volume};
use crate::units::{ByteRange, MIB, SectorSize};
use pieces::Container;

/// Partitions start on multiples of this.
pub(super) const ALIGNMENT_BYTES: u64 = MIB;
/// A hole of at most this size in front of the first partition is kept where it was captured: it may hold
/// a boot loader, as on most ARM boards. A larger one is where a partition was deleted.
const LARGEST_LEAD_BYTES: u64 = 64 * MIB;
/// Sectors that the fields of an MBR can count.
const MBR_SECTORS: u64 = 1 << 32;

/// The pieces of a disk, in disk order, with the rules for their sizes.
pub(super) fn pieces_of(disk: &Disk) -> Result<Vec<Piece<'_>>, Refusal> {
    pieces::read(disk).map(|(pieces, _)| pieces)
}

/// What a layout stands on.
#[derive(Debug, Clone)]
pub(super) struct Ground<'a> {
    /// The disk of the image.
    pub(super) source: &'a Disk,
    /// Logical sector size of the target.
    pub(super) sector: SectorSize,
    /// The target's size in whole sectors.
    pub(super) disk_bytes: u64,
    /// First byte that a partition may use.
    front: u64,
    /// Bytes that the table needs at the end of the disk.
    back: u64,
    /// No partition may reach beyond this byte.
    limit: u64,
    /// Not below this byte does the first partition start, so that the boot area in front of it survives.
    lead: u64,
    /// What has to find a place, in disk order.
    pub(super) pieces: Vec<Piece<'a>>,
    /// The extended partition that holds logical ones.
    container: Option<Container>,
    /// Partitions of the target that stay, in disk order.
    pub(super) kept: Vec<Kept>,
}

/// Places for all pieces, in bytes of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrangement {
    /// The place of each piece, in the order of [`Ground::pieces`].
    pub(super) places: Vec<ByteRange>,
    /// The extended boot record of each piece that is a logical partition.
    ebrs: Vec<Option<u64>>,
    /// The extended partition.
    container: Option<ByteRange>,
}

impl Arrangement {
    /// First byte behind everything.
    fn end(&self) -> u64 {
        self.places.iter().chain(&self.container).map(|place| place.end()).max().unwrap_or_default()
    }

    /// First byte of everything.
    fn start(&self) -> Option<u64> {
        self.places.iter().chain(&self.container).map(|place| place.start()).min()
    }
}

/// A finished layout.
#[derive(Debug)]
pub(super) struct Laid {
    /// The method that made it.
    pub(super) layout: Layout,
    /// Where everything lies.
    pub(super) arrangement: Arrangement,
    /// The table for the target.
    pub(super) table: Table,
    /// The smallest disk that it fits on.
    pub(super) minimum_disk_bytes: u64,
    /// What a person should know.
    pub(super) warnings: Vec<String>,
}

impl<'a> Ground<'a> {
    /// Reads the image's disk for a target.
    pub(super) fn new(
        source: &'a Disk,
        target: &MachineDisk,
        wishes: &[PartitionWish],
        kept: Vec<Kept>,
    ) -> Result<Self, Refusal> {
        let (mut pieces, container) = pieces::read(source)?;
        pieces::grant(&mut pieces, wishes)?;
        pieces::check_member(source, target)?;
        let sector = target.logical_sector_bytes;
        let (front, back, limit) = match &source.table {
            Table::Gpt(gpt) => {
                let frame = gpt::Frame::new(source, gpt, sector)?;
                (frame.front_bytes(sector), frame.back_bytes(sector), u64::MAX)
            }
            Table::Mbr(_) => (sector.bytes(), 0, sector.bytes().saturating_mul(MBR_SECTORS)),
            Table::None => (0, 0, u64::MAX),
        };
        let first =
            pieces.iter().map(|piece| piece.old).chain(container.map(|c| c.old)).map(ByteRange::start).min();
        let has_boot_area = source.volumes.iter().any(|volume| volume.role == Role::BootArea);
        let lead = first.filter(|start| has_boot_area && *start <= LARGEST_LEAD_BYTES).unwrap_or_default();
        let rest = target.size_bytes.checked_rem(sector.bytes()).unwrap_or_default();
        let disk_bytes = target.size_bytes.saturating_sub(rest);
        Ok(Self { source, sector, disk_bytes, front, back, limit, lead, pieces, container, kept })
    }

    /// Some of the pieces, with a hole of the disk to themselves.
    fn within(&self, hole: ByteRange, from: usize, to: usize) -> Self {
        Self {
            source: self.source,
            sector: self.sector,
            disk_bytes: self.disk_bytes,
            front: hole.start(),
            back: self.disk_bytes.saturating_sub(hole.end()),
            limit: self.limit,
            lead: self.lead,
            pieces: self.pieces.get(from..to).unwrap_or_default().to_vec(),
            container: None,
            kept: Vec::new(),
        }
    }

    /// First byte of all partitions, new and kept.
    pub(super) fn first_start(&self, arrangement: &Arrangement) -> Option<u64> {
        arrangement.start().into_iter().chain(self.kept.iter().map(|kept| kept.place.start())).min()
    }

    /// True where the table is an MBR.
    pub(super) fn is_mbr(&self) -> bool {
        matches!(self.source.table, Table::Mbr(_))
    }

    /// True where the table reaches over the whole target.
    pub(super) fn reaches_all(&self) -> bool {
        self.disk_bytes <= self.limit
    }

    /// The smallest disk that the pieces fit on; `None` where the table does not reach so far.
    pub(super) fn smallest_disk_bytes(&self) -> Option<u64> {
        let end = dynamic::smallest(self).end();
        (end <= self.limit).then(|| self.minimum_disk_bytes(end))
    }

    /// Bytes that the table needs at the end of the disk.
    pub(super) fn back(&self) -> u64 {
        self.back
    }

    /// First byte that no partition may use any more.
    pub(super) fn usable_end(&self) -> u64 {
        self.disk_bytes.saturating_sub(self.back).min(self.limit)
    }

    /// First byte behind the target's entry array or MBR, and of the original's.
    pub(super) fn table_ends(&self) -> (u64, u64) {
        match &self.source.table {
            Table::Gpt(gpt) => gpt::table_ends(self.source, gpt, self.sector),
            Table::Mbr(_) => (self.sector.bytes(), self.source.logical_sector_bytes.bytes()),
            Table::None => (0, 0),
        }
    }

    fn minimum_disk_bytes(&self, end: u64) -> u64 {
        // Even an empty table has a usable sector.
        end.max(self.front.saturating_add(self.sector.bytes())).saturating_add(self.back)
    }

    fn fits(&self, arrangement: &Arrangement) -> bool {
        self.minimum_disk_bytes(arrangement.end()) <= self.disk_bytes && arrangement.end() <= self.limit
    }

    fn too_small(&self, arrangement: &Arrangement, target: &MachineDisk) -> Refusal {
        let (disk, end) = (self.source.number, arrangement.end());
        let reach = if end > self.limit { self.limit } else { self.usable_end() };
        let mut parts: Vec<(ByteRange, Part)> =
            arrangement.places.iter().copied().zip(self.pieces.iter().map(|piece| piece.part)).collect();
        if let (Some(place), Some(container)) = (arrangement.container, self.container) {
            parts.push((place, Part::Partition(container.number)));
        }
        let first = parts.into_iter().find(|(place, _)| place.end() > reach);
        let (place, part) = first.unwrap_or((ByteRange::new(0, self.front), Part::Table));
        let piece = self.pieces.iter().find(|piece| piece.part == part);
        if end > self.limit {
            let (end_bytes, limit_bytes, sector_bytes) = (place.end(), self.limit, self.sector);
            return Refusal::BeyondMbr { disk, part, end_bytes, limit_bytes, sector_bytes };
        }
        let minimum_bytes = self.minimum_disk_bytes(end);
        Refusal::TooSmall {
            disk,
            target: target.path.clone(),
            target_bytes: self.disk_bytes,
            minimum_bytes,
            missing_bytes: minimum_bytes.saturating_sub(self.disk_bytes),
            part,
            part_bytes: place.length(),
            reason: piece.map(|piece| sizing::least(piece.sizing, piece.volume)),
        }
    }

    /// The same with nobody who shares below their captured size.
    fn unshrunk(&self) -> Self {
        let whole = |piece: &Piece<'a>| match (piece.sizing, piece.volume) {
            (Sizing::Shared { minimum_bytes }, Some(volume)) => {
                let minimum_bytes = minimum_bytes.max(volume.size_bytes);
                Piece { sizing: Sizing::Shared { minimum_bytes }, ..*piece }
            }
            _ => *piece,
        };
        Self { pieces: self.pieces.iter().map(whole).collect(), ..self.clone() }
    }

    /// Lays the pieces out on the target.
    pub(super) fn lay(&self, layout: Layout, target: &MachineDisk) -> Result<Laid, Refusal> {
        if self.is_dynamic_disk() {
            return self.lay_dynamic_disk(layout, target);
        }
        if !self.kept.is_empty() {
            return around::lay(self, layout, target);
        }
        match layout {
            Layout::Original => self.lay_original(target),
            Layout::Dynamic => self.lay_dynamic(target),
            Layout::Custom | Layout::Standard => self.lay_chosen(layout, target),
            // Its places are not decided here: `plan::scripted`.
            Layout::Script => Err(Refusal::NoScript { target: target.path.clone() }),
        }
    }

    /// True where a partition is part of a dynamic disk of Windows, or all of it is one.
    fn is_dynamic_disk(&self) -> bool {
        let is_part = |piece: &Piece<'_>| piece.special == Some(Special::LogicalDiskManager);
        self.whole_dynamic_disk().is_some() || self.pieces.iter().any(is_part)
    }

    /// The volume that is an MBR disk of a group, with its sizing.
    fn whole_dynamic_disk(&self) -> Option<(&'a Volume, Sizing)> {
        let found = self.pieces.iter().find_map(|piece| Some((piece.volume?, piece.sizing)));
        found.filter(|(volume, _)| dynamic_disk::is_whole(volume))
    }

    /// What a database says where it is has to be there, whatever layout was asked for.
    fn lay_dynamic_disk(&self, layout: Layout, target: &MachineDisk) -> Result<Laid, Refusal> {
        let disk = self.source.number;
        if !self.kept.is_empty() {
            return Err(Refusal::DynamicDiskKeeps { disk, target: target.path.clone() });
        }
        if let Some((volume, sizing)) = self.whole_dynamic_disk() {
            return self.lay_whole_dynamic_disk(layout, volume, sizing, target);
        }
        let is_wished =
            |piece: &&Piece<'_>| matches!(piece.sizing, Sizing::Chosen { .. } | Sizing::Part { .. });
        if let Some(volume) = self.pieces.iter().find(is_wished).and_then(|piece| piece.volume) {
            let reason = "partitions of a Windows dynamic disk keep their places".to_owned();
            return Err(Refusal::Stays { volume: volume.name.clone(), reason });
        }
        let mut laid = self.lay_original(target)?;
        if layout != Layout::Original {
            laid.warnings.push(format!(
                "All partitions of disk {disk} stay at their original places: it is a Windows dynamic disk, whose database counts from \
                 the start of the disk."
            ));
        }
        Ok(laid)
    }

    /// An MBR disk of a group has all of its target, for its database stands at the end.
    fn lay_whole_dynamic_disk(
        &self,
        layout: Layout,
        volume: &Volume,
        sizing: Sizing,
        target: &MachineDisk,
    ) -> Result<Laid, Refusal> {
        use Sizing::{Chosen, Fixed, Part};
        if matches!(sizing, Chosen { .. } | Part { .. } | Fixed(Why::Wanted)) {
            let reason = "it is a Windows dynamic disk, which has all of its target".to_owned();
            return Err(Refusal::Stays { volume: volume.name.clone(), reason });
        }
        let mut all = original::arrange(self)?;
        if !self.fits(&all) {
            return Err(self.too_small(&all, target));
        }
        dynamic_disk::check_target(self.source, volume, target)?;
        let minimum = self.minimum_disk_bytes(all.end());
        all.places = vec![ByteRange::new(0, self.disk_bytes)];
        Ok(self.finish(layout, all, minimum, Vec::new()))
    }

    fn lay_original(&self, target: &MachineDisk) -> Result<Laid, Refusal> {
        let kept = original::arrange(self)?;
        if !self.fits(&kept) {
            return Err(self.too_small(&kept, target));
        }
        let minimum = self.minimum_disk_bytes(kept.end());
        Ok(self.finish(Layout::Original, kept, minimum, Vec::new()))
    }

    fn lay_dynamic(&self, target: &MachineDisk) -> Result<Laid, Refusal> {
        // Nobody shrinks where nobody has to: it takes time, and rounding alone would do it.
        let unshrunk = self.unshrunk();
        let (least, whole) = (dynamic::smallest(self), dynamic::smallest(&unshrunk));
        // A disk from before 1 MiB alignment can need more room on the grid than it had without; where its
        // original places fit, they are better than shrinking or a refusal.
        let kept = original::arrange(self).ok().filter(|kept| kept.end() < whole.end());
        let smaller = kept.as_ref().filter(|kept| kept.end() < least.end()).unwrap_or(&least);
        let minimum = self.minimum_disk_bytes(smaller.end());
        if self.fits(&whole) {
            let filled = dynamic::fill(&unshrunk).unwrap_or(whole);
            return Ok(self.finish(Layout::Dynamic, filled, minimum, Vec::new()));
        }
        let Some(kept) = kept.as_ref().filter(|kept| self.fits(kept)) else {
            if !self.fits(&least) {
                return Err(self.too_small(smaller, target));
            }
            let filled = dynamic::fill(self).unwrap_or(least);
            return Ok(self.finish(Layout::Dynamic, filled, minimum, Vec::new()));
        };
        let more = self.minimum_disk_bytes(whole.end()).saturating_sub(self.disk_bytes);
        let warning = format!(
            "All partitions stay at their original places: starting on multiples of 1 MiB they would need \
             {more} bytes more than the disk has."
        );
        Ok(self.finish(Layout::Original, kept.clone(), minimum, vec![warning]))
    }

    fn lay_chosen(&self, layout: Layout, target: &MachineDisk) -> Result<Laid, Refusal> {
        let least = dynamic::smallest(self);
        if !self.fits(&least) {
            return Err(self.too_small(&least, target));
        }
        let minimum = self.minimum_disk_bytes(least.end());
        let unshrunk = self.unshrunk();
        let whole = dynamic::smallest(&unshrunk);
        let filled = if self.fits(&whole) {
            dynamic::fill(&unshrunk).unwrap_or(whole)
        } else {
            dynamic::fill(self).unwrap_or(least)
        };
        Ok(self.finish(layout, filled, minimum, Vec::new()))
    }

    fn finish(
        &self,
        layout: Layout,
        arrangement: Arrangement,
        minimum_disk_bytes: u64,
        mut warnings: Vec<String>,
    ) -> Laid {
        let table = match &self.source.table {
            Table::Gpt(gpt) => Table::Gpt(gpt::table(self, gpt, &arrangement, layout, &mut warnings)),
            Table::Mbr(mbr) => Table::Mbr(mbr::table(self, mbr, &arrangement)),
            Table::None => Table::None,
        };
        let table = keep::with_kept(table, &self.kept);
        Laid { layout, arrangement, table, minimum_disk_bytes, warnings }
    }
}

/// The next multiple of `unit` at or behind `bytes`; saturates, so that a place out of this world fits
/// nowhere.
fn align_up(bytes: u64, unit: u64) -> u64 {
    bytes.div_ceil(unit.max(1)).saturating_mul(unit)
}
