//! What `make bench` measures Remint against: the bare cost of hashing and (de)compressing the used bytes of
//! a file system on all cores, with nothing around it. Not part of the program.
//!
//!     bare_cost capture IMAGE               read, hash and compress the used bytes
//!     bare_cost hash IMAGE                  read and hash them
//!     bare_cost restore IMAGE STORE TARGET  decompress, hash and write the chunks of the only image of a store
//!     bare_cost compare IMAGE TARGET        fail where a used byte differs

use anyhow::{Context, Result, bail, ensure};
use remint::image::{ChunkId, Index, cut};
use remint::parallel::for_each;
use remint::units::{ByteRange, RangeSet};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

struct Image {
    file: File,
    size_bytes: u64,
    used: RangeSet,
}

impl Image {
    fn open(path: &str) -> Result<Self> {
        let reader = remint::linux::DiskReader::open(path)?;
        let reading = remint::filesystem::read(&reader)?.context("nothing recognised")?;
        let file = File::open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { file, size_bytes, used: reading.used.context("no used map")? })
    }

    fn pieces(&self) -> impl Iterator<Item = ByteRange> + Send + '_ {
        cut(self.size_bytes, &self.used).filter(|piece| !piece.free).map(|piece| piece.range)
    }

    fn read(&self, piece: ByteRange, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.resize(usize::try_from(piece.length())?, 0);
        Ok(self.file.read_exact_at(buffer, piece.start())?)
    }
}

fn capture(image: &str, compress: bool) -> Result<()> {
    let image = Image::open(image)?;
    let state = || (Vec::new(), Vec::new(), zstd::bulk::Compressor::new(3));
    for_each(
        std::thread::available_parallelism()?,
        image.pieces(),
        state,
        |(content, frame, compressor), piece| {
            image.read(piece, content)?;
            std::hint::black_box(Sha256::digest(&*content));
            if compress {
                frame.resize(zstd::zstd_safe::compress_bound(content.len()), 0);
                match compressor {
                    Ok(compressor) => compressor.compress_to_buffer(content, frame)?,
                    Err(error) => bail!("{error}"),
                };
            }
            Ok(())
        },
    )
}

fn restore(image: &str, store: &str, target: &str) -> Result<()> {
    let image = Image::open(image)?;
    let index = find(&Path::new(store).join("images"), "caibx")?;
    let index = Index::decode(&std::fs::read(index)?)?;
    let target = OpenOptions::new().write(true).open(target)?;
    let state = || (Vec::new(), zstd::bulk::Decompressor::new());
    for_each(
        std::thread::available_parallelism()?,
        index.pieces(),
        state,
        |(content, decompressor), (piece, id)| {
            if image.used.within(piece).next().is_none() {
                return Ok(());
            }
            let frame = std::fs::read(chunk_path(store, id))?;
            content.resize(usize::try_from(piece.length())?, 0);
            match decompressor {
                Ok(decompressor) => decompressor.decompress_to_buffer(&frame, content)?,
                Err(error) => bail!("{error}"),
            };
            ensure!(Sha256::digest(&*content).as_slice() == id.0, "a chunk is damaged");
            for range in image.used.within(piece) {
                let start = usize::try_from(range.start().saturating_sub(piece.start()))?;
                let part =
                    content.get(start..).and_then(|rest| rest.get(..usize::try_from(range.length()).ok()?));
                target.write_all_at(part.context("outside the chunk")?, range.start())?;
            }
            Ok(())
        },
    )
}

fn chunk_path(store: &str, id: ChunkId) -> PathBuf {
    let name = id.to_string();
    let folder: String = name.chars().take(4).collect();
    Path::new(store).join("chunks").join(folder).join(format!("{name}.cacnk"))
}

/// The first file with an extension below a folder, in the newest version of the image.
fn find(folder: &Path, extension: &str) -> Result<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    entries.reverse();
    for path in entries {
        if path.is_dir() {
            if let Ok(found) = find(&path, extension) {
                return Ok(found);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            return Ok(path);
        }
    }
    bail!("no {extension} below {}", folder.display())
}

fn compare(image: &str, target: &str) -> Result<()> {
    let image = Image::open(image)?;
    let target = File::open(target)?;
    let state = || (Vec::new(), Vec::new());
    for_each(std::thread::available_parallelism()?, image.pieces(), state, |(expected, found), piece| {
        for range in image.used.within(piece) {
            image.read(range, expected)?;
            found.resize(expected.len(), 0);
            target.read_exact_at(found, range.start())?;
            ensure!(expected == found, "{range} differ");
        }
        Ok(())
    })
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["capture", image] => capture(image, true),
        ["hash", image] => capture(image, false),
        ["restore", image, store, target] => restore(image, store, target),
        ["compare", image, target] => compare(image, target),
        _ => bail!("bare_cost capture|hash|restore|compare, see the source"),
    }
}
