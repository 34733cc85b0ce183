//! The smallest disks that an image fits on, before there is a target.

use super::choices::deploy_options;
use crate::image::Manifest;
use crate::machine::MachineDisk;
use crate::plan::{self, DeployOptions, Seed, Target};
use crate::schema::{DeployChoices, Firmware, Keep, Layout};

/// A disk on which everything fits: 1 EiB.
const LARGE_BYTES: u64 = 1 << 60;

/// The smallest disks, in bytes, that an image fits on with what is chosen: one for each of its disks that is deployed, in
/// their order, exact for disks with the sectors of the captured ones. Nothing where only the target says it (what stays
/// there, what a script makes of it), or where the image cannot be deployed like that at all.
///
/// `firmware` is that of the machine, for the layout standard.
#[must_use]
pub fn smallest_disks(manifest: &Manifest, choices: &DeployChoices, firmware: Option<Firmware>) -> Vec<u64> {
    let Some(mut options) = without_targets(manifest, choices) else { return Vec::new() };
    // Which identifiers are drawn changes no size.
    options.seed = Some(Seed::from_bytes([0; 16]));
    options.standard.firmware =
        options.standard.firmware.or(firmware).filter(|_| options.layout == Layout::Standard);
    let Ok(deployed) = plan::deployed(&manifest.disks, &options) else { return Vec::new() };
    let target =
        |(number, sector)| Target::new(number, MachineDisk::new(format!("d{number}"), LARGE_BYTES, sector));
    let disks = deployed.iter().map(|disk| (disk.number, disk.logical_sector_bytes));
    let targets: Vec<Target> = disks.map(target).collect();
    let (image, version) = (manifest.image.as_ref(), manifest.version.as_ref());
    let plan = plan::deploy(image, version, manifest, &targets, &options);
    plan.map_or_else(|_| Vec::new(), |plan| plan.disks.iter().map(|disk| disk.minimum_disk_bytes).collect())
}

/// The options of a deploy that depends on nothing that stands on its targets.
fn without_targets(manifest: &Manifest, choices: &DeployChoices) -> Option<DeployOptions> {
    let (options, keeps) = match &choices.schema {
        None => (deploy_options(choices), false),
        Some(schema) => {
            let text = serde_json::to_string(schema).ok()?;
            let chosen = plan::read_choices(&text, manifest.image.as_ref(), manifest).ok()?;
            (chosen.options, !chosen.keep.is_empty())
        }
    };
    let depends = keeps || options.keep != Keep::Nothing || options.layout == Layout::Script;
    (!depends).then_some(options)
}
