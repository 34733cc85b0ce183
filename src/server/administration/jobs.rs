//! Jobs, and what their machines said.

use super::super::database::{self, Machine};
use super::super::moment::Moment;
use super::super::problem::Problem;
use super::super::request::{Asked, Asker, At, Said};
use super::super::{Shared, access};
use super::machines::give_job;
use crate::protocol::{EventFilter, JobEvent, JobFilter, JobRecord, JobRequest, JobTarget, Operation, Role};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use rusqlite::Connection;

/// `GET admin/jobs`.
pub(super) async fn list(
    State(site): State<Shared>,
    Asked(filter): Asked<JobFilter>,
    asker: Asker,
) -> Result<Json<Vec<JobRecord>>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        let jobs = database::jobs(c, &filter)?.into_iter();
        Ok(Json(jobs.map(database::JobRow::record).collect::<Result<_, _>>()?))
    })
    .await
}

/// `GET admin/jobs/ID`.
pub(super) async fn show(
    State(site): State<Shared>,
    At(id): At<u64>,
    asker: Asker,
) -> Result<Json<JobRecord>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        Ok(Json(database::job(c, id)?.record()?))
    })
    .await
}

/// `POST admin/jobs`: a job for each machine that is meant, or none.
pub(super) async fn add(
    State(site): State<Shared>,
    asker: Asker,
    said: Said<JobRequest>,
) -> Result<(StatusCode, Json<Vec<JobRecord>>), Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        site.database.write(|c| {
            let now = Moment::now();
            let by = access::user(c, &asker, now, Role::Operator)?.name;
            let jobs = database::once(c, now, &format!("user {by}"), &said.once, || {
                let request = &said.value;
                let machines = meant(c, request)?;
                let job = |machine: &Machine| {
                    let profile = request.profile.as_ref();
                    let id = give_job(site, c, machine, request.operation, profile, &by, now)?;
                    database::job(c, id.unsigned_abs())?.record()
                };
                machines.iter().map(job).collect::<Result<Vec<JobRecord>, Problem>>()
            })?;
            Ok((StatusCode::CREATED, Json(jobs)))
        })
    })
    .await
}

/// The machines that a job is for.
fn meant(c: &Connection, request: &JobRequest) -> Result<Vec<Machine>, Problem> {
    let machines = match &request.target {
        JobTarget::Machine(name) => vec![database::machine_by_name(c, name)?],
        JobTarget::Group(name) => database::machines_of_group(c, name)?,
        JobTarget::Model(matched) => {
            let mut machines = database::machines(c)?;
            machines
                .retain(|known| known.inventory.model.as_ref().is_some_and(|model| matched.matches(model)));
            machines
        }
    };
    match (machines.len(), request.operation) {
        (0, _) => Err(Problem::conflict("no machine is meant")),
        (1, _) | (_, Operation::Deploy) => Ok(machines),
        (count, Operation::Capture) => {
            Err(Problem::conflict(format!("{count} machines are meant, and an image is captured from one")))
        }
    }
}

/// `DELETE admin/jobs/ID`: withdraws or cancels.
pub(super) async fn withdraw(
    State(site): State<Shared>,
    At(id): At<u64>,
    asker: Asker,
) -> Result<Json<JobRecord>, Problem> {
    site.write(move |_, c| {
        let now = Moment::now();
        let by = access::user(c, &asker, now, Role::Operator)?;
        database::withdraw(c, &database::job(c, id)?, &by.name, now)?;
        Ok(Json(database::job(c, id)?.record()?))
    })
    .await
}

/// `GET admin/jobs/ID/events`.
pub(super) async fn events(
    State(site): State<Shared>,
    At(id): At<u64>,
    Asked(filter): Asked<EventFilter>,
    asker: Asker,
) -> Result<Json<Vec<JobEvent>>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        Ok(Json(database::events_of(c, database::job(c, id)?.id, filter)?))
    })
    .await
}

/// `GET admin/jobs/ID/log`.
pub(super) async fn log(
    State(site): State<Shared>,
    At(id): At<u64>,
    asker: Asker,
) -> Result<Response, Problem> {
    let text = site
        .read(move |_, c| {
            access::user(c, &asker, Moment::now(), Role::Reader)?;
            database::log_of(c, database::job(c, id)?.id)
        })
        .await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
