//! An inspection as JSON, described by `docs/schema/inspect.schema.json`.

use super::Inspection;
use crate::schema::Disk;
use serde::Serialize;

/// What `remint inspect --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View<'a> {
    /// One element for each disk that was inspected.
    pub disks: Vec<DiskView<'a>>,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskView<'a> {
    /// The disk as a manifest would hold it.
    pub disk: &'a Disk,
    /// What a person should know: sentences.
    pub findings: &'a [String],
    /// Those of the findings for which a capture is refused unless a person decided.
    pub refusals: &'a [String],
}

/// The inspections in the form in which they are printed as JSON. Used maps are left out: they can be long, and
/// `used_bytes` says what matters of them.
#[must_use]
pub fn view(inspections: &[Inspection]) -> View<'_> {
    View { disks: inspections.iter().map(view_disk).collect() }
}

/// One inspection in the form in which it is printed as JSON.
#[must_use]
pub fn view_disk(inspection: &Inspection) -> DiskView<'_> {
    DiskView { disk: &inspection.disk, findings: &inspection.findings, refusals: &inspection.refusals }
}
