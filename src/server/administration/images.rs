//! Images and their profiles.

use super::super::database;
use super::super::moment::Moment;
use super::super::problem::Problem;
use super::super::request::{Asked, Asker, At, Said};
use super::super::{Shared, access};
use super::status;
use crate::protocol::{
    ImageChange, ImageRecord, JobFilter, JobRecord, Page, ProfileChange, ProfileName, ProfileRecord, Role,
};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

/// `GET admin/images`.
pub(super) async fn list(
    State(site): State<Shared>,
    asker: Asker,
) -> Result<Json<Vec<ImageRecord>>, Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        site.database.read(|c| {
            access::user(c, &asker, Moment::now(), Role::Reader)?;
            let images = database::images(c)?.into_iter();
            Ok(Json(images.map(|image| image.record(c, &site.store)).collect::<Result<_, _>>()?))
        })
    })
    .await
}

/// `GET admin/images/NAME`.
pub(super) async fn show(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
) -> Result<Json<ImageRecord>, Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        site.database.read(|c| {
            access::user(c, &asker, Moment::now(), Role::Reader)?;
            Ok(Json(database::image(c, &name)?.record(c, &site.store)?))
        })
    })
    .await
}

/// `PUT admin/images/NAME`.
pub(super) async fn put(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
    said: Said<ImageChange>,
) -> Result<(StatusCode, Json<ImageRecord>), Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        site.database.write(|c| {
            let now = Moment::now();
            let by = access::user(c, &asker, now, Role::Administrator)?;
            let new = database::put_image(c, &name, &said.value)?;
            let done = if new { "made" } else { "changed" };
            database::note(c, now, &by.name, &format!("image {name}: {done}"))?;
            Ok((status(new), Json(database::image(c, &name)?.record(c, &site.store)?)))
        })
    })
    .await
}

/// `DELETE admin/images/NAME`.
pub(super) async fn delete(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
) -> Result<StatusCode, Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        site.database.write(|c| {
            let now = Moment::now();
            let by = access::user(c, &asker, now, Role::Administrator)?;
            database::delete_image(c, &site.store, &name)?;
            database::note(c, now, &by.name, &format!("image {name}: deleted"))?;
            Ok(StatusCode::NO_CONTENT)
        })
    })
    .await
}

/// `GET admin/images/NAME/history`.
pub(super) async fn history(
    State(site): State<Shared>,
    At(name): At<String>,
    Asked(Page { before, limit }): Asked<Page>,
    asker: Asker,
) -> Result<Json<Vec<JobRecord>>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        let filter = JobFilter { image: Some(name), before, limit, ..JobFilter::default() };
        let jobs = database::jobs(c, &filter)?.into_iter();
        Ok(Json(jobs.map(database::JobRow::record).collect::<Result<_, _>>()?))
    })
    .await
}

/// `GET admin/images/NAME/profiles`.
pub(super) async fn profiles(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
) -> Result<Json<Vec<ProfileRecord>>, Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        site.database.read(|c| {
            access::user(c, &asker, Moment::now(), Role::Reader)?;
            database::image(c, &name)?;
            Ok(Json(database::profiles(c, &name)?))
        })
    })
    .await
}

fn named(image: String, profile: String) -> ProfileName {
    ProfileName { image, profile: Some(profile) }
}

/// `GET admin/images/NAME/profiles/PROFILE`.
pub(super) async fn profile(
    State(site): State<Shared>,
    At((image, profile)): At<(String, String)>,
    asker: Asker,
) -> Result<Json<ProfileRecord>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        Ok(Json(database::profile(c, &named(image, profile))?))
    })
    .await
}

/// `PUT admin/images/NAME/profiles/PROFILE`.
pub(super) async fn put_profile(
    State(site): State<Shared>,
    At((image, profile)): At<(String, String)>,
    asker: Asker,
    said: Said<ProfileChange>,
) -> Result<(StatusCode, Json<ProfileRecord>), Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        site.database.write(|c| {
            let now = Moment::now();
            let by = access::user(c, &asker, now, Role::Administrator)?;
            let new = database::put_profile(c, &image, &profile, said.value)?;
            let done = if new { "made" } else { "changed" };
            database::note(c, now, &by.name, &format!("profile {image}/{profile}: {done}"))?;
            Ok((status(new), Json(database::profile(c, &named(image, profile))?)))
        })
    })
    .await
}

/// `DELETE admin/images/NAME/profiles/PROFILE`.
pub(super) async fn delete_profile(
    State(site): State<Shared>,
    At((image, profile)): At<(String, String)>,
    asker: Asker,
) -> Result<StatusCode, Problem> {
    site.write(move |_, c| {
        let now = Moment::now();
        let by = access::user(c, &asker, now, Role::Administrator)?;
        database::delete_profile(c, &image, &profile)?;
        database::note(c, now, &by.name, &format!("profile {image}/{profile}: deleted"))?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
