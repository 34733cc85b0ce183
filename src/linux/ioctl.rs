//! The system calls that no safe wrapper exists for.
//!
//! Numbers are those of `linux/fs.h` and `linux/loop.h`. Every function takes a borrowed descriptor, so
//! that it is open during the call.
#![allow(unsafe_code)]

use crate::units::ByteRange;
use nix::errno::Errno;
use nix::libc;
use nix::request_code_none;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// `LO_FLAGS_READ_ONLY`.
pub(super) const LOOP_READ_ONLY: u32 = 1;
/// `LO_FLAGS_AUTOCLEAR`: the loop device detaches itself when nobody has it open.
pub(super) const LOOP_AUTOCLEAR: u32 = 4;
/// `LO_FLAGS_PARTSCAN`: the loop device may have partitions.
pub(super) const LOOP_PARTITIONS: u32 = 8;

/// `FS_IMMUTABLE_FL`: nobody may change the file.
pub(super) const IMMUTABLE: u32 = 0x10;

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of `linux/loop.h`.
#[repr(C)]
pub(super) struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

mod raw {
    use super::{LoopConfig, libc, request_code_none};

    nix::ioctl_read_bad!(blkgetsize64, nix::request_code_read!(0x12, 114, size_of::<usize>()), u64);
    nix::ioctl_read_bad!(blksszget, request_code_none!(0x12, 104), libc::c_int);
    nix::ioctl_none_bad!(blkrrpart, request_code_none!(0x12, 95));
    nix::ioctl_write_ptr_bad!(blkdiscard, request_code_none!(0x12, 119), [u64; 2]);
    nix::ioctl_write_ptr_bad!(blkzeroout, request_code_none!(0x12, 127), [u64; 2]);
    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, LoopConfig);
    nix::ioctl_none_bad!(loop_clr_fd, 0x4C01);
    nix::ioctl_read_bad!(getflags, nix::request_code_read!(b'f', 1, size_of::<libc::c_long>()), libc::c_long);
    nix::ioctl_read_bad!(btrfs_subvol_getflags, nix::request_code_read!(0x94, 25, size_of::<u64>()), u64);
    nix::ioctl_write_ptr_bad!(nilfs_resize, nix::request_code_write!(b'n', 0x8B, size_of::<u64>()), u64);
    nix::ioctl_write_ptr_bad!(
        setflags,
        nix::request_code_write!(b'f', 2, size_of::<libc::c_long>()),
        libc::c_long
    );
}

/// Gives the NILFS2 that is mounted with this folder another size, in bytes (`NILFS_IOCTL_RESIZE` of `linux/nilfs2_api.h`).
pub(super) fn nilfs_resize(folder: impl AsFd, size_bytes: u64) -> nix::Result<()> {
    // SAFETY: NILFS_IOCTL_RESIZE reads one u64 through the pointer, which is valid for the call.
    unsafe { raw::nilfs_resize(folder.as_fd().as_raw_fd(), &raw const size_bytes) }.map(drop)
}

/// True for a subvolume of btrfs that may not be changed (`BTRFS_SUBVOL_RDONLY` of `linux/btrfs.h`).
pub(super) fn btrfs_subvolume_is_read_only(subvolume: impl AsFd) -> nix::Result<bool> {
    const READ_ONLY: u64 = 1 << 1;
    let mut flags = 0;
    // SAFETY: BTRFS_IOC_SUBVOL_GETFLAGS stores one u64 through the pointer, which is valid for the call.
    unsafe { raw::btrfs_subvol_getflags(subvolume.as_fd().as_raw_fd(), &raw mut flags) }?;
    Ok(flags & READ_ONLY != 0)
}

/// Size of a block device in bytes.
pub(super) fn device_size_bytes(device: impl AsFd) -> nix::Result<u64> {
    let mut size = 0;
    // SAFETY: BLKGETSIZE64 stores one u64 through the pointer, which is valid for the call.
    unsafe { raw::blkgetsize64(device.as_fd().as_raw_fd(), &raw mut size) }?;
    Ok(size)
}

/// Logical sector size of a block device in bytes.
pub(super) fn logical_sector_bytes(device: impl AsFd) -> nix::Result<u64> {
    let mut size = 0;
    // SAFETY: BLKSSZGET stores one int through the pointer, which is valid for the call.
    unsafe { raw::blksszget(device.as_fd().as_raw_fd(), &raw mut size) }?;
    u64::try_from(size).map_err(|_| Errno::EINVAL)
}

/// Asks the kernel to read the partition table again.
pub(super) fn reread_partitions(device: impl AsFd) -> nix::Result<()> {
    // SAFETY: BLKRRPART takes no argument.
    unsafe { raw::blkrrpart(device.as_fd().as_raw_fd()) }.map(drop)
}

/// The flags of a file (`chattr`).
pub(super) fn inode_flags(file: impl AsFd) -> nix::Result<u32> {
    let mut flags = 0;
    // SAFETY: FS_IOC_GETFLAGS stores an int, or on some file systems a long, through the pointer to a long.
    unsafe { raw::getflags(file.as_fd().as_raw_fd(), &raw mut flags) }?;
    u32::try_from(flags & 0xFFFF_FFFF).map_err(|_| Errno::EINVAL)
}

/// Sets the flags of a file.
pub(super) fn set_inode_flags(file: impl AsFd, flags: u32) -> nix::Result<()> {
    let flags = libc::c_long::from(flags);
    // SAFETY: FS_IOC_SETFLAGS reads an int or a long through the pointer, which is valid for the call.
    unsafe { raw::setflags(file.as_fd().as_raw_fd(), &raw const flags) }.map(drop)
}

/// Discards a range of a block device; it must be aligned to logical sectors.
pub(super) fn discard(device: impl AsFd, range: ByteRange) -> nix::Result<()> {
    let argument = [range.start(), range.length()];
    // SAFETY: BLKDISCARD reads two u64 through the pointer, which is valid for the call.
    unsafe { raw::blkdiscard(device.as_fd().as_raw_fd(), &raw const argument) }.map(drop)
}

/// Makes a range of a block device read as zeros; it must be aligned to logical sectors.
pub(super) fn zero_out(device: impl AsFd, range: ByteRange) -> nix::Result<()> {
    let argument = [range.start(), range.length()];
    // SAFETY: BLKZEROOUT reads two u64 through the pointer, which is valid for the call.
    unsafe { raw::blkzeroout(device.as_fd().as_raw_fd(), &raw const argument) }.map(drop)
}

/// Waits for the write-back that was started before, then starts that of everything that is dirty now.
/// An error of an earlier write-back is reported here, and then not by `fsync`.
pub(super) fn start_write_back(file: impl AsFd) -> nix::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE;
    // SAFETY: sync_file_range takes no pointers; length 0 means up to the end of the file.
    let result = unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), 0, 0, flags) };
    Errno::result(result).map(drop)
}

/// Mounts a FUSE connection, with a folder at its root, where no path leads: the mount is gone when it is closed, and
/// with it when this process ends. Linux 5.5 and later (`linux/mount.h`).
pub(super) fn mount_fuse(connection: impl AsFd) -> nix::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: libc::c_uint = 1;
    const FSCONFIG_SET_STRING: libc::c_uint = 1;
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
    const FSMOUNT_CLOEXEC: libc::c_uint = 1;
    // MOUNT_ATTR_NOSUID, _NODEV, _NOEXEC and _NOATIME.
    const ATTRIBUTES: libc::c_uint = 2 | 4 | 8 | 0x10;
    // SAFETY: fsopen reads one string that ends with a zero.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, c"fuse".as_ptr(), FSOPEN_CLOEXEC) };
    let context = new_descriptor(context)?;
    let number = CString::new(connection.as_fd().as_raw_fd().to_string()).map_err(|_| Errno::EINVAL)?;
    let settings = [
        (c"source", c"remint"),
        (c"fd", number.as_c_str()),
        (c"rootmode", c"40000"),
        (c"user_id", c"0"),
        (c"group_id", c"0"),
    ];
    for (key, value) in settings {
        // SAFETY: fsconfig reads two strings that end with a zero and live during the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                FSCONFIG_SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0,
            )
        };
        Errno::result(result)?;
    }
    let nothing = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes no strings.
    let result = unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, nothing, nothing, 0)
    };
    Errno::result(result)?;
    // SAFETY: fsmount takes numbers only.
    let mounted =
        unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, ATTRIBUTES) };
    new_descriptor(mounted)
}

/// Moves an open file to a descriptor with a high number.
///
/// When a process is killed, its descriptors are closed from the lowest on, and what that leads to is done in the
/// opposite order: what has the highest number is over first.
pub(super) fn to_high_descriptor(file: File) -> File {
    const LOWEST: libc::c_int = 512;
    // SAFETY: this command takes numbers only.
    let high = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, LOWEST) };
    // Where so many descriptors are not allowed, the file stays where it is.
    new_descriptor(high.into()).map_or(file, File::from)
}

/// Takes over the descriptor that a system call returned.
fn new_descriptor(result: libc::c_long) -> nix::Result<OwnedFd> {
    let number = i32::try_from(Errno::result(result)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for this process, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Tells the kernel that this thread is on the way of pages to a disk, so that it never waits for such pages to be
/// written when it needs memory. A hint: kernels before 5.6 and processes without the privilege do without.
pub(super) fn become_io_flusher() {
    const PR_SET_IO_FLUSHER: libc::c_int = 57;
    // SAFETY: PR_SET_IO_FLUSHER takes numbers only and changes how this thread gets memory.
    let _ = unsafe { libc::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) };
}

/// Has `dmesg` begin with what the kernel says from now on.
pub(super) fn clear_kernel_log() -> nix::Result<()> {
    /// `SYSLOG_ACTION_CLEAR` of linux/syslog.h.
    const CLEAR: libc::c_int = 5;
    // SAFETY: this action takes no buffer.
    let result = unsafe { libc::klogctl(CLEAR, std::ptr::null_mut(), 0) };
    Errno::result(result).map(drop)
}

/// Number of a loop device that is free at this moment.
pub(super) fn free_loop_number(control: impl AsFd) -> nix::Result<u32> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument and returns a number.
    let number = unsafe { raw::loop_ctl_get_free(control.as_fd().as_raw_fd()) }?;
    u32::try_from(number).map_err(|_| Errno::EINVAL)
}

/// Attaches a range of an open file to a loop device; `EBUSY` where another process took the device.
pub(super) fn configure_loop(
    device: impl AsFd,
    backing: impl AsFd,
    range: ByteRange,
    block_bytes: u32,
    flags: u32,
) -> nix::Result<()> {
    let config = LoopConfig {
        fd: u32::try_from(backing.as_fd().as_raw_fd()).map_err(|_| Errno::EBADF)?,
        block_size: block_bytes,
        info: LoopInfo64 {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: range.start(),
            sizelimit: range.length(),
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads one struct loop_config through the pointer, which is valid for the call
    // and has the kernel's layout: the fields are naturally aligned, without padding.
    unsafe { raw::loop_configure(device.as_fd().as_raw_fd(), &raw const config) }.map(drop)
}

/// Detaches a loop device, at once or when its last user closes it.
pub(super) fn clear_loop(device: impl AsFd) -> nix::Result<()> {
    // SAFETY: LOOP_CLR_FD takes no argument.
    unsafe { raw::loop_clr_fd(device.as_fd().as_raw_fd()) }.map(drop)
}

/// Gives this thread mounts, a network, a host name and System V objects of its own, and whatever it starts from now on
/// process numbers of its own (`unshare(2)`). The other threads keep theirs.
pub(super) fn own_namespaces() -> nix::Result<()> {
    const OWN: libc::c_int =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    // SAFETY: unshare takes no pointers.
    Errno::result(unsafe { libc::unshare(OWN) }).map(drop)
}

/// What root keeps in a cage (`linux/capability.h`): CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID. Not among them
/// are those that lead out: making devices, mounting, changing the root, opening files by handle, loading modules.
const KEPT_CAPABILITIES: [libc::c_ulong; 6] = [0, 1, 3, 4, 6, 7];
/// Numbers of capabilities are below this one; the kernel refuses those that it does not know.
const CAPABILITIES: libc::c_ulong = 64;

/// Has a program be the first of the process numbers of its own: with a `/proc` of these alone, which cannot be written, and
/// without capabilities but the kept ones, for itself and for whatever it starts. What the kernel was started with is not shown
/// there: it may hold secrets, and what hides them outside does not cover a `/proc` that is mounted anew.
pub(super) fn shut_in(command: &mut Command) {
    let shut = || {
        let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        let (kind, at, no_data) = (c"proc".as_ptr(), c"/proc".as_ptr(), std::ptr::null());
        // SAFETY: the three texts end with a zero byte and live for ever; no data is passed.
        if unsafe { libc::mount(kind, at, kind, flags, no_data) } != 0 {
            return Err(io::Error::last_os_error());
        }
        for (file, may_be_missing) in [(c"/proc/cmdline", false), (c"/proc/bootconfig", true)] {
            let (empty, no_kind) = (c"/dev/null".as_ptr(), std::ptr::null());
            // SAFETY: as above.
            let covered = unsafe { libc::mount(empty, file.as_ptr(), no_kind, libc::MS_BIND, no_data) };
            if covered != 0 && !(may_be_missing && Errno::last() == Errno::ENOENT) {
                return Err(io::Error::last_os_error());
            }
        }
        for capability in (0..CAPABILITIES).filter(|number| !KEPT_CAPABILITIES.contains(number)) {
            // SAFETY: these two calls take numbers only.
            let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
            if dropped != 0 && Errno::last() != Errno::EINVAL {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: as above.
        match unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec this calls nothing but the kernel: it neither takes memory nor a lock.
    unsafe { command.pre_exec(shut) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_structures_have_the_size_that_the_kernel_expects() {
        assert_eq!(size_of::<LoopInfo64>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }
}
