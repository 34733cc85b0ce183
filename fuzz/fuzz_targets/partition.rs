//! No change of a table makes its reader, its writer or an inspection panic or hang; a table that was read and can
//! be written reads the same again; and a manifest can be made of every disk that is not refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::blockio::{MemoryDisk, ReadAt, WriteAt};
use remint::inspect::{DiskFacts, read_disk};
use remint::partition::{Error, Trust, detect_sector_size, encode, last_usable_lba, read};
use remint::progress::Silent;
use remint::schema::Table;
use remint::units::SectorSize;
use remint_fuzz::{Seed, Seeds, Volume, promise, repair_gpt};
use std::sync::LazyLock;

const SECTORS: [SectorSize; 2] = [SectorSize::B512, SectorSize::B4096];

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    let mut seeds = Seeds::load("partition", look);
    let disk = seeds.iter().find_map(|seed| with_large_sectors(&seed.bytes)).unwrap();
    seeds.push(Seed::new(disk, look));
    seeds
});

/// The first GPT as it would be on sectors of 4096 bytes, which no tool writes to a file.
fn with_large_sectors(disk: &[u8]) -> Option<Vec<u8>> {
    const BYTES: u64 = 1 << 20;
    let sector = SectorSize::B4096;
    let reading = read(&disk, SectorSize::B512, Trust::Undecided).ok()?;
    let Table::Gpt(mut gpt) = reading.table else { return None };
    gpt.last_usable_lba = last_usable_lba(BYTES, sector, gpt.entry_count, gpt.entry_size_bytes)?;
    let mut bytes = vec![0; BYTES as usize];
    for piece in encode(&Table::Gpt(gpt), BYTES, sector).unwrap() {
        bytes[piece.at as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    Some(bytes)
}

fn look(disk: &dyn ReadAt) {
    for sector in SECTORS {
        let _ = read(disk, sector, Trust::Gpt);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((mut disk, options)) = SEEDS.volume(input) else { return };
    if options & 1 == 1 {
        repair_gpt(&mut disk);
    }
    let _ = detect_sector_size(&disk);
    let sector = SECTORS[usize::from(options >> 1 & 1)];
    match options >> 2 & 3 {
        0 => inspect(&disk, sector),
        1 => check(&disk, sector, Trust::Undecided),
        2 => check(&disk, sector, Trust::SectorZero),
        _ => check(&disk, sector, Trust::Gpt),
    }
});

fn check(disk: &Volume<'_>, sector: SectorSize, trust: Trust) {
    let reading = match read(disk, sector, trust) {
        Ok(reading) => reading,
        Err(Error::Io { .. }) => return assert!(disk.has_failed(), "every byte can be read"),
        Err(_) => return,
    };
    let Ok(pieces) = encode(&reading.table, disk.size_bytes(), sector) else { return };
    if disk.size_bytes() > 2 << 20 || disk.is_spoiled() {
        return;
    }
    let written = MemoryDisk::from_bytes(&disk.to_vec(2 << 20));
    for piece in pieces {
        written.write_at(piece.at, &piece.bytes).unwrap();
    }
    let again = read(&written, sector, trust).map(|again| without_boot_sector(again.table));
    assert_eq!(again.unwrap(), without_boot_sector(reading.table));
}

/// A GPT gets a protective table where it had none.
fn without_boot_sector(mut table: Table) -> Table {
    if let Table::Gpt(gpt) = &mut table {
        gpt.boot_sector.0.clear();
    }
    table
}

fn inspect(disk: &Volume<'_>, sector: SectorSize) {
    let facts = DiskFacts {
        number: 0,
        logical_sector_bytes: sector,
        physical_sector_bytes: sector,
        model: None,
        serial: None,
        wwn: None,
    };
    let Ok(inspection) = read_disk(disk, facts, Trust::Undecided, &Silent) else { return };
    if inspection.refusals.is_empty() && !disk.is_spoiled() {
        promise::of_disk(inspection.disk);
    }
}
