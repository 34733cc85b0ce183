//! Storage drivers that a Windows is to start with, whatever controller it was captured from.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;

/// What stands for those that come with Windows and drive what most machines have.
const USUAL: &str = "usual";
/// AHCI of Windows 8 and newer and of Windows Vista and 7, NVMe, IDE.
const USUAL_DRIVERS: [&str; 6] = ["storahci", "msahci", "stornvme", "pciide", "intelide", "atapi"];
/// Further ones: Intel's RAID, others' controllers, and those of virtual machines.
const OTHERS: [&str; 25] = [
    "iaStor",
    "iaStorV",
    "iaStorA",
    "iaStorAC",
    "iaStorAV",
    "iaStorAVC",
    "iaStorVD",
    "LSI_SAS",
    "LSI_SAS2",
    "LSI_SAS2i",
    "LSI_SAS3i",
    "LSI_SCSI",
    "megasas",
    "megasas2i",
    "percsas2i",
    "percsas3i",
    "amdsata",
    "amdsbs",
    "nvraid",
    "nvstor",
    "vmbus",
    "storvsc",
    "viostor",
    "vioscsi",
    "pvscsi",
];

/// A storage driver by the name of its service, or the usual ones together. No other service is ever touched.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct BootDriver(&'static str);

/// A name that is none of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{}\" is no storage driver that is known here; {USUAL}, {}, {} are", .0.escape_debug(),
    USUAL_DRIVERS.join(", "), OTHERS.join(", ")
)]
pub struct BootDriverFault(String);

impl BootDriver {
    /// The services that it stands for.
    #[must_use]
    pub fn services(self) -> Vec<&'static str> {
        if self.is_usual() { USUAL_DRIVERS.to_vec() } else { vec![self.0] }
    }

    /// True where it stands for the usual ones: those of them that an image lacks are passed over.
    #[must_use]
    pub fn is_usual(self) -> bool {
        self.0 == USUAL
    }
}

impl FromStr for BootDriver {
    type Err = BootDriverFault;

    /// Small letters and capitals are the same, as in Windows.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [USUAL].into_iter().chain(USUAL_DRIVERS).chain(OTHERS);
        let found = known.into_iter().find(|name| name.eq_ignore_ascii_case(text));
        found.map(Self).ok_or_else(|| BootDriverFault(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for BootDriver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for BootDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for BootDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_storage_drivers_have_a_name_and_the_usual_ones_have_one_together() {
        let read = serde_json::from_str::<Vec<BootDriver>>(r#"["StorAHCI", "usual"]"#).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"["storahci","usual"]"#);
        assert_eq!(read[0].services(), ["storahci"]);
        assert_eq!((read[1].services().len(), read[1].is_usual(), read[0].is_usual()), (6, true, false));
        let said = serde_json::from_str::<BootDriver>(r#""Tcpip""#).unwrap_err().to_string();
        assert!(said.contains("\"Tcpip\" is no storage driver") && said.contains("stornvme"), "{said}");
    }
}
