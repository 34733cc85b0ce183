//! No change of a FAT makes its reader panic, hang, grow without bound or break a promise; nor that of its files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::blockio::ReadAt;
use remint::filesystem::FatFiles;
use remint_fuzz::{Seeds, promise};
use std::sync::LazyLock;

/// Folders that are looked into.
const MOST_FOLDERS: usize = 8;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    Seeds::load("fat", |volume| {
        promise::look(volume);
        walk(volume);
    })
});

/// Lists folders, and reads the files in them.
fn walk(volume: &dyn ReadAt) {
    let Ok(Some(files)) = FatFiles::open(volume) else { return };
    let mut folders = vec![String::new()];
    for number in 0..MOST_FOLDERS {
        let Some(folder) = folders.get(number).cloned() else { break };
        for item in files.list(&folder).ok().flatten().unwrap_or_default().into_iter().take(8) {
            let path = format!("{folder}/{}", item.name);
            let _ = files.read(&path, 1 << 16);
            if item.is_folder {
                folders.push(path);
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    promise::of_input(&SEEDS, input);
    if let Some((volume, _)) = SEEDS.volume(input) {
        walk(&volume);
    }
});
