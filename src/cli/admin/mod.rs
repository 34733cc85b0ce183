//! `remint admin`: what administrators say to a server, each as one request over REST.

pub mod arguments;
mod client;
mod login;
mod show;

use super::artefact;
use super::commands::json;
use super::listener::Listener;
use super::print;
use anyhow::{Context, Result, bail};
use arguments::{
    ActionArgument, Admin, AdminAction, AdminImagesAction, ArtefactsAction, GroupsAction, JobArguments,
    JobsAction, MachinesAction, PageArguments, PasswordArgument, ProfilesAction, SettingsAction, UsersAction,
};
use client::{Ask, Client, encoded, part};
use login::Kept;
use remint::agent::ExitCode;
use remint::linux::Artefact;
use remint::protocol::{
    ActionRequest, ArtefactRecord, AuditEntry, GroupRecord, GroupRequest, ImageChange, ImageRecord, JobEvent,
    JobRecord, JobRequest, JobTarget, Login, MachineChange, MachineRecord, Operation, ProfileChange,
    ProfileName, ProfileRecord, Settings, UserLogin, UserRecord, UserRequest,
};
use remint::units::u64_from;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Carries out a command.
pub fn run(arguments: Admin, listener: &Listener) -> Result<ExitCode> {
    if let AdminAction::Init { data, user, password } = &arguments.action {
        let password = new_password(password)?;
        remint::server::make_administrator(data, user, &password)?;
        print(&format!("{user} is an administrator of the server in {}\n", data.display()));
        return Ok(ExitCode::Done);
    }
    let client = Client::new(&arguments, listener.stop())?;
    let shown = Shown { client: &client, json: arguments.json };
    match arguments.action {
        AdminAction::Init { .. } => {}
        AdminAction::Login { user, password } => log_in(&client, user, &password)?,
        AdminAction::Logout => {
            let ended = client.text(&Ask::new(Method::DELETE, "login"));
            Kept::forget()?;
            ended?;
        }
        AdminAction::Machines { action } => machines(&shown, action.unwrap_or(MachinesAction::List))?,
        AdminAction::Groups { action } => groups(&shown, action.unwrap_or(GroupsAction::List))?,
        AdminAction::Images { action } => images(&shown, action.unwrap_or(AdminImagesAction::List))?,
        AdminAction::Profiles { action } => profiles(&shown, action)?,
        AdminAction::Artefacts { action } => artefacts(&shown, action.unwrap_or(ArtefactsAction::List))?,
        AdminAction::Action { machine, action, profile } => set_action(&shown, &machine, action, profile)?,
        AdminAction::Jobs { action } => {
            let page = PageArguments::default();
            let all = JobsAction::List { open: false, machine: None, image: None, page };
            jobs(&shown, action.unwrap_or(all))?;
        }
        AdminAction::Users { action } => users(&shown, action.unwrap_or(UsersAction::List))?,
        AdminAction::Settings { action } => settings(&shown, action.unwrap_or(SettingsAction::Show))?,
        AdminAction::Audit { page } => {
            let ask = Ask::get(format!("audit?{}", page.query()));
            shown.show::<Vec<AuditEntry>>(&ask, |entries| show::audit(entries))?;
        }
    }
    Ok(ExitCode::Done)
}

/// Asks, and shows the answer.
struct Shown<'a> {
    client: &'a Client,
    json: bool,
}

impl Shown<'_> {
    fn show<T: DeserializeOwned + Serialize>(
        &self,
        ask: &Ask,
        text: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        let answer: T = self.client.ask(ask)?;
        print(&if self.json { json(&answer)? } else { text(&answer) });
        Ok(())
    }

    /// For what is answered with nothing.
    fn done(&self, ask: &Ask) -> Result<()> {
        self.client.text(ask).map(drop)
    }
}

fn new_password(argument: &PasswordArgument) -> Result<String> {
    let password = login::password(argument, "New password")?;
    if argument.password_file.is_none() && login::password(argument, "Once more")? != password {
        bail!("the two passwords differ; nothing was changed");
    }
    Ok(password)
}

fn log_in(client: &Client, user: String, password: &PasswordArgument) -> Result<()> {
    let password = login::password(password, &format!("Password of {user}"))?;
    let answer: UserLogin = client.ask(&Ask::new(Method::POST, "login").with(&Login { user, password })?)?;
    let Kept { server, fingerprint, ca_file, .. } = &client.kept;
    let kept = Kept {
        server: server.clone(),
        token: answer.token,
        fingerprint: fingerprint.clone(),
        ca_file: ca_file.clone(),
    };
    let path = kept.save()?;
    print(&format!("logged in at {server} until {}; kept in {}\n", answer.expires, path.display()));
    Ok(())
}

fn machines(shown: &Shown<'_>, action: MachinesAction) -> Result<()> {
    let one = |ask: &Ask| shown.show::<MachineRecord>(ask, show::machine);
    let path = |name: &str| Ok::<_, anyhow::Error>(format!("machines/{}", part(name)?));
    match action {
        MachinesAction::List => {
            shown.show::<Vec<MachineRecord>>(&Ask::get("machines"), |list| show::machines(list))
        }
        MachinesAction::Show { name } => one(&Ask::get(path(&name)?)),
        MachinesAction::Add { name, macs, assign } => {
            let change = MachineChange { name: Some(name), macs: Some(macs), assigned: assign };
            one(&Ask::new(Method::POST, "machines").with(&change)?)
        }
        MachinesAction::Change { name, rename, macs, assign } => {
            let macs = (!macs.is_empty()).then_some(macs);
            let change = MachineChange { name: rename, macs, assigned: assign };
            one(&Ask::new(Method::PATCH, path(&name)?).with(&change)?)
        }
        MachinesAction::Delete { name } => shown.done(&Ask::new(Method::DELETE, path(&name)?)),
    }
}

fn groups(shown: &Shown<'_>, action: GroupsAction) -> Result<()> {
    match action {
        GroupsAction::List => shown.show::<Vec<GroupRecord>>(&Ask::get("groups"), |list| show::groups(list)),
        GroupsAction::Set { name, machines } => {
            let ask =
                Ask::new(Method::PUT, format!("groups/{}", part(&name)?)).with(&GroupRequest { machines })?;
            shown.show::<GroupRecord>(&ask, |group| show::groups(std::slice::from_ref(group)))
        }
        GroupsAction::Delete { name } => {
            shown.done(&Ask::new(Method::DELETE, format!("groups/{}", part(&name)?)))
        }
    }
}

fn images(shown: &Shown<'_>, action: AdminImagesAction) -> Result<()> {
    let one = |ask: &Ask| shown.show::<ImageRecord>(ask, |image| show::images(std::slice::from_ref(image)));
    let path = |name: &str| Ok::<_, anyhow::Error>(format!("images/{}", part(name)?));
    match action {
        AdminImagesAction::List => {
            shown.show::<Vec<ImageRecord>>(&Ask::get("images"), |list| show::images(list))
        }
        AdminImagesAction::Show { name } => one(&Ask::get(path(&name)?)),
        AdminImagesAction::Set { name, description, enabled, on_demand, protected } => {
            let change = ImageChange { description, enabled, on_demand, protected };
            one(&Ask::new(Method::PUT, path(&name)?).with(&change)?)
        }
        AdminImagesAction::Delete { name } => shown.done(&Ask::new(Method::DELETE, path(&name)?)),
        AdminImagesAction::History { name, page } => {
            let ask = Ask::get(format!("{}/history?{}", path(&name)?, page.query()));
            shown.show::<Vec<JobRecord>>(&ask, |list| show::jobs(list))
        }
    }
}

fn profiles(shown: &Shown<'_>, action: ProfilesAction) -> Result<()> {
    match action {
        ProfilesAction::List { image } => {
            let ask = Ask::get(format!("images/{}/profiles", part(&image)?));
            shown.show::<Vec<ProfileRecord>>(&ask, |list| show::profiles(list))
        }
        ProfilesAction::Show { profile } => {
            // Its choices, as `set --file` takes them.
            let record: ProfileRecord = shown.client.ask(&Ask::get(profile_path(&profile)?))?;
            let choices = json(&record.profile)?;
            print(&if shown.json { choices } else { format!("{}{choices}", show::profiles(&[record])) });
            Ok(())
        }
        ProfilesAction::Set { profile, file, clone_of, description, model } => {
            let choices = file.map(|file| {
                let text =
                    std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
                serde_json::from_str(&text).with_context(|| format!("{} is not a profile", file.display()))
            });
            let change = ProfileChange {
                description,
                profile: choices.transpose()?,
                clone_of,
                model_match: model.map(|model| model.0),
            };
            let ask = Ask::new(Method::PUT, profile_path(&profile)?).with(&change)?;
            shown.show::<ProfileRecord>(&ask, |profile| show::profiles(std::slice::from_ref(profile)))
        }
        ProfilesAction::Delete { profile } => shown.done(&Ask::new(Method::DELETE, profile_path(&profile)?)),
    }
}

fn artefacts(shown: &Shown<'_>, action: ArtefactsAction) -> Result<()> {
    match action {
        ArtefactsAction::List => {
            shown.show::<Vec<ArtefactRecord>>(&Ask::get("artefacts"), |list| show::artefacts(list))
        }
        ArtefactsAction::Add { paths } => {
            let mut added: Vec<ArtefactRecord> = Vec::new();
            for path in paths {
                let (file, _) = artefact::read(&path)?;
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                let read = Artefact::of(file.try_clone()?, path.display().to_string())?;
                let place = format!("artefacts/{}?name={}", read.id(), encoded(&name));
                added.push(shown.client.ask(&Ask::new(Method::PUT, place).with_file(file, read.bytes()))?);
            }
            print(&if shown.json { json(&added)? } else { show::artefacts(&added) });
            Ok(())
        }
        ArtefactsAction::Remove { artefact } => {
            shown.done(&Ask::new(Method::DELETE, format!("artefacts/{artefact}")))
        }
    }
}

fn profile_path(name: &ProfileName) -> Result<String> {
    let Some(profile) = &name.profile else { bail!("name the profile too: {}/PROFILE", name.image) };
    Ok(format!("images/{}/profiles/{}", part(&name.image)?, part(profile)?))
}

fn set_action(
    shown: &Shown<'_>,
    machine: &str,
    action: ActionArgument,
    profile: Option<ProfileName>,
) -> Result<()> {
    let request = match action {
        ActionArgument::Capture => ActionRequest::Capture { profile },
        ActionArgument::Deploy => ActionRequest::Deploy { profile },
        ActionArgument::Reset => ActionRequest::Reset,
    };
    let ask = Ask::new(Method::PUT, format!("machines/{}/action", part(machine)?)).with(&request)?;
    shown.show::<MachineRecord>(&ask, |machine| show::machines(std::slice::from_ref(machine)))
}

fn jobs(shown: &Shown<'_>, action: JobsAction) -> Result<()> {
    let one = |ask: &Ask| shown.show::<JobRecord>(ask, show::job);
    match action {
        JobsAction::List { open, machine, image, page } => {
            let mut path = format!("jobs?open={open}&{}", page.query());
            for (name, value) in [("machine", machine), ("image", image)] {
                if let Some(value) = value {
                    path.push_str(&format!("&{name}={}", part(&value)?));
                }
            }
            shown.show::<Vec<JobRecord>>(&Ask::get(path), |list| show::jobs(list))
        }
        JobsAction::Show { id } => one(&Ask::get(format!("jobs/{id}"))),
        JobsAction::Deploy(arguments) => make_jobs(shown, Operation::Deploy, arguments),
        JobsAction::Capture(arguments) => make_jobs(shown, Operation::Capture, arguments),
        JobsAction::Cancel { id } => one(&Ask::new(Method::DELETE, format!("jobs/{id}"))),
        JobsAction::Events { id } => events(shown, id),
        JobsAction::Log { id } => {
            print(&shown.client.text(&Ask::get(format!("jobs/{id}/log")))?);
            Ok(())
        }
    }
}

/// Every event of a job, page by page.
fn events(shown: &Shown<'_>, id: u64) -> Result<()> {
    let mut all: Vec<JobEvent> = Vec::new();
    loop {
        let first = all.last().map_or(0, |event| event.number.saturating_add(1));
        let page: Vec<JobEvent> = shown.client.ask(&Ask::get(format!("jobs/{id}/events?first={first}")))?;
        if page.is_empty() || u64_from(all.len()) > u64::from(u32::MAX) {
            break;
        }
        all.extend(page);
    }
    print(&if shown.json { json(&all)? } else { show::events(&all) });
    Ok(())
}

fn make_jobs(shown: &Shown<'_>, operation: Operation, arguments: JobArguments) -> Result<()> {
    let target = arguments.target;
    let target = match (target.machine, target.group, target.model) {
        (Some(name), _, _) => JobTarget::Machine(name),
        (_, Some(name), _) => JobTarget::Group(name),
        (_, _, Some(model)) => JobTarget::Model(model.0),
        _ => bail!("name a machine, a group or a model"),
    };
    let request = JobRequest { operation, target, profile: arguments.profile };
    let ask = Ask::new(Method::POST, "jobs").with(&request)?;
    shown.show::<Vec<JobRecord>>(&ask, |list| show::jobs(list))
}

fn users(shown: &Shown<'_>, action: UsersAction) -> Result<()> {
    match action {
        UsersAction::List => shown.show::<Vec<UserRecord>>(&Ask::get("users"), |list| show::users(list)),
        UsersAction::Set { name, role, new_password: ask_for, password } => {
            let wanted = ask_for || password.password_file.is_some();
            let password = wanted.then(|| new_password(&password)).transpose()?;
            let request = UserRequest { role: role.map(Into::into), password };
            let ask = Ask::new(Method::PUT, format!("users/{}", part(&name)?)).with(&request)?;
            shown.show::<UserRecord>(&ask, |user| show::users(std::slice::from_ref(user)))
        }
        UsersAction::Delete { name } => {
            shown.done(&Ask::new(Method::DELETE, format!("users/{}", part(&name)?)))
        }
    }
}

fn settings(shown: &Shown<'_>, action: SettingsAction) -> Result<()> {
    let text = |settings: &Settings| {
        let value = serde_json::to_value(settings).unwrap_or_default();
        let lines = value.as_object().into_iter().flatten();
        lines.map(|(name, value)| format!("{name}={value}\n")).collect::<String>()
    };
    let SettingsAction::Set { changes } = action else {
        return shown.show(&Ask::get("settings"), text);
    };
    let mut settings: serde_json::Value = shown.client.ask(&Ask::get("settings"))?;
    for change in changes {
        let Some((name, value)) = change.split_once('=') else { bail!("\"{change}\" is not NAME=VALUE") };
        let known = settings.get_mut(name);
        let Some(known) = known else {
            bail!("there is no setting \"{name}\"; `remint admin settings` shows them")
        };
        *known = match (serde_json::from_str(value), &*known) {
            (Ok(value), _) => value,
            (Err(_), serde_json::Value::String(_)) => value.into(),
            (Err(error), _) => {
                return Err(error).with_context(|| format!("\"{value}\" cannot be the value of {name}"));
            }
        };
    }
    shown.show(&Ask::new(Method::PUT, "settings").with(&settings)?, text)
}
