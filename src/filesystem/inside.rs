//! What lies in an array, on a volume of a dynamic disk or in an encrypted volume that was opened, and which of its bytes are used.
//!
//! Invariant: what is not understood is used. Only one level of volume groups is looked into, and no array in an array,
//! so that a look ends whatever the bytes are.

use crate::blockio::{Mapped, ReadAt};
use crate::filesystem::judgement::Judged;
use crate::filesystem::{Error, Reading, luks, lvm, md, nested_table, read_content};
use crate::schema::{FileSystem, FileSystemKind, LogicalVolume, Mapping, State};
use crate::units::{ByteRange, RangeSet, format_size};

/// What is there, for a person, and the judgement of its bytes.
pub(super) struct Inside {
    pub(super) what: String,
    pub(super) judged: Judged,
}

impl Inside {
    fn clean(what: impl Into<String>, map: RangeSet) -> Self {
        Self {
            what: what.into(),
            judged: Judged { state: State::Clean, findings: Vec::new(), map: Some(map) },
        }
    }
}

/// Looks into an array or a volume.
pub(super) fn look(array: &dyn ReadAt) -> Result<Inside, Error> {
    match look_closer(array)? {
        Ok(inside) => Ok(inside),
        Err(physical) => Ok(group(array)?.unwrap_or_else(|| Inside::clean(name(&physical), whole(array)))),
    }
}

/// The same, a physical volume apart, which is the error.
fn look_closer(array: &dyn ReadAt) -> Result<Result<Inside, FileSystem>, Error> {
    if !md::superblocks(array)?.is_empty() {
        return Ok(Ok(Inside::clean("the member of another array", whole(array))));
    }
    let Some(Reading { file_system, used }) = read_content(array)? else {
        let what = match nested_table(array)? {
            Some(table) => format!("a partition table ({table}), and is captured whole"),
            None => "nothing that is recognised, and is captured whole".to_owned(),
        };
        return Ok(Ok(Inside::clean(what, whole(array))));
    };
    let (kind, what) = (file_system.kind, name(&file_system));
    if matches!(kind, FileSystemKind::Luks1 | FileSystemKind::Luks2) {
        let findings = luks::out_of_reach(array)?;
        return Ok(Ok(Inside { what, judged: Judged { state: file_system.state, findings, map: None } }));
    }
    if file_system.state != State::Clean {
        let findings = file_system.findings.iter().map(|finding| format!("its {kind}: {finding}")).collect();
        return Ok(Ok(Inside { what, judged: Judged { state: file_system.state, findings, map: None } }));
    }
    Ok(match used {
        _ if kind == FileSystemKind::LvmPhysicalVolume => Err(file_system),
        // Its header says all: what it holds is gone with the system that used it.
        Some(_) if kind == FileSystemKind::Swap => {
            let header = ByteRange::new(0, file_system.block_size_bytes.min(array.size_bytes()));
            Ok(Inside::clean(what, RangeSet::of(header)))
        }
        Some(map) if kind.has_used_map() => Ok(Inside::clean(what, map)),
        _ => Ok(Inside::clean(what, whole(array))),
    })
}

/// The volume group of which the array is the only physical volume, where every logical volume lies in extents of it; else
/// `None`.
fn group(array: &dyn ReadAt) -> Result<Option<Inside>, Error> {
    let found = lvm::groups(&[("", array)]);
    let [lvm::FoundGroup { group, kernel, origins }] = found.groups.as_slice() else { return Ok(None) };
    let [physical] = group.physical_volumes.as_slice() else { return Ok(None) };
    let plain = |logical: &LogicalVolume| logical.mapping == Mapping::Linear;
    if !found.doubts.is_empty()
        || kernel.iter().any(Option::is_some)
        || origins.contains(&true)
        || !group.logical_volumes.iter().all(plain)
    {
        return Ok(None);
    }
    let Some(extents_bytes) = physical.extents.checked_mul(group.extent_bytes) else { return Ok(None) };
    // Label and metadata stand before the extents, or behind them.
    let mut used = whole(array);
    used.remove(ByteRange::new(physical.start_bytes, physical.start_bytes.saturating_add(extents_bytes)));
    let (mut findings, mut names) = (Vec::new(), Vec::new());
    for logical in &group.logical_volumes {
        let stretches = lvm::stretches(&logical.segments, group.extent_bytes, &[(0, physical.start_bytes)]);
        let Some(stretches) = stretches.filter(|stretches| !stretches.is_empty()) else { return Ok(None) };
        let places: Vec<(u64, u64)> = stretches
            .iter()
            .filter_map(|stretch| Some((stretch.columns.first()?.start_bytes, stretch.length_bytes)))
            .collect();
        let Ok(volume) = Mapped::new(vec![array], stretches) else { return Ok(None) };
        let (what, judged) = match look_closer(&volume)? {
            Ok(Inside { what, judged }) => (what, judged),
            Err(physical) => (
                name(&physical),
                Judged { state: State::Clean, findings: Vec::new(), map: Some(whole(&volume)) },
            ),
        };
        names.push(format!("{}: {what}", logical.name));
        findings.extend(
            judged.findings.into_iter().map(|finding| format!("{}/{}: {finding}", group.name, logical.name)),
        );
        let Some(map) = judged.map else {
            let what = format!("the volume group {}", group.name);
            return Ok(Some(Inside { what, judged: Judged { state: judged.state, findings, map: None } }));
        };
        add(&mut used, &map, &places);
    }
    let what = format!("the volume group {} ({})", group.name, names.join(", "));
    Ok(Some(Inside { what, judged: Judged { state: State::Clean, findings, map: Some(used) } }))
}

/// Adds what is used of a logical volume that lies at these places, each a start and a length.
fn add(used: &mut RangeSet, map: &RangeSet, places: &[(u64, u64)]) {
    let mut from = 0u64;
    for (start, length) in places {
        let window = ByteRange::new(from, from.saturating_add(*length));
        for part in map.within(window) {
            let moved = |at: u64| at.saturating_sub(from).saturating_add(*start);
            used.insert(ByteRange::new(moved(part.start()), moved(part.end())));
        }
        from = window.end();
    }
}

fn whole(array: &dyn ReadAt) -> RangeSet {
    RangeSet::of(ByteRange::new(0, array.size_bytes()))
}

fn name(found: &FileSystem) -> String {
    match &found.label {
        Some(label) => format!("{} \"{label}\"", found.kind),
        None => format!("{}, {}", found.kind, format_size(found.size_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a LUKS in an array.
    fn said_of(volume: &[u8]) -> String {
        let found = look(&volume).unwrap();
        assert_eq!((found.judged.state, found.judged.map), (State::Encrypted, None));
        let said = found.judged.findings.join("; ");
        // Of whatever kind, it is named with a way out, and no key is asked for here.
        assert!(said.starts_with("encrypted with LUKS") && said.contains("--when-dirty raw"), "{said}");
        assert!(!said.contains("name a file"), "{said}");
        said
    }

    /// A header of LUKS1 with a key of 64 bytes, and its data from 2 MiB on.
    fn luks1(cipher: &[u8]) -> Vec<u8> {
        let mut volume = vec![0u8; 4 << 20];
        volume[..8].copy_from_slice(b"LUKS\xBA\xBE\0\x01");
        volume[8..8 + cipher.len()].copy_from_slice(cipher);
        volume[40..51].copy_from_slice(b"xts-plain64");
        volume[72..78].copy_from_slice(b"sha256");
        volume[104..108].copy_from_slice(&4096u32.to_be_bytes());
        volume[108..112].copy_from_slice(&64u32.to_be_bytes());
        volume
    }

    #[test]
    fn of_a_luks_that_no_key_reaches_is_said_how_one_does() {
        let said = said_of(&luks1(b"aes"));
        assert!(said.contains("--disk /dev/md0) with --luks-key"), "{said}");
    }

    #[test]
    fn of_a_luks_that_no_key_opens_is_said_why() {
        let said = said_of(&luks1(b"serpent"));
        assert!(said.contains("/dev/mapper") && !said.contains("--luks-key"), "{said}");
        assert!(
            said.contains("Remint does not open it") && said.contains("not serpent-xts-plain64"),
            "{said}"
        );
        // The second header alone.
        let mut volume = vec![0u8; 4 << 20];
        volume[0x4000..0x4008].copy_from_slice(b"SKUL\xBA\xBE\0\x02");
        volume[0x4000 + 256..0x4000 + 264].copy_from_slice(&0x4000u64.to_be_bytes());
        let said = said_of(&volume);
        assert!(said.contains("it has no whole header") && !said.contains("--luks-key"), "{said}");
    }
}
