//! A store in memory, and one that fails.

use super::trigger::Trigger;
use remint::image::{ChunkId, ImageName, ImageVersion, Store, StoreError, VersionName, layout};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a store in memory holds.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Content {
    pub chunks: BTreeMap<ChunkId, Vec<u8>>,
    /// The files of every version by their names, `image.json` once it is published.
    pub files: BTreeMap<(String, String), Vec<u8>>,
    pub captures: BTreeSet<String>,
}

/// A store that does what it is asked.
#[derive(Default)]
pub struct MemoryStore {
    pub content: Mutex<Content>,
    puts: AtomicUsize,
}

impl MemoryStore {
    pub fn holding(content: Content) -> Self {
        Self { content: Mutex::new(content), puts: AtomicUsize::new(0) }
    }

    pub fn copy(&self) -> Content {
        self.content.lock().unwrap().clone()
    }

    /// Number of chunks that were sent to this store.
    pub fn puts(&self) -> usize {
        self.puts.load(Ordering::SeqCst)
    }
}

fn not_found(what: String) -> StoreError {
    StoreError::NotFound { what }
}

fn bounded(bytes: &[u8], limit_bytes: u64, what: &str) -> Result<Vec<u8>, StoreError> {
    let fact = format!("{} bytes long", bytes.len());
    let corrupt = StoreError::Corrupt { what: what.to_owned(), fact };
    if bytes.len() as u64 <= limit_bytes { Ok(bytes.to_vec()) } else { Err(corrupt) }
}

impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory".to_owned()
    }
    fn have_chunks(&self, ids: &[ChunkId]) -> Result<Vec<bool>, StoreError> {
        let content = self.content.lock().unwrap();
        Ok(ids.iter().map(|id| content.chunks.contains_key(id)).collect())
    }
    fn put_chunk(&self, id: ChunkId, frame: &[u8]) -> Result<(), StoreError> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        self.content.lock().unwrap().chunks.entry(id).or_insert_with(|| frame.to_vec());
        Ok(())
    }
    fn get_chunk(&self, id: ChunkId, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let content = self.content.lock().unwrap();
        let frame = content.chunks.get(&id).ok_or_else(|| not_found(format!("chunk {id}")))?;
        bounded(frame, limit_bytes, &format!("chunk {id}"))
    }
    fn images(&self) -> Result<Vec<ImageName>, StoreError> {
        Ok(Vec::new())
    }
    fn versions(&self, image: &ImageName) -> Result<Vec<VersionName>, StoreError> {
        let content = self.content.lock().unwrap();
        let published = content.files.keys().filter(|(_, file)| file == layout::MANIFEST_FILE);
        let versions = published.map(|(version, _)| version.parse::<ImageVersion>().unwrap());
        Ok(versions.filter(|version| version.image == *image).map(|version| version.version).collect())
    }
    fn begin_capture(&self, version: &ImageVersion) -> Result<(), StoreError> {
        self.content.lock().unwrap().captures.insert(version.to_string());
        Ok(())
    }
    fn put_file(&self, version: &ImageVersion, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
        assert!(!self.versions(&version.image)?.contains(&version.version), "a file after the manifest");
        let key = (version.to_string(), file.to_owned());
        self.content.lock().unwrap().files.insert(key, bytes.to_vec());
        Ok(())
    }
    fn get_file(&self, version: &ImageVersion, file: &str, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let content = self.content.lock().unwrap();
        let bytes = content.files.get(&(version.to_string(), file.to_owned()));
        bounded(bytes.ok_or_else(|| not_found(file.to_owned()))?, limit_bytes, file)
    }
    fn publish(&self, version: &ImageVersion, manifest: &[u8]) -> Result<(), StoreError> {
        let mut content = self.content.lock().unwrap();
        assert!(content.captures.remove(&version.to_string()), "a version that was not announced");
        let key = (version.to_string(), layout::MANIFEST_FILE.to_owned());
        assert!(content.files.insert(key, manifest.to_vec()).is_none(), "a version published twice");
        Ok(())
    }
    fn abandon(&self, version: &ImageVersion) -> Result<(), StoreError> {
        let mut content = self.content.lock().unwrap();
        content.captures.remove(&version.to_string());
        let name = version.to_string();
        if !content.files.contains_key(&(name.clone(), layout::MANIFEST_FILE.to_owned())) {
            content.files.retain(|(of, _), _| *of != name);
        }
        Ok(())
    }
    fn delete_version(&self, _: &ImageVersion) -> Result<(), StoreError> {
        unimplemented!("no flow deletes")
    }
}

/// How a call to a store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// An error, and nothing was done.
    Error,
    /// It was done, and the answer was lost.
    LostAnswer,
    /// What is asked for is not there.
    Missing,
    /// One bit is wrong.
    Flipped,
    /// The second half is missing.
    Cut,
    /// Another chunk or file of the same kind.
    Swapped,
}

/// A store whose calls fail when the trigger says so.
pub struct FailingStore<'a> {
    pub inner: &'a MemoryStore,
    pub trigger: Trigger,
    pub trouble: Trouble,
}

impl FailingStore<'_> {
    fn call<T>(&self, act: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let broken = || StoreError::Io {
            doing: "using the store".to_owned(),
            source: io::Error::from(io::ErrorKind::ConnectionReset),
        };
        match (self.trigger.strikes(), self.trouble) {
            (true, Trouble::LostAnswer) => act().and(Err(broken())),
            (true, _) => Err(broken()),
            (false, _) => act(),
        }
    }

    /// Fetches bytes, `other` ones where they are swapped.
    fn fetch(
        &self,
        act: impl Fn() -> Result<Vec<u8>, StoreError>,
        other: impl Fn() -> Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        if matches!(self.trouble, Trouble::Error | Trouble::LostAnswer) {
            return self.call(act);
        }
        let mut bytes = act()?;
        if self.trigger.strikes() {
            match self.trouble {
                Trouble::Flipped => {
                    let at = bytes.len() / 3;
                    bytes[at] ^= 0x10;
                }
                Trouble::Cut => bytes.truncate(bytes.len() / 2),
                Trouble::Swapped => bytes = other(),
                _ => return Err(not_found("what was asked for".to_owned())),
            }
        }
        Ok(bytes)
    }
}

impl Store for FailingStore<'_> {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn have_chunks(&self, ids: &[ChunkId]) -> Result<Vec<bool>, StoreError> {
        match self.trouble {
            Trouble::Error | Trouble::LostAnswer => self.call(|| self.inner.have_chunks(ids)),
            Trouble::Missing if self.trigger.strikes() => Ok(vec![false; ids.len()]),
            _ => self.inner.have_chunks(ids),
        }
    }
    fn put_chunk(&self, id: ChunkId, frame: &[u8]) -> Result<(), StoreError> {
        self.call(|| self.inner.put_chunk(id, frame))
    }
    fn get_chunk(&self, id: ChunkId, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let other = || {
            let content = self.inner.content.lock().unwrap();
            content.chunks.iter().find(|(other, _)| **other != id).unwrap().1.clone()
        };
        self.fetch(|| self.inner.get_chunk(id, limit_bytes), other)
    }
    fn images(&self) -> Result<Vec<ImageName>, StoreError> {
        self.inner.images()
    }
    fn versions(&self, image: &ImageName) -> Result<Vec<VersionName>, StoreError> {
        self.call(|| self.inner.versions(image))
    }
    fn begin_capture(&self, version: &ImageVersion) -> Result<(), StoreError> {
        self.call(|| self.inner.begin_capture(version))
    }
    fn put_file(&self, version: &ImageVersion, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.call(|| self.inner.put_file(version, file, bytes))
    }
    fn get_file(&self, version: &ImageVersion, file: &str, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let other = || {
            let content = self.inner.content.lock().unwrap();
            let ending = file.rsplit_once('.').unwrap().1;
            let own = &content.files[&(version.to_string(), file.to_owned())];
            let alike =
                content.files.iter().find(|((_, name), other)| *other != own && name.ends_with(ending));
            alike.unwrap().1.clone()
        };
        self.fetch(|| self.inner.get_file(version, file, limit_bytes), other)
    }
    fn publish(&self, version: &ImageVersion, manifest: &[u8]) -> Result<(), StoreError> {
        self.call(|| self.inner.publish(version, manifest))
    }
    fn abandon(&self, version: &ImageVersion) -> Result<(), StoreError> {
        self.call(|| self.inner.abandon(version))
    }
    fn delete_version(&self, version: &ImageVersion) -> Result<(), StoreError> {
        self.inner.delete_version(version)
    }
}
