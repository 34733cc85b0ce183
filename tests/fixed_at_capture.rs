//! What was to keep its size when it was captured keeps it, on its disk and in its volume group, unless a deploy says
//! otherwise.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{Kind, MIB, Place, remint_ends, text};
use std::fs;
use std::path::{Path, PathBuf};

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F"] };

/// Two file systems that would share the space of a larger disk.
fn disk(folder: &Path) -> PathBuf {
    let disk = folder.join("disk.img");
    let script = "label: gpt\nsize=6GiB, name=system\nsize=6GiB, name=data";
    let places = lab::partitioned_disk(&disk, (12 << 30) + 4 * MIB, 512, script);
    let (files, part) = (folder.join("files"), folder.join("part.img"));
    fs::create_dir_all(files.join("deep")).unwrap();
    fs::write(files.join("deep/file"), "in the deep").unwrap();
    for place in places {
        fs::write(files.join("noise-65536"), lab::Noise::new(place.start).bytes(65536)).unwrap();
        EXT4.build(&part, place.length, &files);
        lab::put(&disk, place.start, &part);
    }
    disk
}

#[test]
fn a_partition_keeps_its_size_where_the_others_grow_and_a_deploy_may_say_otherwise() {
    let folder = lab::folder();
    let (disk, store) = (disk(folder.path()), text(&folder.path().join("store")).to_owned());
    let capture = |code, fixed: &str| {
        remint_ends(code, &["capture", "lab", "--to", &store, "--disk", text(&disk), "--fixed", fixed])
    };
    let said = capture(1, "d0-p7");
    assert!(said.contains("no volume \"d0-p7\"") && said.contains("d0-p2"), "{said}");
    let said = capture(1, "d0-boot");
    assert!(said.contains("d0-boot has no size that could change"), "{said}");
    capture(0, "d0-p2");
    let said = remint_ends(0, &["images", &store, "show", "lab"]);
    assert!(said.contains("Keep their size in every layout: d0-p2."), "{said}");

    let target = folder.path().join("target.img");
    let deployed = |options: &[&str]| -> Vec<Place> {
        lab::noisy_disk(&target, 16 << 30);
        let all = [&["deploy", "lab", "--from", &store, "--disk", text(&target), "--yes"], options].concat();
        remint_ends(0, &all);
        let places = lab::partitions(&target, 512);
        for place in &places {
            EXT4.check(&target, place.start, place.length);
        }
        places
    };
    let said = remint_ends(0, &["plan", "lab", "--from", &store, "--size", "16GiB"]);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("that was asked for when it was captured"), "{said}");
    let places = deployed(&[]);
    assert_eq!(places[1].length, 6 << 30);
    assert!(places[0].length > 9 << 30, "{places:?}");
    let files = EXT4.files(&target, places[1].start, places[1].length);
    assert!(files.keys().any(|name| name.ends_with("deep/file")), "{files:?}");

    let places = deployed(&["--layout", "custom", "--partition", "d0-p2=share"]);
    assert!(places.iter().all(|place| place.length > 7 << 30), "{places:?}");
}
