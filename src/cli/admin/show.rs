//! What a server answers, as tables for people.

use remint::progress::Event;
use remint::protocol::{
    Action, ArtefactRecord, AuditEntry, GroupRecord, ImageRecord, JobEvent, JobRecord, MachineRecord,
    ProfileRecord, UserRecord,
};
use remint::units::format_size;
use serde::Serialize;

/// A table: columns as wide as what they hold.
pub fn table(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return "none\n".to_owned();
    }
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One line of what may have several, without what a terminal would take for a command.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn word(value: &impl Serialize) -> String {
    let text = serde_json::to_value(value).ok();
    text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

pub fn artefacts(artefacts: &[ArtefactRecord]) -> String {
    let row = |artefact: &ArtefactRecord| {
        let profiles = artefact.profiles.iter().map(ToString::to_string).collect::<Vec<_>>();
        vec![
            artefact.artefact.to_string(),
            artefact.bytes.to_string(),
            line(&artefact.name),
            artefact.added.clone(),
            profiles.join(","),
        ]
    };
    let heads = ["ARTEFACT", "BYTES", "NAME", "ADDED", "PROFILES"];
    table(&heads, artefacts.iter().map(row).collect())
}

pub fn machines(machines: &[MachineRecord]) -> String {
    let row = |machine: &MachineRecord| {
        vec![
            machine.name.clone(),
            machine.inventory.macs.first().cloned().unwrap_or_default(),
            line(machine.inventory.model.as_deref().unwrap_or_default()),
            machine.assigned.as_ref().map(ToString::to_string).unwrap_or_default(),
            machine.action.as_ref().map(action).unwrap_or_default(),
            machine.groups.join(","),
            machine.seen.clone().unwrap_or_else(|| "never".to_owned()),
        ]
    };
    let heads = ["NAME", "CARD", "MODEL", "ASSIGNED", "NEXT BOOT", "GROUPS", "SEEN"];
    table(&heads, machines.iter().map(row).collect())
}

fn action(action: &Action) -> String {
    match action {
        Action::Pending { job, operation } => format!("{operation} (job {job})"),
        Action::Failed { job, message } => {
            format!("own disk: job {job} failed: {}", line(message.lines().next().unwrap_or_default()))
        }
    }
}

/// A machine with its disks.
pub fn machine(machine: &MachineRecord) -> String {
    let inventory = &machine.inventory;
    let mut text = machines(std::slice::from_ref(machine));
    let texts = [
        ("maker", inventory.vendor.clone()),
        ("serial number", inventory.serial.clone()),
        ("UUID", inventory.uuid.clone()),
        ("processor", inventory.processor.model.clone()),
        ("memory", (inventory.memory_bytes > 0).then(|| format_size(inventory.memory_bytes))),
        ("cards", Some(inventory.macs.join(" "))),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            text.push_str(&format!("{name}: {}\n", line(&value)));
        }
    }
    for disk in &inventory.disks {
        let (model, serial) =
            (disk.model.as_deref().unwrap_or_default(), disk.serial.as_deref().unwrap_or_default());
        let shown = format!("{} {} {model} {serial}", disk.path, format_size(disk.size_bytes));
        text.push_str(&format!("disk: {}\n", line(shown.trim_end())));
    }
    text
}

pub fn groups(groups: &[GroupRecord]) -> String {
    let row = |group: &GroupRecord| vec![group.name.clone(), group.machines.join(" ")];
    table(&["NAME", "MACHINES"], groups.iter().map(row).collect())
}

pub fn images(images: &[ImageRecord]) -> String {
    let row = |image: &ImageRecord| {
        vec![
            image.name.clone(),
            match image.versions.last() {
                Some(version) if image.schema_only => format!("{version} (schema only)"),
                Some(version) => version.clone(),
                None => "never captured".to_owned(),
            },
            image.versions.len().to_string(),
            yes(image.enabled),
            yes(image.on_demand),
            yes(image.protected),
            image.profiles.join(","),
            line(&image.description),
        ]
    };
    let heads =
        ["NAME", "NEWEST", "VERSIONS", "ENABLED", "ON DEMAND", "PROTECTED", "PROFILES", "DESCRIPTION"];
    table(&heads, images.iter().map(row).collect())
}

pub fn profiles(profiles: &[ProfileRecord]) -> String {
    let row = |profile: &ProfileRecord| {
        let model = profile.model_match.as_ref();
        vec![
            format!("{}/{}", profile.image, profile.name),
            model.map(|model| format!("{}:{}", word(&model.kind), line(&model.text))).unwrap_or_default(),
            line(&profile.description),
        ]
    };
    table(&["PROFILE", "FOR", "DESCRIPTION"], profiles.iter().map(row).collect())
}

pub fn jobs(jobs: &[JobRecord]) -> String {
    let row = |job: &JobRecord| {
        vec![
            job.id.to_string(),
            job.operation.to_string(),
            line(&job.machine),
            format!("{}/{}", job.image, job.profile),
            job.outcome.as_ref().map_or_else(|| word(&job.state), word),
            job.progress.as_ref().filter(|_| job.outcome.is_none()).map(progress).unwrap_or_default(),
            job.by.clone(),
            job.created.clone(),
            line(job.message.as_deref().unwrap_or_default().lines().next().unwrap_or_default()),
        ]
    };
    let heads = ["JOB", "WHAT", "MACHINE", "IMAGE", "STATE", "PROGRESS", "BY", "MADE", "MESSAGE"];
    table(&heads, jobs.iter().map(row).collect())
}

fn progress(event: &Event) -> String {
    match event {
        Event::Advanced { phase, done_bytes, total_bytes, .. } => {
            let percent = done_bytes.saturating_mul(100).checked_div(*total_bytes).unwrap_or(0);
            format!("{} {percent}%", word(phase))
        }
        _ => String::new(),
    }
}

/// A job with all of its message.
pub fn job(job: &JobRecord) -> String {
    let mut text = jobs(std::slice::from_ref(job));
    let times =
        [("began", &job.started), ("ended", &job.ended), ("heard", &job.heard), ("version", &job.version)];
    for (name, value) in times {
        if let Some(value) = value {
            text.push_str(&format!("{name}: {}\n", line(value)));
        }
    }
    for more in job.message.iter().flat_map(|message| message.lines()) {
        text.push_str(&format!("{}\n", line(more)));
    }
    text
}

pub fn events(events: &[JobEvent]) -> String {
    events.iter().map(|event| format!("{} {}\n", event.received, event.event)).collect()
}

pub fn users(users: &[UserRecord]) -> String {
    let row = |user: &UserRecord| vec![user.name.clone(), word(&user.role)];
    table(&["NAME", "ROLE"], users.iter().map(row).collect())
}

pub fn audit(entries: &[AuditEntry]) -> String {
    let row = |entry: &AuditEntry| {
        vec![entry.id.to_string(), entry.time.clone(), line(&entry.who), line(&entry.what)]
    };
    table(&["LINE", "TIME", "WHO", "WHAT"], entries.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_they_hold_and_no_text_commands_the_terminal() {
        let rows = vec![vec!["a".to_owned(), line("b\x1b[2J\nc")], vec!["longer".to_owned(), String::new()]];
        assert_eq!(table(&["X", "Y"], rows), "X       Y\na       b [2J c\nlonger\n");
        assert_eq!(table(&["X"], Vec::new()), "none\n");
    }
}
