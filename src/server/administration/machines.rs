//! Machines, their groups, and what they do at their next boot.

use super::super::database::{self, For, Machine};
use super::super::moment::Moment;
use super::super::problem::Problem;
use super::super::request::{Asker, At, Said};
use super::super::{Shared, Site, access};
use super::status;
use crate::protocol::{
    ActionRequest, GroupRecord, GroupRequest, Inventory, JobState, MachineChange, MachineRecord, Operation,
    ProfileName, Role,
};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rusqlite::Connection;

/// `GET admin/machines`.
pub(super) async fn list(
    State(site): State<Shared>,
    asker: Asker,
) -> Result<Json<Vec<MachineRecord>>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        let machines = database::machines(c)?.into_iter();
        Ok(Json(machines.map(|machine| machine.record(c)).collect::<Result<_, _>>()?))
    })
    .await
}

/// `GET admin/machines/NAME`.
pub(super) async fn show(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
) -> Result<Json<MachineRecord>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        Ok(Json(database::machine_by_name(c, &name)?.record(c)?))
    })
    .await
}

/// `POST admin/machines`: one that was never seen.
pub(super) async fn add(
    State(site): State<Shared>,
    asker: Asker,
    said: Said<MachineChange>,
) -> Result<(StatusCode, Json<MachineRecord>), Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        site.database.write(|c| {
            let now = Moment::now();
            let by = access::user(c, &asker, now, Role::Administrator)?;
            let change = said.value;
            let Some(name) = change.name else {
                return Err(Problem::bad_request("a new machine needs a name"));
            };
            let macs = cards(change.macs.unwrap_or_default())?;
            if macs.is_empty() {
                let detail =
                    "a new machine needs the hardware address (macs) of a card, by which it is known";
                return Err(Problem::bad_request(detail));
            }
            check_assigned(c, change.assigned.as_ref())?;
            let inventory = Inventory { macs, ..Inventory::default() };
            let machine = database::add_machine(c, &name, &inventory, change.assigned.as_ref(), now)?;
            database::note(c, now, &by.name, &format!("machine {name}: added"))?;
            Ok((StatusCode::CREATED, Json(machine.record(c)?)))
        })
    })
    .await
}

fn cards(macs: Vec<String>) -> Result<Vec<String>, Problem> {
    let card = |text: String| {
        database::mac(&text)
            .ok_or_else(|| Problem::bad_request(format!("{text:?} is not a hardware address")))
    };
    macs.into_iter().take(64).map(card).collect()
}

fn check_assigned(c: &Connection, assigned: Option<&ProfileName>) -> Result<(), Problem> {
    assigned.map_or(Ok(()), |name| database::profile(c, name).map(drop))
}

/// `PATCH admin/machines/NAME`.
pub(super) async fn change(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
    said: Said<MachineChange>,
) -> Result<Json<MachineRecord>, Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        site.database.write(|c| {
            let now = Moment::now();
            let by = access::user(c, &asker, now, Role::Administrator)?;
            let machine = database::machine_by_name(c, &name)?;
            let change = said.value;
            if let Some(macs) = change.macs {
                let inventory = Inventory { macs: cards(macs)?, ..machine.inventory.clone() };
                for mac in &inventory.macs {
                    if let Some(other) =
                        database::machine_by_card(c, mac)?.filter(|other| other.id != machine.id)
                    {
                        return Err(Problem::conflict(format!("the card {mac} is that of {}", other.name)));
                    }
                }
                database::machine_known_by(c, machine.id, &inventory)?;
            }
            if change.assigned.is_some() {
                check_assigned(c, change.assigned.as_ref())?;
                database::assign(c, machine.id, change.assigned.as_ref())?;
            }
            let new_name = change.name.unwrap_or_else(|| machine.name.clone());
            database::rename_machine(c, &machine, &new_name)?;
            database::note(c, now, &by.name, &format!("machine {name}: changed"))?;
            Ok(Json(database::machine_by_name(c, &new_name)?.record(c)?))
        })
    })
    .await
}

/// `DELETE admin/machines/NAME`.
pub(super) async fn delete(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
) -> Result<StatusCode, Problem> {
    site.write(move |_, c| {
        let now = Moment::now();
        let by = access::user(c, &asker, now, Role::Administrator)?;
        let machine = database::machine_by_name(c, &name)?;
        database::delete_machine(c, &machine)?;
        database::note(c, now, &by.name, &format!("machine {name}: deleted"))?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `PUT admin/machines/NAME/action`.
pub(super) async fn set_action(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
    said: Said<ActionRequest>,
) -> Result<Json<MachineRecord>, Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        site.database.write(|c| {
            let now = Moment::now();
            let by = access::user(c, &asker, now, Role::Operator)?.name;
            let machine = database::machine_by_name(c, &name)?;
            match said.value {
                ActionRequest::Reset => reset(c, &machine, &by, now)?,
                ActionRequest::Capture { profile } => {
                    give_job(site, c, &machine, Operation::Capture, profile.as_ref(), &by, now).map(drop)?;
                }
                ActionRequest::Deploy { profile } => {
                    give_job(site, c, &machine, Operation::Deploy, profile.as_ref(), &by, now).map(drop)?;
                }
            }
            Ok(Json(database::machine_by_name(c, &name)?.record(c)?))
        })
    })
    .await
}

/// Withdraws what is pending and forgets a failure; what runs is not touched.
fn reset(c: &Connection, machine: &Machine, by: &str, now: Moment) -> Result<(), Problem> {
    match database::open_job_of(c, machine.id)? {
        Some(job) if job.state == JobState::Running => {
            Err(Problem::conflict(format!("{} works on job {} now; cancel that one", machine.name, job.id)))
        }
        Some(job) => database::withdraw(c, &job, by, now),
        None => {
            database::note(c, now, by, &format!("machine {}: reset", machine.name))?;
            database::mark_failure(c, machine.id, None)
        }
    }
}

/// A job for a machine: about the profile that is named, the one that is assigned to it, or the one for its model.
pub(super) fn give_job(
    site: &Site,
    c: &Connection,
    machine: &Machine,
    operation: Operation,
    profile: Option<&ProfileName>,
    by: &str,
    now: Moment,
) -> Result<i64, Problem> {
    let named = match profile.or(machine.assigned.as_ref()) {
        Some(name) => Some(name.clone()),
        None => {
            let model = machine.inventory.model.as_deref();
            let fitting = model.map(|model| database::profiles_for_model(c, model)).transpose()?;
            fitting.into_iter().flatten().next()
        }
    };
    let name = named.ok_or_else(|| {
        let fact =
            format!("no image is named, none is assigned to {}, and none is for its model", machine.name);
        Problem::conflict(fact)
    })?;
    let wish = database::wish(c, &site.store, operation, &name)?;
    let whose = For { machine: Some(machine.id), session: None, name: &machine.name };
    database::add_job(c, &wish, whose, by, now)
}

/// `GET admin/groups`.
pub(super) async fn groups(
    State(site): State<Shared>,
    asker: Asker,
) -> Result<Json<Vec<GroupRecord>>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        Ok(Json(database::groups(c)?))
    })
    .await
}

/// `PUT admin/groups/NAME`.
pub(super) async fn put_group(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
    said: Said<GroupRequest>,
) -> Result<(StatusCode, Json<GroupRecord>), Problem> {
    site.write(move |_, c| {
        let now = Moment::now();
        let by = access::user(c, &asker, now, Role::Administrator)?;
        let new = database::put_group(c, &name, &said.value.machines)?;
        database::note(c, now, &by.name, &format!("group {name}: {} machines", said.value.machines.len()))?;
        Ok((status(new), Json(database::group(c, name)?)))
    })
    .await
}

/// `DELETE admin/groups/NAME`.
pub(super) async fn delete_group(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
) -> Result<StatusCode, Problem> {
    site.write(move |_, c| {
        let now = Moment::now();
        let by = access::user(c, &asker, now, Role::Administrator)?;
        database::delete_group(c, &name)?;
        database::note(c, now, &by.name, &format!("group {name}: deleted"))?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
