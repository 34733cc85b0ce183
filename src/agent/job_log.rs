//! What this process said during a job, for the server: without secrets, and of too much the end.

use crate::http::Blanker;
use crate::protocol::MAX_LOG_BYTES;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct JobLog {
    blanker: Blanker,
    lines: VecDeque<String>,
    bytes: usize,
    cut: bool,
}

impl JobLog {
    pub(super) fn new(blanker: Blanker) -> Self {
        Self { blanker, lines: VecDeque::new(), bytes: 0, cut: false }
    }

    pub(super) fn push(&mut self, time: &str, text: &str) {
        self.push_line(&format!("{time} {text}"));
    }

    pub(super) fn push_line(&mut self, text: &str) {
        let line = format!("{}\n", self.blanker.blank(text));
        self.bytes = self.bytes.saturating_add(line.len());
        self.lines.push_back(line);
        while self.bytes > MAX_LOG_BYTES / 2
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.len());
            self.cut = true;
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = if self.cut { "(the beginning is left out)\n".to_owned() } else { String::new() };
        self.lines.iter().for_each(|line| text.push_str(line));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Secret;

    #[test]
    fn a_log_holds_no_secret_and_is_bounded() {
        let mut log = JobLog::new(Blanker::new([Secret::new("s3cret")]));
        log.push("12:00", "Bearer s3cret for http://me:pw@host/store");
        assert_eq!(log.text(), "12:00 Bearer *** for http://***@host/store\n");
        for number in 0..100 {
            log.push("12:01", &format!("{number} {}", "x".repeat(100_000)));
        }
        let text = log.text();
        assert!(
            text.len() < MAX_LOG_BYTES && text.starts_with("(the beginning") && text.contains("12:01 99 ")
        );
    }
}
