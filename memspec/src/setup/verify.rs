//! Verifying: does a setup fit its device, error bar included?

use super::Setup;
use crate::cost::{CostError, Estimate, estimate};

/// A setup that fits. The executor takes nothing else, and [`Setup::verify`] is the only way to make one.
#[derive(Clone, Debug)]
pub struct Verified {
    setup: Setup,
    estimate: Estimate,
}

impl Verified {
    /// What will run.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// What it was promised to take.
    pub fn estimate(&self) -> &Estimate {
        &self.estimate
    }
}

/// Why a setup is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Its engine does not run it.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// It needs more than there is.
    #[error(transparent)]
    TooBig(Box<TooBig>),
}

/// A setup that needs more memory than it may take.
#[derive(Debug, thiserror::Error)]
#[error("the run needs up to {} and may take {}", crate::quantity::Bytes(.estimate.peak.process.high), .setup.budget.device_memory)]
pub struct TooBig {
    /// What was asked for.
    pub setup: Setup,
    /// What it would take.
    pub estimate: Estimate,
}

impl Setup {
    /// Estimates the setup and lets it pass when the upper end of what its process takes is within the budget.
    ///
    /// # Errors
    /// A setup that its engine does not run, or that needs more than it may take.
    pub fn verify(self) -> Result<Verified, VerifyError> {
        let estimate = estimate(&self)?;
        if estimate.fits {
            Ok(Verified { setup: self, estimate })
        } else {
            Err(VerifyError::TooBig(Box::new(TooBig { setup: self, estimate })))
        }
    }
}
