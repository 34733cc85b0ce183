//! A new hive.

use super::edit::encoded_key;
use super::keys::{ASCII_KEY, Key, NOTHING, SECURITY, SUBKEY_LIST, VALUE_LIST};
use super::{BASE_BYTES, Error, Hive};

/// The root's own flags: it is the entry of the hive, and cannot be deleted.
const ROOT_FLAGS: u16 = 0x04 | 0x08;
/// A SID (MS-DTYP 2.4.2): the administrators of this machine, `S-1-5-32-544`, and the system, `S-1-5-18`.
const ADMINISTRATORS: [u8; 16] = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0];
const SYSTEM: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
/// Everything that can be done with a key (`KEY_ALL_ACCESS`).
const ALL_RIGHTS: u32 = 0x000F_003F;
/// What is in a key inherits the rights to it (`CONTAINER_INHERIT_ACE`).
const INHERITED: u8 = 2;

impl Hive {
    /// A hive with nothing but its root, which the administrators own, who and the system may do everything in it.
    ///
    /// # Errors
    /// Where the name of the root cannot be one.
    pub fn empty(name: &str) -> Result<Self, Error> {
        let (is_ascii, name) = encoded_key(name)?;
        let mut hive =
            Self { bytes: vec![0; BASE_BYTES], bins: Vec::new(), root: Key(NOTHING), changed: false };
        // Version 1.5: the lists of subkeys have hashes.
        for (at, number) in [(20, 1u32), (24, 5), (32, 1), (44, 1)] {
            hive.put(at, &number.to_le_bytes());
        }
        hive.put(0, b"regf");
        let root = hive.allocate(76usize.saturating_add(name.len()))?;
        let descriptor = descriptor();
        let security = hive.allocate(20usize.saturating_add(descriptor.len()))?;
        let flags = ROOT_FLAGS | if is_ascii { ASCII_KEY } else { 0 };
        let cell = hive.cell(root)?.start;
        for (at, bytes) in [
            (0, b"nk".as_slice()),
            (2, &flags.to_le_bytes()),
            (16, &NOTHING.to_le_bytes()),
            (SUBKEY_LIST, &NOTHING.to_le_bytes()),
            (32, &NOTHING.to_le_bytes()),
            (VALUE_LIST, &NOTHING.to_le_bytes()),
            (SECURITY, &security.to_le_bytes()),
            (48, &NOTHING.to_le_bytes()),
            (72, &u16::try_from(name.len()).unwrap_or_default().to_le_bytes()),
            (76, &name),
        ] {
            hive.put(cell.saturating_add(at), bytes);
        }
        let cell = hive.cell(security)?.start;
        for (at, bytes) in [
            (0, b"sk".as_slice()),
            // The only one of its list follows and precedes itself.
            (4, &security.to_le_bytes()),
            (8, &security.to_le_bytes()),
            (12, &1u32.to_le_bytes()),
            (16, &u32::try_from(descriptor.len()).unwrap_or_default().to_le_bytes()),
            (20, &descriptor),
        ] {
            hive.put(cell.saturating_add(at), bytes);
        }
        hive.put(36, &root.to_le_bytes());
        hive.root = Key(root);
        Ok(hive)
    }
}

/// A self-relative security descriptor (MS-DTYP 2.4.6).
fn descriptor() -> Vec<u8> {
    let number = |value: usize| u16::try_from(value).unwrap_or_default();
    let rights = |who: &[u8]| {
        let mut entry = vec![0, INHERITED];
        entry.extend(number(who.len().saturating_add(8)).to_le_bytes());
        entry.extend(ALL_RIGHTS.to_le_bytes());
        entry.extend(who);
        entry
    };
    let entries = [rights(&ADMINISTRATORS), rights(&SYSTEM)].concat();
    let list_bytes = entries.len().saturating_add(8);
    let owner = list_bytes.saturating_add(20);
    let group = owner.saturating_add(ADMINISTRATORS.len());
    // Revision 1, self-relative, with a list of rights.
    let mut bytes = vec![1, 0, 0x04, 0x80];
    for offset in [owner, group, 0, 20] {
        bytes.extend(u32::from(number(offset)).to_le_bytes());
    }
    bytes.extend([2, 0]);
    bytes.extend(number(list_bytes).to_le_bytes());
    bytes.extend([2, 0, 0, 0]);
    bytes.extend(entries);
    bytes.extend(ADMINISTRATORS);
    bytes.extend(SYSTEM);
    bytes
}
