//! Promises about partition tables, with sgdisk, sfdisk, parted, mkfs and the crates gpt and mbrman as
//! witnesses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    clippy::as_conversions
)]

use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::partition::{
    Error, Finding, PieceRole, Severity, TableReading, Trust, detect_sector_size, encode, last_usable_lba,
    moved, read, remap_hybrid,
};
use remint::schema::{Gpt, Mbr, MbrRole, Table};
use remint::units::{ByteRange, Hex, Lba, SectorSize};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MIB: u64 = 1 << 20;
const B512: SectorSize = SectorSize::B512;

/// A plain file as a disk.
struct FileDisk(File);

impl FileDisk {
    fn open(path: &Path) -> Self {
        Self(OpenOptions::new().read(true).write(true).open(path).unwrap())
    }
}

impl ReadAt for FileDisk {
    fn size_bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn sfdisk(path: &Path, script: &str) {
    use std::io::Write;
    let mut child = Command::new("sfdisk").arg("-q").arg(path).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{script}");
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A new sparse file.
    fn disk(&self, name: &str, size: u64) -> PathBuf {
        let path = self.0.path().join(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }
}

fn read_file(path: &Path, sector: SectorSize) -> TableReading {
    read(&FileDisk::open(path), sector, Trust::Undecided).unwrap()
}

fn write_table(path: &Path, table: &Table, sector: SectorSize) {
    let disk = FileDisk::open(path);
    for piece in encode(table, disk.size_bytes(), sector).unwrap() {
        disk.0.write_all_at(&piece.bytes, piece.at).unwrap();
    }
}

/// Reads the table of a disk on which there is nothing else, writes it to an empty disk of the same size and
/// expects the same disk.
fn comes_back(scratch: &Scratch, path: &Path, sector: SectorSize) -> TableReading {
    let reading = read_file(path, sector);
    let copy = scratch.disk("copy", std::fs::metadata(path).unwrap().len());
    write_table(&copy, &reading.table, sector);
    let compared = Command::new("cmp").args([path, &copy]).output().unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
    assert_eq!(read_file(&copy, sector), reading);
    reading
}

fn gpt(reading: &TableReading) -> &Gpt {
    match &reading.table {
        Table::Gpt(gpt) => gpt,
        other => panic!("{other:?}"),
    }
}

fn mbr(reading: &TableReading) -> &Mbr {
    match &reading.table {
        Table::Mbr(mbr) => mbr,
        other => panic!("{other:?}"),
    }
}

fn memory(path: &Path) -> MemoryDisk {
    let file = FileDisk::open(path);
    let disk = MemoryDisk::new(file.size_bytes());
    for (at, length) in [(0, MIB), (file.size_bytes() - MIB, MIB)] {
        disk.write_at(at, &read_vec(&file, at, length as usize).unwrap()).unwrap();
    }
    disk
}

fn read_disk(disk: &MemoryDisk) -> TableReading {
    read(disk, B512, Trust::Undecided).unwrap()
}

const NAMES: &[&str] = &[
    "-n1:2048:+1M",
    "-t1:EF00",
    "-c1:EFI, \"system\" partition",
    "-n2:0:+2M",
    "-t2:0C01",
    "-A2:set:0",
    "-A2:set:63",
    "-n5:0:+3M",
    "-c5:naïve 💾 日本",
    "-n3:0:0",
    "-A3:set:2",
];

/// A GPT disk of 64 MiB made by sgdisk, with four partitions.
fn sgdisk_disk(scratch: &Scratch) -> PathBuf {
    let path = scratch.disk("gpt", 64 * MIB);
    run("sgdisk", NAMES, &path);
    path
}

#[test]
fn gpt_disks_of_sgdisk_come_back_byte_for_byte() {
    let scratch = Scratch::new();
    let path = sgdisk_disk(&scratch);
    let reading = comes_back(&scratch, &path, B512);
    assert_eq!(reading.findings, []);
    let table = gpt(&reading);
    assert_eq!(table.partitions.iter().map(|p| p.number).collect::<Vec<_>>(), [1, 2, 3, 5]);
    assert_eq!(table.partitions[0].name, "EFI, \"system\" partition");
    assert_eq!(table.partitions[3].name, "naïve 💾 日本");
    assert_eq!(table.partitions[1].attributes, 1 << 63 | 1);

    let many = scratch.disk("many", 64 * MIB);
    run("sgdisk", &["--resize-table=256"], &many);
    run("sgdisk", &["-n200:0:+1M"], &many);
    let reading = comes_back(&scratch, &many, B512);
    assert_eq!((gpt(&reading).entry_count, gpt(&reading).partitions[0].number), (256, 200));

    let moved = scratch.disk("moved", 64 * MIB);
    run("sgdisk", &["-j34", "-n1:0:0"], &moved);
    assert_eq!(gpt(&comes_back(&scratch, &moved, B512)).entries_lba, Lba(34));

    let parted = scratch.disk("parted", 64 * MIB);
    Command::new("parted")
        .arg("-s")
        .arg(&parted)
        .args(["mklabel", "gpt", "mkpart", "a", "1M", "5M"])
        .status()
        .unwrap();
    comes_back(&scratch, &parted, B512);
    let by_sfdisk = scratch.disk("sfdisk", 64 * MIB);
    sfdisk(&by_sfdisk, "label: gpt\nstart=2048,size=10M,name=\"a\"\n");
    comes_back(&scratch, &by_sfdisk, B512);
}

struct Loop(String);

impl Loop {
    fn with_sectors_of_4096(path: &Path) -> Self {
        Self(run("losetup", &["--sector-size", "4096", "--find", "--show"], path).trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn gpt_disks_with_large_sectors_come_back_and_are_not_read_with_small_ones() {
    let scratch = Scratch::new();
    let path = scratch.disk("4k", 64 * MIB);
    let device = Loop::with_sectors_of_4096(&path);
    run("sgdisk", &["-n1:0:+5M", "-n2:0:0", "-c2:4Kn"], Path::new(&device.0));
    drop(device);
    let reading = comes_back(&scratch, &path, SectorSize::B4096);
    assert_eq!(reading.findings, []);
    assert_eq!(gpt(&reading).first_usable_lba, Lba(6));
    let wrong = read(&FileDisk::open(&path), B512, Trust::Undecided);
    assert!(matches!(wrong, Err(Error::OtherSectorSize { .. })), "{wrong:?}");
    assert_eq!(detect_sector_size(&FileDisk::open(&path)), Some(SectorSize::B4096));
    assert_eq!(detect_sector_size(&FileDisk::open(&sgdisk_disk(&scratch))), Some(B512));
}

#[test]
fn names_that_are_not_text_survive_and_sgdisk_and_the_gpt_crate_agree_with_what_is_written() {
    let scratch = Scratch::new();
    let mut table = gpt(&read_file(&sgdisk_disk(&scratch), B512)).clone();
    table.partitions[0].name_utf16le.0[..4].copy_from_slice(&[0x3D, 0xD8, 0x41, 0x00]);
    for size in [64 * MIB, 200 * MIB, 3 << 40] {
        table.last_usable_lba = last_usable_lba(size, B512, 128, 128).unwrap();
        let path = scratch.disk("bigger", size);
        write_table(&path, &Table::Gpt(table.clone()), B512);
        assert!(run("sgdisk", &["-v"], &path).contains("No problems found"));
        run("sfdisk", &["--verify"], &path);
        let reading = read_file(&path, B512);
        assert_eq!(reading.findings, []);
        assert_eq!(gpt(&reading).partitions[0].name_utf16le, table.partitions[0].name_utf16le);
        assert!(gpt(&reading).partitions[0].name.starts_with("\u{FFFD}A"));
        let sectors = (size / 512 - 1).min(u32::MAX.into()).to_le_bytes();
        assert_eq!(gpt(&reading).boot_sector.0[458..462], sectors[..4]);
        let witness = gpt::GptConfig::new().open(&path).unwrap();
        assert_eq!(witness.guid().to_string().to_uppercase(), table.disk_guid.to_string());
        let theirs: Vec<(u32, u64, u64, String)> = witness
            .partitions()
            .iter()
            .filter(|(_, p)| p.is_used())
            .map(|(n, p)| (*n, p.first_lba, p.last_lba, p.part_guid.to_string().to_uppercase()))
            .collect();
        let ours: Vec<(u32, u64, u64, String)> = table
            .partitions
            .iter()
            .map(|p| (p.number, p.first_lba.0, p.last_lba.0, p.partition_guid.to_string()))
            .collect();
        assert_eq!(theirs, ours);
    }
}

#[test]
fn what_makes_the_disk_bootable_is_written_last() {
    let scratch = Scratch::new();
    let reading = read_file(&sgdisk_disk(&scratch), B512);
    let pieces = encode(&reading.table, 64 * MIB, B512).unwrap();
    assert!(pieces.windows(2).all(|pair| pair[0].role < pair[1].role));
    assert_eq!(pieces.last().unwrap().role, PieceRole::BootSector);
    assert!(encode(&reading.table, 60 * MIB, B512).is_err(), "the last partition does not fit");
}

const LOGICALS: &str = "label: dos\nlabel-id: 0x1234abcd\n\n\
    1: start=2048,size=1GiB,type=83,bootable\n2: size=28GiB,type=f\n5: size=100MiB,type=83\n\
    6: size=10GiB,type=82\n7: size=300MiB,type=7\n8: size=10MiB,type=83\n9: type=83\n";

#[test]
fn mbr_disks_with_logical_partitions_come_back_byte_for_byte() {
    let scratch = Scratch::new();
    let path = scratch.disk("mbr", 30 << 30);
    sfdisk(&path, LOGICALS);
    let record = [0xEB, 0x63, 0x90].into_iter().chain((0..437).map(|n| n as u8)).collect::<Vec<u8>>();
    FileDisk::open(&path).0.write_all_at(&record, 0).unwrap();
    let check = |expected: &[u32]| {
        let reading = read_file(&path, B512);
        assert_eq!(reading.findings, []);
        assert_eq!(mbr(&reading).partitions.iter().map(|p| p.number).collect::<Vec<_>>(), expected);
        let disk = FileDisk::open(&path);
        for piece in encode(&reading.table, disk.size_bytes(), B512).unwrap() {
            assert_eq!(read_vec(&disk, piece.at, piece.bytes.len()).unwrap(), piece.bytes, "{}", piece.at);
        }
        let copy = scratch.disk("copy", 30 << 30);
        write_table(&copy, &reading.table, B512);
        let dump = |path: &Path| run("sfdisk", &["-d"], path).replace(path.to_str().unwrap(), "");
        assert_eq!(dump(&path), dump(&copy));
        run("sfdisk", &["--verify"], &copy);
        let witness = mbrman::MBR::read_from(&mut File::open(&copy).unwrap(), 512).unwrap();
        for ours in &mbr(&reading).partitions {
            let theirs = witness.get(ours.number as usize).unwrap();
            let role = (u64::from(theirs.starting_lba), u64::from(theirs.sectors), theirs.sys);
            assert_eq!(role, (ours.first_lba.0, ours.sectors, ours.type_code));
        }
    };
    check(&[1, 2, 5, 6, 7, 8, 9]);
    for number in ["5", "6"] {
        Command::new("sfdisk").args(["-q", "--delete"]).arg(&path).arg(number).status().unwrap();
    }
    check(&[1, 2, 5, 6, 7]);
    for number in ["7", "6", "5"] {
        Command::new("sfdisk").args(["-q", "--delete"]).arg(&path).arg(number).status().unwrap();
    }
    check(&[1, 2]);
}

#[test]
fn mbr_disks_of_parted_come_back_byte_for_byte() {
    let scratch = Scratch::new();
    let path = scratch.disk("mbr", 256 * MIB);
    let parted = |arguments: &[&str]| {
        assert!(Command::new("parted").arg("-s").arg(&path).args(arguments).status().unwrap().success());
    };
    parted(&["mklabel", "msdos", "mkpart", "primary", "1M", "100M", "mkpart", "extended", "100M", "100%"]);
    comes_back(&scratch, &path, B512);
    parted(&[
        "mkpart", "logical", "101M", "150M", "mkpart", "logical", "151M", "180M", "mkpart", "logical",
        "181M", "100%",
    ]);
    let reading = comes_back(&scratch, &path, B512);
    assert_eq!(mbr(&reading).partitions.len(), 5);
}

#[test]
fn a_moved_partition_gets_new_chs_addresses_and_an_unmoved_one_keeps_its_own() {
    let scratch = Scratch::new();
    let path = scratch.disk("mbr", 64 * MIB);
    sfdisk(&path, "label: dos\nstart=2048,size=4096\n");
    let mut table = mbr(&read_file(&path, B512)).clone();
    let mut odd = table.partitions[0].clone();
    odd.first_chs = [1, 2, 3];
    assert_eq!(moved(&odd, odd.first_lba, odd.sectors), odd);
    assert_eq!(moved(&odd, odd.first_lba, 8192).first_chs, [1, 2, 3]);
    table.partitions[0] = moved(&odd, Lba(4096), 8192);
    write_table(&path, &Table::Mbr(table.clone()), B512);
    let written = mbr(&read_file(&path, B512)).clone();
    sfdisk(&path, &format!("label: dos\nlabel-id: {:#x}\nstart=4096,size=8192\n", table.disk_signature));
    assert_eq!(mbr(&read_file(&path, B512)), &written);
}

#[test]
fn one_damaged_copy_of_a_gpt_is_named_and_the_other_one_used() {
    let scratch = Scratch::new();
    let path = sgdisk_disk(&scratch);
    let sound = read_disk(&memory(&path));
    let last = 64 * MIB - 512;
    for (at, reason) in [(512, "no GPT header"), (512 + 20, "header CRC"), (1024 + 60, "entry array CRC")] {
        let disk = memory(&path);
        disk.write_at(at, &[0x5A; 8]).unwrap();
        let reading = read_disk(&disk);
        assert_eq!(reading.table, sound.table);
        assert!(
            matches!(&reading.findings[..], [Finding::PrimaryDamaged { reason: r }] if r.contains(reason))
        );
    }
    for (at, reason) in
        [(last, "no GPT header"), (last + 60, "header CRC"), (last - 16384, "entry array CRC")]
    {
        let disk = memory(&path);
        disk.write_at(at, &[0x5A; 8]).unwrap();
        let reading = read_disk(&disk);
        assert_eq!(reading.table, sound.table);
        assert!(
            matches!(&reading.findings[..], [Finding::BackupDamaged { reason: r }] if r.contains(reason))
        );
    }
    let disk = memory(&path);
    disk.write_zeros(ByteRange::new(512, 1024)).unwrap();
    disk.write_zeros(ByteRange::new(last, last + 512)).unwrap();
    let lost = read(&disk, B512, Trust::Undecided);
    assert!(matches!(lost, Err(Error::GptLost { .. })), "{lost:?}");
}

#[test]
fn a_disk_that_was_enlarged_or_cut_off_says_so() {
    let scratch = Scratch::new();
    let path = sgdisk_disk(&scratch);
    let sound = read_file(&path, B512);
    let resize = |size| OpenOptions::new().write(true).open(&path).unwrap().set_len(size).unwrap();
    resize(80 * MIB);
    let reading = read_file(&path, B512);
    assert_eq!(reading.table, sound.table);
    assert!(matches!(reading.findings[..], [Finding::BackupNotAtEnd { found: Lba(131_071), .. }]));
    FileDisk::open(&path).0.write_all_at(&[0; 512], 512).unwrap();
    assert!(matches!(read(&FileDisk::open(&path), B512, Trust::Undecided), Err(Error::GptLost { .. })));
    resize(64 * MIB);
    assert_eq!(read_file(&path, B512).table, sound.table, "the backup is in the last sector again");

    let path = sgdisk_disk(&scratch);
    let sound = read_file(&path, B512);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(32 * MIB).unwrap();
    let reading = read_file(&path, B512);
    assert_eq!(reading.table, sound.table);
    assert!(reading.findings.iter().any(|f| matches!(f, Finding::BeyondEnd { number: 3, .. })));
}

#[test]
fn a_valid_mbr_before_a_valid_gpt_is_a_conflict_until_somebody_decides() {
    let scratch = Scratch::new();
    let with_gpt = sgdisk_disk(&scratch);
    let with_mbr = scratch.disk("mbr", 64 * MIB);
    for (script, count) in [("label: dos\nstart=2048,size=10M,type=7\n", 1), ("label: dos\n", 0)] {
        sfdisk(&with_mbr, script);
        let zero = read_vec(&FileDisk::open(&with_mbr), 0, 512).unwrap();
        for primary in [true, false] {
            let disk = memory(&with_gpt);
            disk.write_at(0, &zero).unwrap();
            if !primary {
                disk.write_zeros(ByteRange::new(512, 17408)).unwrap();
            }
            let reading = read_disk(&disk);
            assert_eq!(mbr(&reading).partitions.len(), count);
            let [conflict @ Finding::Conflict { gpt: other, backup_only, .. }] = &reading.findings[..] else {
                panic!("{reading:?}")
            };
            assert_eq!((other.partitions.len(), *backup_only), (4, !primary));
            assert_eq!(conflict.severity(), Severity::Refusal);
            assert!(conflict.to_string().contains("--trust gpt, or with --trust mbr"));
            let decided = read(&disk, B512, Trust::SectorZero).unwrap();
            assert_eq!(decided.table, reading.table);
            assert_eq!(decided.findings, [Finding::GptIgnored { backup_only: !primary }]);
            let decided = read(&disk, B512, Trust::Gpt).unwrap();
            assert_eq!(gpt(&decided).partitions.len(), 4);
            assert!(decided.findings.iter().all(|f| f.severity() != Severity::Refusal));
            // Written to another disk, the decision is not undone by the old sector 0.
            let target = MemoryDisk::new(64 * MIB);
            for piece in encode(&decided.table, 64 * MIB, B512).unwrap() {
                target.write_at(piece.at, &piece.bytes).unwrap();
            }
            assert_eq!(gpt(&read_disk(&target)).partitions.len(), 4);
        }
    }
}

#[test]
fn a_gpt_without_a_protective_mbr_is_read_but_an_old_backup_alone_is_not() {
    let scratch = Scratch::new();
    let disk = memory(&sgdisk_disk(&scratch));
    disk.write_zeros(ByteRange::new(0, 512)).unwrap();
    let reading = read_disk(&disk);
    assert_eq!(
        (gpt(&reading).partitions.len(), &reading.findings[..]),
        (4, &[Finding::ProtectiveMbrMissing][..])
    );
    disk.write_zeros(ByteRange::new(0, MIB)).unwrap();
    let reading = read_disk(&disk);
    assert_eq!(reading.table, Table::None);
    assert_eq!(reading.findings, [Finding::StaleBackup { partitions: 4 }]);
    assert_eq!(gpt(&read(&disk, B512, Trust::Gpt).unwrap()).partitions.len(), 4);
}

#[test]
fn a_hybrid_mbr_is_kept_and_follows_its_partitions() {
    let scratch = Scratch::new();
    let path = sgdisk_disk(&scratch);
    run("sgdisk", &["-h", "1:2"], &path);
    let reading = comes_back(&scratch, &path, B512);
    assert!(matches!(&reading.findings[..], [Finding::Hybrid { types }] if types.len() == 2));
    let table = gpt(&reading);
    let unmoved = remap_hybrid(&table.boot_sector, &table.partitions, &table.partitions);
    assert_eq!(unmoved, (table.boot_sector.clone(), vec![]));
    let mut new = table.clone();
    new.partitions.retain(|p| p.number != 3);
    for partition in &mut new.partitions {
        partition.first_lba.0 += 2048;
        partition.last_lba.0 += 2048;
    }
    let (boot_sector, lost) = remap_hybrid(&table.boot_sector, &table.partitions, &new.partitions);
    assert_eq!(lost, []);
    new.boot_sector = boot_sector;
    let moved = scratch.disk("moved", 64 * MIB);
    write_table(&moved, &Table::Gpt(new), B512);
    let by_sgdisk = run("sgdisk", &["-v"], &moved);
    assert!(by_sgdisk.contains("No problems found"), "{by_sgdisk}");
    let record = read_vec(&FileDisk::open(&moved), 446, 64).unwrap();
    let place = |at: usize| {
        let number = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
        (record[at + 4], number(at + 8), number(at + 12))
    };
    assert_eq!((place(0), place(16), place(32)), ((0xEE, 1, 4095), (0xEF, 4096, 2048), (0x0C, 6144, 4096)));
    let (none, lost) = remap_hybrid(&table.boot_sector, &table.partitions, &[]);
    assert_eq!(
        lost.iter().map(|entry| (entry.position, entry.type_code)).collect::<Vec<_>>(),
        [(2, 0xEF), (3, 0x0C)]
    );
    assert_eq!(none.0[462..510], [0; 48], "what follows no partition is left out");
}

#[test]
fn file_systems_without_a_table_have_none() {
    let scratch = Scratch::new();
    let cases: &[(&str, &[&str])] = &[
        ("mkfs.fat", &["-F12", "-I"]),
        ("mkfs.fat", &["-F16", "-I"]),
        ("mkfs.fat", &["-F32", "-I"]),
        ("mkfs.fat", &["-F32", "-I", "--mbr=y"]),
        ("mkntfs", &["-q", "-F", "-f"]),
        ("mkfs.exfat", &[]),
        ("mkfs.ext4", &["-q", "-F"]),
        ("mkfs.xfs", &["-q", "-f"]),
        ("mkswap", &["-q"]),
    ];
    for (program, arguments) in cases {
        let path = scratch.disk("volume", if *program == "mkfs.xfs" { 320 * MIB } else { 40 * MIB });
        run(program, arguments, &path);
        let reading = read_file(&path, B512);
        assert_eq!((reading.table, reading.findings), (Table::None, vec![]), "{program} {arguments:?}");
    }
    for size in [0, 1, 511, 512, 1024, 4096, 40 * MIB] {
        let reading = read(&MemoryDisk::new(size), B512, Trust::Undecided).unwrap();
        assert_eq!((reading.table, reading.findings), (Table::None, vec![]));
    }
    // A GPT that lies behind the boot sector of a file system is a conflict as well.
    let disk = memory(&sgdisk_disk(&scratch));
    let volume = scratch.disk("ntfs", 40 * MIB);
    run("mkntfs", &["-q", "-F", "-f"], &volume);
    disk.write_at(0, &read_vec(&FileDisk::open(&volume), 0, 512).unwrap()).unwrap();
    let reading = read_disk(&disk);
    assert_eq!(reading.table, Table::None);
    assert!(matches!(reading.findings[..], [Finding::Conflict { .. }]));
}

/// Three logical partitions from sector 4096 on; their records are in sectors 4096, 8192 and 12288.
fn chain(edit: impl Fn(&mut Mbr), records: impl Fn(&MemoryDisk)) -> TableReading {
    let scratch = Scratch::new();
    let path = scratch.disk("mbr", 64 * MIB);
    sfdisk(
        &path,
        "label: dos\n1: start=2048,size=1M\n2: start=4096,size=30M,type=5\n5: start=6144,size=1M\n\
         6: start=10240,size=1M\n7: start=14336,size=1M\n",
    );
    let mut table = mbr(&read_file(&path, B512)).clone();
    edit(&mut table);
    let disk = MemoryDisk::new(64 * MIB);
    for piece in encode(&Table::Mbr(table), 64 * MIB, B512).unwrap() {
        disk.write_at(piece.at, &piece.bytes).unwrap();
    }
    records(&disk);
    read_disk(&disk)
}

#[test]
fn chains_that_loop_or_leave_their_container_end_and_are_named() {
    let link = |ebr: u64, to: u32| {
        move |disk: &MemoryDisk| disk.write_at(ebr * 512 + 470, &to.to_le_bytes()).unwrap()
    };
    let whole = chain(|_| (), |_| ());
    assert_eq!((mbr(&whole).partitions.len(), &whole.findings[..]), (5, &[][..]));
    let records: Vec<u64> = mbr(&whole)
        .partitions
        .iter()
        .filter_map(|p| match p.role {
            MbrRole::Logical { ebr_lba, .. } => Some(ebr_lba.0),
            _ => None,
        })
        .collect();
    let breaks = |reading: &TableReading, word: &str| {
        assert!(
            matches!(&reading.findings[..], [Finding::ChainBroken { fact, .. }] if fact.contains(word)),
            "{:?}",
            reading.findings
        );
        assert_eq!(reading.findings[0].severity(), Severity::Refusal);
    };
    let back = chain(|_| (), link(records[1], 0));
    breaks(&back, "loop");
    assert_eq!(mbr(&back).partitions.len(), 4);
    breaks(&chain(|_| (), link(records[0], u32::MAX)), "outside the extended");
    breaks(
        &chain(
            |_| (),
            |disk| disk.write_zeros(ByteRange::new(records[1] * 512, records[1] * 512 + 512)).unwrap(),
        ),
        "55AA",
    );
    let long = chain(|table| table.partitions[4].sectors = 60_000, |_| ());
    assert_eq!(long.findings, [Finding::OutsideContainer { number: 7, container: 2 }]);
}

#[test]
fn overlaps_and_partitions_without_sectors_are_named() {
    let overlap = chain(|table| table.partitions[2].sectors = 6000, |_| ());
    assert!(overlap.findings.contains(&Finding::Overlap { first: 5, second: 6 }), "{:?}", overlap.findings);
    let on_record = chain(|table| table.partitions[0].sectors = 2049, |_| ());
    assert!(on_record.findings.contains(&Finding::OverlapsTable { number: 1 }), "{:?}", on_record.findings);

    let scratch = Scratch::new();
    let path = sgdisk_disk(&scratch);
    let mut table = gpt(&read_file(&path, B512)).clone();
    table.partitions[1].first_lba = table.partitions[0].first_lba;
    table.partitions[2].last_lba = Lba(5);
    write_table(&path, &Table::Gpt(table.clone()), B512);
    let findings = read_file(&path, B512).findings;
    assert_eq!(findings, [Finding::Empty { number: 3 }, Finding::Overlap { first: 1, second: 2 }]);
    table.partitions[0].first_lba = Lba(20);
    assert!(matches!(encode(&Table::Gpt(table), 64 * MIB, B512), Err(Error::Refused { .. })));
}

#[test]
fn a_table_that_an_mbr_cannot_hold_is_refused() {
    let size = 4 << 40;
    let mut table = Mbr { disk_signature: 1, boot_code: Hex(vec![]), reserved: 0, partitions: vec![] };
    assert_eq!(encode(&Table::Mbr(table.clone()), size, B512).unwrap().len(), 1);
    table.partitions.push(remint::schema::MbrPartition {
        number: 1,
        status: 0,
        type_code: 7,
        first_lba: Lba(2048),
        sectors: u64::from(u32::MAX) + 1,
        first_chs: [0; 3],
        last_chs: [0; 3],
        role: MbrRole::Primary,
    });
    let error = encode(&Table::Mbr(table.clone()), size, B512).unwrap_err().to_string();
    assert!(error.contains("partition 1") && error.contains("4294967295"), "{error}");
    table.partitions[0].number = 5;
    assert!(encode(&Table::Mbr(table), size, B512).is_err());
}

/// A small generator (xorshift), so that a failure can be repeated.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn flipped_bytes_never_make_the_reader_panic_or_hang() {
    let scratch = Scratch::new();
    let with_gpt = sgdisk_disk(&scratch);
    run("sgdisk", &["-h", "1:2"], &with_gpt);
    let with_mbr = scratch.disk("mbr", 64 * MIB);
    sfdisk(
        &with_mbr,
        "label: dos\n1: start=2048,size=1M\n2: start=4096,size=30M,type=5\n5: size=1M\n6: size=1M\n7: size=1M\n",
    );
    let mut noise = Noise(0x5EED);
    for (path, areas) in [
        (
            &with_gpt,
            vec![
                (0, 512),
                (0, 17408),
                (512, 92),
                (1024, 512),
                (64 * MIB - 512, 512),
                (64 * MIB - 16896, 16896),
            ],
        ),
        (&with_mbr, vec![(446, 66), (446, 66), (4096 * 512 + 446, 66), (8192 * 512 + 446, 66)]),
    ] {
        let sound = MemoryDisk::new(64 * MIB);
        let file = FileDisk::open(path);
        for (at, length) in [(0, 8 * MIB), (63 * MIB, MIB)] {
            sound.write_at(at, &read_vec(&file, at, length as usize).unwrap()).unwrap();
        }
        let expected = read_disk(&sound).table;
        let mut unchanged = 0;
        for _ in 0..3000 {
            let mut undo = Vec::new();
            for _ in 0..=noise.below(3) {
                let (start, length) = areas[noise.below(areas.len() as u64) as usize];
                let at = start + noise.below(length);
                let old = read_vec(&sound, at, 1).unwrap();
                sound.write_at(at, &[old[0] ^ (1 << noise.below(8))]).unwrap();
                undo.push((at, old));
            }
            for trust in [Trust::Undecided, Trust::SectorZero, Trust::Gpt] {
                if let Ok(reading) = read(&sound, B512, trust) {
                    let _ = encode(&reading.table, 64 * MIB, B512);
                    let sentences: Vec<String> = reading.findings.iter().map(Finding::to_string).collect();
                    assert!(sentences.iter().all(|sentence| sentence.ends_with('.')), "{sentences:?}");
                    unchanged += u32::from(reading.table == expected);
                }
            }
            for (at, old) in undo.into_iter().rev() {
                sound.write_at(at, &old).unwrap();
            }
        }
        assert_eq!(read_disk(&sound).table, expected);
        assert!(unchanged > 0);
    }
}

#[test]
fn bytes_of_any_length_are_read_without_a_panic() {
    let mut noise = Noise(0xF00D);
    for length in (0..3000).step_by(7) {
        let mut data: Vec<u8> = (0..length).map(|_| noise.below(256).to_le_bytes()[0]).collect();
        for (at, bytes) in [(510, &[0x55, 0xAA][..]), (512, b"EFI PART")] {
            if let Some(place) = data.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        for sector in [B512, SectorSize::B4096] {
            let _ = read(&data.as_slice(), sector, Trust::Gpt);
        }
    }
}
