//! The kernel's own log (`dmesg`), of which the first lines hold the whole kernel command line.
//!
//! The kernel keeps its log in a ring and lets nobody change a line of it. So the ring is turned until the old lines
//! have left it, and they are written anew, as they are to be read from then on. Their old time stands in their text.

use super::{Error, ioctl};
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

const DEVICE: &str = "/dev/kmsg";
/// Whether programs may write as much as they like: `on`, `off` or `ratelimit`.
const SETTING: &str = "/proc/sys/kernel/printk_devkmsg";
/// The kernel refuses longer ones (`PRINTKRB_RECORD_MAX` is 1024, less in older kernels).
const LONGEST_LINE: usize = 900;
/// A line is read with its key-value pairs and with control characters in four letters each.
const READ_AT_ONCE: usize = 32 << 10;
/// Lines that turn the ring, and how many are written before it is looked at again.
const TURNING: &str = "remint: the lines before are written anew";
const TURN: usize = 8;
/// The largest ring (`log_buf_len=`) that is turned has 16 MiB.
const MOST_TURNS: usize = 2500;
/// `LOG_USER`: what a program wrote.
const FACILITY: u8 = 1 << 3;

/// `LOG_WARNING`.
const WARNING: u8 = 4;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    /// 0 (emergency) to 7 (debug).
    level: u8,
    /// False for what a program wrote there.
    is_kernel: bool,
    sequence: u64,
    /// Since the kernel started.
    microseconds: u64,
    text: String,
}

impl Message {
    /// When, as the kernel writes it itself.
    fn moment(&self) -> String {
        format!("[{:5}.{:06}]", self.microseconds / 1_000_000, self.microseconds % 1_000_000)
    }
}

/// Has every message that there is read as `shown` gives it, in `dmesg` and in `/dev/kmsg`.
///
/// The caller keeps the console quiet: what is written anew would be shown there anew.
///
/// # Errors
/// Where the log cannot be read or written, or is larger than 16 MiB.
pub fn rewrite(shown: impl Fn(&str) -> String) -> Result<(), Error> {
    let mut reader = open()?;
    let mut messages = read_all(&mut reader)?;
    let Some(last) = messages.last().map(|message| message.sequence) else { return Ok(()) };
    let setting = std::fs::read_to_string(SETTING).unwrap_or_default();
    // Where the command line of the kernel forbids it, the messages below are simply fewer.
    let _ = std::fs::write(SETTING, "on\n");
    let result = turn(last).and_then(|()| {
        messages
            .extend(read_all(&mut reader)?.into_iter().filter(|message| !message.text.starts_with(TURNING)));
        ioctl::clear_kernel_log().map_err(Error::io("clearing the kernel's log"))?;
        messages.iter().try_for_each(|message| write(message, &shown(&message.text)))
    });
    let _ = std::fs::write(SETTING, setting);
    result
}

/// What the kernel says from a moment on.
#[derive(Debug)]
pub struct Since(File);

impl Since {
    /// From now on.
    ///
    /// # Errors
    /// Where the log cannot be read, as by others than root.
    pub fn now() -> Result<Self, Error> {
        let mut reader = open()?;
        reader.seek(SeekFrom::End(0)).map_err(Error::io(format!("reading {DEVICE}")))?;
        Ok(Self(reader))
    }

    /// Its warnings and errors since, a line each, with the seconds since its start.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn complaints(mut self) -> Result<Vec<String>, Error> {
        let messages = read_all(&mut self.0)?.into_iter();
        let complaints = messages.filter(|message| message.is_kernel && message.level <= WARNING);
        Ok(complaints.map(|message| format!("{} {}", message.moment(), message.text)).collect())
    }
}

fn open() -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    options.open(DEVICE).map_err(Error::io(format!("opening {DEVICE}")))
}

/// All messages from where `reader` is to the newest.
fn read_all(reader: &mut File) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::new();
    while let Some(message) = read_next(reader)? {
        messages.push(message);
    }
    Ok(messages)
}

fn read_next(reader: &mut File) -> Result<Option<Message>, Error> {
    use std::io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock};
    let mut buffer = vec![0; READ_AT_ONCE];
    loop {
        match reader.read(&mut buffer) {
            Ok(length) => {
                if let Some(message) =
                    parse(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()))
                {
                    return Ok(Some(message));
                }
            }
            Err(error) if error.kind() == WouldBlock => return Ok(None),
            // Messages that nobody read yet have left the ring: the next one is the oldest.
            Err(error) if matches!(error.kind(), BrokenPipe | Interrupted) => {}
            Err(error) => return Err(Error::io(format!("reading {DEVICE}"))(error)),
        }
    }
}

/// `6,339,5140900,-;NET: Registered` and lines with a space before them (Documentation/ABI/testing/dev-kmsg).
fn parse(text: &str) -> Option<Message> {
    let (head, body) = text.split_once(';')?;
    let mut fields = head.split(',');
    let level: u32 = fields.next()?.parse().ok()?;
    Some(Message {
        level: u8::try_from(level & 7).ok()?,
        is_kernel: level < 8,
        sequence: fields.next()?.parse().ok()?,
        microseconds: fields.next()?.parse().ok()?,
        text: body.lines().next().unwrap_or_default().to_owned(),
    })
}

/// Writes lines until the message `last` has left the ring.
fn turn(last: u64) -> Result<(), Error> {
    let line = format!("{TURNING} {}", ".".repeat(LONGEST_LINE.saturating_sub(TURNING.len())));
    for _ in 0..MOST_TURNS {
        if read_next(&mut open()?)?.is_none_or(|oldest| oldest.sequence > last) {
            return Ok(());
        }
        (0..TURN).try_for_each(|_| write_line(7, &line))?;
    }
    Err(Error::unsupported("the kernel's log is larger than 16 MiB; start with a smaller log_buf_len="))
}

fn write(message: &Message, shown: &str) -> Result<(), Error> {
    // An emergency of the past is shown on no console again.
    let level = message.level.clamp(1, 7);
    let line: Vec<char> = format!("{} {shown}", message.moment()).chars().collect();
    // A quarter of it, because a character may have four bytes.
    line.chunks(LONGEST_LINE / 4).try_for_each(|part| write_line(level, &part.iter().collect::<String>()))
}

fn write_line(level: u8, line: &str) -> Result<(), Error> {
    let failed = || Error::io(format!("writing {DEVICE}"));
    let mut device = OpenOptions::new().write(true).open(DEVICE).map_err(failed())?;
    // One call is one message.
    device.write_all(format!("<{}>{line}\n", FACILITY | level).as_bytes()).map_err(failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_the_kernel_gives_them() {
        let message =
            parse("30,339,5140900,-;Kernel command line: a;b\n SUBSYSTEM=pci\n DEVICE=+pci:x\n").unwrap();
        assert_eq!((message.level, message.sequence, message.microseconds), (6, 339, 5_140_900));
        assert_eq!(message.text, "Kernel command line: a;b");
        for wrong in ["", ";", "a,b,c;d", "6,1;x", "99999999999,1,1,-;x"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
