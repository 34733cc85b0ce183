//! A new boot configuration (BCD) for a Windows: the objects that `bcdboot` makes, without its template.
//!
//! The store is a registry hive: `Objects\{GUID}` with a type and elements, each a key with the value `Element`. Identifiers of
//! objects and elements are those of Microsoft's reference ("BCD reference": BcdObjectType, BcdLibraryElementTypes,
//! BcdBootMgrElementTypes, BcdOSLoaderElementTypes).

use super::windows::element;
use crate::plan::{BootConfiguration, WindowsName};
use crate::registry::{Error, Hive, Key, REG_BINARY, REG_DWORD, REG_MULTI_SZ, REG_SZ};
use crate::schema::Firmware;
use crate::units::Guid;

const BOOT_MANAGER: &str = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";
const MEMORY_TEST: &str = "{b2721d73-1db4-4c62-bf78-c548a880142d}";
/// What every object inherits, and what is for loaders and for waking up.
const GLOBAL: &str = "{7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e}";
const OF_LOADERS: &str = "{6efb52bf-1766-41db-a6b3-0ee5eff72bd7}";
const OF_RESUME: &str = "{1afa9c49-16ab-4a5c-901b-212802da9460}";
const DEBUGGER: &str = "{4636856e-540f-4170-a130-a84776f4c654}";
const EMERGENCY: &str = "{0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9}";
const BAD_MEMORY: &str = "{5189b25c-5558-4bf2-bca4-289b11bd29e2}";
const HYPERVISOR: &str = "{7ff607e0-4395-11db-b0de-0800200c9a66}";

// Elements.
const DEVICE: u32 = 0x1100_0001;
const PATH: u32 = 0x1200_0002;
const DESCRIPTION: u32 = 0x1200_0004;
const LOCALE: u32 = 0x1200_0005;
const INHERITS: u32 = 0x1400_0006;
const DEBUGGER_KIND: u32 = 0x1500_0011;
const EMERGENCY_IS_ON: u32 = 0x1600_0020;
/// Of a loader its system, of one that wakes up where the memory is.
const OS_DEVICE: u32 = 0x2100_0001;
const OS_PATH: u32 = 0x2200_0002;
/// Of the boot manager the default, of a loader who wakes it up.
const OBJECT: u32 = 0x2300_0003;
const RESUME_OBJECT: u32 = 0x2300_0006;
const ORDER: u32 = 0x2400_0001;
const TOOLS: u32 = 0x2400_0010;
const TIMEOUT: u32 = 0x2500_0004;
const NO_EXECUTE: u32 = 0x2500_0020;
const MENU_POLICY: u32 = 0x2500_00C2;

/// The debugger is on the local machine.
const LOCAL: u64 = 4;
/// Only what asks for it is kept from executing data.
const OPT_IN: u64 = 0;
/// The menu of Windows 8 and later.
const STANDARD_MENU: u64 = 1;
const SECONDS: u64 = 30;

/// The name that a locale has where nobody says another, also for Windows' own boot manager.
pub const USUAL_LOCALE: &str = "en-US";

/// The bytes of a store that starts one Windows.
///
/// # Errors
/// Where a hive cannot hold it, which no machine decides.
pub fn new_store(
    configuration: &BootConfiguration,
    firmware: Firmware,
    locale: &str,
) -> Result<Vec<u8>, Error> {
    let BootConfiguration { system, windows, loader, resume } = *configuration;
    let uefi = firmware == Firmware::Uefi;
    let program = |name: &str| format!("\\Windows\\system32\\{name}.{}", if uefi { "efi" } else { "exe" });
    let (loader, resume) = (braced(loader), braced(resume));
    let mut store = Store::new()?;

    let mut manager = store.object(BOOT_MANAGER, 0x1010_0002)?;
    manager.device(DEVICE, system)?;
    if uefi {
        manager.text(PATH, "\\EFI\\Microsoft\\Boot\\bootmgfw.efi")?;
    }
    manager.text(DESCRIPTION, "Windows Boot Manager")?;
    manager.text(LOCALE, locale)?;
    manager.list(INHERITS, &[GLOBAL])?;
    manager.text(OBJECT, &loader)?;
    manager.text(RESUME_OBJECT, &resume)?;
    manager.list(ORDER, &[&loader])?;
    manager.list(TOOLS, &[MEMORY_TEST])?;
    manager.number(TIMEOUT, SECONDS)?;

    let mut object = store.object(&loader, 0x1020_0003)?;
    object.device(DEVICE, windows)?;
    object.text(PATH, &program("winload"))?;
    object.text(DESCRIPTION, "Windows")?;
    object.text(LOCALE, locale)?;
    object.list(INHERITS, &[OF_LOADERS])?;
    object.device(OS_DEVICE, windows)?;
    object.text(OS_PATH, "\\Windows")?;
    object.text(OBJECT, &resume)?;
    object.number(NO_EXECUTE, OPT_IN)?;
    object.number(MENU_POLICY, STANDARD_MENU)?;

    let mut object = store.object(&resume, 0x1020_0004)?;
    object.device(DEVICE, windows)?;
    object.text(PATH, &program("winresume"))?;
    object.text(DESCRIPTION, "Windows Resume Application")?;
    object.text(LOCALE, locale)?;
    object.list(INHERITS, &[OF_RESUME])?;
    object.device(OS_DEVICE, windows)?;
    object.text(OS_PATH, "\\hiberfil.sys")?;

    let mut object = store.object(MEMORY_TEST, 0x1020_0005)?;
    object.device(DEVICE, system)?;
    object.text(PATH, if uefi { "\\EFI\\Microsoft\\Boot\\memtest.efi" } else { "\\boot\\memtest.exe" })?;
    object.text(DESCRIPTION, "Windows Memory Diagnostic")?;
    object.text(LOCALE, locale)?;
    object.list(INHERITS, &[GLOBAL])?;

    store.object(GLOBAL, 0x2010_0000)?.list(INHERITS, &[DEBUGGER, EMERGENCY, BAD_MEMORY])?;
    store.object(OF_LOADERS, 0x2020_0003)?.list(INHERITS, &[GLOBAL, HYPERVISOR])?;
    store.object(OF_RESUME, 0x2020_0004)?.list(INHERITS, &[GLOBAL])?;
    store.object(DEBUGGER, 0x2010_0000)?.number(DEBUGGER_KIND, LOCAL)?;
    store.object(EMERGENCY, 0x2010_0000)?.set(EMERGENCY_IS_ON, REG_BINARY, &[0])?;
    store.object(BAD_MEMORY, 0x2010_0000)?;
    store.object(HYPERVISOR, 0x2020_0003)?;
    Ok(store.hive.into_bytes())
}

fn braced(guid: Guid) -> String {
    format!("{{{}}}", guid.to_string().to_ascii_lowercase())
}

/// Text as the registry holds it, with its end.
fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

struct Store {
    hive: Hive,
    objects: Key,
}

impl Store {
    fn new() -> Result<Self, Error> {
        let mut hive = Hive::empty("NewStoreRoot")?;
        let description = hive.make_key(hive.root(), "Description")?;
        hive.set(description, "KeyName", REG_SZ, &wide("BCD00000000"))?;
        for name in ["System", "TreatAsSystem"] {
            hive.set(description, name, REG_DWORD, &1u32.to_le_bytes())?;
        }
        let objects = hive.make_key(hive.root(), "Objects")?;
        Ok(Self { hive, objects })
    }

    fn object(&mut self, name: &str, kind: u32) -> Result<Object<'_>, Error> {
        let object = self.hive.make_key(self.objects, name)?;
        let description = self.hive.make_key(object, "Description")?;
        self.hive.set(description, "Type", REG_DWORD, &kind.to_le_bytes())?;
        let elements = self.hive.make_key(object, "Elements")?;
        Ok(Object { hive: &mut self.hive, elements })
    }
}

struct Object<'a> {
    hive: &'a mut Hive,
    elements: Key,
}

impl Object<'_> {
    fn set(&mut self, kind: u32, of: u32, data: &[u8]) -> Result<(), Error> {
        let key = self.hive.make_key(self.elements, &format!("{kind:08x}"))?;
        self.hive.set(key, "Element", of, data)
    }

    fn text(&mut self, kind: u32, text: &str) -> Result<(), Error> {
        self.set(kind, REG_SZ, &wide(text))
    }

    fn list(&mut self, kind: u32, texts: &[&str]) -> Result<(), Error> {
        let mut data: Vec<u8> = texts.iter().flat_map(|text| wide(text)).collect();
        data.extend([0, 0]);
        self.set(kind, REG_MULTI_SZ, &data)
    }

    fn number(&mut self, kind: u32, number: u64) -> Result<(), Error> {
        self.set(kind, REG_BINARY, &number.to_le_bytes())
    }

    /// A partition: no further options, the kind, its flags, the length of what follows with this head, the partition.
    fn device(&mut self, kind: u32, name: WindowsName) -> Result<(), Error> {
        let head = [6u32, 0, 0x48, 0].map(u32::to_le_bytes).concat();
        let data = [&[0; 16], head.as_slice(), &element(name), &[0; 16]].concat();
        self.set(kind, REG_BINARY, &data)
    }
}
