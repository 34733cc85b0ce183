//! What a machine said besides the job: before it, and its kernel meanwhile. Who looks for the reason of a failure the
//! next morning has no more than what was sent.

use crate::linux::kernel_log;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Of a longer log the end is sent, and shown.
const MOST_BYTES: u64 = 256 << 10;
/// A dying disk has the kernel say the same thousands of times.
const MOST_COMPLAINTS: usize = 200;

/// The log of a machine that keeps one; nothing of one that keeps none.
pub(super) struct MachineLog {
    before: String,
    kernel: Option<kernel_log::Since>,
}

impl MachineLog {
    /// Reads what was said so far, and listens to the kernel from here on.
    pub(super) fn begin(log: Option<&Path>) -> Self {
        let Some(log) = log else { return Self { before: String::new(), kernel: None } };
        let before = end_of_log(log).unwrap_or_else(|error| format!("{}: {error}\n", log.display()));
        Self { before, kernel: kernel_log::Since::now().ok() }
    }

    /// What was said before the job.
    pub(super) fn before(&self) -> &str {
        &self.before
    }

    /// What the kernel warned of since the job began, a line each, the last ones.
    pub(super) fn complaints(self) -> String {
        let Some(Ok(lines)) = self.kernel.map(kernel_log::Since::complaints) else { return String::new() };
        let left_out = lines.len().saturating_sub(MOST_COMPLAINTS);
        let mut text = String::new();
        if left_out > 0 {
            text.push_str(&format!("kernel: ({left_out} earlier lines are left out)\n"));
        }
        lines.iter().skip(left_out).for_each(|line| text.push_str(&format!("kernel: {line}\n")));
        text
    }
}

/// The end of a machine's log: 256 KiB at most.
///
/// # Errors
/// Where it cannot be read.
pub fn end_of_log(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MOST_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
