//! What holds for a plan that does not say.

use memspec::plan::{Budget, Document, Plan};

/// The device and the budget of plans that leave them open.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The device.
    pub device: Option<Device>,
    /// Limits of the budget.
    pub budget: Budget,
}

/// A device by its name, and for which plans it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// For plans that name none, or `auto`.
    Unnamed(String),
    /// For all plans, whatever they name.
    Every(String),
}

impl Defaults {
    /// Fills in what the document's plans leave open. Their text stays, and so do the places in it.
    pub fn fill(&self, mut document: Document) -> Document {
        for written in &mut document.plans {
            self.fill_plan(&mut written.plan);
        }
        document
    }

    fn fill_plan(&self, plan: &mut Plan) {
        match &self.device {
            Some(Device::Every(name)) => plan.device = Some(name.as_str().into()),
            Some(Device::Unnamed(name)) if plan.leaves_device_open() => plan.device = Some(name.as_str().into()),
            _ => {}
        }
        if self.budget != Budget::default() {
            let written = plan.budget.take().unwrap_or_default();
            plan.budget = Some(or(written, &self.budget));
        }
    }
}

/// A budget with the limits of another where it has none.
pub(super) fn or(budget: Budget, other: &Budget) -> Budget {
    let Budget { device_memory, host_memory, disk, wall_clock, cost, headroom } = other.clone();
    Budget {
        device_memory: budget.device_memory.or(device_memory),
        host_memory: budget.host_memory.or(host_memory),
        disk: budget.disk.or(disk),
        wall_clock: budget.wall_clock.or(wall_clock),
        cost: budget.cost.or(cost),
        headroom: budget.headroom.or(headroom),
    }
}
