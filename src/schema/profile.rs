//! A profile: everything that can be chosen about the jobs of an image, as a server keeps it and a job carries it.
//!
//! What is not said is as the command line has it without options. What a profile says and this program does not know
//! is refused, never left out: a wish that is not heard could cost a disk.

use super::{
    Answer, BootDriver, BootLoaderChoice, Compression, DeploySchema, DeployScript, FileCopy, Firmware,
    FreeSpace, Keep, Layout, Multicast, OnReadError, PartitionWish, WhenDirty,
};
use serde::{Deserialize, Serialize};

/// A whole profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// For jobs that capture.
    #[serde(skip_serializing_if = "is_default")]
    pub capture: CaptureChoices,
    /// For jobs that deploy.
    #[serde(skip_serializing_if = "is_default")]
    pub deploy: DeployChoices,
    /// What the machine does when a job has ended.
    #[serde(skip_serializing_if = "is_default")]
    pub completion: Completion,
    /// What the network boot hands to the machine.
    #[serde(skip_serializing_if = "is_default")]
    pub network_boot: NetworkBoot,
}

/// What is chosen about a capture.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureChoices {
    /// The disks: paths, `serial:` or `wwn:` names. The machine's only fixed disk where none is named.
    #[serde(skip_serializing_if = "is_default")]
    pub disks: Vec<String>,
    /// Names of the volumes that are captured; all where none is named.
    #[serde(skip_serializing_if = "is_default")]
    pub only: Vec<String>,
    /// Names of the volumes that keep their size when the image is deployed, unless the deploy says otherwise.
    #[serde(skip_serializing_if = "is_default")]
    pub fixed: Vec<String>,
    /// True: disks are looked at, and their manifest is sent without data ("only upload schema").
    #[serde(skip_serializing_if = "is_default")]
    pub schema_only: bool,
    /// How chunks are compressed.
    #[serde(skip_serializing_if = "is_default")]
    pub compression: Compression,
    /// What happens to a volume whose used blocks are not certain.
    #[serde(skip_serializing_if = "is_default")]
    pub when_dirty: WhenDirty,
    /// Paths of files, on the machine that captures, whose content opens encrypted volumes (LUKS). Never the keys themselves.
    #[serde(skip_serializing_if = "is_default")]
    pub luks_keys: Vec<String>,
    /// What happens to sectors that stay unreadable.
    #[serde(skip_serializing_if = "is_default")]
    pub on_read_error: OnReadError,
    /// Which table counts where a disk has two that contradict each other.
    #[serde(skip_serializing_if = "is_default")]
    pub trust: TrustedTable,
    /// A remark, shown in listings.
    #[serde(skip_serializing_if = "is_default")]
    pub comment: Option<String>,
}

/// Which table counts where a GPT and an MBR contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustedTable {
    /// Such a disk is refused.
    #[default]
    None,
    /// The GPT is the truth.
    Gpt,
    /// The MBR is the truth ("remove GPT structures").
    Mbr,
}

/// What is chosen about a deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeployChoices {
    /// The target disks, each perhaps with the disk of the image that it receives: `d0=serial:WD`. Where none is named,
    /// the machine's only fixed disk.
    #[serde(skip_serializing_if = "is_default")]
    pub targets: Vec<String>,
    /// A schema file's content. It says everything about the layout, and the choices below are not to be made beside it.
    #[serde(skip_serializing_if = "is_default")]
    pub schema: Option<DeploySchema>,
    /// How partitions are laid out.
    #[serde(skip_serializing_if = "is_default")]
    pub layout: Layout,
    /// The volume with the system, for the layout standard.
    #[serde(skip_serializing_if = "is_default")]
    pub volume: Option<String>,
    /// What starts the machine, for the layout standard; what started the agent where nothing is said.
    #[serde(skip_serializing_if = "is_default")]
    pub firmware: Option<Firmware>,
    /// Text of the script that partitions, for the layout script.
    #[serde(skip_serializing_if = "is_default")]
    pub script: Option<String>,
    /// How long that script may take, in seconds.
    #[serde(skip_serializing_if = "is_minute")]
    pub script_limit_seconds: u32,
    /// What happens to space that no used block occupies.
    #[serde(skip_serializing_if = "is_default")]
    pub free_space: FreeSpace,
    /// False: file systems stay at their captured size ("don't expand volumes").
    #[serde(skip_serializing_if = "is_true")]
    pub expand: bool,
    /// False: no volume becomes smaller than it was captured ("don't shrink volumes").
    #[serde(skip_serializing_if = "is_true")]
    pub shrink: bool,
    /// False: no logical volume becomes smaller ("don't shrink LVM volumes").
    #[serde(skip_serializing_if = "is_true")]
    pub shrink_lvm: bool,
    /// Sizes of partitions, for the layout custom.
    #[serde(skip_serializing_if = "is_default")]
    pub partitions: Vec<PartitionWish>,
    /// Partitions and disks of the image that are not deployed.
    #[serde(skip_serializing_if = "is_default")]
    pub without: Vec<String>,
    /// What of the target's present content stays.
    #[serde(skip_serializing_if = "is_default")]
    pub keep: Keep,
    /// True: new GUIDs or a new signature ("randomize GUIDs").
    #[serde(skip_serializing_if = "is_default")]
    pub new_ids: bool,
    /// True: the boot entries of the machine's firmware stay as they are ("don't update NVRAM").
    #[serde(skip_serializing_if = "is_default")]
    pub keep_boot_entries: bool,
    /// What the systems on the targets are called from now on ("change computer name"); `{serial}`, `{asset}`, `{mac}` and
    /// `{name}` in it stand for what the machine says.
    #[serde(skip_serializing_if = "is_default")]
    pub computer_name: Option<String>,
    /// What elements of the answer files of a Windows on the targets hold ("sysprep tags").
    #[serde(skip_serializing_if = "is_default")]
    pub answers: Vec<Answer>,
    /// True: page files, and the file of hibernation, of a Windows on the targets are emptied. Windows makes them anew.
    #[serde(skip_serializing_if = "is_default")]
    pub empty_page_files: bool,
    /// Storage drivers that a Windows on the targets starts with, where it has them.
    #[serde(skip_serializing_if = "is_default")]
    pub boot_drivers: Vec<BootDriver>,
    /// True: the Linux systems on the targets get SSH host keys of their own.
    #[serde(skip_serializing_if = "is_default")]
    pub new_ssh_host_keys: bool,
    /// Whether a deployed Linux installs its boot loader (GRUB) on its disk anew.
    #[serde(skip_serializing_if = "is_default")]
    pub boot_loader: BootLoaderChoice,
    /// Files that are copied into the file systems that it writes.
    #[serde(skip_serializing_if = "is_default")]
    pub copies: Vec<FileCopy>,
    /// Scripts that run before and after it, and before files are copied.
    #[serde(skip_serializing_if = "is_default")]
    pub scripts: Vec<DeployScript>,
    /// True: the firmware starts what was deployed first, before the network too ("set boot manager first").
    #[serde(skip_serializing_if = "is_default")]
    pub boot_first: bool,
    /// The image is taken from a session of many machines, where the server sends one.
    #[serde(skip_serializing_if = "is_default")]
    pub multicast: Option<Multicast>,
}

impl Default for DeployChoices {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            schema: None,
            layout: Layout::default(),
            volume: None,
            firmware: None,
            script: None,
            script_limit_seconds: 60,
            free_space: FreeSpace::default(),
            expand: true,
            shrink: true,
            shrink_lvm: true,
            partitions: Vec::new(),
            without: Vec::new(),
            keep: Keep::default(),
            new_ids: false,
            keep_boot_entries: false,
            computer_name: None,
            answers: Vec::new(),
            empty_page_files: false,
            boot_drivers: Vec::new(),
            new_ssh_host_keys: false,
            boot_loader: BootLoaderChoice::default(),
            copies: Vec::new(),
            scripts: Vec::new(),
            boot_first: false,
            multicast: None,
        }
    }
}

/// What the machine does when a job has ended ("task completed action").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Completion {
    /// After success; what the kernel's command line says where nothing is said here.
    #[serde(skip_serializing_if = "is_default")]
    pub success: Option<MachineEnd>,
    /// After failure.
    #[serde(skip_serializing_if = "is_default")]
    pub failure: Option<MachineEnd>,
}

/// What a machine can do at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineEnd {
    /// It restarts.
    Reboot,
    /// It is switched off.
    Poweroff,
    /// It restarts from its own disk.
    Local,
    /// A person gets a shell.
    Shell,
}

/// What the network boot hands to a machine that has a job of this profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkBoot {
    /// The kernel: a path below the server's boot files, or a URL. The server's own where nothing is said.
    #[serde(skip_serializing_if = "is_default")]
    pub kernel: Option<String>,
    /// The boot image.
    #[serde(skip_serializing_if = "is_default")]
    pub boot_image: Option<String>,
    /// Behind the kernel arguments of the server.
    #[serde(skip_serializing_if = "is_default")]
    pub arguments: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

// The forms that serde asks for.
fn is_true(value: &bool) -> bool {
    *value
}

fn is_minute(value: &u32) -> bool {
    *value == DeployChoices::default().script_limit_seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_the_command_line_has_it_and_what_is_not_known_is_refused() {
        let empty: Profile = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, Profile::default());
        assert_eq!(serde_json::to_string(&empty).unwrap(), "{}");
        assert!(empty.deploy.expand && empty.deploy.shrink && empty.deploy.shrink_lvm);
        for text in [
            r#"{"deplyo":{}}"#,
            r#"{"deploy":{"randomise":true}}"#,
            r#"{"completion":{"success":"explode"}}"#,
            r#"{"capture":{"compression":"20"}}"#,
        ] {
            assert!(serde_json::from_str::<Profile>(text).is_err(), "{text}");
        }
        let said = r#"{"deploy":{"layout":"original","expand":false},"completion":{"failure":"poweroff"}}"#;
        let profile: Profile = serde_json::from_str(said).unwrap();
        assert_eq!(serde_json::to_string(&profile).unwrap(), said);
    }
}
