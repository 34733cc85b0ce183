//! The one place where outcomes become exit codes.

use super::scripts::ScriptFailure;
use crate::restore;

/// What the program says to a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Done.
    Done,
    /// Failed, and nothing was changed.
    Failed,
    /// Wrong usage.
    Usage,
    /// Finished, and something needs attention.
    Problems,
    /// Failed after the target was changed.
    TargetChanged,
}

impl From<ExitCode> for u8 {
    fn from(code: ExitCode) -> Self {
        match code {
            ExitCode::Done => 0,
            ExitCode::Failed => 1,
            ExitCode::Usage => 2,
            ExitCode::Problems => 3,
            ExitCode::TargetChanged => 4,
        }
    }
}

impl From<ExitCode> for i32 {
    fn from(code: ExitCode) -> Self {
        u8::from(code).into()
    }
}

/// The exit code of a failure.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    if let Some(failure) = error.downcast_ref::<ScriptFailure>() {
        return failure.exit_code();
    }
    match error.downcast_ref::<restore::Failure>() {
        Some(failure) if failure.target_changed => ExitCode::TargetChanged,
        _ => ExitCode::Failed,
    }
}
