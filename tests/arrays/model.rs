//! What arrays have to be after a deploy, written from the definitions of their levels and not from Remint's code.

use super::beside;
use crate::lab::{self, text};
use remint::filesystem::md;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Hash and name of every file that Linux saw in the arrays.
pub fn files() -> Vec<(String, String)> {
    let sums = fs::read_to_string(beside("whole.sums")).unwrap();
    let split = |line: &str| line.split_once("  ").map(|(sum, name)| (sum.to_owned(), name.to_owned()));
    sums.lines().map(|line| split(line).unwrap()).collect()
}

/// Where the data of a member begin.
pub fn data_start(disk: &Path) -> u64 {
    md::member(&fs::read(disk).unwrap().as_slice()).unwrap().unwrap().data.start()
}

/// The rows of a member, by what its superblock says.
pub fn data_of(disk: &Path) -> Vec<u8> {
    let superblock = md::member(&fs::read(disk).unwrap().as_slice()).unwrap().unwrap();
    let (start, length) = (superblock.data.start(), superblock.data.length());
    lab::bytes(disk, start, length / superblock.chunk_bytes * superblock.chunk_bytes)
}

/// How many bytes of parity are wrong. P is the sum of the data of a row; Q that of their products with the powers of 2 in the field
/// that x^8 + x^4 + x^3 + x^2 + 1 makes, from the first chunk behind Q on (H. Peter Anvin: The mathematics of RAID-6).
pub fn wrong_parity(name: &str, disks: &[&Path]) -> usize {
    let members: Vec<Vec<u8>> = disks.iter().map(|disk| data_of(disk)).collect();
    let count = members.len();
    let chunk_bytes =
        md::member(&fs::read(disks[0]).unwrap().as_slice()).unwrap().unwrap().chunk_bytes as usize;
    let twice = |byte: u8| (byte << 1) ^ if byte & 0x80 == 0 { 0 } else { 0x1D };
    let mut wrong = 0;
    for (row, start) in (0..members[0].len()).step_by(chunk_bytes).enumerate() {
        // Where Q is, and how the members follow each other behind it.
        let (q, around) = match name {
            "whole-6-ls" => (Some((count - 1 - row % count + 1) % count), count),
            "whole-6-ra" => (Some((row % count + 1) % count), count),
            "whole-6-ls6" => (Some(count - 1), count - 1),
            _ => (None, count),
        };
        // P is in front of Q where both go around, and otherwise goes around by itself.
        let p = q.map(|q| if around == count { (q + count - 1) % count } else { around - 1 - row % around });
        let data: Vec<usize> = (0..count)
            .map(|step| (q.map_or(0, |q| q + 1) + step) % count)
            .filter(|member| Some(*member) != q && Some(*member) != p)
            .collect();
        (start..start + chunk_bytes).for_each(|at| {
            let sum = data.iter().chain(&p).fold(0, |sum, member| sum ^ members[*member][at]);
            wrong += usize::from(sum != 0);
            if let Some(q) = q {
                let sum = data.iter().rev().fold(0, |sum, member| twice(sum) ^ members[*member][at]);
                wrong += usize::from(sum != members[q][at]);
            }
        });
    }
    wrong
}

/// What a RAID 0 says of its layout.
pub const ORIGINAL: u8 = 1;
pub const ALTERNATE: u8 = 2;

/// How many files of a RAID 0 are not there when its chunks are put in their order as `map_sector` of Linux' `raid0.c` finds them. GRUB knows
/// no zones.
pub fn zones_without_files(disks: &[&Path], layout: u8) -> usize {
    let chunk_bytes = 64 << 10;
    let members: Vec<Vec<u8>> = disks.iter().map(|disk| data_of(disk)).collect();
    let mut array: Vec<u8> = Vec::new();
    let mut row = 0;
    while members.iter().any(|member| member.len() > row * chunk_bytes) {
        let zone: Vec<&Vec<u8>> = members.iter().filter(|member| member.len() > row * chunk_bytes).collect();
        let rows = zone.iter().map(|member| member.len() / chunk_bytes).min().unwrap();
        let before = if layout == ORIGINAL { array.len() / chunk_bytes } else { 0 };
        for turn in 0..zone.len() * (rows - row) {
            let (member, row) = (zone[(before + turn) % zone.len()], row + turn / zone.len());
            array.extend_from_slice(&member[row * chunk_bytes..(row + 1) * chunk_bytes]);
        }
        row = rows;
    }
    let folder = lab::folder();
    let (disk, out) = (folder.path().join("array"), folder.path().join("file"));
    fs::write(&disk, array).unwrap();
    let is_wrong = |(sum, name): &(String, String)| {
        let _ = fs::remove_file(&out);
        let name = format!("(loop0){}", name.strip_prefix('.').unwrap());
        let done = Command::new("grub-fstest").args([text(&disk), "cp", &name, text(&out)]).output();
        !done.unwrap().status.success() || lab::hash_of(&out) != *sum
    };
    files().iter().filter(|file| is_wrong(file)).count()
}
