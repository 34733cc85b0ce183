//! Files that a deploy copies: at hand and measured before anything is written, copied by the steps of the plan.

use super::scripts::{self, WishedScript};
use crate::blockio::WriteAt;
use crate::client::{self, JobLink};
use crate::customize::{CustomizeError, Customizer, Deployed, Taken};
use crate::http;
use crate::image::Manifest;
use crate::linux::{self, Artefact, Customizations};
use crate::plan::{DeployPlan, Step, Target, WishedCopy};
use crate::progress::{Event, Monitor};
use crate::protocol::{Job, JobArtefact};
use crate::schema::{ArtefactId, FileCopy};
use crate::units::{MIB, format_size, u64_from};
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An artefact is fetched in parts, so that a lost connection costs one of them.
const PART_BYTES: u64 = 4 * MIB;
/// For so long one request is tried again; in between a request to stop is heard.
const PATIENCE_OF_ONE: Duration = Duration::from_secs(4);

/// The artefacts that are at hand.
#[derive(Debug, Clone, Default)]
pub struct Artefacts(BTreeMap<ArtefactId, Arc<Artefact>>);

impl Artefacts {
    /// Takes one in.
    pub fn add(&mut self, artefact: Artefact) {
        self.0.insert(artefact.id(), Arc::new(artefact));
    }

    fn get(&self, id: ArtefactId) -> Option<&Artefact> {
        self.0.get(&id).map(AsRef::as_ref)
    }

    /// Fetches those that a job names, into files without a name. Nothing of a target was touched by then.
    pub(super) fn fetch(
        job: &Job,
        link: &JobLink,
        patience: Duration,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let mut artefacts = Self::default();
        let copies = &job.profile.deploy.copies;
        let needed: Vec<&JobArtefact> = job
            .artefacts
            .iter()
            .filter(|it| copies.iter().any(|copy| copy.artefact == it.artefact))
            .collect();
        let bytes = needed.iter().fold(0u64, |all, it| all.saturating_add(it.bytes));
        if let Some(room) = linux::room_bytes(&std::env::temp_dir())
            && room < bytes
        {
            bail!(
                "the files that are to be copied have {}, and this machine has room for {} while it deploys; copy less, or \
                 put them into the image",
                format_size(bytes),
                format_size(room)
            );
        }
        for JobArtefact { artefact, bytes, name } in needed {
            let file = tempfile::tempfile().context("making a file for an artefact")?;
            let mut at = 0;
            while at < *bytes {
                if monitor.cancelled() {
                    bail!("stopped on request; nothing was written");
                }
                let wanted = PART_BYTES.min(bytes.saturating_sub(at));
                let part = fetch_part(link, *artefact, (at, wanted), patience, monitor)?;
                if part.is_empty() {
                    bail!(
                        "the server has less of the artefact {artefact} than the {bytes} bytes that it says"
                    );
                }
                file.write_all_at(&part, at).context("keeping an artefact")?;
                at = at.saturating_add(u64_from(part.len()));
            }
            let name = if name.is_empty() { artefact.to_string() } else { name.clone() };
            let fetched = Artefact::of(file, name)?;
            if fetched.id() != *artefact {
                bail!(
                    "what the server sent as the artefact {artefact} has another hash, {}; nothing was written",
                    fetched.id()
                );
            }
            let message = format!("fetched {}, {} ({artefact})", fetched.name, format_size(*bytes));
            monitor.event(Event::Note { message });
            artefacts.add(fetched);
        }
        Ok(artefacts)
    }

    /// The copies, with what is in their artefacts, until somebody asks to stop.
    pub(super) fn measure(
        &self,
        copies: &[FileCopy],
        targets: &[Target],
        monitor: &dyn Monitor,
    ) -> Result<Vec<WishedCopy>> {
        let most_bytes = targets.iter().map(|target| target.disk.size_bytes).max().unwrap_or_default();
        let measure = |copy: &FileCopy| {
            let lacking = || {
                let id = copy.artefact;
                anyhow!(
                    "the artefact {id} is to be copied to {} and is not here; nothing was written",
                    copy.to
                )
            };
            let artefact = self.get(copy.artefact).ok_or_else(lacking)?;
            let doing = || format!("{} cannot be copied to {}", artefact.name, copy.to);
            let (amount, names) = artefact.measure(copy.kind, most_bytes, monitor).with_context(doing)?;
            Ok(WishedCopy { copy: copy.clone(), name: artefact.name.clone(), amount, names })
        };
        copies.iter().map(measure).collect()
    }
}

/// Fetches a part, and tries again for `patience` where the network or the server fails.
fn fetch_part(
    link: &JobLink,
    artefact: ArtefactId,
    (at, bytes): (u64, u64),
    patience: Duration,
    monitor: &dyn Monitor,
) -> Result<Vec<u8>, client::Error> {
    let begun = Instant::now();
    loop {
        match link.artefact_part(artefact, at, bytes, PATIENCE_OF_ONE.min(patience)) {
            Err(client::Error::Http(http::Error::Io { .. }))
                if begun.elapsed() < patience && !monitor.cancelled() => {}
            ended => return ended,
        }
    }
}

/// Takes the steps of a plan: those for which a person's files or scripts are needed, and all others as this machine does.
pub(super) struct Customizing<'a> {
    pub(super) artefacts: &'a Artefacts,
    pub(super) scripts: &'a [WishedScript],
    pub(super) manifest: &'a Manifest,
}

impl Customizer for Customizing<'_> {
    fn missing(&self, step: &Step, plan: &DeployPlan) -> Option<String> {
        match step {
            Step::CopyFiles { on, .. } | Step::Script { on: Some(on), .. } => {
                linux::missing_for_files(on.file_system)
            }
            Step::Script { on: None, .. } => None,
            other => Customizations.missing(other, plan),
        }
    }

    fn judge(&self, step: &Step, plan: &DeployPlan, captured: &dyn WriteAt) -> Result<(), CustomizeError> {
        Customizations.judge(step, plan, captured)
    }

    fn take(
        &self,
        step: &Step,
        deployed: Deployed<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Taken, CustomizeError> {
        let problems = match step {
            Step::CopyFiles { on, copy } => {
                let gone = || CustomizeError::Refused {
                    fact: format!("the artefact {} is not here any more; please report this", copy.name),
                };
                let artefact = self.artefacts.get(copy.copy.artefact).ok_or_else(gone)?;
                linux::copy_files(artefact, on, copy, deployed, monitor)?
            }
            Step::Script { name, number, on, .. } => {
                let gone = || CustomizeError::Refused {
                    fact: format!("there is no script {name}; please report this"),
                };
                let script = self.scripts.get(*number).ok_or_else(gone)?;
                let run = |mount: Option<&Path>| {
                    scripts::run_in_step(script, deployed.plan, self.manifest, mount, monitor)
                };
                let (failed, kept) = match on {
                    Some(on) => linux::while_mounted(on, deployed, |root| run(Some(root)))?,
                    None => (run(None)?, None),
                };
                failed.into_iter().chain(kept).collect()
            }
            other => return Customizations.take(other, deployed, monitor),
        };
        Ok(Taken { problems, ..Taken::default() })
    }
}
