//! What the server knows, in one SQLite file.
//!
//! Invariants: whatever takes more than one step is one transaction, so that a server that is killed between two steps
//! has done none of them; what a transaction has done is on the medium before anybody is told. One connection writes,
//! another only reads and never waits for it. The other modules hold a typed function for each question.

mod answers;
mod artefacts;
mod audit;
mod claims;
mod events;
mod groups;
mod images;
mod jobs;
mod machines;
mod profiles;
mod sessions;
mod settings;
mod tokens;
mod users;

pub(super) use self::{
    answers::*, artefacts::*, audit::*, claims::*, events::*, groups::*, images::*, jobs::*, machines::*,
    profiles::*, sessions::*, settings::*, tokens::*, users::*,
};

use super::ServerError;
use super::problem::Problem;
use crate::parallel::lock;
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// What leads from each version of the file to the next.
const MIGRATIONS: [&str; 3] = [include_str!("1.sql"), include_str!("2.sql"), include_str!("3.sql")];
/// How long another process, such as `remint admin init`, may hold the file.
const PATIENCE: Duration = Duration::from_secs(30);

/// The file, open.
pub(super) struct Database {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

impl Database {
    /// Opens the file in the folder of the server, and brings it to this version.
    pub(super) fn open(data: &Path) -> Result<Self, ServerError> {
        let path = data.join("remint.sqlite");
        let failed = |error: rusqlite::Error| ServerError::Io {
            doing: format!("opening the database {}", path.display()),
            source: std::io::Error::other(error),
        };
        std::fs::create_dir_all(data).map_err(|source| ServerError::Io {
            doing: format!("making the folder {}", data.display()),
            source,
        })?;
        make_private(&path)?;
        let mut writer = Connection::open(&path).map_err(failed)?;
        writer.busy_timeout(PATIENCE).map_err(failed)?;
        writer
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            .map_err(failed)?;
        migrate(&mut writer, &path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&path, flags).map_err(failed)?;
        reader.busy_timeout(PATIENCE).map_err(failed)?;
        Ok(Self { writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }

    /// One transaction: all of `work` or nothing of it.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let mut connection = lock(&self.writer);
        let transaction = Transaction::new(&mut connection, TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// One look at what is there.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Problem>) -> Result<T, Problem> {
        let mut connection = lock(&self.reader);
        let transaction = Transaction::new(&mut connection, TransactionBehavior::Deferred)?;
        work(&transaction)
    }
}

/// Makes the file where it is missing, for the eyes of the server's user alone: it holds hashes of passwords.
fn make_private(path: &PathBuf) -> Result<(), ServerError> {
    use std::os::unix::fs::OpenOptionsExt;
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map(drop).map_err(|source| ServerError::Io {
        doing: format!("opening the database {}", path.display()),
        source,
    })
}

/// Brings the file to this version; a newer one is left alone.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), ServerError> {
    let failed = |error: rusqlite::Error| ServerError::Io {
        doing: format!("bringing the database {} to this version", path.display()),
        source: std::io::Error::other(error),
    };
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate).map_err(failed)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let known = MIGRATIONS.len();
    let Some(done) = usize::try_from(version).ok().filter(|done| *done <= known) else {
        return Err(ServerError::Refused {
            fact: format!(
                "{} is of version {version}, and this Remint knows versions up to {known}: use a newer Remint",
                path.display()
            ),
        });
    };
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.execute_batch(&format!("PRAGMA user_version = {known}")).map_err(failed)?;
    transaction.commit().map_err(failed)
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::full("the database has no room on its medium"),
            _ => Self::internal(format!("the database: {error}")),
        }
    }
}

/// The rows of a question, each read by `read`.
fn rows<T>(
    connection: &Connection,
    question: &str,
    values: impl rusqlite::Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    let mut statement = connection.prepare(question)?;
    let mut found = statement.query(values)?;
    let mut list = Vec::new();
    while let Some(row) = found.next()? {
        list.push(read(row)?);
    }
    Ok(list)
}

/// The only row of a question, where there is one.
fn row<T>(
    connection: &Connection,
    question: &str,
    values: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> Result<T, Problem>,
) -> Result<Option<T>, Problem> {
    Ok(rows(connection, question, values, read)?.into_iter().next())
}

/// Whether a question has an answer.
fn exists(connection: &Connection, question: &str, values: impl rusqlite::Params) -> Result<bool, Problem> {
    Ok(row(connection, question, values, |_| Ok(()))?.is_some())
}

/// The most entries of a list that are shown at once.
const MAX_PAGE: u32 = 1000;

/// The number of which a page shows smaller ones.
fn below(before: Option<u64>) -> i64 {
    before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX)
}

/// How many entries a page has at most.
fn at_most(limit: Option<u32>) -> Result<u32, Problem> {
    let limit = limit.unwrap_or(MAX_PAGE);
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::bad_request(format!("a list shows from 1 to {MAX_PAGE} entries at once, not {limit}")))
}

/// The number of a record as the file has it; of one that cannot be there, a number that is not.
fn key(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(-1)
}

fn json(value: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(|error| Problem::internal(format!("writing JSON: {error}")))
}

fn of_json<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| {
        Problem::internal(format!("the database holds what this version of Remint cannot read: {error}"))
    })
}

/// A value that is one word in JSON, without its quotes.
fn word(value: &impl Serialize) -> Result<String, Problem> {
    Ok(json(value)?.trim_matches('"').to_owned())
}

fn of_word<T: DeserializeOwned>(word: &str) -> Result<T, Problem> {
    of_json(&json(&word)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Inventory;

    #[test]
    fn a_database_of_a_newer_version_is_left_alone_and_named() {
        let folder = tempfile::tempdir().unwrap();
        drop(Database::open(folder.path()).unwrap());
        let file = folder.path().join("remint.sqlite");
        Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 7").unwrap();
        let Err(ServerError::Refused { fact }) = Database::open(folder.path()) else { panic!() };
        assert!(fact.contains("version 7") && fact.contains("remint.sqlite"), "{fact}");
        let known = format!("PRAGMA user_version = {}", MIGRATIONS.len());
        Connection::open(&file).unwrap().execute_batch(&known).unwrap();
        drop(Database::open(folder.path()).unwrap());
    }

    #[test]
    fn a_database_of_the_first_version_keeps_who_had_a_job() {
        let folder = tempfile::tempdir().unwrap();
        let old = Connection::open(folder.path().join("remint.sqlite")).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute_batch(
            r#"INSERT INTO machines (id, name, inventory, registered) VALUES (1, 'imaged', '{"serial": "S-1", "uuid": "4C4C4544-0001"}', 0), (2, 'new', '{}', 0);
            INSERT INTO cards VALUES ('aa', 1), ('bb', 2);
            INSERT INTO sessions VALUES (7, NULL, '{"macs": ["cc", "dd"]}', 0), (8, NULL, '{"macs": ["ee"]}', 0);
            INSERT INTO jobs (operation, machine, session, machine_name, image, profile_name, profile, state, wished_by, created)
            VALUES ('deploy', 1, NULL, 'imaged', 'lab', 'default', '{}', 'ended', 'anna', 0),
                ('deploy', NULL, 7, 'unregistered cc', 'lab', 'default', '{}', 'ended', 'machine', 0),
                ('deploy', NULL, NULL, 'unregistered ff', 'lab', 'default', '{}', 'ended', 'machine', 0);
            INSERT INTO images (name) VALUES ('lab');
            INSERT INTO profiles (image, name, profile, match_kind, match_text) VALUES ('lab', 'default', '{}', 'equals', 'X');
            PRAGMA user_version = 1;"#,
        )
        .unwrap();
        drop(old);
        let database = Database::open(folder.path()).unwrap();
        let with = |card: &str| Inventory { macs: vec![card.to_owned()], ..Inventory::default() };
        let cards = [("aa", true), ("bb", false), ("cc", true), ("dd", true), ("ee", false), ("ff", true)];
        for (card, had) in cards {
            assert_eq!(database.read(|c| had_a_job(c, None, &with(card))).unwrap(), had, "{card}");
        }
        let none = Inventory::default();
        assert!(database.read(|c| had_a_job(c, Some(1), &none)).unwrap());
        assert!(!database.read(|c| had_a_job(c, Some(2), &none)).unwrap());
        // With another card it is the same machine still.
        let (serial, uuid) = (Some("S-1".to_owned()), Some("4c4c4544-0001".to_owned()));
        let docked = Inventory { serial, uuid, ..with("99") };
        assert!(database.read(|c| had_a_job(c, None, &docked)).unwrap());
        let other = Inventory { serial: Some("S-2".to_owned()), ..docked };
        assert!(!database.read(|c| had_a_job(c, None, &other)).unwrap());
        // Its profile for a model was made when nothing began by itself.
        assert!(!database.read(settings).unwrap().model_match);
    }

    #[test]
    fn what_fails_half_way_has_not_happened() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let failed: Result<(), Problem> = database.write(|connection| {
            connection.execute("INSERT INTO images (name) VALUES ('lab')", [])?;
            Err(Problem::bad_request("stop"))
        });
        assert!(failed.is_err());
        assert!(!database.read(|c| exists(c, "SELECT 1 FROM images", [])).unwrap());
        assert!(database.read(|c| Ok(c.execute("DELETE FROM images", [])?)).is_err(), "a reader only reads");
    }
}
