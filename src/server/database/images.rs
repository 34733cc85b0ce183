//! Images: what administrators say about them. What they hold is in the store.

use super::super::problem::Problem;
use super::{Database, add_profile, profile_names, row, rows};
use crate::image::{ImageName, ImageVersion, Manifest, Store, StoreError, VersionName};
use crate::protocol::{ImageChange, ImageRecord};
use crate::schema::Profile;
use crate::store::Directory;
use rusqlite::{Connection, Row};

/// An image, as the database has it.
#[derive(Debug, Clone)]
pub(in crate::server) struct Image {
    pub(in crate::server) name: ImageName,
    pub(in crate::server) description: String,
    pub(in crate::server) enabled: bool,
    pub(in crate::server) on_demand: bool,
    pub(in crate::server) protected: bool,
}

/// The profile that every image begins with.
const FIRST_PROFILE: &str = "default";
const COLUMNS: &str = "SELECT name, description, enabled, on_demand, protected FROM images";

impl Image {
    fn read(row: &Row<'_>) -> Result<Self, Problem> {
        Ok(Self {
            name: image_name(&row.get::<_, String>(0)?)?,
            description: row.get(1)?,
            enabled: row.get(2)?,
            on_demand: row.get(3)?,
            protected: row.get(4)?,
        })
    }

    /// Its versions, oldest first.
    pub(in crate::server) fn versions(&self, store: &Directory) -> Result<Vec<VersionName>, Problem> {
        Ok(store.versions(&self.name)?)
    }

    /// What administrators see of it.
    pub(in crate::server) fn record(self, c: &Connection, store: &Directory) -> Result<ImageRecord, Problem> {
        Ok(ImageRecord {
            schema_only: matches!(
                Manifest::newest(store, &self.name)?,
                Some((_, Some(manifest))) if manifest.schema_only
            ),
            versions: self.versions(store)?.into_iter().map(String::from).collect(),
            profiles: profile_names(c, self.name.as_ref())?,
            name: self.name.into(),
            description: self.description,
            enabled: self.enabled,
            on_demand: self.on_demand,
            protected: self.protected,
        })
    }
}

/// A name from outside as that of an image.
pub(in crate::server) fn image_name(text: &str) -> Result<ImageName, Problem> {
    text.parse().map_err(|error| Problem::bad_request(format!("{error}")))
}

/// Takes in images that are in the store and not yet known: captured by hand, or before there was a database.
pub(in crate::server) fn adopt_images(database: &Database, store: &Directory) -> Result<(), Problem> {
    let stored = store.images()?;
    let known: Vec<ImageName> =
        database.read(|c| Ok(images(c)?.into_iter().map(|image| image.name).collect()))?;
    let new: Vec<&ImageName> = stored.iter().filter(|name| !known.contains(name)).collect();
    if new.is_empty() {
        return Ok(());
    }
    database.write(|c| new.iter().try_for_each(|name| add_image(c, name)))
}

/// Makes an image with its first profile, unless it is there.
pub(in crate::server) fn add_image(c: &Connection, name: &ImageName) -> Result<(), Problem> {
    let added = c.execute("INSERT INTO images (name) VALUES (?1) ON CONFLICT DO NOTHING", [name.as_ref()])?;
    if added > 0 {
        add_profile(c, name.as_ref(), FIRST_PROFILE, "", &Profile::default(), None)?;
    }
    Ok(())
}

/// Every image, by name.
pub(in crate::server) fn images(c: &Connection) -> Result<Vec<Image>, Problem> {
    rows(c, &format!("{COLUMNS} ORDER BY name"), [], Image::read)
}

/// The image of this name, where there is one.
pub(in crate::server) fn find_image(c: &Connection, name: &str) -> Result<Option<Image>, Problem> {
    row(c, &format!("{COLUMNS} WHERE name = ?1"), [name], Image::read)
}

/// The image of this name.
pub(in crate::server) fn image(c: &Connection, name: &str) -> Result<Image, Problem> {
    let name = image_name(name)?;
    find_image(c, name.as_ref())?.ok_or_else(|| Problem::not_found(&format!("image {name}")))
}

/// Makes an image or changes it. True where it is new.
pub(in crate::server) fn put_image(
    c: &Connection,
    name: &str,
    change: &ImageChange,
) -> Result<bool, Problem> {
    let name = image_name(name)?;
    let new = find_image(c, name.as_ref())?.is_none();
    add_image(c, &name)?;
    c.execute(
        "UPDATE images SET description = coalesce(?2, description), enabled = coalesce(?3, enabled),
         on_demand = coalesce(?4, on_demand), protected = coalesce(?5, protected) WHERE name = ?1",
        (name.as_ref(), &change.description, change.enabled, change.on_demand, change.protected),
    )?;
    Ok(new)
}

/// Refuses to touch what an image holds where it is protected.
pub(in crate::server) fn refuse_protected(c: &Connection, name: &str, doing: &str) -> Result<(), Problem> {
    match find_image(c, name)? {
        Some(image) if image.protected => Err(Problem::conflict(format!(
            "image {name} is protected, so it is not {doing}; take the protection away first"
        ))),
        _ => Ok(()),
    }
}

/// Refuses to delete a version that a job waits for.
pub(in crate::server) fn refuse_awaited(c: &Connection, version: &ImageVersion) -> Result<(), Problem> {
    let question = "SELECT id FROM jobs WHERE state <> 'ended' AND image = ?1 AND version = ?2";
    let values = (version.image.as_ref(), version.version.as_ref());
    match row(c, question, values, |row| Ok(row.get::<_, i64>(0)?))? {
        Some(job) => Err(Problem::conflict(format!("job {job} waits for {version}; withdraw it first"))),
        None => Ok(()),
    }
}

/// Deletes an image with its profiles and every version; chunks stay until they are collected.
pub(in crate::server) fn delete_image(c: &Connection, store: &Directory, name: &str) -> Result<(), Problem> {
    let image = image(c, name)?;
    refuse_protected(c, name, "deleted")?;
    if let Some(job) = super::open_job_for(c, name, None)? {
        return Err(Problem::conflict(format!("job {job} is about image {name}; withdraw it first")));
    }
    c.execute(
        "UPDATE machines SET assigned_image = NULL, assigned_profile = NULL WHERE assigned_image = ?1",
        [name],
    )?;
    c.execute("DELETE FROM images WHERE name = ?1", [name])?;
    for version in image.versions(store)? {
        match store.delete_version(&ImageVersion { image: image.name.clone(), version }) {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
