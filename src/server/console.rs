//! What machines ask before they have a job: who the server is, who they are, what may be done here.

use super::database::{self, For, Person, Purpose, Session};
use super::moment::Moment;
use super::problem::Problem;
use super::request::{Asker, Said};
use super::{Shared, Site, access, login, model_match};
use crate::agent;
use crate::image::Manifest;
use crate::protocol::{
    self, Hello, ImageChoice, ImageChoices, Inventory, JobSummary, KnownMachine, Login, LoginAnswer,
    OnDemand, OnDemandRequest, Operation, ProfileChoice, ProfileName, ProfileRecord, Registration, Role,
    SessionRequest, Settings,
};
use crate::schema::Firmware;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rusqlite::Connection;

/// How long a machine's session lasts: longer than any queue.
const SESSION_SECONDS: u32 = 8 * 3600;
/// How long a person at a machine stays logged in.
const PERSON_SECONDS: u32 = 3600;
/// The most cards, and the most disks, that a machine may name.
const MAX_PARTS: usize = 256;
/// The most that a machine may say of itself.
const MAX_INVENTORY_BYTES: usize = 128 << 10;

/// `GET hello`.
pub(super) async fn hello() -> Json<Hello> {
    Json(Hello {
        protocols: vec![protocol::VERSION],
        server: concat!("remint ", env!("CARGO_PKG_VERSION")).to_owned(),
        time: Moment::now().text(),
        login: vec!["password".to_owned()],
    })
}

/// `POST sessions`.
pub(super) async fn open_session(
    State(site): State<Shared>,
    asker: Asker,
    said: Said<SessionRequest>,
) -> Result<Json<protocol::Session>, Problem> {
    if let Some(token) = &site.boot_token
        && !asker.token.is_some_and(|given| token.is(&given))
    {
        return Err(Problem::unauthorized("this server asks machines for a boot token, and this is not it"));
    }
    let SessionRequest { machine, unattended, agent: _ } = said.value;
    let inventory = checked(machine)?;
    site.write(move |site, c| {
        let now = Moment::now();
        let mut session = database::open_session(c, inventory, now)?;
        if unattended {
            model_match::give_job(site, c, &mut session, now)?;
        }
        let (token, expires) = database::give_token(c, Purpose::Session(session.id), now, SESSION_SECONDS)?;
        let machine = session.machine.as_ref();
        let job = machine.map(|machine| database::waiting_job_of(c, machine.id)).transpose()?.flatten();
        Ok(Json(protocol::Session {
            token,
            expires: expires.text(),
            machine: machine
                .map(|machine| KnownMachine { id: machine.id.unsigned_abs(), name: machine.name.clone() }),
            job: job.map(|job| job.summary()),
            on_demand: allowed(c, &session, None)?,
        }))
    })
    .await
}

/// Brings hardware addresses into their one form, and refuses what no machine has.
fn checked(mut inventory: Inventory) -> Result<Inventory, Problem> {
    if inventory.macs.len() > MAX_PARTS || inventory.disks.len() > MAX_PARTS {
        return Err(Problem::bad_request(format!("more than {MAX_PARTS} cards or disks in one machine")));
    }
    for mac in &mut inventory.macs {
        *mac = database::mac(mac)
            .ok_or_else(|| Problem::bad_request(format!("{mac:?} is not the hardware address of a card")))?;
    }
    let length = serde_json::to_vec(&inventory).map_or(usize::MAX, |text| text.len());
    if length > MAX_INVENTORY_BYTES {
        return Err(Problem::bad_request(format!("a machine of more than {MAX_INVENTORY_BYTES} bytes")));
    }
    inventory.uuid = inventory.uuid.map(|uuid| uuid.to_lowercase());
    Ok(inventory)
}

/// What may be done at a machine, by the settings and by who has logged in.
fn allowed(c: &Connection, session: &Session, person: Option<&Person>) -> Result<OnDemand, Problem> {
    let Settings { open_menu, open_registration, .. } = database::settings(c)?;
    let trusted = person.is_some_and(|person| person.role >= Role::Operator);
    let unknown = session.machine.is_none();
    Ok(OnDemand {
        deploy: open_menu || trusted,
        capture: trusted,
        register: unknown && (open_registration || trusted),
        after_login: !trusted && database::has_users(c)?,
    })
}

/// `POST login`: a person at a machine.
pub(super) async fn log_in(
    State(site): State<Shared>,
    asker: Asker,
    said: Said<Login>,
) -> Result<Json<LoginAnswer>, Problem> {
    let by = asker.clone();
    site.read(move |_, c| access::machine(c, &by, Moment::now()).map(drop)).await?;
    let person = login::check(&site, &asker, said.value).await?;
    site.write(move |_, c| {
        let now = Moment::now();
        let (session, _) = access::machine(c, &asker, now)?;
        let purpose = Purpose::Person(session.id, &person.name);
        let (token, expires) = database::give_token(c, purpose, now, PERSON_SECONDS)?;
        database::note(c, now, &person.name, &format!("logged in at {}", session.name()))?;
        let on_demand = allowed(c, &session, Some(&person))?;
        Ok(Json(LoginAnswer { token, expires: expires.text(), on_demand }))
    })
    .await
}

/// `POST machines`: registers the machine of the session.
pub(super) async fn register(
    State(site): State<Shared>,
    asker: Asker,
    said: Said<Registration>,
) -> Result<(StatusCode, Json<KnownMachine>), Problem> {
    site.write(move |_, c| {
        let now = Moment::now();
        let (session, person) = access::machine(c, &asker, now)?;
        let owner = format!("session {}", session.id);
        let known = database::once(c, now, &owner, &said.once, || {
            if let Some(machine) = &session.machine {
                return Err(Problem::conflict(format!("this machine is registered as {}", machine.name)));
            }
            if !allowed(c, &session, person.as_ref())?.register {
                return Err(Problem::forbidden("machines are registered here by people who log in"));
            }
            let model = session.inventory.model.as_deref();
            let matched = model.map(|model| database::profiles_for_model(c, model)).transpose()?;
            let matched = matched.into_iter().flatten().next();
            let name = &said.value.name;
            let machine = database::add_machine(c, name, &session.inventory, matched.as_ref(), now)?;
            database::machine_seen(c, machine.id, &session.inventory, now)?;
            database::bind_session(c, session.id, machine.id)?;
            let by = person.as_ref().map_or("machine", |person| &person.name);
            database::note(c, now, by, &format!("machine {name}: registered at its console"))?;
            Ok(KnownMachine { id: machine.id.unsigned_abs(), name: machine.name })
        })?;
        Ok((StatusCode::CREATED, Json(known)))
    })
    .await
}

/// `GET images`: what may be chosen here.
pub(super) async fn images(State(site): State<Shared>, asker: Asker) -> Result<Json<ImageChoices>, Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        let (offered, firmware) = site.database.read(|c| {
            let (session, person) = access::machine(c, &asker, Moment::now())?;
            let may = allowed(c, &session, person.as_ref())?;
            if !may.deploy && !may.capture {
                return Err(Problem::forbidden("images are chosen here by people who log in"));
            }
            let offered = |image: &database::Image| image.enabled && (image.on_demand || may.capture);
            let images = database::images(c)?.into_iter().filter(offered);
            let with_profiles = images.map(|image| Ok((database::profiles(c, image.name.as_ref())?, image)));
            Ok((with_profiles.collect::<Result<Vec<_>, Problem>>()?, session.inventory.firmware))
        })?;
        // Manifests are read and planned with when the database is free again for others.
        let choices = offered.into_iter().map(|(profiles, image)| choice(site, image, profiles, firmware));
        Ok(Json(ImageChoices { images: choices.collect::<Result<_, _>>()? }))
    })
    .await
}

fn choice(
    site: &Site,
    image: database::Image,
    profiles: Vec<ProfileRecord>,
    firmware: Option<Firmware>,
) -> Result<ImageChoice, Problem> {
    let (version, manifest) = Manifest::newest(&site.store, &image.name)?.unzip();
    let manifest = manifest.as_ref().and_then(Option::as_ref);
    let schema_only = manifest.is_some_and(|manifest| manifest.schema_only);
    let sum = |bytes: &mut dyn Iterator<Item = u64>| bytes.fold(0, u64::saturating_add);
    Ok(ImageChoice {
        description: image.description,
        version: version.filter(|_| !schema_only).map(|version| version.version.into()),
        schema_only,
        captured: manifest.map(|manifest| manifest.created.clone()),
        disk_bytes: manifest
            .map_or(0, |manifest| sum(&mut manifest.disks.iter().map(|disk| disk.size_bytes))),
        used_bytes: manifest.map_or(0, |manifest| sum(&mut manifest.stored.iter().map(|one| one.used_bytes))),
        protected: image.protected,
        profiles: profiles
            .into_iter()
            .map(|profile| ProfileChoice {
                minimum_disk_bytes: manifest
                    .map(|manifest| agent::smallest_disks(manifest, &profile.profile.deploy, firmware))
                    .unwrap_or_default(),
                computer_name: profile.profile.deploy.computer_name,
                name: profile.name,
                description: profile.description,
            })
            .collect(),
        name: image.name.into(),
    })
}

/// `POST jobs`: what a person at the machine wants.
pub(super) async fn make_job(
    State(site): State<Shared>,
    asker: Asker,
    said: Said<OnDemandRequest>,
) -> Result<(StatusCode, Json<JobSummary>), Problem> {
    site.work(move |site| {
        database::adopt_images(&site.database, &site.store)?;
        site.database.write(|c| {
            let now = Moment::now();
            let (session, person) = access::machine(c, &asker, now)?;
            let owner = format!("session {}", session.id);
            let summary = database::once(c, now, &owner, &said.once, || {
                wished(site, c, &session, person.as_ref(), &said.value, now)
            })?;
            Ok((StatusCode::CREATED, Json(summary)))
        })
    })
    .await
}

fn wished(
    site: &Site,
    c: &Connection,
    session: &Session,
    person: Option<&Person>,
    request: &OnDemandRequest,
    now: Moment,
) -> Result<JobSummary, Problem> {
    let may = allowed(c, session, person)?;
    let (permitted, what) = match request.operation {
        Operation::Deploy => (may.deploy, "deploying"),
        Operation::Capture => (may.capture, "capturing"),
    };
    if !permitted {
        return Err(Problem::forbidden(format!("{what} at a console takes a login here")));
    }
    if request.new_image {
        let name = database::image_name(&request.image)?;
        if request.operation == Operation::Deploy {
            return Err(Problem::bad_request("a new image can be captured, not deployed"));
        }
        if database::find_image(c, name.as_ref())?.is_some() {
            return Err(Problem::conflict(format!("there is an image {name} already")));
        }
        database::add_image(c, &name)?;
    }
    if request.operation == Operation::Deploy
        && !may.capture
        && database::find_image(c, &request.image)?.is_some_and(|image| !image.on_demand)
    {
        return Err(Problem::forbidden(format!("image {} is not offered at consoles", request.image)));
    }
    let name = ProfileName { image: request.image.clone(), profile: request.profile.clone() };
    let mut wish = database::wish(c, &site.store, request.operation, &name)?;
    if !request.disks.is_empty() {
        match request.operation {
            Operation::Capture => wish.profile.capture.disks.clone_from(&request.disks),
            Operation::Deploy => wish.profile.deploy.targets.clone_from(&request.disks),
        }
    }
    if let Some(name) = &request.computer_name {
        if request.operation == Operation::Capture {
            return Err(Problem::bad_request("a capture gives no computer a name"));
        }
        wish.profile.deploy.computer_name = Some(name.clone()).filter(|name| !name.is_empty());
        agent::check(&wish.profile).map_err(|error| Problem::bad_request(format!("{error:#}")))?;
    }
    let whose = For {
        machine: session.machine.as_ref().map(|machine| machine.id),
        session: Some(session.id),
        name: &session.name(),
    };
    let by = person.map_or("machine", |person| &person.name);
    let id = database::add_job(c, &wish, whose, by, now)?;
    Ok(database::job(c, id.unsigned_abs())?.summary())
}
