//! What is sent to a group: the frames of chunks in pieces, and a sign of life that says how far the sender is.
//!
//! Every datagram is at most [`MAX_DATAGRAM`] bytes, so that it fits an Ethernet frame whole. Numbers are little-endian.
//! Invariant: what was read lies inside its frame; nothing here is allocated by what a datagram claims.
//!
//! ```text
//! 0  "RMC1" | 4 kind: 1 fragment, 2 status | 5 zeros | 8 session, u64
//! fragment: 16 position, u32 | 20 volume, u16 | 22 fragment, u16 | 24 offset in the volume, u64
//!           32 SHA-256 of the chunk's content | 64 length of its frame, u32 | 68 bytes of the frame
//! status:   16 position, u32 | 20 positions in all, u32 | 24 phase: 0 gathering, 1 sending
//!           25 length of the name | 26 IMAGE@VERSION
//! ```

use super::SessionId;
use crate::units::{read_array, read_slice, read_u16le, read_u32le, read_u64le, usize_from};

/// The longest datagram: 1500 bytes of Ethernet without the headers of IPv4 and UDP are 1472.
pub const MAX_DATAGRAM: usize = FRAGMENT_AT + FRAGMENT_BYTES;
/// Bytes of a frame that one datagram carries; only the last one of a frame carries fewer.
pub const FRAGMENT_BYTES: usize = 1400;

const MAGIC: [u8; 4] = *b"RMC1";
const FRAGMENT: u8 = 1;
const STATUS: u8 = 2;
const FRAGMENT_AT: usize = 68;
const NAME_AT: usize = 26;
/// Two names of at most 100 characters and what stands between them.
const MAX_NAME: usize = 201;

/// One datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// A piece of a frame.
    Fragment(Fragment<'a>),
    /// How far the sender is.
    Status(Status<'a>),
}

/// A piece of the frame of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The session.
    pub session: SessionId,
    /// Place of the chunk in the order of the session.
    pub position: u32,
    /// Which volume the chunk is first found in: its place in the manifest's list of what is stored.
    pub volume: u16,
    /// Where it begins there, in bytes.
    pub offset: u64,
    /// SHA-256 of the chunk's content.
    pub chunk: [u8; 32],
    /// Length of the whole frame in bytes.
    pub frame_bytes: u32,
    /// Which piece of it this is, from 0.
    pub number: u16,
    /// The piece.
    pub bytes: &'a [u8],
}

/// How far the sender is. Sent every quarter of a second, whatever else is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// The session.
    pub session: SessionId,
    /// What lies before it was sent, or will not be.
    pub position: u32,
    /// How many positions there are.
    pub total: u32,
    /// False: it waits for more machines.
    pub sending: bool,
    /// `IMAGE@VERSION`.
    pub image: &'a str,
}

/// How many pieces a frame has; `None` for one that is empty or too long to be numbered.
#[must_use]
pub fn fragments(frame_bytes: usize) -> Option<u16> {
    u16::try_from(frame_bytes.div_ceil(FRAGMENT_BYTES)).ok().filter(|count| *count > 0)
}

/// The part of a frame that is in this piece.
#[must_use]
pub fn fragment_of(frame: &[u8], number: u16) -> Option<&[u8]> {
    frame.chunks(FRAGMENT_BYTES).nth(number.into())
}

impl<'a> Datagram<'a> {
    /// Reads a datagram; `None` for what is none of ours.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let head: [u8; 8] = read_array(bytes, 0).ok()?;
        let session = SessionId(read_u64le(bytes, 8).ok()?);
        let [magic @ .., kind, 0, 0, 0] = head else { return None };
        match (magic == MAGIC, kind) {
            (true, FRAGMENT) => Fragment::read(bytes, session).map(Self::Fragment),
            (true, STATUS) => Status::read(bytes, session).map(Self::Status),
            _ => None,
        }
    }

    /// Replaces `out` by its bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (kind, session) = match self {
            Self::Fragment(fragment) => (FRAGMENT, fragment.session),
            Self::Status(status) => (STATUS, status.session),
        };
        out.clear();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[kind, 0, 0, 0]);
        out.extend_from_slice(&session.0.to_le_bytes());
        match self {
            Self::Fragment(fragment) => {
                out.extend_from_slice(&fragment.position.to_le_bytes());
                out.extend_from_slice(&fragment.volume.to_le_bytes());
                out.extend_from_slice(&fragment.number.to_le_bytes());
                out.extend_from_slice(&fragment.offset.to_le_bytes());
                out.extend_from_slice(&fragment.chunk);
                out.extend_from_slice(&fragment.frame_bytes.to_le_bytes());
                out.extend_from_slice(fragment.bytes);
            }
            Self::Status(status) => {
                out.extend_from_slice(&status.position.to_le_bytes());
                out.extend_from_slice(&status.total.to_le_bytes());
                let name = status.image.as_bytes().get(..MAX_NAME).unwrap_or(status.image.as_bytes());
                out.extend_from_slice(&[status.sending.into(), u8::try_from(name.len()).unwrap_or(0)]);
                out.extend_from_slice(name);
            }
        }
    }
}

impl<'a> Fragment<'a> {
    fn read(bytes: &'a [u8], session: SessionId) -> Option<Self> {
        let fragment = Self {
            session,
            position: read_u32le(bytes, 16).ok()?,
            volume: read_u16le(bytes, 20).ok()?,
            number: read_u16le(bytes, 22).ok()?,
            offset: read_u64le(bytes, 24).ok()?,
            chunk: read_array(bytes, 32).ok()?,
            frame_bytes: read_u32le(bytes, 64).ok()?,
            bytes: bytes.get(FRAGMENT_AT..)?,
        };
        let frame_bytes = usize_from(fragment.frame_bytes.into());
        let from = usize::from(fragment.number).checked_mul(FRAGMENT_BYTES)?;
        let expected = frame_bytes.checked_sub(from)?.min(FRAGMENT_BYTES);
        let numbered = fragments(frame_bytes).is_some_and(|count| fragment.number < count);
        (numbered && fragment.bytes.len() == expected).then_some(fragment)
    }
}

impl<'a> Status<'a> {
    fn read(bytes: &'a [u8], session: SessionId) -> Option<Self> {
        let [sending, length] = read_array(bytes, 24).ok()?;
        let name = read_slice(bytes, NAME_AT, length.into()).ok()?;
        let status = Self {
            session,
            position: read_u32le(bytes, 16).ok()?,
            total: read_u32le(bytes, 20).ok()?,
            sending: sending == 1,
            image: std::str::from_utf8(name).ok()?,
        };
        let whole = bytes.len() == NAME_AT.checked_add(name.len())? && name.len() <= MAX_NAME;
        (whole && sending <= 1 && status.position <= status.total).then_some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fragment(frame_bytes: u32, number: u16, bytes: &[u8]) -> Datagram<'_> {
        let (session, chunk) = (SessionId(0x0102_0304_0506_0708), [7; 32]);
        Datagram::Fragment(Fragment {
            session,
            position: 9,
            volume: 2,
            offset: 1 << 40,
            chunk,
            frame_bytes,
            number,
            bytes,
        })
    }

    fn status(position: u32) -> Datagram<'static> {
        let (session, image) = (SessionId(5), "lab@2026-11-28T010000Z");
        Datagram::Status(Status { session, position, total: 90, sending: true, image })
    }

    fn bytes(datagram: &Datagram<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        datagram.write(&mut out);
        out
    }

    #[test]
    fn what_is_written_is_read_and_lies_where_the_picture_says() {
        let (whole, rest) = ([1; FRAGMENT_BYTES], [2; 13]);
        for datagram in [fragment(1413, 0, &whole), fragment(1413, 1, &rest), status(0), status(90)] {
            let out = bytes(&datagram);
            assert!(out.len() <= MAX_DATAGRAM && MAX_DATAGRAM <= 1472);
            assert_eq!(Datagram::read(&out), Some(datagram));
        }
        let out = bytes(&fragment(1413, 1, &rest));
        assert_eq!(&out[..16], b"RMC1\x01\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01");
        assert_eq!((out[16], out[20], out[22], out[29], out[32], out[64]), (9, 2, 1, 1, 7, 0x85));
        assert_eq!(
            (fragments(0), fragments(1), fragments(1400), fragments(1401)),
            (None, Some(1), Some(1), Some(2))
        );
        assert_eq!(fragments(FRAGMENT_BYTES * 65536), None);
    }

    #[test]
    fn what_is_too_long_too_short_or_behind_its_frame_is_none() {
        let whole = [1; FRAGMENT_BYTES];
        for wrong in [
            fragment(1413, 0, &whole[..1399]),
            fragment(1413, 1, &whole),
            fragment(1413, 2, &[]),
            fragment(0, 0, &[]),
            fragment(u32::MAX, 0, &whole),
            fragment(1400, u16::MAX, &whole),
            status(91),
        ] {
            assert_eq!(Datagram::read(&bytes(&wrong)), None, "{wrong:?}");
        }
        let good = bytes(&fragment(1413, 1, &[2; 13]));
        for length in 0..good.len() {
            assert_eq!(Datagram::read(&good[..length]), None, "cut off at {length}");
        }
        let said = bytes(&status(3));
        for length in 0..said.len() {
            assert_eq!(Datagram::read(&said[..length]), None, "cut off at {length}");
        }
    }

    proptest! {
        #[test]
        fn a_flipped_byte_is_read_as_it_stands_or_not_at_all(at in 0usize..81, flip in 1u8..) {
            let mut out = bytes(&fragment(1413, 1, &[2; 13]));
            out[at] ^= flip;
            if let Some(read) = Datagram::read(&out) {
                prop_assert_eq!(bytes(&read), out);
            }
            let mut out = bytes(&status(3));
            let at = at % out.len();
            out[at] ^= flip;
            if let Some(read) = Datagram::read(&out) {
                prop_assert_eq!(bytes(&read), out);
            }
        }

        #[test]
        fn anything_may_arrive(noise in proptest::collection::vec(any::<u8>(), 0..1600)) {
            prop_assert!(Datagram::read(&noise).is_none());
            let mut ours = b"RMC1\x01\0\0\0".to_vec();
            ours.extend(noise);
            if let Some(Datagram::Fragment(fragment)) = Datagram::read(&ours) {
                prop_assert!(fragment.bytes.len() <= FRAGMENT_BYTES);
            }
        }
    }
}
