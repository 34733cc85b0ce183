//! Taking the steps of a plan on the deployed file systems.

use super::Error;
use crate::customize::{CustomizeError, Customizer, Deployed};
use crate::plan::{DeployPlan, Step};
use crate::progress::Monitor;

/// This machine's kernel and programs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Customizations;

impl Customizer for Customizations {
    fn missing(&self, step: &Step, _plan: &DeployPlan) -> Option<String> {
        match step {
            Step::BootFiles { .. } => Some("this version cannot put boot files in place".to_owned()),
        }
    }

    fn take(
        &self,
        step: &Step,
        deployed: Deployed<'_>,
        _monitor: &dyn Monitor,
    ) -> Result<Vec<String>, CustomizeError> {
        match self.missing(step, deployed.plan) {
            Some(fact) => Err(CustomizeError::Unsupported { fact }),
            None => Ok(Vec::new()),
        }
    }
}

impl From<Error> for CustomizeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { doing, source } => Self::Io { doing, source },
            Error::Refused { fact } => Self::Refused { fact },
            Error::Unsupported { fact } => Self::Unsupported { fact },
        }
    }
}
