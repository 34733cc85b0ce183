//! How the boot process ends, in a number that outlives it.

use super::parameters::Action;
use crate::linux::power::Ending;
use crate::schema::MachineEnd;

/// What a person chose at the menu, or who gave the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    /// Restart the machine.
    Reboot,
    /// Turn it off.
    PowerOff,
    /// Restart it from its own disk.
    Local,
    /// Give a person a shell.
    Shell,
}

/// How the boot process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The work is done.
    Done,
    /// It is not; what is wrong has been said.
    Failed,
    /// The work is done, or there is none, and somebody decided what follows.
    Chosen(Chosen),
    /// The work is not done, and whoever gave it decided what follows.
    FailedThen(Chosen),
}

impl Ended {
    const ALL: [Self; 10] = [
        Self::Done,
        Self::Failed,
        Self::Chosen(Chosen::Reboot),
        Self::Chosen(Chosen::PowerOff),
        Self::Chosen(Chosen::Local),
        Self::Chosen(Chosen::Shell),
        Self::FailedThen(Chosen::Reboot),
        Self::FailedThen(Chosen::PowerOff),
        Self::FailedThen(Chosen::Local),
        Self::FailedThen(Chosen::Shell),
    ];

    /// The exit code that says so. A panic gives 101, and so none of these.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Chosen(Chosen::Reboot) => 40,
            Self::Chosen(Chosen::PowerOff) => 41,
            Self::Chosen(Chosen::Local) => 42,
            Self::Chosen(Chosen::Shell) => 43,
            Self::FailedThen(Chosen::Reboot) => 50,
            Self::FailedThen(Chosen::PowerOff) => 51,
            Self::FailedThen(Chosen::Local) => 52,
            Self::FailedThen(Chosen::Shell) => 53,
        }
    }

    /// Reads an end; a sentence where it is none that the boot process gives by itself.
    pub(super) fn of(ending: Ending) -> Result<Self, String> {
        match ending {
            Ending::Signal(signal) => Err(format!("the boot process was killed by {signal}")),
            Ending::Code(101) => Err("the boot process panicked; this is a defect of remint".to_owned()),
            Ending::Code(code) => Self::ALL
                .into_iter()
                .find(|ended| i32::from(ended.code()) == code)
                .ok_or_else(|| format!("the boot process ended with exit code {code}")),
        }
    }
}

impl From<Chosen> for Action {
    fn from(chosen: Chosen) -> Self {
        match chosen {
            Chosen::Reboot => Self::Reboot,
            Chosen::PowerOff => Self::PowerOff,
            Chosen::Local => Self::Local,
            Chosen::Shell => Self::Shell,
        }
    }
}

impl From<MachineEnd> for Chosen {
    fn from(end: MachineEnd) -> Self {
        match end {
            MachineEnd::Reboot => Self::Reboot,
            MachineEnd::Poweroff => Self::PowerOff,
            MachineEnd::Local => Self::Local,
            MachineEnd::Shell => Self::Shell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn every_end_is_understood() {
        for ended in Ended::ALL {
            assert_eq!(Ended::of(Ending::Code(ended.code().into())), Ok(ended));
        }
        assert!(Ended::of(Ending::Code(101)).unwrap_err().contains("panicked"));
        assert!(Ended::of(Ending::Code(7)).unwrap_err().contains('7'));
        assert!(Ended::of(Ending::Signal(Signal::SIGKILL)).unwrap_err().contains("SIGKILL"));
    }
}
