//! What can be said to `remint admin`.

use clap::{Args, Subcommand, ValueEnum};
use remint::protocol::{ModelMatch, ModelMatchKind, ProfileName, Role};
use remint::schema::ArtefactId;
use std::path::PathBuf;
use std::str::FromStr;

#[derive(Debug, Args)]
pub struct Admin {
    /// The server; the one of the last login where none is named
    #[arg(long, global = true, value_name = "URL", env = "REMINT_SERVER")]
    pub server: Option<String>,
    /// File with a certificate authority (PEM) to trust besides the web's
    #[arg(long, global = true, value_name = "FILE", env = "REMINT_CA_FILE", hide_env_values = true)]
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the server's certificate in hexadecimal; no other is accepted then
    #[arg(long, global = true, value_name = "SHA256", env = "REMINT_FINGERPRINT", hide_env_values = true)]
    pub fingerprint: Option<remint::http::Fingerprint>,
    /// File with the token of a login, instead of the one that `login` keeps
    #[arg(long, global = true, value_name = "FILE", env = "REMINT_ADMIN_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// Print JSON, as docs/openapi.json describes it
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub action: AdminAction,
}

#[derive(Debug, Subcommand)]
pub enum AdminAction {
    /// Make the first administrator, or a new password for one, in the folder of a server of this machine
    Init {
        /// Directory of the server
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Name of the administrator
        #[arg(long, value_name = "NAME", default_value = "admin")]
        user: String,
        #[command(flatten)]
        password: PasswordArgument,
    },
    /// Log in; the token is kept in a file that only you can read, until it ends or you log out
    Login {
        /// Name
        user: String,
        #[command(flatten)]
        password: PasswordArgument,
    },
    /// End the login
    Logout,
    /// Machines: list (the default), show, add, change, delete
    Machines {
        #[command(subcommand)]
        action: Option<MachinesAction>,
    },
    /// Groups of machines: list (the default), set, delete
    Groups {
        #[command(subcommand)]
        action: Option<GroupsAction>,
    },
    /// Images: list (the default), show, set, delete, history
    Images {
        #[command(subcommand)]
        action: Option<AdminImagesAction>,
    },
    /// Profiles of images: list, show, set, delete
    Profiles {
        #[command(subcommand)]
        action: ProfilesAction,
    },
    /// Files that profiles name: list (the default), add, remove
    Artefacts {
        #[command(subcommand)]
        action: Option<ArtefactsAction>,
    },
    /// What a machine does at its next boot: capture, deploy, or reset, which withdraws it and forgets a failure
    ///
    /// Example: remint admin action pc-01 deploy lab/default
    Action {
        /// Name of the machine
        machine: String,
        /// What it does
        action: ActionArgument,
        /// The image and profile; what is assigned to the machine where none is named
        #[arg(value_name = "IMAGE[/PROFILE]")]
        profile: Option<ProfileName>,
    },
    /// Jobs: list (the default), show, deploy, capture, cancel, events, log
    Jobs {
        #[command(subcommand)]
        action: Option<JobsAction>,
    },
    /// Users: list (the default), set, delete
    Users {
        #[command(subcommand)]
        action: Option<UsersAction>,
    },
    /// Settings of the server: show (the default), set
    Settings {
        #[command(subcommand)]
        action: Option<SettingsAction>,
    },
    /// Who did what, newest first
    Audit {
        #[command(flatten)]
        page: PageArguments,
    },
}

#[derive(Debug, Default, Args)]
pub struct PageArguments {
    /// Only what is older than this number: the last one that was shown
    #[arg(long, value_name = "NUMBER")]
    pub before: Option<u64>,
    /// At most so many, up to 1000 [default: 1000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: Option<u32>,
}

impl PageArguments {
    /// As part of a URL behind its question mark.
    pub fn query(&self) -> String {
        let before = self.before.map(|before| format!("before={before}"));
        let limit = self.limit.map(|limit| format!("limit={limit}"));
        before.into_iter().chain(limit).collect::<Vec<_>>().join("&")
    }
}

#[derive(Debug, Args)]
pub struct PasswordArgument {
    /// File with the password in its first line; it is asked for where none is named
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ActionArgument {
    Capture,
    Deploy,
    Reset,
}

#[derive(Debug, Subcommand)]
pub enum MachinesAction {
    /// List them
    List,
    /// Show one
    Show {
        /// Name
        name: String,
    },
    /// Add one that was never seen
    Add {
        /// Name
        name: String,
        /// Hardware address of a card; may be given several times
        #[arg(long = "mac", value_name = "MAC", required = true)]
        macs: Vec<String>,
        /// The image and profile that its actions are about
        #[arg(long, value_name = "IMAGE[/PROFILE]")]
        assign: Option<ProfileName>,
    },
    /// Change one
    Change {
        /// Name
        name: String,
        /// Another name
        #[arg(long, value_name = "NAME")]
        rename: Option<String>,
        /// Hardware addresses of all its cards
        #[arg(long = "mac", value_name = "MAC")]
        macs: Vec<String>,
        /// The image and profile that its actions are about
        #[arg(long, value_name = "IMAGE[/PROFILE]")]
        assign: Option<ProfileName>,
    },
    /// Delete one; its history stays
    Delete {
        /// Name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum GroupsAction {
    /// List them
    List,
    /// Make a group of exactly these machines
    Set {
        /// Name
        name: String,
        /// Names of machines
        machines: Vec<String>,
    },
    /// Delete a group; its machines stay
    Delete {
        /// Name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum AdminImagesAction {
    /// List them
    List,
    /// Show one
    Show {
        /// Name
        name: String,
    },
    /// Make one, or change what is said about it
    Set {
        /// Name
        name: String,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// false: nobody gets it
        #[arg(long, value_name = "BOOL")]
        enabled: Option<bool>,
        /// true: a person at a machine may choose it
        #[arg(long, value_name = "BOOL")]
        on_demand: Option<bool>,
        /// true: it is neither captured again nor deleted; set by a capture
        #[arg(long, value_name = "BOOL")]
        protected: Option<bool>,
    },
    /// Delete one with every version
    Delete {
        /// Name
        name: String,
    },
    /// Show the jobs of one, newest first
    History {
        /// Name
        name: String,
        #[command(flatten)]
        page: PageArguments,
    },
}

#[derive(Debug, Subcommand)]
pub enum ProfilesAction {
    /// List those of an image
    List {
        /// Name of the image
        image: String,
    },
    /// Show one; with --json its choices can be kept in a file
    Show {
        /// Which
        #[arg(value_name = "IMAGE/PROFILE")]
        profile: ProfileName,
    },
    /// Make one, or change it
    Set {
        /// Which
        #[arg(value_name = "IMAGE/PROFILE")]
        profile: ProfileName,
        /// JSON file with all its choices
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Name of a profile of the same image to copy
        #[arg(long, value_name = "PROFILE", conflicts_with = "file")]
        clone_of: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// The machines that it is for, by model: equals:, starts:, ends: or contains: and a text
        #[arg(long = "for", value_name = "KIND:TEXT")]
        model: Option<ModelArgument>,
    },
    /// Delete one
    Delete {
        /// Which
        #[arg(value_name = "IMAGE/PROFILE")]
        profile: ProfileName,
    },
}

#[derive(Debug, Subcommand)]
pub enum ArtefactsAction {
    /// List them
    List,
    /// Send files and folders, which are packed, to the server, and show their SHA-256
    Add {
        /// Paths
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Delete one that no profile names
    Remove {
        /// Its SHA-256
        #[arg(value_name = "SHA256")]
        artefact: ArtefactId,
    },
}

#[derive(Debug, Subcommand)]
pub enum JobsAction {
    /// List them, newest first
    List {
        /// Only those that have not ended
        #[arg(long)]
        open: bool,
        /// Only those of one machine
        #[arg(long, value_name = "NAME")]
        machine: Option<String>,
        /// Only those of one image
        #[arg(long, value_name = "NAME")]
        image: Option<String>,
        #[command(flatten)]
        page: PageArguments,
    },
    /// Show one
    Show {
        /// Number
        id: u64,
    },
    /// Have an image deployed
    Deploy(JobArguments),
    /// Have a machine captured
    Capture(JobArguments),
    /// Withdraw a job, or stop it where it runs
    Cancel {
        /// Number
        id: u64,
    },
    /// Show what its machine told
    Events {
        /// Number
        id: u64,
    },
    /// Show the log of its machine
    Log {
        /// Number
        id: u64,
    },
}

#[derive(Debug, Args)]
pub struct JobArguments {
    /// The image and profile; what is assigned to each machine where none is named
    #[arg(value_name = "IMAGE[/PROFILE]")]
    pub profile: Option<ProfileName>,
    #[command(flatten)]
    pub target: TargetArguments,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct TargetArguments {
    /// For one machine
    #[arg(long, value_name = "NAME")]
    pub machine: Option<String>,
    /// For every machine of a group
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// For every machine of a model: equals:, starts:, ends: or contains: and a text
    #[arg(long, value_name = "KIND:TEXT")]
    pub model: Option<ModelArgument>,
}

#[derive(Debug, Subcommand)]
pub enum UsersAction {
    /// List them
    List,
    /// Make one, or change his role; with --new-password his password too
    Set {
        /// Name
        name: String,
        /// What he may do
        #[arg(long, value_name = "ROLE")]
        role: Option<RoleArgument>,
        /// Ask for a password
        #[arg(long)]
        new_password: bool,
        #[command(flatten)]
        password: PasswordArgument,
    },
    /// Delete one
    Delete {
        /// Name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum SettingsAction {
    /// Show them
    Show,
    /// Change some
    ///
    /// Example: remint admin settings set deploys_at_once=20 open_menu=true
    Set {
        /// NAME=VALUE, with the names that `settings` shows
        #[arg(required = true, value_name = "NAME=VALUE")]
        changes: Vec<String>,
    },
}

/// A model of machines, as `starts:OptiPlex`.
#[derive(Debug, Clone)]
pub struct ModelArgument(pub ModelMatch);

impl FromStr for ModelArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or_default();
        let kind = match kind {
            "equals" => ModelMatchKind::Equals,
            "starts" => ModelMatchKind::Starts,
            "ends" => ModelMatchKind::Ends,
            "contains" => ModelMatchKind::Contains,
            _ => return Err("write equals:, starts:, ends: or contains: and a text".to_owned()),
        };
        Ok(Self(ModelMatch { kind, text: rest.to_owned() }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArgument {
    /// Looks at everything
    Reader,
    /// Also sets actions and jobs, and images machines at their consoles
    Operator,
    /// Does everything
    Administrator,
}

crate::cli::arguments::same_variants!(RoleArgument => Role { Reader, Operator, Administrator });
