//! What can be said about a layout.

use super::arguments::same_variants;
use super::artefact::CopyArgument;
use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args, ValueEnum};
use remint::agent::{Artefacts, DeployRequest, ImageReference, SchemaFile, StoreSettings};
use remint::plan::Seed;
use remint::schema::{
    Answer, AnswerFault, BootDriver, BootLoaderChoice, ChosenVolume, CopyKind, DeployChoices, DeployScript,
    FileCopy, FileMode, Firmware, FreeSpace, Keep, KeptPartition, Layout, Owner, PartitionWish,
    SCRIPT_LIMIT_SECONDS, ScriptTime,
};
use remint::units::SectorSize;
use std::path::{Path, PathBuf};

/// Nobody writes a larger schema.
const MOST_SCHEMA_BYTES: u64 = 16 << 20;
/// Nor a larger script.
const MOST_SCRIPT_BYTES: u64 = 1 << 20;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("deploy_scripts").args(["scripts_before", "scripts_before_copy", "scripts_after"])
    .multiple(true))]
pub struct LayoutArguments {
    /// A file that says what is deployed, where to and how large, made by `plan --export` and edited
    /// (docs/schema/deploy.schema.json)
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "layout", "volume", "firmware", "free_space", "no_expand", "no_shrink", "no_shrink_lvm", "wishes", "without",
        "keep", "keep_table", "new_ids", "keep_boot_entries", "boot_first",
    ])]
    pub schema: Option<PathBuf>,
    /// How partitions are laid out
    #[arg(long, value_enum, value_name = "METHOD", default_value = "dynamic")]
    pub layout: LayoutArgument,
    /// The script that partitions with --layout script. /bin/sh runs it on a blank disk as large as the target, whose
    /// table is then checked, shown and written (docs/layouts.md names its variables)
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// How long the script may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "script")]
    pub script_limit: u32,
    /// The volume with the system, such as d0-p2, with --layout standard; the only one that it can be where none is named
    #[arg(long, value_name = "VOLUME", conflicts_with = "keep_table")]
    pub volume: Option<String>,
    /// What starts the machine, with --layout standard [default: what started this one, if the disk is one of its own]
    #[arg(long, value_enum, value_name = "FIRMWARE", conflicts_with = "keep_table")]
    pub firmware: Option<FirmwareArgument>,
    /// What new GUIDs are derived from, 32 hexadecimal digits: the same give the same plan again [default: random]
    #[arg(long, value_name = "DIGITS")]
    pub seed: Option<Seed>,
    /// What happens to space that no used block occupies
    #[arg(long, value_enum, value_name = "POLICY", default_value = "discard")]
    pub free_space: FreeSpaceArgument,
    /// Leave file systems at their captured size
    #[arg(long)]
    pub no_expand: bool,
    /// Let no volume become smaller than it was captured; a disk that is too small for that is refused
    #[arg(long)]
    pub no_shrink: bool,
    /// The same for logical volumes alone
    #[arg(long)]
    pub no_shrink_lvm: bool,
    /// Size of one partition with --layout custom: keep, share, a size such as 40GiB, or 25% of the disk; may be
    /// given several times (the names are those of `images STORE show`)
    #[arg(long = "partition", value_name = "VOLUME=SIZE")]
    pub wishes: Vec<PartitionWish>,
    /// A partition (d0-p4), logical volume (g0-l1) or disk (d1) of the image that is not deployed; may be given several
    /// times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub without: Vec<String>,
    /// A partition of the target that stays as it is, with its data, by its number there; the others are laid out
    /// around it. May be given several times; DISK:NUMBER where there are several targets
    #[arg(long, value_name = "PARTITION", value_delimiter = ',', conflicts_with = "keep_table")]
    pub keep: Vec<KeptPartition>,
    /// Leave the target's partition table, and restore volumes into the partitions and logical volumes that are there
    #[arg(long, conflicts_with_all = ["layout", "wishes", "without"])]
    pub keep_table: bool,
    /// Give the disk and its partitions new GUIDs (an MBR a new signature), and volume groups new UUIDs, so that it can be
    /// in one machine with the captured one. fstab, crypttab, GRUB and systemd-boot follow
    #[arg(long, conflicts_with = "keep_table")]
    pub new_ids: bool,
    /// Leave the boot entries of this machine's UEFI firmware as they are. Otherwise those of what was captured follow,
    /// and one is made where none starts what was deployed
    #[arg(long)]
    pub keep_boot_entries: bool,
    /// What the system is called from now on, Linux or Windows. {serial}, {asset} and {mac} stand for what this machine says,
    /// {serial:6} for the last six characters of it, {name} for what the server of a job calls it
    #[arg(long, value_name = "NAME")]
    pub computer_name: Option<String>,
    /// What an element of Windows' answer file (unattend.xml) holds from now on, such as TimeZone=UTC, wherever it is there.
    /// May be given several times; of several for one element the last counts
    #[arg(long = "answer", value_name = "ELEMENT=VALUE")]
    pub answers: Vec<String>,
    /// Empty the page files and the file of hibernation of a deployed Windows, which makes them anew
    #[arg(long)]
    pub empty_page_files: bool,
    /// Storage drivers that a deployed Windows starts with, where it has them, so that it finds its disk at another controller
    /// (docs/customize.md): usual, storahci, stornvme, iaStorV, viostor, ...
    #[arg(long, value_name = "DRIVER", value_delimiter = ',')]
    pub boot_drivers: Vec<BootDriver>,
    /// Give each deployed Linux SSH host keys of its own, of the types that it has, made by its own ssh-keygen
    #[arg(long)]
    pub new_ssh_host_keys: bool,
    /// Whether a deployed Linux installs its boot loader on the disk anew, with its own grub-install
    #[arg(long, value_name = "WHETHER", default_value = "auto")]
    pub boot_loader: BootLoaderArgument,
    /// A script that /bin/sh runs here before a target is opened for writing; may be given several times
    /// (docs/customize.md names its variables)
    #[arg(long = "script-before", value_name = "FILE")]
    pub scripts_before: Vec<PathBuf>,
    /// The same when the volumes have their content and size, before files are copied into them
    #[arg(long = "script-before-copy", value_name = "FILE")]
    pub scripts_before_copy: Vec<PathBuf>,
    /// A volume that is mounted for the scripts before files are copied, as in --copy
    #[arg(long, value_name = "VOLUME", requires = "scripts_before_copy")]
    pub script_volume: Option<String>,
    /// The same when the target is complete
    #[arg(long = "script-after", value_name = "FILE")]
    pub scripts_after: Vec<PathBuf>,
    /// How long each of these scripts may take
    #[arg(long, value_name = "SECONDS", default_value_t = SCRIPT_LIMIT_SECONDS, requires = "deploy_scripts",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub scripts_limit: u32,
    /// Have the deploy fail where one of these scripts does; otherwise that is a problem, exit code 3
    #[arg(long, requires = "deploy_scripts")]
    pub scripts_fatal: bool,
    /// A file or folder that is copied into a volume, as in lab.conf=d0-p2:/etc/lab.conf; may be given several times. VOLUME is
    /// a volume of the image, the number of a partition of the target, or GROUP/NAME. With a slash at the end of the path, a
    /// tar (also .tar.gz, .tar.zst) is unpacked there, and another file keeps its name
    #[arg(long = "copy", value_name = "PATH=VOLUME:/TO")]
    pub copies: Vec<CopyArgument>,
    /// Numbers of the user and group of everything that is copied, as in 1000:1000
    #[arg(long, value_name = "USER:GROUP", requires = "copies")]
    pub copy_owner: Option<Owner>,
    /// Mode of everything that is copied, as in 0644; folders get an x beside each r
    #[arg(long, value_name = "MODE", requires = "copies")]
    pub copy_mode: Option<FileMode>,
    /// Have this machine's UEFI firmware start what is deployed first, before the network too. Otherwise the network stays
    /// first where it was
    #[arg(long, conflicts_with_all = ["keep_boot_entries", "keep_table"])]
    pub boot_first: bool,
    /// A volume to restore with --keep-table, such as d0-p2, d0-p2=3 to name the target's partition, or g0-l1=GROUP/NAME to
    /// name its logical volume; all where none is named. May be given several times
    #[arg(long, value_name = "VOLUME", value_delimiter = ',', requires = "keep_table")]
    pub only: Vec<ChosenVolume>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayoutArgument {
    /// The same places as on the captured disk
    Original,
    /// Fixed partitions keep their size, the others share what is left in proportion
    Dynamic,
    /// As dynamic, with the sizes of --partition
    Custom,
    /// The partitions that --script makes
    Script,
    /// That of a fresh installation for the firmware, with one volume and new boot files: from BIOS to UEFI and back
    Standard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FirmwareArgument {
    /// A BIOS, or a UEFI that plays one
    Bios,
    /// UEFI
    Uefi,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BootLoaderArgument {
    /// Where that of the image would not start from the new layout
    Auto,
    /// Never
    Keep,
    /// In any case
    Install,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FreeSpaceArgument {
    /// Discard it where the device can, otherwise keep it
    Discard,
    /// Leave what stood there
    Keep,
    /// Overwrite it with zeros
    Zero,
}

same_variants!(LayoutArgument => Layout { Original, Dynamic, Custom, Script, Standard });
same_variants!(FirmwareArgument => Firmware { Bios, Uefi });
same_variants!(BootLoaderArgument => BootLoaderChoice { Auto, Keep, Install });
same_variants!(FreeSpaceArgument => FreeSpace { Discard, Keep, Zero });

impl LayoutArguments {
    /// What was chosen with options, but for the schema, of which mistakes have a place in its text.
    /// The files to copy go to `artefacts`.
    pub fn choices(&self, targets: &[String], artefacts: &mut Artefacts) -> Result<DeployChoices> {
        let script =
            self.script.as_deref().map(|path| read_text(path, "script", MOST_SCRIPT_BYTES)).transpose()?;
        Ok(DeployChoices {
            // Only a server has sessions.
            multicast: None,
            targets: targets.to_vec(),
            schema: None,
            layout: self.layout.into(),
            volume: self.volume.clone(),
            firmware: self.firmware.map(Into::into),
            script: script.map(|(_, text)| text),
            script_limit_seconds: self.script_limit,
            free_space: self.free_space.into(),
            expand: !self.no_expand,
            shrink: !self.no_shrink,
            shrink_lvm: !self.no_shrink_lvm,
            partitions: self.wishes.clone(),
            without: self.without.clone(),
            keep: if self.keep_table {
                Keep::Table(self.only.clone())
            } else if self.keep.is_empty() {
                Keep::Nothing
            } else {
                Keep::Partitions(self.keep.clone())
            },
            new_ids: self.new_ids,
            keep_boot_entries: self.keep_boot_entries,
            computer_name: self.computer_name.clone(),
            answers: self.answers()?,
            empty_page_files: self.empty_page_files,
            boot_drivers: self.boot_drivers.clone(),
            new_ssh_host_keys: self.new_ssh_host_keys,
            boot_loader: self.boot_loader.into(),
            copies: self.copies(artefacts)?,
            scripts: self.deploy_scripts()?,
            boot_first: self.boot_first,
        })
    }

    /// A request for what was chosen.
    pub fn request(
        &self,
        image: ImageReference,
        store: StoreSettings,
        targets: &[String],
        sector_size: Option<SectorSize>,
    ) -> Result<DeployRequest> {
        let mut artefacts = Artefacts::default();
        let choices = self.choices(targets, &mut artefacts)?;
        let mut request = DeployRequest::new(image, store, &choices)?;
        request.artefacts = artefacts;
        request.disk_settings.sector_size = sector_size;
        request.options.seed = self.seed;
        request.schema = self.schema_file()?;
        if let (Some(file), Some(path)) = (&mut request.script, &self.script) {
            file.name = path.display().to_string();
        }
        // Without priorities they are in this order.
        let paths = self.scripts_before.iter().chain(&self.scripts_before_copy).chain(&self.scripts_after);
        for (script, path) in request.scripts.iter_mut().zip(paths) {
            script.name = path.display().to_string();
        }
        Ok(request)
    }

    /// Read here, and not with the other arguments: what is wrong would be repeated there, and may be a password.
    fn answers(&self) -> Result<Vec<Answer>> {
        Ok(self.answers.iter().map(|answer| answer.parse()).collect::<Result<_, AnswerFault>>()?)
    }

    fn deploy_scripts(&self) -> Result<Vec<DeployScript>> {
        let before = self.scripts_before.iter().map(|path| (ScriptTime::BeforeImaging, path));
        let after = self.scripts_after.iter().map(|path| (ScriptTime::AfterImaging, path));
        let before_copy = self.scripts_before_copy.iter().map(|path| (ScriptTime::BeforeFileCopy, path));
        let read = |(when, path): (ScriptTime, &PathBuf)| {
            let volume = self.script_volume.clone().filter(|_| when == ScriptTime::BeforeFileCopy);
            let (_, text) = read_text(path, "script", MOST_SCRIPT_BYTES)?;
            let (limit_seconds, fatal) = (self.scripts_limit, self.scripts_fatal);
            Ok(DeployScript { when, text, priority: 0, limit_seconds, volume, fatal })
        };
        before.chain(before_copy).chain(after).map(read).collect()
    }

    fn copies(&self, artefacts: &mut Artefacts) -> Result<Vec<FileCopy>> {
        let take = |argument: &CopyArgument| {
            let (artefact, kind) = super::artefact::open(&argument.path, argument.to.ends_with('/'))?;
            let name = argument.path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            let to = match kind {
                CopyKind::File if argument.to.ends_with('/') => format!("{}{name}", argument.to),
                _ => argument.to.clone(),
            };
            let (id, volume) = (artefact.id(), argument.volume.clone());
            artefacts.add(artefact);
            let (owner, mode) = (self.copy_owner, self.copy_mode);
            Ok(FileCopy { artefact: id, kind, volume, to, priority: 0, owner, mode })
        };
        self.copies.iter().map(take).collect()
    }

    fn schema_file(&self) -> Result<Option<SchemaFile>> {
        let read = |path: &PathBuf| {
            read_text(path, "schema", MOST_SCHEMA_BYTES).map(|(name, text)| SchemaFile { name, text })
        };
        self.schema.as_ref().map(read).transpose()
    }
}

/// Name and text of a file.
pub fn read_text(path: &Path, what: &str, most_bytes: u64) -> Result<(String, String)> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).with_context(|| format!("reading the {what} {name}"))?.len();
    if size > most_bytes {
        bail!("{name} has {size} bytes and is no {what}");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("reading the {what} {name}"))?;
    Ok((name, text))
}
