//! An inspection as JSON: a disk in `docs/schema/inspect.schema.json`, without what the machine says about it.

use super::Inspection;
use crate::schema::Disk;
use serde::Serialize;

/// One disk. Used maps are left out: they can be long, and `used_bytes` says what matters of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskView<'a> {
    /// The disk as a manifest would hold it.
    pub disk: &'a Disk,
    /// What a person should know: sentences.
    pub findings: &'a [String],
    /// Those of the findings for which a capture is refused unless a person decided.
    pub refusals: &'a [String],
}

/// One inspection in the form in which it is printed as JSON.
#[must_use]
pub fn view_disk(inspection: &Inspection) -> DiskView<'_> {
    DiskView { disk: &inspection.disk, findings: &inspection.findings, refusals: &inspection.refusals }
}
