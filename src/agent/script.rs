//! A person's script that partitions: rehearsed on a blank disk, and judged, before a plan is made of it.

use super::images::ImageReference;
use crate::linux::{Rehearsal, Rehearsed};
use crate::machine::MachineDisk;
use crate::partition::{self, Severity, Trust};
use crate::plan::{self, DeployOptions, Made};
use crate::schema::{ChosenVolume, Disk};
use anyhow::{Context, Result, anyhow, bail};
use std::time::Duration;

/// A script, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptFile {
    /// Its name, for messages.
    pub name: String,
    /// Its text, for `/bin/sh`.
    pub text: String,
    /// How long it may take.
    pub limit: Duration,
}

/// What the script makes of a blank disk like `target` for a disk of the image.
pub(super) fn rehearse(
    script: &ScriptFile,
    image: &ImageReference,
    disk: &Disk,
    target: &MachineDisk,
    options: &DeployOptions,
) -> Result<Made> {
    let doing = || format!("rehearsing the script {} for {}", script.name, target.path);
    let (disk, partitions) = plan::partitions_for_a_script(disk, options)?;
    let sector = target.logical_sector_bytes;
    let whole_sectors = sector.byte_of(sector.lba_of(target.size_bytes)).unwrap_or_default();
    let rehearsal = Rehearsal {
        script: &script.text,
        size_bytes: whole_sectors,
        sector,
        variables: &[
            ("REMINT_IMAGE", image.image.to_string()),
            ("REMINT_IMAGE_DISK", disk.number.to_string()),
        ],
        files: &[
            ("REMINT_SCHEMA", serde_json::to_string_pretty(&disk).with_context(doing)?),
            ("REMINT_PARTITIONS", partitions),
        ],
        limit: script.limit,
    };
    let Rehearsed { disk, places, output } = rehearsal.run().with_context(doing)?;
    let reading = partition::read(&disk, sector, Trust::Undecided)
        .map_err(|error| anyhow!("the table that it made cannot be used: {error}{}", printed(&output)))
        .with_context(doing)?;
    if let Some(finding) = reading.findings.iter().find(|finding| finding.severity() > Severity::Note) {
        return Err(anyhow!("the table that it made cannot be used: {finding}{}", printed(&output)))
            .with_context(doing);
    }
    Ok(Made { table: reading.table, places: read_places(&places).with_context(doing)?, output })
}

fn printed(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("\nIt printed:\n{output}") }
}

fn read_places(text: &str) -> Result<Vec<ChosenVolume>> {
    let mut places: Vec<ChosenVolume> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let place: ChosenVolume = line.parse().context("reading what it wrote into $REMINT_PLACES")?;
        if place.partition().is_none() || places.iter().any(|other| other.volume == place.volume) {
            bail!("\"{line}\" in $REMINT_PLACES names no partition, or one twice; write VOLUME=NUMBER once");
        }
        places.push(place);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ChosenPlace;

    #[test]
    fn places_are_lines_of_volume_and_number() {
        let places = read_places("d0-p1=2\n\n  d0-disk=1 \n").unwrap();
        let expected = [("d0-p1", 2), ("d0-disk", 1)];
        assert_eq!(
            places,
            expected.map(|(volume, number)| ChosenVolume {
                volume: volume.to_owned(),
                place: Some(ChosenPlace::Partition(number)),
            })
        );
        for text in ["d0-p1", "d0-p1=vg/root", "d0-p1=0", "d0-p1=x", "=1", "d0-p1=1\nd0-p1=2"] {
            assert!(read_places(text).is_err(), "{text}");
        }
    }
}
