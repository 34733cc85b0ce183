//! The order in which the chunks of an image are sent to many machines at once: volume by volume as the manifest lists what is
//! stored, from the beginning of each to its end, each chunk once.
//!
//! Sender and receivers make the order from the same manifest, so a position means the same to both.

use super::{ChunkId, ImageVersion, Manifest, Store, StoreError};
use crate::units::{MIB, usize_from};

/// The longest content that is sent to many at once: what cuts the largest volumes stays far below. A longer chunk is fetched.
pub const MAX_SHARED_BYTES: u64 = 16 * MIB;

/// One chunk in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The chunk.
    pub id: ChunkId,
    /// The volume that it is first found in: its place in the manifest's list of what is stored.
    pub volume: u16,
    /// Where it begins there, in bytes.
    pub offset: u64,
    /// Length of its content in bytes.
    pub length: u32,
}

/// The order. Takes about 60 bytes for each chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    places: Vec<Place>,
    /// Positions, ordered by the chunk that is there.
    by_id: Vec<u32>,
}

impl Sequence {
    /// The order of an image.
    ///
    /// # Errors
    /// What the store says of its indexes.
    pub fn load(store: &dyn Store, manifest: &Manifest, version: &ImageVersion) -> Result<Self, StoreError> {
        let mut places = Vec::new();
        for (volume, stored) in (0u16..).zip(&manifest.stored) {
            let index = manifest.load_index(store, version, &stored.volume)?;
            // Zeros are written without being fetched.
            places.extend(index.pieces().filter_map(|(piece, id)| {
                let length = u32::try_from(piece.length())
                    .ok()
                    .filter(|length| u64::from(*length) <= MAX_SHARED_BYTES)?;
                let place = Place { id, volume, offset: piece.start(), length };
                (ChunkId::of_zeros(piece.length()) != id).then_some(place)
            }));
        }
        Ok(Self::new(places))
    }

    /// The order of these chunks, each where it is found first.
    #[must_use]
    pub fn new(found: Vec<Place>) -> Self {
        let mut order: Vec<u32> = (0..u32::try_from(found.len()).unwrap_or(u32::MAX)).collect();
        let id =
            |places: &[Place], position: u32| places.get(usize_from(position.into())).map(|place| place.id);
        order.sort_by_key(|position| (id(&found, *position), *position));
        order.dedup_by_key(|position| id(&found, *position));
        order.sort_unstable();
        let place = |position: &u32| found.get(usize_from((*position).into())).copied();
        let places: Vec<Place> = order.iter().filter_map(place).collect();
        let mut by_id: Vec<u32> = (0..u32::try_from(places.len()).unwrap_or(u32::MAX)).collect();
        by_id.sort_by_key(|position| id(&places, *position));
        Self { places, by_id }
    }

    /// How many positions there are.
    #[must_use]
    pub fn total(&self) -> u32 {
        u32::try_from(self.by_id.len()).unwrap_or(u32::MAX)
    }

    /// What is at a position.
    #[must_use]
    pub fn get(&self, position: u32) -> Option<&Place> {
        self.places.get(usize_from(position.into()))
    }

    /// Where a chunk is.
    #[must_use]
    pub fn position_of(&self, id: ChunkId) -> Option<u32> {
        let key = |position: &u32| self.get(*position).map(|place| place.id);
        let found = self.by_id.binary_search_by_key(&Some(id), key).ok()?;
        self.by_id.get(found).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(id: u8, volume: u16, offset: u64) -> Place {
        Place { id: ChunkId([id; 32]), volume, offset, length: 1 << 20 }
    }

    #[test]
    fn each_chunk_is_once_in_the_order_where_it_is_found_first() {
        let found = vec![place(9, 0, 0), place(3, 0, 1), place(9, 0, 2), place(7, 1, 0), place(3, 1, 1)];
        let order = Sequence::new(found.clone());
        assert_eq!(order.total(), 3);
        for (position, expected) in [(0, found[0]), (1, found[1]), (2, found[3])] {
            assert_eq!(order.get(position), Some(&expected));
            assert_eq!(order.position_of(expected.id), Some(position));
        }
        assert_eq!((order.get(3), order.position_of(ChunkId([8; 32]))), (None, None));
        assert_eq!(Sequence::new(Vec::new()).total(), 0);
    }
}
