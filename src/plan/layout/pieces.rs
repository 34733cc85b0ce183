//! What has to find a place on the target: the image's partitions in disk order, in bytes.

use crate::machine::MachineDisk;
use crate::plan::existing;
use crate::plan::refusal::{Part, Refusal};
use crate::plan::sizing::{self, Sizing, Why};
use crate::plan::special::Special;
use crate::schema::{Disk, Gpt, Mbr, MbrRole, PartitionWish, Role, Table, Volume};
use crate::units::{ByteRange, Lba};
use std::collections::BTreeSet;

/// How a piece is tied into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Tie {
    /// The volume of a disk without a table.
    WholeDisk,
    /// An entry of its own.
    Primary,
    /// A logical partition with the byte of the extended boot record that describes it.
    Logical { ebr_bytes: u64 },
    /// An extended partition that holds nothing.
    EmptyContainer,
}

/// One partition, or the volume that fills a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) struct Piece<'a> {
    /// What it is called in messages and, for a partition, its number.
    pub(in crate::plan) part: Part,
    /// Its bytes on the original.
    pub(in crate::plan) old: ByteRange,
    /// How it is tied into the table.
    pub(in crate::plan) tie: Tie,
    /// What its type says.
    pub(in crate::plan) special: Option<Special>,
    /// What was captured of it.
    pub(in crate::plan) volume: Option<&'a Volume>,
    /// The rule for its size.
    pub(in crate::plan) sizing: Sizing,
}

impl Piece<'_> {
    /// The partition's number.
    pub(in crate::plan) fn number(&self) -> Option<u32> {
        match self.part {
            Part::Partition(number) => Some(number),
            Part::WholeDisk | Part::Table | Part::Logical { .. } => None,
        }
    }
}

/// The extended partition that holds logical ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) struct Container {
    /// Its number.
    pub(in crate::plan) number: u32,
    /// Its bytes on the original.
    pub(in crate::plan) old: ByteRange,
}

/// Reads the pieces of a disk, in disk order, and its extended partition.
pub(super) fn read(disk: &Disk) -> Result<(Vec<Piece<'_>>, Option<Container>), Refusal> {
    let (mut pieces, container) = match &disk.table {
        Table::Gpt(gpt) => (of_gpt(disk, gpt)?, None),
        Table::Mbr(mbr) => of_mbr(disk, mbr)?,
        Table::None => (of_whole_disk(disk), None),
    };
    pieces.sort_by_key(|piece| piece.old);
    refuse_contradictions(disk, &pieces, container)?;
    Ok((pieces, container))
}

/// Gives the pieces the sizes that a person wants.
pub(super) fn grant(pieces: &mut [Piece<'_>], wishes: &[PartitionWish]) -> Result<(), Refusal> {
    for piece in pieces {
        let Some(volume) = piece.volume else { continue };
        let Some(wish) = wishes.iter().find(|wish| wish.volume == volume.name) else { continue };
        piece.sizing = sizing::granted(wish.size, volume)?;
    }
    Ok(())
}

fn of_gpt<'a>(disk: &'a Disk, gpt: &Gpt) -> Result<Vec<Piece<'a>>, Refusal> {
    gpt.partitions
        .iter()
        .map(|entry| {
            let sectors = entry.last_lba.0.checked_sub(entry.first_lba.0).and_then(|n| n.checked_add(1));
            let old = range(disk, entry.number, entry.first_lba, sectors.unwrap_or_default())?;
            if entry.number == 0 || entry.number > gpt.entry_count {
                return Err(unsound(disk, format!("the table has no entry {}", entry.number)));
            }
            Ok(partition(disk, entry.number, old, Tie::Primary, Special::of_gpt(entry.type_guid)))
        })
        .collect()
}

fn of_mbr<'a>(disk: &'a Disk, mbr: &Mbr) -> Result<(Vec<Piece<'a>>, Option<Container>), Refusal> {
    let (mut pieces, mut container) = (Vec::new(), None);
    let has_logical = mbr.partitions.iter().any(|entry| matches!(entry.role, MbrRole::Logical { .. }));
    for entry in &mbr.partitions {
        let old = range(disk, entry.number, entry.first_lba, entry.sectors)?;
        let special = Special::of_mbr(entry.type_code);
        match &entry.role {
            MbrRole::Primary => pieces.push(partition(disk, entry.number, old, Tie::Primary, special)),
            MbrRole::Logical { ebr_lba, .. } => {
                let ebr_bytes = disk.logical_sector_bytes.byte_of(*ebr_lba).unwrap_or(u64::MAX);
                pieces.push(partition(disk, entry.number, old, Tie::Logical { ebr_bytes }, special));
            }
            MbrRole::Extended if container.is_some() => {
                return Err(unsound(disk, "it has two extended partitions".to_owned()));
            }
            MbrRole::Extended => {
                container = Some(Container { number: entry.number, old });
                if !has_logical {
                    let piece = partition(disk, entry.number, old, Tie::EmptyContainer, None);
                    pieces.push(Piece { sizing: Sizing::Fixed(Why::Container), ..piece });
                }
            }
        }
    }
    Ok((pieces, container.filter(|_| has_logical)))
}

/// A whole disk that is a member of an array fits on a disk of its size only.
pub(super) fn check_member(disk: &Disk, target: &MachineDisk) -> Result<(), Refusal> {
    let whole = disk.volumes.iter().find(|volume| volume.role == Role::WholeDisk);
    match whole.and_then(existing::member_kind) {
        Some(kind) if target.size_bytes != disk.size_bytes => Err(Refusal::MemberOfOtherSize {
            disk: disk.number,
            kind,
            disk_bytes: disk.size_bytes,
            target: target.path.clone(),
            target_bytes: target.size_bytes,
        }),
        _ => Ok(()),
    }
}

fn of_whole_disk(disk: &Disk) -> Vec<Piece<'_>> {
    let whole = disk.volumes.iter().find(|volume| volume.role == Role::WholeDisk);
    whole
        .map(|volume| Piece {
            part: Part::WholeDisk,
            old: ByteRange::new(0, volume.size_bytes),
            tie: Tie::WholeDisk,
            special: None,
            volume: Some(volume),
            sizing: sizing::of_volume(Some(volume)),
        })
        .into_iter()
        .collect()
}

fn partition(disk: &Disk, number: u32, old: ByteRange, tie: Tie, special: Option<Special>) -> Piece<'_> {
    let volume = disk.volumes.iter().find(|volume| volume.role == Role::Partition { number });
    let sizing = sizing::of_partition(special, volume, old.length());
    Piece { part: Part::Partition(number), old, tie, special, volume, sizing }
}

fn range(disk: &Disk, number: u32, first: Lba, sectors: u64) -> Result<ByteRange, Refusal> {
    let sector = disk.logical_sector_bytes;
    let start = sector.byte_of(first);
    let end = first.0.checked_add(sectors).and_then(|lba| sector.byte_of(Lba(lba)));
    match (start, end) {
        (Some(start), Some(end)) if start < end => Ok(ByteRange::new(start, end)),
        _ => Err(unsound(disk, format!("partition {number} has no valid place"))),
    }
}

fn unsound(disk: &Disk, what: String) -> Refusal {
    Refusal::Unsound { disk: disk.number, what }
}

fn refuse_contradictions(
    disk: &Disk,
    pieces: &[Piece<'_>],
    container: Option<Container>,
) -> Result<(), Refusal> {
    for (piece, next) in pieces.iter().zip(pieces.iter().skip(1)) {
        if piece.old.overlaps(next.old) {
            return Err(unsound(disk, format!("{} and {} overlap", piece.part, next.part)));
        }
    }
    let mut numbers = BTreeSet::new();
    let mut all = pieces.iter().filter_map(Piece::number).chain(container.map(|container| container.number));
    if let Some(number) = all.find(|number| !numbers.insert(*number)) {
        return Err(unsound(disk, format!("partition {number} is there twice")));
    }
    for piece in pieces {
        let inside = container.is_some_and(|container| container.old.overlaps(piece.old));
        let logical = matches!(piece.tie, Tie::Logical { .. });
        if logical && !container.is_some_and(|container| container.old.contains(piece.old)) {
            return Err(unsound(disk, format!("{} lies outside the extended partition", piece.part)));
        }
        if inside && !logical {
            return Err(unsound(disk, format!("{} overlaps the extended partition", piece.part)));
        }
        let strays = |volume: &Volume| {
            volume.start_bytes != piece.old.start() || volume.size_bytes > piece.old.length()
        };
        if piece.volume.is_some_and(strays) {
            return Err(unsound(disk, format!("the volume of {} is not where it lies", piece.part)));
        }
    }
    let homeless = |volume: &&Volume| match volume.role {
        Role::Partition { number } => !pieces.iter().any(|piece| piece.number() == Some(number)),
        Role::WholeDisk => disk.table != Table::None,
        Role::BootArea => volume.start_bytes != 0,
        Role::Logical { .. } => true,
    };
    match disk.volumes.iter().find(homeless) {
        Some(volume) => Err(unsound(disk, format!("volume {} has no place in the table", volume.name))),
        None => Ok(()),
    }
}
