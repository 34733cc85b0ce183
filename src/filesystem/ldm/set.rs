//! Dynamic disks that are looked at together: their groups, and which of the disks can be believed.

use super::Home;
use super::database::{self, Database};
use super::header::{self, Header};
use super::look::{Fate, look};
use super::volume;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::judgement::{Judged, settle};
use crate::schema::State;
use crate::units::{Guid, RangeSet};
use std::collections::BTreeMap;

/// What every refusal ends with.
const RAW: &str =
    "or capture all disks of the group in one image, every block of them, with --when-dirty raw";

/// A dynamic disk, or what may be one.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// What it is called in sentences.
    pub name: &'a str,
    /// Its bytes.
    pub disk: &'a dyn ReadAt,
    /// Where it has what describes its group.
    pub home: Home,
    /// True where it is wanted. The others are looked at for what they say of these.
    pub is_chosen: bool,
}

/// What was found out about one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// GUID of the disk; `None` where its header cannot be believed.
    pub guid: Option<Guid>,
    /// Name of its group.
    pub group: Option<String>,
    /// Whether what is used of it is known.
    pub state: State,
    /// Why not, or what is on it: sentences.
    pub findings: Vec<String>,
    /// The bytes of the disk that volumes lie on.
    pub extents: RangeSet,
    /// Where it is known: the bytes of the disk that belong to no volume, or are free in one. Only of a clean one.
    pub unused: Option<RangeSet>,
    /// What a person should know though it is clean: a sentence.
    pub notice: Option<String>,
}

/// A disk whose header and database can be read.
pub(super) struct Member<'a> {
    /// That of its source.
    position: usize,
    pub(super) source: Source<'a>,
    pub(super) header: Header,
    database: Database,
}

/// Reads dynamic disks. For each source, in their order, what was found.
#[must_use]
pub fn read(sources: &[Source<'_>]) -> Vec<Found> {
    let mut found: BTreeMap<usize, Found> = BTreeMap::new();
    let mut groups: BTreeMap<Guid, Vec<Member<'_>>> = BTreeMap::new();
    for (position, source) in sources.iter().enumerate() {
        let header = match header::read(source.disk, source.home) {
            Ok(header) => header,
            Err(error) => {
                found.insert(position, unreadable(None, error));
                continue;
            }
        };
        match database::read(source.disk, &header) {
            Ok(database) => {
                let member = Member { position, source: *source, header, database };
                groups.entry(member.header.group_guid).or_default().push(member);
            }
            Err(error) => {
                found.insert(position, unreadable(Some(&header), error));
            }
        }
    }
    for members in groups.into_values() {
        judge(members, &mut found);
    }
    found.into_values().collect()
}

fn unreadable(header: Option<&Header>, error: Error) -> Found {
    let (state, fact) = match settle::<RangeSet>(Err(error)) {
        Ok(Judged { state, findings, .. }) => (state, findings.concat()),
        Err(error) => (State::Damaged, format!("{error} failed")),
    };
    refused(header, state, fact)
}

fn refused(header: Option<&Header>, state: State, fact: String) -> Found {
    Found {
        guid: header.map(|header| header.disk_guid),
        group: header.map(|header| header.group_name.clone()),
        state,
        findings: vec![format!("{fact}; {RAW}")],
        extents: RangeSet::new(),
        unused: None,
        notice: None,
    }
}

/// Judges the disks of one group.
fn judge(members: Vec<Member<'_>>, found: &mut BTreeMap<usize, Found>) {
    let mut refuse = |member: &Member<'_>, state: State, fact: String| {
        found.insert(member.position, refused(Some(&member.header), state, fact));
    };
    let newest = members.iter().map(|member| member.database.sequence).max().unwrap_or_default();
    let (current, behind): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|member| member.database.sequence == newest);
    let ahead: Vec<&str> = current.iter().map(|member| member.source.name).collect();
    for member in &behind {
        let fact = format!(
            "its group went on without it: its database is at change {}, that of {} at {newest}; let Windows bring it up to date, \
             leave it out with --only",
            member.database.sequence,
            ahead.join(" and ")
        );
        refuse(member, State::Unsupported, fact);
    }
    // What is left out decides nothing about what is wanted.
    let is_chosen = |member: &&Member<'_>| member.source.is_chosen;
    let mut deciding: Vec<&Member<'_>> = current.iter().filter(is_chosen).collect();
    if deciding.is_empty() {
        deciding = current.iter().collect();
    }
    let mut kept = Vec::new();
    for member in &current {
        match member.doubt(&deciding, &current) {
            Some((state, fact)) => refuse(member, state, fact),
            None => kept.push(member),
        }
    }
    let Some(first) = kept.first() else { return };
    match volume::volumes(&first.database) {
        Ok(volumes) => {
            let fates = look(&kept, &first.database, &volumes);
            for (member, fate) in kept.iter().zip(fates) {
                found.insert(member.position, member.finish(fate, &kept));
            }
        }
        Err(fact) => {
            let at = first.header.private.start();
            let fact = Error::corrupt("VBLK", at, fact).to_string();
            for member in &kept {
                found.insert(member.position, refused(Some(&member.header), State::Damaged, fact.clone()));
            }
        }
    }
}

impl Member<'_> {
    /// What keeps a disk from being looked into, of those with the newest database. The databases of `deciding` count.
    fn doubt(&self, deciding: &[&Member<'_>], current: &[Member<'_>]) -> Option<(State, String)> {
        let is_at_rest = |member: &Member<'_>| member.database.at_rest;
        if !is_at_rest(self) || deciding.iter().any(|member| !is_at_rest(member)) {
            let fact = "a change of its database was not finished: let Windows start and finish it, and shut it down";
            return Some((State::Dirty, fact.to_owned()));
        }
        let unsupported = |fact: String| Some((State::Unsupported, fact));
        if deciding.iter().any(|member| member.database != self.database) {
            let others = deciding.iter().filter(|member| member.position != self.position);
            let names: Vec<&str> =
                [self.source.name].into_iter().chain(others.map(|member| member.source.name)).collect();
            return unsupported(format!(
                "the databases of {} are at the same change {} and say different things: find out which is right and leave \
                 the others out with --only",
                names.join(" and "),
                self.database.sequence
            ));
        }
        if !self.database.disks.iter().any(|disk| disk.guid == self.header.disk_guid) {
            let group = &self.header.group_name;
            return unsupported(format!("the group \"{group}\" does not know it: leave it out with --only"));
        }
        let is_twin = |other: &&Member<'_>| {
            other.position != self.position && other.header.disk_guid == self.header.disk_guid
        };
        let mut twins = current.iter().filter(is_twin);
        // One that is there twice counts where it is the only one that is chosen.
        let twin = match self.source.is_chosen {
            true => twins.find(|twin| twin.source.is_chosen),
            false => twins.next(),
        };
        unsupported(format!(
            "it is the same disk of its group as {}: leave one of them out with --only",
            twin?.source.name
        ))
    }

    fn name_in_group(&self) -> &str {
        let disk = self.database.disks.iter().find(|disk| disk.guid == self.header.disk_guid);
        disk.map_or("", |disk| disk.name.as_str())
    }

    fn finish(&self, fate: Fate, members: &[&Member<'_>]) -> Found {
        let Fate { extents, used, mut volumes, faults, hints } = fate;
        let (group, count) = (&self.header.group_name, self.database.disks.len());
        if let Some((state, _)) = faults.first() {
            let facts: Vec<String> = faults.iter().map(|(_, fact)| fact.clone()).collect();
            return Found { extents, ..refused(Some(&self.header), *state, facts.join("; ")) };
        }
        if volumes.is_empty() {
            volumes.push("no volume".to_owned());
        }
        let what = format!(
            "{} of the {count} disks of the group \"{group}\" at change {} has {}",
            self.name_in_group(),
            self.database.sequence,
            volumes.join(", ")
        );
        let chosen = members.iter().filter(|member| member.source.is_chosen).count();
        let lacks_some = self.source.is_chosen && chosen < count;
        let notice = lacks_some.then(|| {
            format!(
                "Disk {} is one of {count} disks of the group \"{group}\", of which {chosen} are here or wanted: deployed from these, \
                 Windows shows the others as missing, and volumes that lie on them too are not whole.",
                self.source.name
            )
        });
        Found {
            guid: Some(self.header.disk_guid),
            group: Some(group.clone()),
            state: State::Clean,
            findings: [what].into_iter().chain(hints).collect(),
            extents,
            unused: Some(used.into_iter().collect::<RangeSet>().gaps(self.header.public)),
            notice,
        }
    }
}
