//! What every structure of APFS begins with: a checksum, an identifier, a transaction and a type.

use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, OutOfBounds, read_u32le, read_u64le, usize_from};

/// Behind the checksum and the rest of `obj_phys_t`.
pub(super) const HEADER_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 8;
/// `OBJECT_TYPE_MASK`
const KIND: u32 = 0xFFFF;
const MODULUS: u64 = 0xFFFF_FFFF;

/// The types that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ContainerSuperblock,
    TreeRoot,
    TreeNode,
    SpaceManager,
    ChunkInfoAddresses,
    ChunkInfo,
    ObjectMap,
    CheckpointMap,
    Volume,
    /// What a checkpoint keeps in its ring, of whatever type.
    Ephemeral,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::ContainerSuperblock => "APFS container superblock",
            Self::TreeRoot | Self::TreeNode => "APFS B-tree node",
            Self::SpaceManager => "APFS space manager",
            Self::ChunkInfoAddresses => "APFS chunk-info address block",
            Self::ChunkInfo => "APFS chunk-info block",
            Self::ObjectMap => "APFS object map",
            Self::CheckpointMap => "APFS checkpoint map",
            Self::Volume => "APFS volume superblock",
            Self::Ephemeral => "APFS ephemeral object",
        }
    }
}

/// One whose checksum is right.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) place: ByteRange,
    kind: Kind,
    bytes: Vec<u8>,
}

impl Object {
    /// Reads an object of one of these types. Its length is bounded by the caller.
    pub(super) fn read(volume: &dyn ReadAt, place: ByteRange, kinds: &[Kind]) -> Result<Self, Error> {
        Self::read_pieces(volume, &[place], kinds)
    }

    /// The same of one that lies in pieces, as it does around the end of a ring.
    pub(super) fn read_pieces(
        volume: &dyn ReadAt,
        pieces: &[ByteRange],
        kinds: &[Kind],
    ) -> Result<Self, Error> {
        let (Some(first), Some(place)) = (kinds.first(), pieces.first().copied()) else {
            return Err(Error::corrupt("APFS object", 0, "it has no type, or no place"));
        };
        let mut bytes = Vec::new();
        for piece in pieces {
            let length = usize_from(piece.length());
            bytes.append(&mut read_structure(volume, first.name(), piece.start(), length)?);
        }
        let corrupt = |fact: String| Error::corrupt(first.name(), place.start(), fact);
        let short = Error::short(first.name(), place.start());
        let found = read_u32le(&bytes, 24).map_err(&short)?;
        let Some(kind) = kinds.iter().find(|kind| is_of(found, **kind)) else {
            return Err(corrupt(format!("its type is {found:#010x}")));
        };
        let stored = read_u64le(&bytes, 0).map_err(&short)?;
        let computed = checksum(&bytes);
        if stored != computed {
            return Err(corrupt(format!("its checksum is {computed:#018x} but {stored:#018x} is stored")));
        }
        Ok(Self { place, kind: *kind, bytes })
    }

    pub(super) fn corrupt(&self, fact: impl Into<String>) -> Error {
        Error::corrupt(self.kind.name(), self.place.start(), fact)
    }

    pub(super) fn short(&self) -> impl Fn(OutOfBounds) -> Error {
        Error::short(self.kind.name(), self.place.start())
    }

    pub(super) fn u32(&self, at: usize) -> Result<u32, Error> {
        read_u32le(&self.bytes, at).map_err(self.short())
    }

    pub(super) fn u64(&self, at: usize) -> Result<u64, Error> {
        read_u64le(&self.bytes, at).map_err(self.short())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True where its type says so.
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.u32(24).is_ok_and(|found| is_of(found, kind))
    }

    /// `o_oid`
    pub(super) fn identifier(&self) -> Result<u64, Error> {
        self.u64(8)
    }

    /// `o_xid`
    pub(super) fn transaction(&self) -> Result<u64, Error> {
        self.u64(16)
    }
}

/// True where this type, with its flags, is of a kind.
pub(super) const fn is_of(found: u32, kind: Kind) -> bool {
    matches!(kind, Kind::Ephemeral) || found & KIND == number(kind)
}

/// `OBJECT_TYPE_...`
const fn number(kind: Kind) -> u32 {
    match kind {
        Kind::ContainerSuperblock => 1,
        Kind::TreeRoot => 2,
        Kind::TreeNode => 3,
        Kind::SpaceManager => 5,
        Kind::ChunkInfoAddresses => 6,
        Kind::ChunkInfo => 7,
        Kind::ObjectMap => 11,
        Kind::CheckpointMap => 12,
        Kind::Volume => 13,
        Kind::Ephemeral => 0,
    }
}

/// Fletcher's checksum of 64 bits, of what is behind the checksum (Apple File System Reference, "Objects").
fn checksum(object: &[u8]) -> u64 {
    let mut sums = (0u64, 0u64);
    for word in object.get(CHECKSUM_BYTES..).unwrap_or_default().chunks_exact(4) {
        let word = u64::from(read_u32le(word, 0).unwrap_or(0));
        sums.0 = reduced(sums.0.saturating_add(word));
        sums.1 = reduced(sums.1.saturating_add(sums.0));
    }
    let low = MODULUS.saturating_sub(reduced(sums.0.saturating_add(sums.1)));
    let high = MODULUS.saturating_sub(reduced(sums.0.saturating_add(low)));
    high << 32 | low
}

const fn reduced(sum: u64) -> u64 {
    sum % MODULUS
}
