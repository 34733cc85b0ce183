//! The value of an attribute, wherever it stands.

use super::attribute::{Attribute, Form};
use super::mft_record::Record;
use super::runlist::{self, Run};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{u64_from, usize_from};

/// A file in more pieces than this is not what any system leaves behind; the bound keeps memory small.
const MAX_RUNS: usize = 1 << 20;

/// A stream of bytes, resident or in runs.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) data_bytes: u64,
    /// Bytes from here on read as zeros.
    pub(super) initialized_bytes: u64,
    pub(super) flags: u16,
    content: Content,
    cluster_bytes: u64,
}

#[derive(Debug)]
enum Content {
    Resident { at: u64, value: Vec<u8> },
    Runs(Vec<Run>),
}

impl Stream {
    /// The stream that starts with this attribute of `record`.
    pub(super) fn start(
        record: &Record,
        first: &Attribute<'_>,
        cluster_bytes: u64,
        cluster_count: u64,
    ) -> Result<Self, Error> {
        Ok(match first.form {
            Form::Resident(value) => Self {
                data_bytes: u64_from(value.len()),
                initialized_bytes: u64_from(value.len()),
                flags: first.flags,
                content: Content::Resident { at: record.at, value: value.to_vec() },
                cluster_bytes,
            },
            Form::NonResident { lowest_vcn, data_bytes, initialized_bytes, pairs } => Self {
                data_bytes,
                initialized_bytes: initialized_bytes.min(data_bytes),
                flags: first.flags,
                content: Content::Runs(
                    runlist::decode(pairs, lowest_vcn, cluster_count).map_err(|fact| record.corrupt(fact))?,
                ),
                cluster_bytes,
            },
        })
    }

    /// Adds the extent that follows.
    pub(super) fn append(
        &mut self,
        record: &Record,
        extent: &Attribute<'_>,
        cluster_count: u64,
    ) -> Result<(), Error> {
        let end_vcn = self.end_vcn();
        let (Content::Runs(runs), Form::NonResident { lowest_vcn, pairs, .. }) =
            (&mut self.content, &extent.form)
        else {
            return Err(record.corrupt("an attribute in several records whose value stands in a record"));
        };
        if *lowest_vcn != end_vcn {
            return Err(record.corrupt(format!(
                "an extent starts at cluster {lowest_vcn} of its stream instead of {end_vcn}"
            )));
        }
        runs.extend(runlist::decode(pairs, *lowest_vcn, cluster_count).map_err(|fact| record.corrupt(fact))?);
        if runs.len() > MAX_RUNS {
            return Err(Error::unsupported(
                "a system file of this NTFS volume is in more than a million pieces; defragment it in Windows",
            ));
        }
        Ok(())
    }

    /// The runs; none for a resident stream.
    pub(super) fn runs(&self) -> &[Run] {
        match &self.content {
            Content::Resident { .. } => &[],
            Content::Runs(runs) => runs,
        }
    }

    /// First cluster of the stream behind the last run.
    pub(super) fn end_vcn(&self) -> u64 {
        self.runs().last().map_or(0, Run::end_vcn)
    }

    /// Refuses a stream whose runs end before its data.
    pub(super) fn check_complete(&self, record: &Record) -> Result<(), Error> {
        let allocated = self.end_vcn().saturating_mul(self.cluster_bytes);
        if matches!(self.content, Content::Runs(_)) && allocated < self.data_bytes {
            return Err(record.corrupt(format!(
                "a stream of {} bytes has runs for {allocated} bytes only",
                self.data_bytes
            )));
        }
        Ok(())
    }

    /// Where a byte of the stream stands on the volume; 0 for one in a hole.
    pub(super) fn position(&self, offset: u64) -> u64 {
        match &self.content {
            Content::Resident { at, .. } => *at,
            Content::Runs(_) => self.piece(offset, 1).and_then(|(at, _)| at).unwrap_or(0),
        }
    }

    /// Where the bytes at `offset` stand, and how many of `length` stand there together.
    fn piece(&self, offset: u64, length: u64) -> Option<(Option<u64>, u64)> {
        let vcn = offset.checked_div(self.cluster_bytes)?;
        let runs = self.runs();
        let run = runs.get(runs.partition_point(|run| run.end_vcn() <= vcn))?;
        let within = offset.checked_sub(run.vcn.checked_mul(self.cluster_bytes)?)?;
        let together = run.clusters.checked_mul(self.cluster_bytes)?.checked_sub(within)?.min(length);
        let at = match run.lcn {
            None => None,
            Some(lcn) => Some(lcn.checked_mul(self.cluster_bytes)?.checked_add(within)?),
        };
        Some((at, together))
    }

    /// Reads `length` bytes at `offset`; the caller has bounded `length`. Bytes outside the data are a
    /// contradiction, holes and what is not initialized are zeros.
    pub(super) fn read(
        &self,
        volume: &dyn ReadAt,
        structure: &'static str,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, Error> {
        let outside = || {
            Error::corrupt(
                structure,
                self.position(0),
                format!("{length} bytes at byte {offset} of a stream of {}", self.data_bytes),
            )
        };
        let end =
            offset.checked_add(u64_from(length)).filter(|end| *end <= self.data_bytes).ok_or_else(outside)?;
        if let Content::Resident { value, .. } = &self.content {
            return value.get(usize_from(offset)..usize_from(end)).map(<[u8]>::to_vec).ok_or_else(outside);
        }
        let mut bytes = Vec::with_capacity(length);
        let mut position = offset;
        let initialized_end = end.min(self.initialized_bytes);
        while position < initialized_end {
            let left = initialized_end.saturating_sub(position);
            let (at, together) =
                self.piece(position, left).filter(|(_, together)| *together > 0).ok_or_else(outside)?;
            match at {
                Some(at) => bytes.extend(read_structure(volume, structure, at, usize_from(together))?),
                None => bytes.resize(bytes.len().saturating_add(usize_from(together)), 0),
            }
            position = position.saturating_add(together);
        }
        bytes.resize(length, 0);
        Ok(bytes)
    }
}
