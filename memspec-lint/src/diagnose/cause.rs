//! Was it too large, was the memory there in pieces, or did somebody else have it?

use schemars::JsonSchema;
use serde::Serialize;

use super::log::Refusal;

/// What other processes hold beside a run without being its reason: a desktop, another context.
const BESIDE: f64 = 0.05;

/// Why an allocation found no place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It is larger than all that is free, the driver's and PyTorch's together.
    Size {
        /// Bytes that are missing; none where the message does not say what is free.
        short: Option<u64>,
    },
    /// It would fit into what is free, were that in one piece.
    Fragmentation {
        /// Bytes that PyTorch holds in pieces.
        cached: u64,
        /// Bytes that the driver has free.
        free: u64,
    },
    /// The driver had as much free, and yet gave nothing: a limit of the process, or another process that took it at that moment.
    Withheld {
        /// Bytes that the driver had free.
        free: u64,
    },
    /// It would fit if others did not hold memory of the card.
    Others {
        /// Bytes that they hold.
        hold: u64,
    },
}

impl Refusal {
    /// Why it was refused; `None` where the message does not say what PyTorch held in no tensor.
    pub fn cause(&self) -> Option<Cause> {
        let Some(tried) = self.tried else { return Some(Cause::Size { short: None }) };
        let driver = self.free.unwrap_or(0);
        if tried <= driver {
            return Some(Cause::Withheld { free: driver });
        }
        if self.capacity.is_some_and(|capacity| tried > capacity) {
            return Some(Cause::Size { short: Some(tried - driver) });
        }
        let cached = self.cached?;
        let free = driver + cached;
        let many = self.capacity.is_some_and(|capacity| self.others as f64 > BESIDE * capacity as f64);
        Some(if tried <= free {
            Cause::Fragmentation { cached, free: driver }
        } else if many && tried <= free + self.others {
            Cause::Others { hold: self.others }
        } else {
            Cause::Size { short: Some(tried - free) }
        })
    }

    /// What the run could have had of the card: all but what others held.
    pub fn could_have(&self) -> Option<u64> {
        Some(self.capacity?.saturating_sub(self.others))
    }
}
