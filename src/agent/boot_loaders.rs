//! Boot loaders that deployed systems install on their disks, behind everything else that is written there.

use crate::blockio::WriteAt;
use crate::customize::{Customizer, Deployed};
use crate::linux::{self, DiskWriter, EfiVariables};
use crate::plan::{DeployPlan, Step};
use crate::progress::Monitor;
use crate::restore;

/// Has each system install its boot loader. A program that this adds to an EFI system partition is started like one that was
/// deployed there: the fallback path and the firmware's entries follow once more. With `makes` an entry is made where none starts
/// it. Adds to `problems` a sentence for each thing that needs attention and is not among them.
pub(super) fn install(
    plan: &DeployPlan,
    customizer: &dyn Customizer,
    makes: bool,
    problems: &mut Vec<String>,
    monitor: &dyn Monitor,
) {
    let loaders = plan.boot_loaders.iter();
    problems.extend(loaders.flat_map(|loader| linux::install_boot_loader(loader, monitor)));
    let for_uefi = plan.boot_loaders.iter().any(|loader| loader.efi_system.is_some());
    if !for_uefi || plan.boot_entries.is_empty() {
        return;
    }
    let told = follow(plan, customizer, makes, monitor).unwrap_or_else(|why| {
        vec![format!(
            "whether the firmware starts the GRUB that was installed was not seen: {why}; choose it in the firmware's setup"
        )]
    });
    // The kernel shows other partitions while it reads a table, and what comes next may need them.
    let not_reread = plan
        .disks
        .iter()
        .filter_map(|disk| linux::reread_table(&disk.target.path).err().map(|error| error.to_string()));
    for problem in told.into_iter().chain(not_reread) {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}

fn follow(
    plan: &DeployPlan,
    customizer: &dyn Customizer,
    makes: bool,
    monitor: &dyn Monitor,
) -> Result<Vec<String>, String> {
    let writers = plan.disks.iter().map(|disk| DiskWriter::open(&disk.target));
    let writers: Vec<DiskWriter> =
        writers.collect::<Result<_, _>>().map_err(|error| format!("opening the target: {error}"))?;
    let targets: Vec<&dyn WriteAt> = writers.iter().map(|writer| -> &dyn WriteAt { writer }).collect();
    let deployed = Deployed { plan, targets: &targets, is_rehearsal: false };
    let mut problems = Vec::new();
    for step in plan.steps.iter().filter(|step| matches!(step, Step::FallbackLoader { .. })) {
        let taken = customizer.take(step, deployed, monitor);
        // An entry is not to name what may be half written.
        let taken = taken.map_err(|error| format!("{step}: {}", error.with_causes()))?;
        problems.extend(taken.problems);
    }
    problems.extend(restore::follow_boot_entries(plan, &targets, &EfiVariables::default(), makes, monitor));
    let flushed = writers.iter().try_for_each(WriteAt::flush);
    flushed.map_err(|error| format!("flushing the target: {error}"))?;
    Ok(problems)
}
