//! The messages of the kernel's FUSE device, as far as one plain file needs them (`linux/fuse.h`, protocol 7.31).
//!
//! ```text
//! request: u32 length | u32 opcode | u64 unique | u64 node | u32 uid | u32 gid | u32 pid | u32 | arguments
//! reply:   u32 length | i32 -errno | u64 unique | result
//! ```
//!
//! Numbers stand in the byte order of the machine, which is little-endian on all that this program runs on.

use crate::units::{ByteRange, OutOfBounds, read_slice, read_u32le, read_u64le, usize_from};
use nix::libc;

/// Length of a request's header.
const IN_HEADER_BYTES: usize = 40;
/// The protocol that is spoken: what every kernel since 5.4 knows.
const MAJOR: u32 = 7;
const MINOR: u32 = 31;
/// `FUSE_ASYNC_READ`, `FUSE_BIG_WRITES` and `FUSE_MAX_PAGES`.
const WANTED_FLAGS: u32 = 1 | 1 << 5 | 1 << 22;
/// The most that one write carries, which is also the most that is read ahead.
const MAX_WRITE_BYTES: u32 = 1 << 20;
const PAGE_BYTES: u32 = 4096;
/// A buffer of this length holds every request: a write, its header and its arguments.
pub(super) const REQUEST_BYTES: usize = (1 << 20) + 4096;
/// For so many seconds the kernel may rely on names and sizes, which never change.
const VALID_SECONDS: u64 = 3600;

/// The folder at the root, and the only file in it.
pub(super) const ROOT: u64 = 1;
pub(super) const FILE: u64 = 2;
/// The file's name.
pub(super) const NAME: &str = "volume";

/// What the kernel asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    Init {
        major: u32,
        max_readahead: u32,
        flags: u32,
    },
    Lookup {
        name: &'a [u8],
    },
    GetAttributes,
    /// `size_bytes` where the size is to change.
    SetAttributes {
        size_bytes: Option<u64>,
    },
    Open,
    Read {
        offset: u64,
        length: u32,
    },
    Write {
        offset: u64,
        bytes: &'a [u8],
    },
    /// Zeros, or nothing in particular, in a range; `None` where something else is asked for.
    Zero {
        range: Option<ByteRange>,
    },
    Synchronise,
    /// Needs an answer that says nothing: release, access.
    Acknowledge,
    /// Gets no answer: forget and interrupt.
    Silent,
    Unknown,
}

/// One request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) unique: u64,
    pub(super) node: u64,
    pub(super) operation: Operation<'a>,
}

impl<'a> Request<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, OutOfBounds> {
        let opcode = read_u32le(bytes, 4)?;
        let arguments = bytes.get(IN_HEADER_BYTES..).unwrap_or_default();
        Ok(Self {
            unique: read_u64le(bytes, 8)?,
            node: read_u64le(bytes, 16)?,
            operation: operation(opcode, arguments)?,
        })
    }
}

fn operation(opcode: u32, arguments: &[u8]) -> Result<Operation<'_>, OutOfBounds> {
    const FATTR_SIZE: u32 = 1 << 3;
    Ok(match opcode {
        1 => Operation::Lookup { name: arguments.strip_suffix(&[0]).unwrap_or(arguments) },
        2 | 36 | 42 => Operation::Silent,
        3 => Operation::GetAttributes,
        4 => {
            let is_resize = read_u32le(arguments, 0)? & FATTR_SIZE != 0;
            let size_bytes = read_u64le(arguments, 16)?;
            Operation::SetAttributes { size_bytes: is_resize.then_some(size_bytes) }
        }
        14 => Operation::Open,
        15 => Operation::Read { offset: read_u64le(arguments, 8)?, length: read_u32le(arguments, 16)? },
        16 => {
            let length = usize_from(read_u32le(arguments, 16)?.into());
            Operation::Write { offset: read_u64le(arguments, 8)?, bytes: read_slice(arguments, 40, length)? }
        }
        // Release, access. That nothing answers the flush of a descriptor (25) is what keeps one from being asked for.
        18 | 34 => Operation::Acknowledge,
        20 => Operation::Synchronise,
        26 => Operation::Init {
            major: read_u32le(arguments, 0)?,
            max_readahead: read_u32le(arguments, 8)?,
            flags: read_u32le(arguments, 12)?,
        },
        43 => Operation::Zero { range: zeroed(arguments)? },
        _ => Operation::Unknown,
    })
}

/// The range of a `fallocate` that makes a hole or zeros and keeps the size.
fn zeroed(arguments: &[u8]) -> Result<Option<ByteRange>, OutOfBounds> {
    const KEEP_SIZE: u32 = 1;
    const PUNCH_HOLE: u32 = 2;
    const ZERO_RANGE: u32 = 16;
    let (offset, length) = (read_u64le(arguments, 8)?, read_u64le(arguments, 16)?);
    let mode = read_u32le(arguments, 24)?;
    let zeroes = matches!(mode & !KEEP_SIZE, PUNCH_HOLE | ZERO_RANGE);
    Ok(ByteRange::at(offset, length).filter(|_| zeroes))
}

/// A reply under construction; its length is filled in at the end.
#[derive(Debug, Default)]
pub(super) struct Reply {
    bytes: Vec<u8>,
}

impl Reply {
    /// An error, as a number of `errno`; 0 for none.
    pub(super) fn start(&mut self, unique: u64, errno: i32) -> &mut Self {
        self.bytes.clear();
        self.u32(0).bytes(&errno.saturating_neg().to_le_bytes()).u64(unique)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// `length` zeros behind what is there, to be filled.
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        let from = self.bytes.len();
        self.bytes.resize(from.saturating_add(length), 0);
        self.bytes.get_mut(from..).unwrap_or_default()
    }

    /// `struct fuse_init_out`.
    pub(super) fn init(&mut self, max_readahead: u32, flags: u32) -> &mut Self {
        self.u32(MAJOR).u32(MINOR).u32(max_readahead.min(MAX_WRITE_BYTES)).u32(flags & WANTED_FLAGS);
        // How many requests may wait in the background (two u16), then the largest write.
        self.u32(16 | 12 << 16).u32(MAX_WRITE_BYTES);
        // Time in steps of a nanosecond; the most pages of a request (u16), no alignment.
        self.u32(1).u32(MAX_WRITE_BYTES / PAGE_BYTES);
        self.bytes(&[0; 32])
    }

    /// `struct fuse_attr_out`.
    pub(super) fn attributes(&mut self, node: u64, size_bytes: u64) -> &mut Self {
        self.u64(VALID_SECONDS).u64(0).attribute(node, size_bytes)
    }

    /// `struct fuse_entry_out` of the file.
    pub(super) fn entry(&mut self, size_bytes: u64) -> &mut Self {
        self.u64(FILE).u64(0).u64(VALID_SECONDS).u64(VALID_SECONDS).u64(0).attribute(FILE, size_bytes)
    }

    /// `struct fuse_attr`.
    fn attribute(&mut self, node: u64, size_bytes: u64) -> &mut Self {
        let (mode, links, size) = match node {
            ROOT => (libc::S_IFDIR | 0o700, 2, 0),
            _ => (libc::S_IFREG | 0o600, 1, size_bytes),
        };
        self.u64(node).u64(size).u64(size.div_ceil(512));
        // Three times and their nanoseconds.
        self.bytes(&[0; 36]);
        self.u32(mode).u32(links).bytes(&[0; 12]).u32(PAGE_BYTES).u32(0)
    }

    /// `struct fuse_open_out`: no handle; what is in the kernel's cache stays true, and closing a descriptor asks for
    /// nothing. A process that is killed closes its descriptors when nobody is left in it to answer.
    pub(super) fn opened(&mut self) -> &mut Self {
        const FOPEN_KEEP_CACHE: u32 = 2;
        const FOPEN_NOFLUSH: u32 = 32;
        self.u64(0).u32(FOPEN_KEEP_CACHE | FOPEN_NOFLUSH).u32(0)
    }

    /// `struct fuse_write_out`.
    pub(super) fn written(&mut self, length: u32) -> &mut Self {
        self.u32(length).u32(0)
    }

    /// The whole message.
    pub(super) fn message(&mut self) -> &[u8] {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(field) = self.bytes.first_chunk_mut::<4>() {
            *field = length;
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::read_array;
    use proptest::prelude::*;

    /// Length of a reply's header.
    const OUT_HEADER_BYTES: usize = 16;

    fn request(opcode: u32, arguments: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&u32::try_from(IN_HEADER_BYTES + arguments.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&opcode.to_le_bytes());
        bytes.extend_from_slice(&7u64.to_le_bytes());
        bytes.extend_from_slice(&FILE.to_le_bytes());
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(arguments);
        bytes
    }

    #[test]
    fn replies_have_the_lengths_of_the_kernels_structures() {
        let mut reply = Reply::default();
        assert_eq!(reply.start(1, libc::EIO).message().len(), OUT_HEADER_BYTES);
        assert_eq!(read_array(reply.message(), 4), Ok((-libc::EIO).to_le_bytes()));
        assert_eq!(reply.start(1, 0).init(0, 0).message().len(), OUT_HEADER_BYTES + 64);
        assert_eq!(reply.start(1, 0).attributes(FILE, 9).message().len(), OUT_HEADER_BYTES + 104);
        assert_eq!(reply.start(1, 0).entry(9).message().len(), OUT_HEADER_BYTES + 128);
        assert_eq!(reply.start(1, 0).opened().message().len(), OUT_HEADER_BYTES + 16);
        assert_eq!(reply.start(1, 0).written(9).message().len(), OUT_HEADER_BYTES + 8);
        assert_eq!(read_u32le(reply.message(), 0), Ok(24));
    }

    #[test]
    fn a_write_carries_its_bytes() {
        let mut arguments = [0; 44];
        arguments[8] = 5;
        arguments[16] = 4;
        arguments[40..].copy_from_slice(b"abcd");
        let bytes = request(16, &arguments);
        let expected = Operation::Write { offset: 5, bytes: b"abcd" };
        assert_eq!(Request::parse(&bytes), Ok(Request { unique: 7, node: FILE, operation: expected }));
        assert!(Request::parse(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn only_zeros_that_keep_the_size_are_allocated() {
        let zeros = |mode: u8| {
            let mut arguments = [0; 32];
            (arguments[8], arguments[16], arguments[24]) = (1, 2, mode);
            let bytes = request(43, &arguments);
            match Request::parse(&bytes).unwrap().operation {
                Operation::Zero { range } => range,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(zeros(3), Some(ByteRange::new(1, 3)));
        assert_eq!(zeros(17), Some(ByteRange::new(1, 3)));
        assert_eq!(zeros(0), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), opcode in 0u32..50) {
            let _ = Request::parse(&bytes);
            let _ = Request::parse(&request(opcode, &bytes));
        }
    }
}
