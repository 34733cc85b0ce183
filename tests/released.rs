//! An image of every released format version can be verified and deployed by today's program.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::lvm::Lvm;
use lab::{remint_ends, run, text};
use std::path::Path;

#[test]
fn an_image_of_format_1_is_verified_and_deployed() {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released/format-1");
    let before = lab::tree(&store);
    let said = remint_ends(0, &["verify", "released", "--from", text(&store), "--deep"]);
    assert!(said.contains("is good"), "{said}");
    let folder = lab::folder();
    let target = folder.path().join("target.img");
    lab::noisy_disk(&target, 10 << 20);
    remint_ends(0, &["deploy", "released", "--from", text(&store), "--disk", text(&target), "--yes"]);
    run("sgdisk", &["--verify", text(&target)]);
    let image = format!("{}@@{}", text(&target), 2048 * 512);
    let content = run("mtype", &["-i", &image, "::/HELLO.TXT"]);
    assert_eq!(content, "This image was captured by the first release.\n");
    let name = run("sgdisk", &["--info=1", text(&target)]);
    assert!(
        name.contains("'EFI, system'") && name.contains("11111111-2222-3333-4444-000000000001"),
        "{name}"
    );
    let swap = lab::Loop::new(&target, lab::partitions(&target, 512)[1].start, 1 << 20, true);
    let seen = run("blkid", &["-p", "-o", "export", &swap.0]);
    assert!(seen.contains("11111111-2222-3333-4444-000000000003"), "{seen}");
    assert_eq!(lab::tree(&store), before, "reading a store does not change it");
}

#[test]
fn an_image_of_format_2_is_verified_and_deployed_with_its_group() {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released/format-2");
    let before = lab::tree(&store);
    let said = remint_ends(0, &["verify", "released", "--from", text(&store), "--deep"]);
    assert!(said.contains("is good"), "{said}");
    let folder = lab::folder();
    let (target, volume) = (folder.path().join("target.img"), folder.path().join("volume.img"));
    lab::noisy_disk(&target, 16 << 20);
    remint_ends(0, &["deploy", "released", "--from", text(&store), "--disk", text(&target), "--yes"]);
    run("sgdisk", &["--verify", text(&target)]);
    let lvm = Lvm::new(&[(&target, lab::partitions(&target, 512)[0])]);
    lvm.run("vgck", &["released-vg"]);
    assert_eq!(lvm.report("pvs", "pv_uuid"), ["Phys00-0000-0000-0000-0000-0000-000001"]);
    assert_eq!(lvm.report("lvs", "lv_name,lv_size"), ["hello 1572864B", "swap_1 1048576B"]);
    assert_eq!(lvm.report("vgs", "vg_tags"), ["released"]);
    lvm.take("released-vg/hello", &volume);
    let content = run("mtype", &["-i", text(&volume), "::/HELLO.TXT"]);
    assert_eq!(content, "This image was captured with format version 2.\n");
    lvm.take("released-vg/swap_1", &volume);
    let seen = run("blkid", &["-p", "-o", "export", text(&volume)]);
    assert!(seen.contains("11111111-2222-3333-4444-000000000003"), "{seen}");
    assert_eq!(lab::tree(&store), before, "reading a store does not change it");
}

#[test]
fn a_schema_of_format_3_is_planned_with_and_refused() {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released/format-3");
    let before = lab::tree(&store);
    let said = remint_ends(0, &["verify", "released", "--from", text(&store), "--deep"]);
    assert!(said.contains("is a schema without data"), "{said}");
    let said = remint_ends(0, &["plan", "released", "--from", text(&store), "--size", "10MB"]);
    assert!(said.contains("\"EFI\"") && said.contains("\"swap\""), "{said}");
    let folder = lab::folder();
    let target = folder.path().join("target.img");
    lab::noisy_disk(&target, 10 << 20);
    let noise = lab::hash_of(&target);
    let deploy = ["deploy", "released", "--from", text(&store), "--disk", text(&target), "--yes"];
    assert!(remint_ends(1, &deploy).contains("a schema and no data"));
    assert_eq!(lab::hash_of(&target), noise);
    assert_eq!(lab::tree(&store), before, "reading a store does not change it");
}
