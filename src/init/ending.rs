//! How the boot process ends, in a number that outlives it.

use super::parameters::Action;
use crate::linux::power::Ending;

/// What a person chose at the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    /// Restart the machine.
    Reboot,
    /// Turn it off.
    PowerOff,
    /// Restart it from its own disk.
    Local,
}

/// How the boot process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The work is done.
    Done,
    /// It is not; what is wrong has been said.
    Failed,
    /// A person decided.
    Chosen(Chosen),
}

impl Ended {
    /// The exit code that says so. A panic gives 101, and so none of these.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Chosen(Chosen::Reboot) => 40,
            Self::Chosen(Chosen::PowerOff) => 41,
            Self::Chosen(Chosen::Local) => 42,
        }
    }

    /// Reads an end; a sentence where it is none that the boot process gives by itself.
    pub(super) fn of(ending: Ending) -> Result<Self, String> {
        let known = [
            Self::Done,
            Self::Failed,
            Self::Chosen(Chosen::Reboot),
            Self::Chosen(Chosen::PowerOff),
            Self::Chosen(Chosen::Local),
        ];
        match ending {
            Ending::Signal(signal) => Err(format!("the boot process was killed by {signal}")),
            Ending::Code(101) => Err("the boot process panicked; this is a defect of remint".to_owned()),
            Ending::Code(code) => known
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn every_end_is_understood() {
        for ended in [Ended::Done, Ended::Failed, Ended::Chosen(Chosen::Local)] {
            assert_eq!(Ended::of(Ending::Code(ended.code().into())), Ok(ended));
        }
        assert!(Ended::of(Ending::Code(101)).unwrap_err().contains("panicked"));
        assert!(Ended::of(Ending::Code(7)).unwrap_err().contains('7'));
        assert!(Ended::of(Ending::Signal(Signal::SIGKILL)).unwrap_err().contains("SIGKILL"));
    }
}
