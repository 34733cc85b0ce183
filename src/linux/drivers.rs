//! Drivers for what this machine has: by the names that the devices themselves give, with kmod's `modprobe`.

use super::program::{self, Outcome};
use super::{Error, sysfs};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket, sockopt,
};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// A driver that waits for its firmware may take a minute.
const LOADING: Duration = Duration::from_secs(120);
/// `KOBJECT_UEVENT` messages of the kernel itself are in the first group.
const KERNEL_GROUP: u32 = 1;
/// The kernel's own limit of a message (`UEVENT_BUFFER_SIZE`).
const LONGEST_EVENT: usize = 4096;
const DEEPEST: u32 = 32;
/// Programs that load drivers at the same time.
const AT_ONCE: usize = 4;
/// Names that one program is worth starting for, and those that one command line surely holds.
const FEW: usize = 8;
const MANY: usize = 200;

/// Names of all devices that are there now and want a driver.
#[must_use]
pub fn device_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(Path::new("/sys/devices"), DEEPEST, &mut names);
    names
}

fn collect(directory: &Path, depth: u32, names: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            collect(&entry.path(), depth.saturating_sub(1), names);
        } else if kind.is_file() && entry.file_name() == "modalias" {
            let name = fs::read_to_string(entry.path()).unwrap_or_default();
            names.extend(Some(name.trim().to_owned()).filter(|name| !name.is_empty()));
        }
    }
}

/// Loads the drivers of some devices, and the modules of some names. A device without a driver is no failure.
///
/// Several programs share the work: a driver that waits for its hardware does not keep the others waiting.
///
/// # Errors
/// Where `modprobe` is missing or does not end.
pub fn load(names: &[&str]) -> Result<(), Error> {
    let size = names.len().div_ceil(AT_ONCE).clamp(FEW, MANY);
    std::thread::scope(|scope| {
        let parts: Vec<_> = names.chunks(size).map(|part| scope.spawn(|| load_part(part))).collect();
        let ended = parts.into_iter().map(|part| {
            part.join().unwrap_or_else(|_| Err(Error::unsupported("starting modprobe panicked")))
        });
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

fn load_part(names: &[&str]) -> Result<(), Error> {
    let mut arguments = vec!["-a", "-b", "-q"];
    arguments.extend(names);
    let outcome = program::run("modprobe", &arguments, LOADING)?;
    // A name without a module gives 1, as does a module without its hardware.
    match outcome {
        Outcome { code: Some(_), .. } => Ok(()),
        Outcome { ending, .. } => Err(Error::unsupported(format!("modprobe {ending}"))),
    }
}

/// The kernel's announcements of devices that come.
#[derive(Debug)]
pub struct DeviceEvents(OwnedFd);

/// What was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceEvent {
    /// `add`, `remove`, `change`, `bind`, ...
    pub action: String,
    /// `usb`, `block`, `net`, ...
    pub subsystem: String,
    /// The name by which its driver is found.
    pub modalias: Option<String>,
}

impl DeviceEvents {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where the kernel has no such socket.
    pub fn listen() -> Result<Self, Error> {
        let doing = "listening for devices";
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )
        .map_err(Error::io(doing))?;
        // Thousands of devices may be announced while one driver loads.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20));
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP)).map_err(Error::io(doing))?;
        Ok(Self(socket))
    }

    /// The next announcement; `None` where there is none for `limit`.
    #[must_use]
    pub fn next(&self, limit: Duration) -> Option<DeviceEvent> {
        let mut waiting = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        if !matches!(poll(&mut waiting, timeout), Ok(1)) {
            return None;
        }
        let mut buffer = [0; LONGEST_EVENT];
        match recvfrom::<NetlinkAddr>(self.0.as_raw_fd(), &mut buffer) {
            // Only the kernel has the port 0.
            Ok((length, Some(sender))) if sender.pid() == 0 => {
                Some(parse_event(buffer.get(..length).unwrap_or_default()))
            }
            // Some were lost: an event without a name has everything looked at again.
            Err(Errno::ENOBUFS) => Some(parse_event(b"")),
            _ => None,
        }
    }
}

fn parse_event(bytes: &[u8]) -> DeviceEvent {
    let text = String::from_utf8_lossy(bytes);
    let field = |name: &str| {
        let fields = text.split('\0').filter_map(|field| field.split_once('='));
        fields.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
    };
    DeviceEvent {
        action: field("ACTION").unwrap_or_default(),
        subsystem: field("SUBSYSTEM").unwrap_or_default(),
        modalias: field("MODALIAS").filter(|name| !name.is_empty()),
    }
}

/// True where a USB disk was found whose contents are not there yet: it is given time to start.
#[must_use]
pub fn usb_disks_are_starting() -> bool {
    ["usb-storage", "uas"].iter().any(|driver| {
        let directory = Path::new("/sys/bus/usb/drivers").join(driver);
        let devices = sysfs::entry_names(&directory).into_iter().filter(|name| name.contains(':'));
        devices.map(|device| directory.join(device)).any(|device| {
            let hosts = sysfs::entry_names(&device).into_iter().filter(|name| name.starts_with("host"));
            !hosts
                .map(|host| device.join(host))
                .any(|host| sysfs::entry_names(&host).iter().any(|name| name.starts_with("target")))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_by_their_fields() {
        let event = parse_event(
            b"add@/devices/pci0000:00/x\0ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=pci\0MODALIAS=pci:v00001AF4d00001000\0",
        );
        assert_eq!((event.action.as_str(), event.subsystem.as_str()), ("add", "pci"));
        assert_eq!(event.modalias.as_deref(), Some("pci:v00001AF4d00001000"));
        assert_eq!(parse_event(b"\xff\0=\0ACTION").modalias, None);
    }

    #[test]
    fn a_name_is_found_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("pci0/usb1/1-1/1-1:1.0");
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("modalias"), "usb:v1\n").unwrap();
        fs::write(folder.path().join("modalias"), "\n").unwrap();
        let mut names = BTreeSet::new();
        collect(folder.path(), DEEPEST, &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["usb:v1"]);
    }

    #[test]
    fn listening_ends_in_time() {
        if let Ok(events) = DeviceEvents::listen() {
            let _ = events.next(Duration::from_millis(1));
        }
    }
}
