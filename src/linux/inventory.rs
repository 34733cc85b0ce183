//! Who this machine is and what it has, as a server wants to know it.
//!
//! Everything is optional: a machine whose firmware says nothing about itself is one that says nothing.

use super::sysfs::Kernel;
use super::{cards, discover, firmware};
use crate::machine::MachineDisk;
use crate::protocol::{Inventory, InventoryDisk, Processor};
use std::io::Read;

/// Longer texts are cut: nobody's serial number is longer.
const MOST_CHARACTERS: usize = 128;
/// `/proc/cpuinfo` grows with the processors, and the first one is enough.
const MOST_BYTES: u64 = 64 << 10;
/// What firmware says where its maker filled nothing in.
const PLACEHOLDERS: [&str; 14] = [
    "to be filled by o.e.m.",
    "to be filled by oem",
    "default string",
    "system serial number",
    "system product name",
    "system manufacturer",
    "chassis serial number",
    "not specified",
    "not applicable",
    "no asset tag",
    "none",
    "n/a",
    "unknown",
    "0123456789",
];

/// This machine.
#[must_use]
pub fn inventory() -> Inventory {
    let macs = cards::cards().into_iter().map(|card| card.mac).collect();
    describe(&Kernel::this(), macs, &discover::disks().unwrap_or_default())
}

fn describe(kernel: &Kernel, macs: Vec<String>, disks: &[MachineDisk]) -> Inventory {
    let said = |name: &str| kernel.text(&format!("/sys/class/dmi/id/{name}")).as_deref().and_then(filled_in);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    Inventory {
        macs: booted_first(macs, kernel.text("/proc/cmdline").as_deref().and_then(booted_card)),
        serial: said("product_serial").or_else(|| said("chassis_serial")),
        uuid: said("product_uuid").map(|uuid| uuid.to_lowercase()).filter(|uuid| names_one_machine(uuid)),
        asset_tag: said("chassis_asset_tag"),
        vendor: said("sys_vendor"),
        model: said("product_name"),
        firmware: Some(firmware()),
        memory_bytes: kernel.text("/proc/meminfo").as_deref().and_then(memory_bytes).unwrap_or_default(),
        processor: Processor {
            model: beginning(kernel, "/proc/cpuinfo").as_deref().and_then(processor_model),
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
        },
        disks: disks.iter().map(disk).collect(),
    }
}

/// A text without what makes it unreadable; `None` where its maker filled nothing in.
fn filled_in(text: &str) -> Option<String> {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(MOST_CHARACTERS).collect();
    let shown = shown.trim();
    let empty = shown.chars().all(|c| matches!(c, '0' | '.' | '-' | ' ' | '*'));
    (!empty && !PLACEHOLDERS.contains(&shown.to_lowercase().as_str())).then(|| shown.to_owned())
}

/// Firmware without a UUID says nothing but zeros or nothing but ones.
fn names_one_machine(uuid: &str) -> bool {
    let digits = || uuid.chars().filter(char::is_ascii_hexdigit);
    digits().count() == 32 && !digits().all(|digit| digit == '0') && !digits().all(|digit| digit == 'f')
}

/// The card that booted, as boot loaders say it: `BOOTIF=01-52-54-00-12-34-56`.
fn booted_card(command_line: &str) -> Option<String> {
    let value = command_line.split_whitespace().find_map(|word| word.strip_prefix("BOOTIF="))?;
    Some(value.strip_prefix("01-").unwrap_or(value).replace('-', ":").to_lowercase())
}

fn booted_first(macs: Vec<String>, booted: Option<String>) -> Vec<String> {
    let mut macs: Vec<String> =
        macs.into_iter().map(|mac| mac.to_lowercase()).filter(|mac| !mac.is_empty()).collect();
    // What is true of none comes first, and the order of the others stays.
    macs.sort_by_key(|mac| Some(mac) != booted.as_ref());
    macs
}

/// `MemTotal` in KiB (proc_meminfo(5)).
fn memory_bytes(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn processor_model(text: &str) -> Option<String> {
    let name = |line: &str| {
        let (name, value) = line.split_once(':')?;
        matches!(name.trim(), "model name" | "Model" | "cpu model").then(|| filled_in(value))?
    };
    text.lines().find_map(name)
}

fn beginning(kernel: &Kernel, absolute: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(kernel.path(absolute)).ok()?;
    file.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn disk(disk: &MachineDisk) -> InventoryDisk {
    InventoryDisk {
        path: disk.path.clone(),
        size_bytes: disk.size_bytes,
        logical_sector_bytes: u32::try_from(disk.logical_sector_bytes.bytes()).unwrap_or_default(),
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        wwn: disk.wwn.clone(),
        transport: disk.transport.clone(),
        removable: disk.removable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{MIB, SectorSize};
    use std::fs;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_machine_says_who_it_is() {
        let root = machine(&[
            ("sys/class/dmi/id/product_serial", "PF-1234\n"),
            ("sys/class/dmi/id/product_uuid", "4C4C4544-0042-3510-8054-B9C04F564433\n"),
            ("sys/class/dmi/id/sys_vendor", "Dell Inc.\n"),
            ("sys/class/dmi/id/product_name", "OptiPlex 7090\n"),
            ("sys/class/dmi/id/chassis_asset_tag", "Default string\n"),
            ("proc/cmdline", "quiet BOOTIF=01-52-54-00-00-00-0B x\n"),
            ("proc/meminfo", "MemTotal:       16303436 kB\nMemFree: 1 kB\n"),
            ("proc/cpuinfo", "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i5\n"),
        ]);
        let disks = [MachineDisk::new("/dev/sda", MIB, SectorSize::B4096)];
        let macs = ["52:54:00:00:00:0A", "52:54:00:00:00:0B", ""].map(str::to_owned).to_vec();
        let found = describe(&Kernel::at(root.path()), macs, &disks);
        assert_eq!(found.macs, ["52:54:00:00:00:0b", "52:54:00:00:00:0a"]);
        assert_eq!(found.serial.as_deref(), Some("PF-1234"));
        assert_eq!(found.uuid.as_deref(), Some("4c4c4544-0042-3510-8054-b9c04f564433"));
        assert_eq!(
            (found.vendor.as_deref(), found.model.as_deref()),
            (Some("Dell Inc."), Some("OptiPlex 7090"))
        );
        assert_eq!((found.asset_tag, found.memory_bytes), (None, 16_303_436 << 10));
        assert_eq!(found.processor.model.as_deref(), Some("Intel(R) Core(TM) i5"));
        assert_eq!((found.disks[0].size_bytes, found.disks[0].logical_sector_bytes), (MIB, 4096));
    }

    #[test]
    fn what_a_maker_did_not_fill_in_names_nobody() {
        let root = machine(&[
            ("sys/class/dmi/id/product_serial", "To Be Filled By O.E.M.\n"),
            ("sys/class/dmi/id/chassis_serial", "0000000\n"),
            ("sys/class/dmi/id/product_uuid", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n"),
            ("sys/class/dmi/id/product_name", "\u{7}\n"),
        ]);
        let found = describe(&Kernel::at(root.path()), Vec::new(), &[]);
        assert_eq!((found.serial, found.uuid, found.model), (None, None, None));
        assert_eq!((found.memory_bytes, found.macs.len()), (0, 0));
        let long = "x".repeat(5000);
        assert_eq!(filled_in(&long).map(|text| text.len()), Some(MOST_CHARACTERS));
    }
}
