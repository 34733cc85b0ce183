//! Artefacts: files that profiles name.

use super::super::database;
use super::super::moment::Moment;
use super::super::problem::Problem;
use super::super::request::{Asked, Asker, At};
use super::super::{Shared, access, upload};
use super::status;
use crate::http::Kind;
use crate::protocol::{ArtefactName, ArtefactRecord, MAX_ARTEFACT_NAME, Role};
use crate::schema::ArtefactId;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

/// `GET admin/artefacts`.
pub(super) async fn list(
    State(site): State<Shared>,
    asker: Asker,
) -> Result<Json<Vec<ArtefactRecord>>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        Ok(Json(database::artefacts(c)?))
    })
    .await
}

/// `PUT admin/artefacts/DIGEST`: what is sent has to have this hash.
pub(super) async fn put(
    State(site): State<Shared>,
    At(artefact): At<ArtefactId>,
    Asked(ArtefactName { name }): Asked<ArtefactName>,
    asker: Asker,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ArtefactRecord>), Problem> {
    if name.chars().count() > MAX_ARTEFACT_NAME || name.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!(
            "an artefact's name has at most {MAX_ARTEFACT_NAME} characters, and none that a terminal would obey"
        )));
    }
    let by = asker.clone();
    // Before anything of it is read.
    site.read(move |_, c| access::user(c, &by, Moment::now(), Role::Operator).map(drop)).await?;
    let (file, found, bytes) = upload::to_artefact(&site, &headers, body).await?;
    if found != artefact {
        let fact = format!("what was sent is the artefact {found}, and not {artefact}; it is not kept");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::Corrupt, fact));
    }
    let noted = site.write(move |site, c| {
        let now = Moment::now();
        let by = access::user(c, &asker, now, Role::Operator)?;
        site.artefacts.keep(file, artefact)?;
        let new = database::put_artefact(c, artefact, bytes, &name, now)?;
        let done = if new { "added" } else { "sent again" };
        database::note(c, now, &by.name, &format!("artefact {artefact} \"{name}\": {done}"))?;
        Ok((status(new), Json(database::artefact(c, artefact)?)))
    });
    let noted = noted.await;
    if noted.is_err() {
        // What is left is removed at the next start.
        let _ = remove_forgotten(&site, artefact).await;
    }
    noted
}

/// Removes the file of an artefact that the database does not know. In a transaction, so that nobody adds it meanwhile.
async fn remove_forgotten(site: &Shared, artefact: ArtefactId) -> Result<(), Problem> {
    site.write(
        move |site, c| {
            if database::has_artefact(c, artefact)? { Ok(()) } else { site.artefacts.remove(artefact) }
        },
    )
    .await
}

/// `DELETE admin/artefacts/DIGEST`.
pub(super) async fn delete(
    State(site): State<Shared>,
    At(artefact): At<ArtefactId>,
    asker: Asker,
) -> Result<StatusCode, Problem> {
    site.write(move |_, c| {
        let now = Moment::now();
        let by = access::user(c, &asker, now, Role::Operator)?;
        database::delete_artefact(c, artefact)?;
        database::note(c, now, &by.name, &format!("artefact {artefact}: deleted"))
    })
    .await?;
    // Were it removed before, and the transaction not kept, a profile could name a file that is gone.
    remove_forgotten(&site, artefact).await?;
    Ok(StatusCode::NO_CONTENT)
}
