use super::*;
use crate::blockio::{MemoryDisk, ReadAt};
use crate::customize::CustomizeError;
use crate::customize::fat::{self, NewFile};
use crate::plan::{BootEntries, Clearing, DiskPlan, Shrinking, Stays};
use crate::progress::Silent;
use crate::schema::Table;
use crate::uefi::{Change, Followed, HardDrive, LoadOption, PartitionId, Variables};
use crate::units::{ByteRange, Guid, SectorSize, u64_from};
use fatfs::{FatType, FormatVolumeOptions};
use std::io::{self, Cursor};

const ESP_BYTES: usize = 4 << 20;
const SHIM: &str = r"\EFI\debian\shimx64.efi";

/// An EFI system partition alone, which takes writes or takes none.
struct Esp {
    disk: MemoryDisk,
    takes: bool,
}

impl Esp {
    fn new(takes: bool) -> Self {
        let mut bytes = vec![0; ESP_BYTES];
        let options = FormatVolumeOptions::new().fat_type(FatType::Fat12);
        fatfs::format_volume(Cursor::new(&mut bytes), options).unwrap();
        let disk = MemoryDisk::from_bytes(&bytes);
        let loader = |name: &str| NewFile { path: format!("EFI/debian/{name}"), bytes: vec![7; 3000] };
        fat::write(&disk, &[loader("shimx64.efi"), loader("grubx64.efi")]).unwrap();
        Self { disk, takes }
    }
}

impl ReadAt for Esp {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(offset, buffer)
    }
}

impl WriteAt for Esp {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.takes { self.disk.write_at(offset, bytes) } else { Err(io::Error::from_raw_os_error(5)) }
    }
    fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
        if self.takes { self.disk.write_zeros(range) } else { Err(io::Error::from_raw_os_error(5)) }
    }
    fn discard(&self, range: ByteRange) -> io::Result<()> {
        self.disk.discard(range)
    }
    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }
}

struct Memory(Mutex<Variables>);

impl Firmware for Memory {
    fn read(&self) -> Result<Variables, CustomizeError> {
        Ok(self.0.lock().unwrap().clone())
    }
    fn partitions_elsewhere(&self, _: &[&str]) -> Result<Vec<PartitionId>, CustomizeError> {
        Ok(Vec::new())
    }
    fn groups_elsewhere(&self, _: &[&str]) -> Result<Vec<String>, CustomizeError> {
        Ok(Vec::new())
    }
    fn write(&self, change: &Change) -> Result<(), CustomizeError> {
        self.0.lock().unwrap().take(change);
        Ok(())
    }
}

fn efi_system() -> HardDrive {
    HardDrive {
        partition_number: 1,
        partition_start: 2048,
        partition_size: 8192,
        id: PartitionId::Gpt { guid: Guid::from_u128(5) },
    }
}

/// The fallback path and the boot entries of one disk.
fn prepared() -> PreparedCustomize {
    let place = ByteRange::new(0, u64_from(ESP_BYTES));
    let (target, partition) = ("/dev/sda".to_owned(), 1);
    let disk = DiskPlan {
        source_number: Some(0),
        source_bytes: place.length(),
        target: MachineDisk::new("/dev/sda", place.length(), SectorSize::B512),
        layout: Layout::Original,
        minimum_disk_bytes: 0,
        clear: Vec::new(),
        free_space: Clearing::Keep,
        volumes: Vec::new(),
        made: Vec::new(),
        table: Table::None,
        stays: Stays::Nothing,
        without: Vec::new(),
        script_output: None,
        new_names: Vec::new(),
        warnings: Vec::new(),
    };
    let followed = vec![Followed { was: None, is: efi_system() }];
    let plan = DeployPlan {
        image: NAME.to_owned(),
        version: NAME.to_owned(),
        shrinking: Shrinking::default(),
        disks: vec![disk],
        groups: Vec::new(),
        existing_groups: Vec::new(),
        without: Vec::new(),
        steps: vec![Step::FallbackLoader { target: target.clone(), partition, place }],
        boot_loaders: Vec::new(),
        boot_entries: vec![BootEntries {
            target,
            partition,
            place,
            efi_system: efi_system(),
            followed,
            first: false,
        }],
    };
    let name = NAME.parse().unwrap();
    let manifest = Manifest::new(name, NAME.parse().unwrap(), String::new(), Compression::default());
    let (scripts, passed_over) = (Vec::new(), Vec::new());
    PreparedCustomize { plan, manifest, scripts, artefacts: Artefacts::default(), passed_over }
}

#[test]
fn the_boot_entries_follow_only_behind_a_fallback_path_that_is_in_order_and_none_is_made() {
    let moved = HardDrive { partition_start: 77, ..efi_system() };
    let known = LoadOption::of_file("debian", moved, SHIM);
    for (takes, knows) in [(true, true), (false, true), (true, false)] {
        let entries = knows.then(|| (4, known.clone())).into_iter().collect();
        let order = if knows { vec![4] } else { Vec::new() };
        let before = Variables { entries, order, ..Variables::default() };
        let firmware = Memory(Mutex::new(before.clone()));
        let esp = Esp::new(takes);
        let done = prepared().take(&[&esp], &firmware, false, &Silent);
        assert_eq!((done.problems.is_empty(), done.stopped), (takes, None), "{:?}", done.problems);
        let is_new = firmware.read().unwrap() != before;
        assert_eq!(is_new, takes && knows, "an entry followed, or one was made: {:?}", done.changes);
        if !takes {
            assert!(
                done.problems[0].starts_with("making the fallback path of UEFI (partition 1) failed: "),
                "{:?}",
                done.problems
            );
            assert!(done.problems[1].contains("not changed, because what stands"), "{:?}", done.problems);
        }
    }
}

#[test]
fn what_is_asked_for_names_the_fallback_path_and_the_boot_entries() {
    assert_eq!(
        prepared().explain(),
        "Have the fallback path of UEFI start what is on /dev/sda, where nothing is there\n\
         Have the boot entries follow that the firmware has for /dev/sda\n"
    );
}
