//! No change of the members of an MD array makes their reader panic, hang, grow without bound or break a promise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::blockio::{ReadAt, Window};
use remint::filesystem::md::{self, Member};
use remint::schema::State;
use remint::units::{ByteRange, RangeSet};
use remint_fuzz::{Restored, Seeds};
use std::sync::LazyLock;

/// A seed has its members one behind the other.
const MEMBER_BYTES: u64 = 16 << 20;

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| {
    Seeds::load("md_set", |members| {
        look(members);
    })
});

fuzz_target!(|input: &[u8]| {
    let Some((mut volume, options)) = SEEDS.volume(input) else { return };
    if options & 1 == 1 {
        volume.repair_with(remint_fuzz::repair_metadata);
    }
    let Some(found) = look(&volume) else { return };
    for Member { reading, rows } in &found {
        assert_eq!(reading.used.is_some(), reading.file_system.state == State::Clean);
        assert!(!reading.file_system.findings.is_empty());
        let used = reading.used.clone().unwrap_or_default();
        assert!(used.end() <= MEMBER_BYTES && rows.end() <= MEMBER_BYTES);
        assert!(rows.is_empty() || reading.used.is_some());
    }
    assert!(found.windows(2).all(|pair| in_rows(&pair[0]) == in_rows(&pair[1])), "a row of which not all is used");
    if found.iter().all(|member| member.reading.used.is_some()) && !volume.is_spoiled() {
        let used: RangeSet = (0u64..)
            .zip(&found)
            .flat_map(|(number, member)| {
                let moved = move |range: ByteRange| ByteRange::at(number * MEMBER_BYTES + range.start(), range.length());
                member.reading.used.iter().flat_map(RangeSet::iter).filter_map(moved).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(look(&Restored { volume: &volume, used: &used }), Some(found), "what is restored reads differently");
    }
});

/// What is used of the rows of a member.
fn in_rows(member: &Member) -> Vec<ByteRange> {
    let start = member.rows.start();
    let moved = |range: ByteRange| ByteRange::new(range.start() - start, range.end() - start);
    member.reading.used.iter().flat_map(|used| used.within(member.rows)).map(moved).collect()
}

/// What all members together are, where each has a superblock.
fn look(volume: &dyn ReadAt) -> Option<Vec<Member>> {
    let count = volume.size_bytes() / MEMBER_BYTES;
    let windows = (0..count.min(8)).map(|number| Window::new(volume, ByteRange::at(number * MEMBER_BYTES, MEMBER_BYTES)?).ok());
    let windows: Vec<Window<&dyn ReadAt>> = windows.collect::<Option<_>>()?;
    let members: Option<Vec<(&str, &dyn ReadAt, md::Superblock)>> = windows
        .iter()
        .map(|window| Some(("d0", window as &dyn ReadAt, md::member(window).ok()??)))
        .collect();
    md::read_together(&members?).ok()
}
