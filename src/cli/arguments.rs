//! What can be said on the command line.

use super::layout::LayoutArguments;
use clap::{Args, Parser, Subcommand, ValueEnum};
use remint::agent::{ImageReference, StoreSettings};
use remint::http::{Access, Fingerprint, Secret};
use remint::image::{ImageName, VersionName};
use remint::schema::{CaptureChoices, Compression, Destination, OnReadError, TrustedTable, WhenDirty};
use remint::units::{SectorSize, parse_size};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Captures the used blocks of a machine's disks into an image, and mints other machines from it.
///
/// DISK is a block device or a plain file that holds a raw disk, or serial:NUMBER or wwn:NAME as `inspect` shows them,
/// which mean the same disk at every start. STORE is a directory or a URL. IMAGE is NAME, which means its newest
/// version, or NAME@VERSION.
///
/// Exit codes: 0 done, 1 failed and nothing was changed, 2 wrong usage, 3 finished with problems, 4 failed
/// after the target was changed.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    /// How progress is shown: a bar on a terminal, or one JSON event per line on standard error
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    pub events: Events,
    /// Show warnings and errors only
    #[arg(long, short, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// Forms of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Events {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what disks hold; reads only
    ///
    /// Example: remint inspect /dev/sda
    Inspect(Inspect),
    /// Capture disks into a new version of an image; never writes to the source
    ///
    /// Of a disk with LUKS: with --luks-key /etc/remint/lab.key, a file that holds a passphrase
    ///
    /// Example: remint capture lab-2026 --to /srv/images --disk /dev/sda
    Capture(Box<Capture>),
    /// Show what a deploy would do; writes nothing
    ///
    /// Example: remint plan lab-2026 --from http://server:8460/store --size 500GB
    Plan(Plan),
    /// Overwrite disks with an image
    ///
    /// Example: remint deploy lab-2026 --from http://server:8460/store --disk /dev/sda
    Deploy(Deploy),
    /// Change a deployed disk as a profile says: the name of the computer, answers, boot drivers, files, scripts, boot entries
    /// (docs/customize.md)
    ///
    /// Example: remint customize /dev/sda --profile lab.json --dry-run
    Customize(super::customize::Customize),
    /// Ask a server for this machine's job and do it, without a person
    ///
    /// Example: remint run --server http://server:8460
    Run(Run),
    /// Show a menu on this terminal: deploy, capture, register, images and disks (docs/menu.md)
    ///
    /// Example: remint menu --server http://server:8460
    Menu(Menu),
    /// Check that an image is still what was captured
    ///
    /// Example: remint verify lab-2026 --from /srv/images --deep
    Verify(Verify),
    /// List, show and delete images, and collect chunks that nothing refers to
    ///
    /// Example: remint images /srv/images
    Images(Images),
    /// Serve images, and boot files for the network, over HTTP or HTTPS
    ///
    /// Example: remint serve --data /srv/remint --listen 0.0.0.0:8460 --token-file /etc/remint.token
    #[cfg(feature = "server")]
    Serve(Serve),
    /// Administer a server: machines, images, profiles, jobs, users
    ///
    /// Example: remint admin action pc-01 deploy lab-2026
    #[cfg(feature = "server")]
    Admin(Box<super::admin::arguments::Admin>),
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// The disks; all of this machine where none is named
    #[arg(value_name = "DISK")]
    pub disks: Vec<Destination>,
    /// Print JSON, as docs/schema/inspect.schema.json describes it
    #[arg(long)]
    pub json: bool,
    /// A file with a key that is tried on encrypted volumes (LUKS), to show what they hold; may be given several times
    #[arg(long = "luks-key", value_name = "FILE")]
    pub luks_keys: Vec<PathBuf>,
    #[command(flatten)]
    pub disk: DiskArguments,
}

#[derive(Debug, Args)]
pub struct DiskArguments {
    /// Logical sector size of plain files: 512 or 4096 [default: 512]
    #[arg(long, value_name = "BYTES", value_parser = sector_size)]
    pub sector_size: Option<SectorSize>,
}

#[derive(Debug, Args)]
pub struct TrustArguments {
    /// Which table counts where a disk has a GPT and an MBR that contradict each other
    #[arg(long, value_enum, value_name = "TABLE", default_value = "none")]
    pub trust: TrustArgument,
}

/// The tables that can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrustArgument {
    /// Refuse such a disk
    None,
    /// The GPT is the truth
    Gpt,
    /// The MBR is the truth ("remove GPT structures"); the source is not changed
    Mbr,
}

#[derive(Debug, Args)]
pub struct StoreArguments {
    /// File with the bearer token of the server
    #[arg(long, value_name = "FILE", env = "REMINT_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// File with a certificate authority (PEM) to trust besides the web's
    #[arg(long, value_name = "FILE", env = "REMINT_CA_FILE", hide_env_values = true)]
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the server's certificate in hexadecimal; no other is accepted then
    #[arg(long, value_name = "SHA256", env = "REMINT_FINGERPRINT", hide_env_values = true)]
    pub fingerprint: Option<Fingerprint>,
    /// For how long a request to a server is tried again where the network or the server fails
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub retry_for: u32,
}

#[derive(Debug, Args)]
pub struct Capture {
    /// Name of the image
    pub image: ImageName,
    /// The store
    #[arg(long, value_name = "STORE")]
    pub to: String,
    /// A disk to capture; may be given several times. The machine's only fixed disk where none is named
    #[arg(long = "disk", value_name = "DISK")]
    pub disks: Vec<String>,
    /// A volume to capture, by its name in `remint inspect` (d0-p2); may be given several times
    #[arg(long, value_name = "VOLUME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// A volume that keeps its size wherever the image is deployed, unless the deploy gives it another with --partition;
    /// may be given several times
    #[arg(long, value_name = "VOLUME", value_delimiter = ',')]
    pub fixed: Vec<String>,
    /// Look at the disks and send their description without data: `plan` works with it, `deploy` refuses it
    #[arg(long, conflicts_with_all = ["compress", "on_read_error", "spill"])]
    pub schema_only: bool,
    /// none, fast, or a zstd level from 1 to 19
    #[arg(long, value_name = "LEVEL", default_value = "3")]
    pub compress: Compression,
    /// What happens to a volume whose used blocks are not certain (dirty, hibernated, damaged, encrypted)
    #[arg(long, value_enum, value_name = "POLICY", default_value = "replay")]
    pub when_dirty: WhenDirtyArgument,
    /// A file or a pipe whose bytes are a passphrase of an encrypted volume (LUKS), to find out which of its blocks are used; what is
    /// captured stays encrypted. May be given several times: keys are tried on every volume until one opens it
    #[arg(long = "luks-key", value_name = "FILE")]
    pub luks_keys: Vec<String>,
    /// A file to be made for changes of a replay that have no room in memory; it is gone afterwards
    #[arg(long, value_name = "FILE")]
    pub spill: Option<PathBuf>,
    /// What happens to sectors that stay unreadable
    #[arg(long, value_enum, value_name = "POLICY", default_value = "fail")]
    pub on_read_error: OnReadErrorArgument,
    /// Capture a disk although it is mounted or otherwise in use
    #[arg(long)]
    pub allow_in_use: bool,
    /// A remark, shown in listings
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Number of threads [default: as many as cores, twice for a URL or network share, at most 16]
    #[arg(long, value_name = "COUNT")]
    pub workers: Option<NonZeroUsize>,
    #[command(flatten)]
    pub disk: DiskArguments,
    #[command(flatten)]
    pub trust: TrustArguments,
    #[command(flatten)]
    pub store: StoreArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenDirtyArgument {
    /// Replay its journal beside the disk, which is not changed; refuse what cannot be replayed
    Replay,
    /// Refuse the capture and say what to do
    Refuse,
    /// Capture every block of the volume
    Raw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnReadErrorArgument {
    /// The capture fails
    Fail,
    /// Store zeros in their place and record every bad range
    Zero,
}

#[derive(Debug, Args)]
pub struct Plan {
    /// The image
    pub image: ImageReference,
    /// The store
    #[arg(long, value_name = "STORE")]
    pub from: String,
    /// A target disk, as in d1=/dev/sda where it is to receive a certain disk of the image; may be given several times
    #[arg(long = "disk", value_name = "DISK", required_unless_present_any = ["sizes", "schema", "export"])]
    pub disks: Vec<String>,
    /// Size of a target disk that is not there, as in 500GB or 40GiB; may be given several times
    #[arg(long = "size", value_name = "SIZE", conflicts_with = "disks", value_parser = parse_size)]
    pub sizes: Vec<u64>,
    /// Write what is chosen here into a file that can be edited and given to --schema, instead of planning
    #[arg(long, value_name = "FILE", conflicts_with_all = ["schema", "json"])]
    pub export: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub layout: LayoutArguments,
    #[command(flatten)]
    pub disk: DiskArguments,
    #[command(flatten)]
    pub store: StoreArguments,
}

#[derive(Debug, Args)]
pub struct Deploy {
    /// The image
    pub image: ImageReference,
    /// The store
    #[arg(long, value_name = "STORE")]
    pub from: String,
    /// A target disk, which is overwritten; one for each disk of the image. With d0=/dev/sda and d0=/dev/sdb both
    /// receive disk 0 of the image
    #[arg(long = "disk", value_name = "DISK", required_unless_present = "schema")]
    pub disks: Vec<String>,
    /// Do not ask: for scripts
    #[arg(long)]
    pub yes: bool,
    /// Number of threads [default: one more than cores, twice the cores for a URL or network share, at most 16]
    #[arg(long, value_name = "COUNT")]
    pub workers: Option<NonZeroUsize>,
    #[command(flatten)]
    pub layout: LayoutArguments,
    #[command(flatten)]
    pub disk: DiskArguments,
    #[command(flatten)]
    pub store: StoreArguments,
}

#[derive(Debug, Args)]
pub struct Run {
    /// The server's URL
    #[arg(long, value_name = "URL", env = "REMINT_SERVER", hide_env_values = true)]
    pub server: String,
    /// Without a job, ask again after so many seconds, until there is one [default: end, with exit code 0]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub wait: Option<u32>,
    /// A file to be written with what the machine is to do now: reboot, poweroff, local, shell or menu. It stays as it
    /// is where nobody said anything
    #[arg(long, value_name = "FILE")]
    pub completion: Option<PathBuf>,
    /// A file with what is said of this machine (JSON, as in docs/protocol.md), to try a job out on disk files
    /// [default: what this machine is and has]
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// The log of this machine: it is sent with that of the job, and where that fails, with what the kernel warned of
    #[arg(long, value_name = "FILE", env = "REMINT_LOG", hide_env_values = true)]
    pub log: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArguments,
}

#[derive(Debug, Args)]
pub struct Menu {
    /// The server's URL; without one this machine can still be looked at
    #[arg(long, value_name = "URL", env = "REMINT_SERVER", hide_env_values = true)]
    pub server: Option<String>,
    /// A disk or disk file to show; may be given several times. All disks of this machine where none is named
    #[arg(long = "disk", value_name = "DISK")]
    pub disks: Vec<Destination>,
    /// A file to be written with what was chosen at the end: reboot, poweroff, local, shell or network. With it the menu
    /// offers these
    #[arg(long, value_name = "FILE")]
    pub completion: Option<PathBuf>,
    /// A file with what is said of this machine (JSON, as in docs/protocol.md) [default: what this machine is and has]
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// The log of this machine
    #[arg(long, value_name = "FILE", env = "REMINT_LOG", hide_env_values = true)]
    pub log: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArguments,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// The image
    pub image: ImageReference,
    /// The store
    #[arg(long, value_name = "STORE")]
    pub from: String,
    /// Read, decompress and hash every chunk
    #[arg(long)]
    pub deep: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Number of threads [default: one more than cores, twice the cores for a URL or network share, at most 16]
    #[arg(long, value_name = "COUNT")]
    pub workers: Option<NonZeroUsize>,
    #[command(flatten)]
    pub store: StoreArguments,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = false)]
pub struct Images {
    /// The store
    #[arg(value_name = "STORE")]
    pub location: String,
    #[command(subcommand)]
    pub action: Option<ImagesAction>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArguments,
}

#[derive(Debug, Subcommand)]
pub enum ImagesAction {
    /// List images with version, date, disks and sizes (the default)
    List {
        /// Only this one
        image: Option<ImageName>,
    },
    /// Show the disks and volumes of an image
    Show {
        /// The image
        image: ImageReference,
    },
    /// Delete one version of an image; its chunks stay until they are collected
    Delete {
        /// NAME@VERSION
        image: ImageReference,
    },
    /// Delete the chunks that no image refers to; safe beside a running capture
    Collect {
        /// Say what would be deleted, and delete nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[cfg(feature = "server")]
#[derive(Debug, Args)]
pub struct Serve {
    /// Directory for everything the server keeps; images go to its folder `store`
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder of boot files (made by `make pxe`), served under /boot/ to everyone, without the token
    #[arg(long, value_name = "DIR")]
    pub boot: Option<PathBuf>,
    /// Address and port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8460")]
    pub listen: std::net::SocketAddr,
    /// File with a token that opens the whole store; without it, and without users, the store is open
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificate chain (PEM); the server then speaks HTTPS only
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Speak HTTPS with a certificate of the server's own, made once and kept in DIR/tls; its fingerprint is printed
    #[arg(long, conflicts_with = "tls_cert")]
    pub tls_generate: bool,
    /// Leave the store open to everyone although there are users
    #[arg(long, conflicts_with = "token_file")]
    pub open_store: bool,
    /// File with a token that machines have to show (remint.token=) before they hear of their jobs
    #[arg(long, value_name = "FILE")]
    pub boot_token_file: Option<PathBuf>,
}

impl Capture {
    /// What was chosen with options.
    pub fn choices(&self) -> CaptureChoices {
        CaptureChoices {
            disks: self.disks.clone(),
            only: self.only.clone(),
            fixed: self.fixed.clone(),
            schema_only: self.schema_only,
            compression: self.compress,
            when_dirty: self.when_dirty.into(),
            luks_keys: self.luks_keys.clone(),
            on_read_error: self.on_read_error.into(),
            trust: self.trust.trust.into(),
            comment: self.comment.clone(),
        }
    }
}

impl StoreArguments {
    /// How the server is reached, with the token read from its file.
    pub fn access(&self, stop: Arc<AtomicBool>) -> anyhow::Result<Access> {
        let token = self.token_file.as_deref().map(super::commands::read_token).transpose()?;
        Ok(Access {
            token: token.as_deref().map(Secret::new),
            ca: self.ca_file.clone(),
            fingerprint: self.fingerprint,
            retry_for: Duration::from_secs(self.retry_for.into()),
            stop,
        })
    }

    /// The settings of a store at `location`.
    pub fn settings(&self, location: &str, stop: Arc<AtomicBool>) -> anyhow::Result<StoreSettings> {
        Ok(StoreSettings { location: location.to_owned(), access: self.access(stop)? })
    }
}

impl ImagesAction {
    /// The version that is to be deleted has to be named: the newest is never meant by accident.
    pub fn named_version(image: ImageReference) -> Option<(ImageName, VersionName)> {
        image.version.map(|version| (image.image, version))
    }
}

fn sector_size(text: &str) -> Result<SectorSize, String> {
    let bytes: u32 = text.parse().map_err(|_| format!("\"{text}\" is not a number of bytes"))?;
    SectorSize::try_from(bytes).map_err(|error| error.to_string())
}

/// Makes an argument's choice the library's.
macro_rules! same_variants {
    ($from:ty => $to:ty { $($variant:ident),* }) => {
        impl From<$from> for $to {
            fn from(argument: $from) -> Self {
                match argument {
                    $(<$from>::$variant => Self::$variant),*
                }
            }
        }
    };
}
pub(in crate::cli) use same_variants;
same_variants!(WhenDirtyArgument => WhenDirty { Replay, Refuse, Raw });
same_variants!(OnReadErrorArgument => OnReadError { Fail, Zero });
same_variants!(TrustArgument => TrustedTable { None, Gpt, Mbr });
