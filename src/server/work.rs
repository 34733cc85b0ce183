//! What machines say about their jobs: claimed, under way, ended.

use super::database::{self, Batch};
use super::moment::Moment;
use super::multicast::Sessions;
use super::problem::Problem;
use super::request::{Asker, At, Said};
use super::{Shared, access, upload};
use crate::image::ImageVersion;
use crate::protocol::{
    Claim, EventsAnswer, Finish, JobState, MAX_LOG_BYTES, MulticastAnswer, MulticastReport, Operation,
    Outcome,
};
use crate::units::u64_from;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

/// `POST jobs/ID/claim`.
pub(super) async fn claim(
    State(site): State<Shared>,
    At(id): At<u64>,
    asker: Asker,
) -> Result<Json<Claim>, Problem> {
    let claimed = site
        .write(move |site, c| {
            let now = Moment::now();
            let (session, _) = access::machine(c, &asker, now)?;
            let job = access::claimable(c, &session, id)?;
            if let (JobState::Running, Some(cancel)) = (job.state, &job.cancel) {
                // It was started anew before it heard of the end.
                database::end(c, &job, Outcome::Cancelled, cancel, now)?;
                return Ok(Err(Problem::gone(format!("job {id} was {cancel}"))));
            }
            database::claim(c, &site.multicast, &job, now).map(Ok)
        })
        .await;
    // After an error too: what was offered before it has to have its sender.
    Sessions::start(&site);
    claimed?.map(Json)
}

/// `DELETE jobs/ID`: a person at the machine gives a job up that it has not begun.
pub(super) async fn withdraw(
    State(site): State<Shared>,
    At(id): At<u64>,
    asker: Asker,
) -> Result<StatusCode, Problem> {
    site.write(move |_, c| {
        let now = Moment::now();
        let (session, _) = access::machine(c, &asker, now)?;
        let job = access::claimable(c, &session, id)?;
        if job.state == JobState::Running {
            return Err(Problem::conflict(format!("job {id} runs; its machine ends it")));
        }
        database::withdraw(c, &job, "a person at the machine", now)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST jobs/ID/events`.
pub(super) async fn events(
    State(site): State<Shared>,
    At(id): At<u64>,
    asker: Asker,
    said: Said<Batch>,
) -> Result<Json<EventsAnswer>, Problem> {
    site.write(move |_, c| {
        let now = Moment::now();
        let job = access::working(c, &asker, id, now)?;
        Ok(Json(database::take_events(c, &job, &said.value, now)?))
    })
    .await
}

/// `POST jobs/ID/multicast`.
pub(super) async fn multicast(
    State(site): State<Shared>,
    At(id): At<u64>,
    asker: Asker,
    said: Said<MulticastReport>,
) -> Result<Json<MulticastAnswer>, Problem> {
    site.read(move |site, c| {
        let job = access::working(c, &asker, id, Moment::now())?;
        Ok(Json(site.multicast.report(&job, &said.value)))
    })
    .await
}

/// `PUT jobs/ID/log`.
pub(super) async fn log(
    State(site): State<Shared>,
    At(id): At<u64>,
    asker: Asker,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let by = asker.clone();
    site.read(move |_, c| access::working(c, &by, id, Moment::now()).map(drop)).await?;
    let text = upload::to_memory(&site, &headers, body, u64_from(MAX_LOG_BYTES)).await?;
    site.write(move |_, c| {
        let now = Moment::now();
        let job = access::working(c, &asker, id, now)?;
        database::put_log(c, job.id, &String::from_utf8_lossy(&text), now)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST jobs/ID/finish`.
pub(super) async fn finish(
    State(site): State<Shared>,
    At(id): At<u64>,
    asker: Asker,
    said: Said<Finish>,
) -> Result<StatusCode, Problem> {
    site.work(move |site| {
        let left_over = site.database.write(|c| {
            let now = Moment::now();
            let job = access::own_job(c, &asker, id, now)?;
            database::once(c, now, &format!("job {id}"), &said.once, || {
                let job = access::working(c, &asker, id, now)?;
                database::finish(c, &site.store, &job, &said.value, now)
            })?;
            Ok(job
                .announced
                .filter(|_| job.operation == Operation::Capture)
                .map(|version| (job.image, version)))
        })?;
        // What a capture wrote and did not publish is of no use to anybody; a published version is not touched.
        if let Some((image, version)) = left_over
            && let Ok((image, version)) = image.parse().and_then(|image| Ok((image, version.parse()?)))
        {
            let _ = crate::image::Store::abandon(&site.store, &ImageVersion { image, version });
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
