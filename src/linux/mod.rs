//! The only code that touches this machine: sysfs, devices, ioctls, mounts, network, consoles, programs.
//!
//! Invariants:
//!
//! - A disk that is read is opened read-only; nothing here can write to it.
//! - A disk that is written is held exclusively for as long as its [`DiskWriter`] lives.
//! - What is attached is detached and what is mounted is unmounted, also on failure.
//! - Every wait is bounded.
//!
//! `ioctl` is the one file with unsafe code.

mod as_device;
mod boot_files;
mod boot_loader;
mod boot_system;
mod cage;
pub mod cards;
pub mod clock;
pub mod confined;
mod customize;
mod discover;
pub mod drivers;
mod echo;
mod efi_variables;
mod error;
mod file_copy;
pub mod fuse;
mod holders;
mod identity;
mod inventory;
mod ioctl;
pub mod kernel_log;
pub mod keymaps;
mod left_behind;
mod logical;
mod loop_device;
mod lvm_devices;
mod memory;
mod mounted;
pub mod mounts;
mod multicast;
mod ntfs_files;
mod overwriting;
mod placing;
pub mod power;
mod program;
mod randomness;
mod reader;
mod references;
mod rehearsal;
mod replay;
mod reread;
mod resize;
mod script;
mod secret_file;
mod settings;
mod spill;
mod ssh_keys;
mod sysfs;
pub mod terminal;
mod tree;
pub mod volumes;
mod windows_files;
mod windows_partitions;
mod writer;

pub use boot_loader::{install_boot_loader, would_install_boot_loader};
pub use customize::Customizations;
pub use discover::{disk, disks};
pub use echo::{WithoutEcho, without_echo};
pub use efi_variables::EfiVariables;
pub use error::Error;
pub use file_copy::{Artefact, copy_files, missing_for_files, while_mounted};
pub use inventory::inventory;
pub use logical::KernelVolumes;
pub use loop_device::LoopDevice;
pub use memory::{available_bytes, peak_rss_bytes, room_bytes};
pub use multicast::GroupReceiver;
pub use randomness::random_bits;
pub use reader::DiskReader;
pub use rehearsal::{Rehearsal, Rehearsed};
pub use replay::{can_replay, replay};
pub use reread::reread_table;
pub use resize::Tools;
pub use script::Script;
pub use secret_file::read_secret;
pub use spill::SpillFile;
pub use writer::DiskWriter;

use crate::schema::Firmware;
use std::path::Path;

/// True where the file system of `path` lies behind a network, so that writing waits for answers. False where
/// that cannot be found out.
#[must_use]
pub fn is_on_network(path: &Path) -> bool {
    // Numbers of statfs(2); FUSE is SSH and object stores as a rule.
    const REMOTE: [i128; 6] = [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x6573_5546, 0x0102_1997];
    let nearest = path.ancestors().find(|path| path.exists());
    let found = nearest.and_then(|path| nix::sys::statfs::statfs(path).ok());
    // C libraries do not agree on the width and the sign of the number.
    found.is_some_and(|found| REMOTE.contains(&i128::from(found.filesystem_type().0)))
}

/// What started this machine.
#[must_use]
pub fn firmware() -> Firmware {
    if Path::new("/sys/firmware/efi").exists() { Firmware::Uefi } else { Firmware::Bios }
}

/// True where this process may do everything on this machine.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// True where the kernel has loop devices, which show a part of a disk as a device.
#[must_use]
pub fn has_loop_devices() -> bool {
    loop_device::control_device().is_ok()
}
