//! Machines, and by what they are known.

use super::super::moment::Moment;
use super::super::problem::Problem;
use super::{check_name, exists, json, of_json, row, rows};
use crate::protocol::{Inventory, MachineRecord, ProfileName};
use rusqlite::{Connection, Row};

/// A machine that the server knows.
#[derive(Debug, Clone)]
pub(in crate::server) struct Machine {
    pub(in crate::server) id: i64,
    pub(in crate::server) name: String,
    pub(in crate::server) inventory: Inventory,
    pub(in crate::server) assigned: Option<ProfileName>,
    pub(in crate::server) failed_job: Option<i64>,
    registered: Moment,
    seen: Option<Moment>,
}

const COLUMNS: &str = "SELECT id, name, inventory, assigned_image, assigned_profile, failed_job, registered, seen FROM machines";

impl Machine {
    fn read(row: &Row<'_>) -> Result<Self, Problem> {
        let (image, profile): (Option<String>, Option<String>) = (row.get(3)?, row.get(4)?);
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            inventory: of_json(&row.get::<_, String>(2)?)?,
            assigned: image.map(|image| ProfileName { image, profile }),
            failed_job: row.get(5)?,
            registered: row.get(6)?,
            seen: row.get(7)?,
        })
    }

    /// What administrators see of it.
    pub(in crate::server) fn record(self, c: &Connection) -> Result<MachineRecord, Problem> {
        let question = "SELECT group_name FROM members WHERE machine = ?1 ORDER BY group_name";
        Ok(MachineRecord {
            action: super::action_of(c, &self)?,
            groups: rows(c, question, [self.id], |row| Ok(row.get(0)?))?,
            id: self.id.unsigned_abs(),
            name: self.name,
            inventory: self.inventory,
            assigned: self.assigned,
            registered: self.registered.text(),
            seen: self.seen.map(Moment::text),
        })
    }
}

/// Every machine, by name.
pub(in crate::server) fn machines(c: &Connection) -> Result<Vec<Machine>, Problem> {
    rows(c, &format!("{COLUMNS} ORDER BY name"), [], Machine::read)
}

/// The machine of this name.
pub(in crate::server) fn machine_by_name(c: &Connection, name: &str) -> Result<Machine, Problem> {
    let found = row(c, &format!("{COLUMNS} WHERE name = ?1"), [name], Machine::read)?;
    found.ok_or_else(|| Problem::not_found(&format!("machine {}", shown(name))))
}

/// The machine of this number.
pub(in crate::server) fn machine(c: &Connection, id: i64) -> Result<Option<Machine>, Problem> {
    row(c, &format!("{COLUMNS} WHERE id = ?1"), [id], Machine::read)
}

/// The machine that has this card.
pub(in crate::server) fn machine_by_card(c: &Connection, mac: &str) -> Result<Option<Machine>, Problem> {
    row(c, &format!("{COLUMNS} WHERE id = (SELECT machine FROM cards WHERE mac = ?1)"), [mac], Machine::read)
}

/// A name from outside, short enough for a sentence.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// The known machine that an inventory is of: by its cards in their order, or by serial number and UUID together where
/// no card is known. A card that was put into another machine does not count: where serial number and UUID are known on
/// both sides, one of them has to agree.
pub(in crate::server) fn find_machine(
    c: &Connection,
    inventory: &Inventory,
) -> Result<Option<Machine>, Problem> {
    for mac in &inventory.macs {
        if let Some(machine) = machine_by_card(c, mac)?
            && !is_another(&machine.inventory, inventory)
        {
            return Ok(Some(machine));
        }
    }
    let (Some(serial), Some(uuid)) = identity(inventory) else { return Ok(None) };
    let mut same =
        machines(c)?.into_iter().filter(|known| identity(&known.inventory) == (Some(serial), Some(uuid)));
    // Two that say the same are no answer: such numbers came out of a mould.
    Ok(same.next().filter(|_| same.next().is_none()))
}

/// Serial number and UUID, where they tell machines apart. Makers leave texts and zeros in them.
pub(super) fn identity(inventory: &Inventory) -> (Option<&str>, Option<&str>) {
    const MEANINGLESS: [&str; 8] = [
        "",
        "0",
        "none",
        "default string",
        "to be filled by o.e.m.",
        "system serial number",
        "not specified",
        "123456789",
    ];
    let serial = inventory.serial.as_deref().map(str::trim);
    let serial = serial.filter(|serial| !MEANINGLESS.contains(&serial.to_lowercase().as_str()));
    let uuid = inventory.uuid.as_deref().map(str::trim);
    let uuid = uuid.filter(|uuid| uuid.chars().any(|c| !matches!(c, '0' | '-')));
    (serial, uuid.filter(|uuid| uuid.chars().any(|c| !matches!(c, 'f' | 'F' | '-'))))
}

fn is_another(known: &Inventory, said: &Inventory) -> bool {
    match (identity(known), identity(said)) {
        ((Some(serial), Some(uuid)), (Some(said_serial), Some(said_uuid))) => {
            serial != said_serial && !uuid.eq_ignore_ascii_case(said_uuid)
        }
        _ => false,
    }
}

/// A new machine.
pub(in crate::server) fn add_machine(
    c: &Connection,
    name: &str,
    inventory: &Inventory,
    assigned: Option<&ProfileName>,
    now: Moment,
) -> Result<Machine, Problem> {
    check_name("machine", name)?;
    refuse_taken(c, name, None)?;
    c.execute(
        "INSERT INTO machines (name, inventory, registered) VALUES (?1, ?2, ?3)",
        (name, json(inventory)?, now),
    )?;
    let id = c.last_insert_rowid();
    for mac in &inventory.macs {
        if let Some(other) = machine_by_card(c, mac)? {
            return Err(Problem::conflict(format!("the card {mac} is that of {}", other.name)));
        }
    }
    set_cards(c, id, inventory)?;
    assign(c, id, assigned)?;
    machine_by_name(c, name)
}

/// Whether there is a machine of this name.
pub(in crate::server) fn has_machine_named(c: &Connection, name: &str) -> Result<bool, Problem> {
    exists(c, "SELECT 1 FROM machines WHERE name = ?1", [name])
}

fn refuse_taken(c: &Connection, name: &str, except: Option<i64>) -> Result<(), Problem> {
    if exists(c, "SELECT 1 FROM machines WHERE name = ?1 AND id IS NOT ?2", (name, except))? {
        return Err(Problem::conflict(format!("there is a machine {name} already")));
    }
    Ok(())
}

/// Keeps what a machine said of itself. Cards of other machines stay with those.
pub(in crate::server) fn machine_seen(
    c: &Connection,
    id: i64,
    inventory: &Inventory,
    now: Moment,
) -> Result<(), Problem> {
    c.execute("UPDATE machines SET seen = ?2 WHERE id = ?1", (id, now))?;
    machine_known_by(c, id, inventory)
}

/// Sets by what a machine is known.
pub(in crate::server) fn machine_known_by(
    c: &Connection,
    id: i64,
    inventory: &Inventory,
) -> Result<(), Problem> {
    c.execute("UPDATE machines SET inventory = ?2 WHERE id = ?1", (id, json(inventory)?))?;
    set_cards(c, id, inventory)
}

fn set_cards(c: &Connection, id: i64, inventory: &Inventory) -> Result<(), Problem> {
    c.execute("DELETE FROM cards WHERE machine = ?1", [id])?;
    for mac in &inventory.macs {
        c.execute("INSERT INTO cards (mac, machine) VALUES (?1, ?2) ON CONFLICT DO NOTHING", (mac, id))?;
    }
    Ok(())
}

/// Gives a machine the image and profile that its actions are about.
pub(in crate::server) fn assign(
    c: &Connection,
    id: i64,
    assigned: Option<&ProfileName>,
) -> Result<(), Problem> {
    let (image, profile) = match assigned {
        Some(name) => (Some(&name.image), name.profile.as_ref()),
        None => (None, None),
    };
    c.execute(
        "UPDATE machines SET assigned_image = ?2, assigned_profile = ?3 WHERE id = ?1",
        (id, image, profile),
    )?;
    Ok(())
}

/// Gives a machine another name.
pub(in crate::server) fn rename_machine(
    c: &Connection,
    machine: &Machine,
    name: &str,
) -> Result<(), Problem> {
    check_name("machine", name)?;
    refuse_taken(c, name, Some(machine.id))?;
    c.execute("UPDATE machines SET name = ?2 WHERE id = ?1", (machine.id, name))?;
    Ok(())
}

/// Sets the failure that keeps a machine from its next job, or forgets it.
pub(in crate::server) fn mark_failure(c: &Connection, id: i64, job: Option<i64>) -> Result<(), Problem> {
    c.execute("UPDATE machines SET failed_job = ?2 WHERE id = ?1", (id, job))?;
    Ok(())
}

/// Deletes a machine; the history of its jobs stays, and that its cards had some.
pub(in crate::server) fn delete_machine(c: &Connection, machine: &Machine) -> Result<(), Problem> {
    if let Some(job) = super::open_job_of(c, machine.id)? {
        return Err(Problem::conflict(format!("{} has the job {}; withdraw it first", machine.name, job.id)));
    }
    super::remember(c, Some(machine.id), None)?;
    c.execute("DELETE FROM machines WHERE id = ?1", [machine.id])?;
    Ok(())
}

/// A hardware address in its one form: lower case, with colons.
pub(in crate::server) fn mac(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    let sound = digits.len() == 12 && digits.chars().all(|c| c.is_ascii_hexdigit()) && text.len() <= 17;
    let pairs = digits.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_lowercase());
    sound.then(|| pairs.collect::<Vec<_>>().join(":"))
}

#[cfg(test)]
mod tests {
    use super::super::Database;
    use super::*;

    fn inventory(macs: &[&str], serial: Option<&str>, uuid: Option<&str>) -> Inventory {
        Inventory {
            macs: macs.iter().map(|mac| (*mac).to_owned()).collect(),
            serial: serial.map(str::to_owned),
            uuid: uuid.map(str::to_owned),
            ..Inventory::default()
        }
    }

    #[test]
    fn a_machine_is_known_by_its_cards_or_by_both_of_its_numbers() {
        const UUID: &str = "4c4c4544-0042-3510-8051-b8c04f4e4d32";
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let known = |inventory: Inventory| {
            database.read(|c| Ok(find_machine(c, &inventory)?.map(|machine| machine.name))).unwrap()
        };
        database
            .write(|c| {
                add_machine(
                    c,
                    "pc-01",
                    &inventory(&["aa", "bb"], Some("S1"), Some(UUID)),
                    None,
                    Moment::now(),
                )?;
                add_machine(c, "pc-02", &inventory(&["cc"], Some("0"), Some("0000-00")), None, Moment::now())
            })
            .unwrap();
        assert_eq!(known(inventory(&["zz", "bb"], None, None)).as_deref(), Some("pc-01"));
        assert_eq!(known(inventory(&["zz"], Some("S1"), Some(UUID))).as_deref(), Some("pc-01"), "new cards");
        assert_eq!(known(inventory(&["zz"], Some("S1"), None)), None, "one number is not enough");
        assert_eq!(known(inventory(&["zz"], Some("0"), Some("0000-00"))), None, "numbers of many machines");
        let moved = inventory(&["bb"], Some("S2"), Some("5c4c4544-0042-3510-8051-b8c04f4e4d32"));
        assert_eq!(known(moved), None, "the card sits in another machine now");
    }

    #[test]
    fn hardware_addresses_have_one_form() {
        for text in ["52:54:00:AA:BB:CC", "52-54-00-aa-bb-cc", "525400aabbcc", "5254.00aa.bbcc"] {
            assert_eq!(mac(text).as_deref(), Some("52:54:00:aa:bb:cc"), "{text}");
        }
        for text in
            ["", "52:54:00:aa:bb", "52:54:00:aa:bb:cg", "52:54:00:aa:bb:cc\n", "52:::::54:00:aa:bb:cc:"]
        {
            assert_eq!(mac(text), None, "{text}");
        }
    }
}
