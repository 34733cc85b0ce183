//! Checks of damaged stores: every damage is found and named, and nothing good is called damaged.

use super::*;

/// The volumes whose index names the chunk.
fn volumes_of(image: &Image, chunk: remint::image::ChunkId) -> BTreeSet<String> {
    let files = image.store.copy().files;
    let index =
        |volume: &str| Index::decode(&files[&("machine@1".to_owned(), format!("{volume}.caibx"))]).unwrap();
    let names = image.manifest.stored.iter().map(|stored| stored.volume.clone());
    names.filter(|name| index(name).entries().iter().any(|entry| entry.id == chunk)).collect()
}

/// What can happen to stored bytes; `None` where they are gone.
fn damages(bytes: &[u8], other: &[u8]) -> Vec<Option<Vec<u8>>> {
    let flipped = |at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        Some(bytes)
    };
    let last = bytes.len() - 1;
    let more = [bytes, &[0]].concat();
    let mut damages: Vec<_> = [0, 1, 5, last / 3, last / 2, last].map(flipped).into();
    damages.extend([None, Some(Vec::new()), Some(bytes[..last].to_vec()), Some(more), Some(other.to_vec())]);
    damages.retain(|damaged| damaged.as_deref() != Some(bytes));
    damages
}

fn assert_found(content: Content, deep: bool, expected: &BTreeSet<String>, what: &str) {
    let faults = verify(&MemoryStore::holding(content), deep).unwrap();
    let named: BTreeSet<String> = faults.into_iter().map(|fault| fault.volume).collect();
    assert_eq!(named, *expected, "{what}");
}

#[test]
fn a_deep_check_finds_every_damaged_chunk_and_a_quick_one_every_missing_chunk() {
    for image in [gpt(), two_disks()] {
        let good = image.store.copy();
        let ids: Vec<_> = good.chunks.keys().copied().collect();
        for (id, other) in ids.iter().zip(ids.iter().cycle().skip(1)) {
            let volumes = volumes_of(image, *id);
            assert!(!volumes.is_empty());
            for damage in damages(&good.chunks[id], &good.chunks[other]) {
                let mut content = good.clone();
                let missing = damage.is_none();
                // A few bits of a zstd frame mean nothing to who decodes it in one go, such as a smaller window.
                let content_of = |frame: &[u8]| zstd::bulk::decompress(frame, 256 << 20).ok();
                if damage.as_deref().and_then(content_of) == content_of(&good.chunks[id]) {
                    continue;
                }
                match damage {
                    Some(frame) => content.chunks.insert(*id, frame),
                    None => content.chunks.remove(id),
                };
                if missing {
                    assert_found(content.clone(), false, &volumes, "quick");
                }
                assert_found(content, true, &volumes, &format!("chunk {id}"));
            }
        }
    }
}

#[test]
fn every_check_finds_every_damaged_file() {
    let image = gpt();
    let good = image.store.copy();
    let files: Vec<_> = good.files.keys().filter(|(_, name)| name != "image.json").cloned().collect();
    for (key, other) in files.iter().zip(files.iter().cycle().skip(2)) {
        let volume = key.1.split('.').next().unwrap().to_owned();
        for damage in damages(&good.files[key], &good.files[other]) {
            let mut content = good.clone();
            match damage {
                Some(bytes) => content.files.insert(key.clone(), bytes),
                None => content.files.remove(key),
            };
            for deep in [false, true] {
                assert_found(content.clone(), deep, &BTreeSet::from([volume.clone()]), &key.1);
            }
        }
    }
}

#[test]
fn a_manifest_that_is_damaged_beyond_its_text_is_never_checked_as_good() {
    let good = gpt().store.copy();
    let key = ("machine@1".to_owned(), "image.json".to_owned());
    let bytes = &good.files[&key];
    let cuts = (0..bytes.len() - 1).step_by(97).map(|length| Some(bytes[..length].to_vec()));
    let zeroed = (0..bytes.len()).step_by(97).map(|at| Some([&bytes[..at], &[0], &bytes[at + 1..]].concat()));
    for damage in cuts.chain(zeroed).chain([None]) {
        let mut content = good.clone();
        match damage {
            Some(bytes) => content.files.insert(key.clone(), bytes),
            None => content.files.remove(&key),
        };
        assert!(verify(&MemoryStore::holding(content), false).is_err());
    }
}

#[test]
fn a_check_of_a_store_that_fails_is_never_a_good_report() {
    for trouble in [Trouble::Error, Trouble::Missing, Trouble::Flipped, Trouble::Cut, Trouble::Swapped] {
        for deep in [false, true] {
            // The first call reads the manifest, which has no other one to be swapped with.
            let first = if trouble == Trouble::Swapped { 1 } else { 0 };
            for_every_call(|n| {
                let trigger = Trigger::once(n + first);
                let store = FailingStore { inner: &gpt().store, trigger, trouble };
                let result = verify(&store, deep);
                let fired = store.trigger.fired();
                let good = matches!(&result, Ok(faults) if faults.is_empty());
                assert_eq!(good, !fired, "{trouble:?}, call {n}: {result:?}");
                fired
            });
        }
    }
}

#[test]
fn a_deep_check_finds_a_chunk_that_is_named_with_two_lengths() {
    let mut content = gpt().store.copy();
    let mut manifest = gpt().manifest.clone();
    let stored = manifest.stored.iter_mut().find(|stored| stored.volume == "d0-p4").unwrap();
    let key = ("machine@1".to_owned(), stored.index.name.clone());
    let mut entries = Index::decode(&content.files[&key]).unwrap().into_entries();
    entries.insert(0, Entry { end_bytes: MIB as u64 / 2, ..entries[0] });
    let index = Index::new(MIB as u64, entries).unwrap().encode();
    (stored.index, stored.chunks) = (StoredFile::of(key.1.clone(), &index), 3);
    content.files.insert(key, index);
    content.files.insert(("machine@1".to_owned(), "image.json".to_owned()), manifest.encode().unwrap());
    assert_found(content, true, &BTreeSet::from(["d0-p4".to_owned()]), "two lengths");
}
