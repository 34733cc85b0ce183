//! Disks as installers and people lay them out.

use super::plan_images::*;
use FileSystemKind::{Ext2, Ext4, Fat32, HfsPlus, Ntfs, Swap, Xfs};
use proptest::prelude::*;
use remint::schema::{Content, Disk, FileSystemKind};
use remint::units::{GIB, MIB, SectorSize};

const HFS_PLUS: u128 = 0x4846_5300_0000_11AA_AA11_0030_6543_ECAC;

/// What a disk of some gibibytes is for.
#[derive(Debug, Clone, Copy)]
enum System {
    WindowsUefi,
    WindowsBios,
    /// With a root of XFS, or of ext4 and a partition for `/home`.
    LinuxUefi,
    LinuxBios,
    /// Root in front, and logical partitions behind, whose numbers need not be in order.
    LinuxLogical,
    Mac,
}

/// One of them; sector size, size of the disk, how full it is, whether space was left at its end.
pub fn image() -> impl Strategy<Value = Disk> {
    use System::{LinuxBios, LinuxLogical, LinuxUefi, Mac, WindowsBios, WindowsUefi};
    let system = prop_oneof![
        Just(WindowsUefi),
        Just(WindowsBios),
        Just(LinuxUefi),
        Just(LinuxBios),
        Just(LinuxLogical),
        Just(Mac)
    ];
    let sector = prop_oneof![3 => Just(SectorSize::B512), 1 => Just(SectorSize::B4096)];
    (system, sector, 60u64..1000, 1u64..100, any::<bool>()).prop_map(
        |(system, sector, size_gb, percent, turned)| {
            // As disks are sold: whole gigabytes and a rest that no grid divides.
            let size = (size_gb * 1_000_000_000 + 204_886_016) / 4096 * 4096;
            let end = size / MIB * MIB - 2 * MIB;
            let needs = |fs: Content| filled(fs, percent);
            let mut laid = Laid { cursor: MIB, parts: Vec::new() };
            match system {
                WindowsUefi => {
                    laid.add(1, 100 * MIB, EFI_SYSTEM, holds(Fat32, 100 * MIB));
                    laid.add(2, 16 * MIB, RESERVED, unknown());
                    let c = end - laid.cursor - 900 * MIB;
                    laid.add(3, c, BASIC_DATA, needs(holds(Ntfs, c - 512)));
                    laid.add(4, 900 * MIB, RECOVERY, holds(Ntfs, 900 * MIB - 512));
                }
                WindowsBios => {
                    laid.add(1, 500 * MIB, 0x07, holds(Ntfs, 500 * MIB - 512));
                    let c = (end - laid.cursor) / 3 / MIB * MIB;
                    laid.add(2, c, 0x07, needs(holds(Ntfs, c - 512)));
                    let d = end - laid.cursor - 600 * MIB;
                    laid.add(3, d, 0x07, needs(holds(Ntfs, d - 512)));
                    laid.add(4, 600 * MIB, 0x27, holds(Ntfs, 600 * MIB - 512));
                }
                LinuxUefi => {
                    laid.add(1, 512 * MIB, EFI_SYSTEM, holds(Fat32, 512 * MIB));
                    let root = (end - laid.cursor) / 4 / MIB * MIB;
                    let kind = if turned { Xfs } else { Ext4 };
                    laid.add(2, root, LINUX, needs(holds(kind, root)));
                    laid.add(3, 8 * GIB, SWAP, holds(Swap, 8 * GIB));
                    let home = end - laid.cursor;
                    laid.add(4, home, LINUX, needs(holds(Ext4, home)));
                }
                LinuxBios => {
                    laid.add(1, MIB, BIOS_BOOT, unknown());
                    laid.add(2, GIB, LINUX, holds(Ext2, GIB));
                    let root = end - laid.cursor;
                    laid.add(3, root, LINUX, needs(holds(Ext4, root)));
                }
                LinuxLogical => {
                    laid.add(1, 20 * GIB, 0x83, needs(holds(Ext4, 20 * GIB)));
                    let numbers = if turned { [6, 5, 7] } else { [5, 6, 7] };
                    let rest = (end - laid.cursor - 10 * GIB) / 2 / MIB * MIB;
                    for (number, size, kind) in [
                        (numbers[0], 4 * GIB, Swap),
                        (numbers[1], rest, Ext4),
                        (numbers[2], rest, if turned { Ntfs } else { Ext4 }),
                    ] {
                        laid.cursor += MIB;
                        let code = if kind == Swap { 0x82 } else { 0x83 };
                        laid.add(number, size, code, needs(holds(kind, size - 512)));
                    }
                }
                Mac => {
                    laid.add(1, 200 * MIB, EFI_SYSTEM, holds(Fat32, 200 * MIB));
                    let half = (end - laid.cursor) / 2 / MIB * MIB;
                    laid.add(2, half, HFS_PLUS, holds(HfsPlus, half));
                    let windows = end - laid.cursor - 128 * MIB;
                    laid.cursor += 128 * MIB;
                    laid.add(3, windows, BASIC_DATA, needs(holds(Ntfs, windows - 512)));
                }
            }
            match system {
                WindowsBios | LinuxLogical => mbr_disk(0, size, sector, &laid.parts, MIB),
                _ => gpt_disk(0, size, sector, &laid.parts),
            }
        },
    )
}

struct Laid {
    cursor: u64,
    parts: Vec<Part>,
}

impl Laid {
    fn add(&mut self, number: u32, size: u64, kind: u128, content: Content) {
        self.parts.push(part(number, self.cursor, size, kind, content));
        self.cursor += size;
    }
}

/// A file system that can be shrunk to so many hundredths.
fn filled(content: Content, percent: u64) -> Content {
    match content {
        Content::FileSystem(mut fs) => {
            fs.minimum_bytes = fs.size_bytes / 100 * percent;
            Content::FileSystem(fs)
        }
        other => other,
    }
}
