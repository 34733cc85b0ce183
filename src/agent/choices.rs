//! What is chosen about a capture or a deploy becomes what is asked for. The command line and a job's profile go the same
//! way, so that an option means the same in both.

use super::capture::CaptureRequest;
use super::capture_workers;
use super::computer_name::ComputerName;
use super::deploy::DeployRequest;
use super::disks::{self, DiskSettings};
use super::file_copy::Artefacts;
use super::images::{ImageReference, StoreSettings};
use super::script::ScriptFile;
use super::scripts;
use super::targets::{PlanTarget, SchemaFile, TargetRequest};
use crate::image::ImageName;
use crate::partition::Trust;
use crate::plan::{CaptureOptions, DeployOptions, Shrinking};
use crate::schema::{
    Answer, CaptureChoices, DeployChoices, Destination, FileCopy, Keep, Multicast, NamedTarget, Profile,
    ScriptTime, StandardChoice, TrustedTable, WhenDirty,
};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::Duration;

/// How a schema and a script that stand in a profile are called in messages.
const SCHEMA_NAME: &str = "the profile's schema";
const SCRIPT_NAME: &str = "the profile's script";

impl CaptureRequest {
    /// A capture with what is chosen, and everything else as usual.
    ///
    /// # Errors
    /// Where choices contradict each other.
    pub fn new(image: ImageName, store: StoreSettings, choices: &CaptureChoices) -> Result<Self> {
        check_capture(choices)?;
        let trust = match choices.trust {
            TrustedTable::None => Trust::Undecided,
            TrustedTable::Gpt => Trust::Gpt,
            TrustedTable::Mbr => Trust::SectorZero,
        };
        Ok(Self {
            image,
            disks: choices.disks.iter().map(|disk| destination(disk)).collect(),
            disk_settings: DiskSettings { sector_size: None, trust },
            options: CaptureOptions {
                when_dirty: match choices.when_dirty {
                    // Disks are described as they are.
                    WhenDirty::Replay if choices.schema_only => WhenDirty::Refuse,
                    when_dirty => when_dirty,
                },
                only: choices.only.clone(),
                fixed: choices.fixed.clone(),
                schema_only: choices.schema_only,
            },
            luks_keys: choices.luks_keys.iter().map(PathBuf::from).collect(),
            compression: choices.compression,
            on_read_error: choices.on_read_error,
            allow_in_use: false,
            spill: None,
            workers: capture_workers(&store.location),
            comment: choices.comment.clone(),
            store,
        })
    }
}

impl DeployRequest {
    /// A deploy with what is chosen, and everything else as usual.
    ///
    /// # Errors
    /// Where choices contradict each other.
    pub fn new(image: ImageReference, store: StoreSettings, choices: &DeployChoices) -> Result<Self> {
        check_deploy(choices)?;
        let schema = choices.schema.as_ref().map(|schema| {
            let text = serde_json::to_string_pretty(schema).context("writing the schema")?;
            Ok::<_, anyhow::Error>(SchemaFile { name: SCHEMA_NAME.to_owned(), text })
        });
        let script = choices.script.as_ref().map(|text| ScriptFile {
            name: SCRIPT_NAME.to_owned(),
            text: text.clone(),
            limit: Duration::from_secs(choices.script_limit_seconds.into()),
        });
        Ok(Self {
            image,
            targets: choices.targets.iter().map(|target| named(target)).collect(),
            disk_settings: DiskSettings::default(),
            options: deploy_options(choices),
            schema: schema.transpose()?,
            script,
            scripts: scripts::in_order(&choices.scripts),
            copies: choices.copies.clone(),
            artefacts: Artefacts::default(),
            computer_name: choices.computer_name.as_deref().map(ComputerName::new),
            store,
        })
    }
}

/// Refuses a profile that no job could take, whatever the image and the machine.
///
/// # Errors
/// What is wrong with it.
pub fn check(profile: &Profile) -> Result<()> {
    check_capture(&profile.capture)?;
    check_deploy(&profile.deploy)
}

fn check_capture(choices: &CaptureChoices) -> Result<()> {
    let usual = CaptureChoices::default();
    if choices.schema_only && choices.compression != usual.compression {
        bail!(
            "schema_only sends no data, so that compression means nothing beside it; leave one of them out"
        );
    }
    if choices.schema_only && choices.on_read_error != usual.on_read_error {
        bail!(
            "schema_only reads no data, so that on_read_error means nothing beside it; leave one of them out"
        );
    }
    Ok(())
}

pub(super) fn check_deploy(choices: &DeployChoices) -> Result<()> {
    if let Some(fact) = contradiction(choices) {
        bail!("{fact}");
    }
    if let Some(fault) = choices.answers.iter().find_map(Answer::fault) {
        return Err(fault.into());
    }
    if let Some(fault) = choices.multicast.as_ref().and_then(Multicast::fault) {
        bail!("{fault}");
    }
    if choices.scripts.iter().any(|script| script.limit_seconds == 0) {
        bail!(
            "a script that may take 0 seconds never runs to its end; leave limit_seconds out, or make it 1 or more"
        );
    }
    if choices
        .scripts
        .iter()
        .any(|script| script.volume.is_some() && script.when != ScriptTime::BeforeFileCopy)
    {
        bail!(
            "a volume is mounted for scripts of the time before-file-copy alone; leave the volume out of the others"
        );
    }
    if let Some(fault) = choices.copies.iter().find_map(FileCopy::fault) {
        return Err(fault.into());
    }
    choices.computer_name.as_deref().map_or(Ok(()), |template| ComputerName::new(template).check())
}

/// Where neither the choices nor their schema name a target, it is the machine's only fixed disk.
///
/// # Errors
/// Where there is not exactly one that it can be.
pub(super) fn target_the_only_disk(request: &mut DeployRequest, choices: &DeployChoices) -> Result<()> {
    let of_schema =
        choices.schema.iter().flat_map(|schema| &schema.disks).any(|disk| !disk.targets.is_empty());
    if request.targets.is_empty() && !of_schema {
        let disk = disks::only_candidate()?;
        request
            .targets
            .push(TargetRequest { receives: None, disk: PlanTarget::Disk(Destination::Path(disk.path)) });
    }
    Ok(())
}

fn destination(text: &str) -> Destination {
    let Ok(destination) = text.parse();
    destination
}

fn named(text: &str) -> TargetRequest {
    let Ok(NamedTarget { receives, disk }) = text.parse();
    TargetRequest { receives, disk: PlanTarget::Disk(disk) }
}

pub(super) fn deploy_options(choices: &DeployChoices) -> DeployOptions {
    DeployOptions {
        layout: choices.layout,
        free_space: choices.free_space,
        expand: choices.expand,
        shrinking: Shrinking::of(choices.shrink, choices.shrink_lvm),
        wishes: choices.partitions.clone(),
        keep: choices.keep.clone(),
        without: choices.without.clone(),
        standard: StandardChoice { volume: choices.volume.clone(), firmware: choices.firmware },
        new_ids: choices.new_ids,
        keep_boot_entries: choices.keep_boot_entries,
        boot_first: choices.boot_first,
        computer_name: None,
        answers: choices.answers.clone(),
        empty_page_files: choices.empty_page_files,
        boot_drivers: choices.boot_drivers.clone(),
        new_ssh_host_keys: choices.new_ssh_host_keys,
        boot_loader: choices.boot_loader,
        copies: Vec::new(),
        scripts: Vec::new(),
        started_by: None,
        seed: None,
    }
}

/// Choices of which one would not be heard, as a sentence. The command line refuses the same by itself.
fn contradiction(choices: &DeployChoices) -> Option<String> {
    let usual = DeployChoices::default();
    let layout = choices.layout != usual.layout;
    let standard = choices.volume.is_some() || choices.firmware.is_some();
    let sizes = !choices.partitions.is_empty();
    let without = !choices.without.is_empty();
    let beside_schema = [
        (layout, "layout"),
        (standard, "volume or firmware"),
        (choices.free_space != usual.free_space, "free_space"),
        (!choices.expand, "expand"),
        (!choices.shrink, "shrink"),
        (!choices.shrink_lvm, "shrink_lvm"),
        (sizes, "partitions"),
        (without, "without"),
        (choices.keep != usual.keep, "keep"),
        (choices.new_ids, "new_ids"),
        (choices.keep_boot_entries, "keep_boot_entries"),
        (choices.boot_first, "boot_first"),
    ];
    let beside_table = [
        (layout, "layout"),
        (standard, "volume or firmware"),
        (sizes, "partitions"),
        (without, "without"),
        (choices.new_ids, "new_ids"),
        (choices.boot_first, "boot_first"),
    ];
    let said = |fields: &[(bool, &'static str)]| fields.iter().find(|(said, _)| *said).map(|(_, name)| *name);
    if choices.schema.is_some()
        && let Some(name) = said(&beside_schema)
    {
        return Some(format!(
            "a schema says everything about the layout, and {name} beside it would not count; leave one of them out"
        ));
    }
    if choices.keep_boot_entries && choices.boot_first {
        return Some(
            "the boot entries stay as they are (keep_boot_entries), and boot_first beside that would not count; leave one \
             of them out"
                .to_owned(),
        );
    }
    if matches!(choices.keep, Keep::Table(_))
        && let Some(name) = said(&beside_table)
    {
        return Some(format!(
            "the table of the target is kept, and {name} beside that would not count; leave one of them out"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Firmware, FreeSpace, KeptPartition, Layout};

    fn request(choices: &DeployChoices) -> Result<DeployRequest, String> {
        let image = "lab".parse().unwrap();
        DeployRequest::new(image, StoreSettings::default(), choices).map_err(|error| error.to_string())
    }

    #[test]
    fn a_schema_describes_disks_as_they_are() {
        let capture = |choices: &str| {
            let choices: CaptureChoices = serde_json::from_str(choices).unwrap();
            CaptureRequest::new("lab".parse().unwrap(), StoreSettings::default(), &choices)
                .unwrap()
                .options
                .when_dirty
        };
        assert_eq!(capture(r#"{"schema_only": true}"#), WhenDirty::Refuse);
        assert_eq!(capture(r#"{"schema_only": true, "when_dirty": "raw"}"#), WhenDirty::Raw);
        assert_eq!(capture("{}"), WhenDirty::Replay);
    }

    #[test]
    fn a_name_and_a_limit_that_no_machine_could_take_are_refused() {
        for (choices, part) in [
            (r#"{"computer_name": "pc-{colour}"}"#, "not known"),
            (r#"{"computer_name": "pc_1"}"#, "no name for a computer"),
            (r#"{"multicast": {"machines": 0}}"#, "multicast waits for"),
            (r#"{"scripts": [{"when": "after-imaging", "text": "", "limit_seconds": 0}]}"#, "0 seconds"),
            (
                r#"{"scripts": [{"when": "after-imaging", "text": "", "volume": "2"}]}"#,
                "before-file-copy alone",
            ),
        ] {
            let said = request(&serde_json::from_str(choices).unwrap()).unwrap_err();
            assert!(said.contains(part), "{said}");
        }
        assert!(request(&serde_json::from_str(r#"{"computer_name": "{name}-{serial:4}"}"#).unwrap()).is_ok());
    }

    #[test]
    fn a_copy_that_leads_out_of_its_volume_is_refused() {
        let copy =
            serde_json::json!({"artefact": "ab".repeat(32), "kind": "archive", "volume": "2", "to": "/../x"});
        let choices = serde_json::json!({"copies": [copy]});
        let said = request(&serde_json::from_value(choices).unwrap()).unwrap_err();
        assert!(said.contains("without .."), "{said}");
    }

    #[test]
    fn an_answer_that_no_answer_file_can_hold_is_refused() {
        let choices: DeployChoices =
            serde_json::from_str(r#"{"answers":[{"element":"Time Zone","value":"s3cret"}]}"#).unwrap();
        let said = request(&choices).unwrap_err();
        assert!(
            said.contains("\"Time Zone\" is no name of an element") && !said.contains("s3cret"),
            "{said}"
        );
    }

    #[test]
    fn a_profile_without_a_choice_is_the_command_line_without_an_option() {
        let request = request(&DeployChoices::default()).unwrap();
        assert_eq!(request.options, DeployOptions::of(Layout::Dynamic));
        assert!(request.targets.is_empty() && request.schema.is_none() && request.script.is_none());
    }

    #[test]
    fn a_wish_that_would_not_be_heard_is_refused() {
        let schema = serde_json::from_str(r#"{"format":1,"image":"lab","disks":[]}"#).unwrap();
        let schema = DeployChoices { schema: Some(schema), ..DeployChoices::default() };
        assert_eq!(request(&schema).unwrap().schema.unwrap().name, SCHEMA_NAME);
        let kept = KeptPartition { disk: None, number: 4 };
        let table = DeployChoices { keep: Keep::Table(Vec::new()), ..DeployChoices::default() };
        for (choices, name) in [
            (DeployChoices { expand: false, ..schema.clone() }, "expand"),
            (DeployChoices { shrink_lvm: false, ..schema.clone() }, "shrink_lvm"),
            (DeployChoices { keep: Keep::Partitions(vec![kept]), ..schema.clone() }, "keep"),
            (DeployChoices { free_space: FreeSpace::Zero, ..schema }, "free_space"),
            (DeployChoices { new_ids: true, ..table.clone() }, "new_ids"),
            (DeployChoices { boot_first: true, ..table.clone() }, "boot_first"),
            (
                DeployChoices { boot_first: true, keep_boot_entries: true, ..DeployChoices::default() },
                "keep_boot_entries",
            ),
            (DeployChoices { firmware: Some(Firmware::Uefi), ..table }, "firmware"),
        ] {
            let said = request(&choices).unwrap_err();
            assert!(said.contains(name), "{said}");
        }
    }
}
