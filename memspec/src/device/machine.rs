//! Machines to rent: so many devices of one kind, at an hourly price that carries its date, from `catalog/machines.json`.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::Device;
use crate::quantity::{Money, Quantity};

const FILE: &str = include_str!("../../catalog/machines.json");

/// A machine that someone rents out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Catalog name, which a plan's `device` may be: `colab-t4`, `aws-p4d.24xlarge`.
    pub name: String,
    /// What its provider calls it.
    pub title: String,
    /// Who rents it out.
    pub provider: String,
    /// Catalog name of its devices.
    pub device: String,
    /// How many it has; all of them are paid for.
    pub gpus: u32,
    /// What an hour of it costs.
    pub price: Price,
    /// Hours a week that it is given at most; `None`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours_per_week: Option<f64>,
}

/// What an hour costs, when, and who says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// For the whole machine and an hour, in `currency`.
    pub amount: f64,
    /// `USD`.
    pub currency: String,
    /// On which terms.
    pub kind: PriceKind,
    /// When it was asked: `2026-11-09`, or `2025` where no more is known.
    pub date: String,
    /// Where it is from; "recalled" where it was not looked up.
    pub source: String,
}

/// The terms of a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriceKind {
    /// For as long as one wants.
    OnDemand,
    /// The provider may take the machine back.
    Spot,
    /// Someone else's machine in a marketplace; prices move and reliability differs.
    Community,
    /// Prepaid units of a notebook service.
    ComputeUnits,
    /// Nothing, within a quota and without a promise.
    Free,
}

impl PriceKind {
    /// The machine stays until it is given back, and is paid for: what a run is costed with unless the plan names a machine.
    pub fn is_plain(self) -> bool {
        matches!(self, PriceKind::OnDemand | PriceKind::ComputeUnits)
    }
}

impl Machine {
    /// US dollars an hour for one of its devices.
    pub fn per_gpu(&self) -> f64 {
        self.price.amount / f64::from(self.gpus.max(1))
    }

    /// US dollars an hour for `world` devices: whole machines.
    pub fn for_world(&self, world: u64) -> f64 {
        world.max(1).div_ceil(u64::from(self.gpus.max(1))) as f64 * self.price.amount
    }

    /// Hours that a month's money buys, at most the 730 that a month has and the machine's weekly hours.
    pub fn hours_a_month(&self, spend: Money) -> f64 {
        let month =
            self.hours_per_week.map_or(HOURS_A_MONTH, |hours| (hours * HOURS_A_MONTH / 168.0).min(HOURS_A_MONTH));
        if self.price.amount > 0.0 { (spend.cents as f64 / 100.0 / self.price.amount).min(month) } else { month }
    }
}

/// Where a plan can run for how little: the legend of notebooks' guides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Green: Colab's free card.
    ColabFree,
    /// Yellow: a card of paid Colab.
    ColabPaid,
    /// Red: a rented machine with one device.
    Rented,
    /// Red: no single device of the catalog is enough.
    SeveralDevices,
}

impl Access {
    /// The cheapest access to a device that `fits` says is enough.
    pub fn of(fits: impl Fn(&Device) -> bool) -> Self {
        let colab = |free: bool| {
            let machines = machines().iter().filter(|machine| machine.provider == "Google Colab");
            machines
                .filter(|machine| (machine.price.kind == PriceKind::Free) == free)
                .any(|machine| super::get(&machine.device).is_some_and(|device| fits(&device)))
        };
        if colab(true) {
            Access::ColabFree
        } else if colab(false) {
            Access::ColabPaid
        } else if super::names().into_iter().filter_map(super::get).any(|device| fits(&device)) {
            Access::Rented
        } else {
            Access::SeveralDevices
        }
    }
}

/// The machines that a month's money buys at least so many hours of, with those hours; the largest usable memory of one device
/// first, and of the same device the one with the most hours.
pub fn affordable(spend: Money, least_hours: f64) -> Vec<(&'static Machine, f64)> {
    let usable = |machine: &Machine| super::get(&machine.device).map_or(0, |device| device.usable.0);
    let mut all: Vec<_> = machines().iter().map(|machine| (machine, machine.hours_a_month(spend))).collect();
    all.retain(|(_, hours)| *hours >= least_hours);
    all.sort_by(|(a, some), (b, other)| usable(b).cmp(&usable(a)).then(other.total_cmp(some)));
    all
}

/// Hours of a month: a year's 8760 / 12.
pub const HOURS_A_MONTH: f64 = 730.0;

/// Every machine of the catalog.
pub fn machines() -> &'static [Machine] {
    static MACHINES: OnceLock<Vec<Machine>> = OnceLock::new();
    // a file that does not read is a mistake of this crate and caught by its tests
    MACHINES.get_or_init(|| serde_json::from_str(FILE).unwrap_or_default())
}

/// The machine of this catalog name; case does not matter.
pub fn machine(name: &str) -> Option<&'static Machine> {
    machines().iter().find(|machine| machine.name.eq_ignore_ascii_case(name))
}

/// The machine that costs the least for `world` devices of this catalog name, of those with plain terms.
pub fn cheapest(device: &str, world: u64) -> Option<&'static Machine> {
    machines()
        .iter()
        .filter(|machine| machine.device == device && machine.price.kind.is_plain())
        .min_by(|a, b| a.for_world(world).total_cmp(&b.for_world(world)))
}

/// US dollars an hour, as a command line writes it: `1.99usd/h`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub struct HourlyPrice(pub f64);

impl From<Money> for HourlyPrice {
    fn from(money: Money) -> Self {
        HourlyPrice(money.cents as f64 / 100.0)
    }
}

/// A text is not an hourly price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an hourly price; write it as `1.99usd/h`")]
pub struct NotAPrice(String);

impl FromStr for HourlyPrice {
    type Err = NotAPrice;
    fn from_str(text: &str) -> Result<Self, NotAPrice> {
        let wrong = || NotAPrice(text.to_owned());
        let amount = text.trim().strip_suffix("/h").ok_or_else(wrong)?;
        let quantity: Quantity = amount.parse().map_err(|_| wrong())?;
        let usd = quantity.dimension == crate::quantity::Dimension::Money && quantity.value >= 0.0;
        if usd { Ok(HourlyPrice(quantity.value)) } else { Err(wrong()) }
    }
}

impl fmt::Display for HourlyPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}usd/h", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;

    #[test]
    fn every_machine_has_known_devices_and_a_dated_source() {
        assert!(machines().len() >= 80);
        for machine in machines() {
            let Machine { name, price, .. } = machine;
            assert!(device::get(&machine.device).is_some(), "{name}");
            assert!(device::get(name).is_none(), "{name} is a device too");
            assert!(machine.gpus > 0 && price.amount >= 0.0 && price.currency == "USD", "{name}");
            assert_eq!(price.amount == 0.0, price.kind == PriceKind::Free, "{name}");
            assert!(price.date.starts_with("20") && !price.source.is_empty(), "{name}");
            assert_eq!(machines().iter().filter(|other| &other.name == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn a_run_pays_for_whole_machines() {
        let p4d = machine("AWS-p4d.24xlarge").unwrap();
        assert_eq!((p4d.gpus, p4d.device.as_str()), (8, "a100-40"));
        assert!((p4d.per_gpu() - 2.7447).abs() < 1e-3);
        assert_eq!(p4d.for_world(2), p4d.price.amount);
        assert_eq!(p4d.for_world(9), 2.0 * p4d.price.amount);
        // one H100 is cheaper alone, eight are not cheaper on a machine of eight
        assert_eq!(cheapest("h100-80", 1).unwrap().gpus, 1);
        assert!(cheapest("rtx2070", 1).is_none());
        assert_eq!(machine("kaggle-p100").unwrap().hours_a_month(Money { cents: 0 }).round(), 130.0);
        assert_eq!(machine("colab-t4").unwrap().hours_a_month(Money { cents: 999 }).round(), 93.0);
    }

    #[test]
    fn the_legend_and_the_monthly_tiers_follow_from_the_machines() {
        let needs = |gib: u64| Access::of(|device| device.usable.0 >= gib << 30);
        let legend = [needs(8), needs(20), needs(100), needs(1000)];
        assert_eq!(legend, [Access::ColabFree, Access::ColabPaid, Access::Rented, Access::SeveralDevices]);
        let most = |usd: u64, hours: f64| {
            let machines = affordable(Money { cents: 100 * usd }, hours);
            machines.first().map(|(machine, _)| machine.device.clone()).unwrap_or_default()
        };
        // free cards come first where nothing is paid, and more money reaches further
        assert_eq!(most(0, 20.0), "p100-16");
        let usable = |name: String| device::get(&name).unwrap().usable;
        assert!(usable(most(100, 100.0)) >= usable(most(10, 100.0)));
        assert!(affordable(Money { cents: 10_000 }, 40.0).iter().all(|(_, hours)| *hours >= 40.0));
    }

    #[test]
    fn an_hourly_price_is_written_with_its_unit() {
        assert_eq!("1.99usd/h".parse(), Ok(HourlyPrice(1.99)));
        assert_eq!(HourlyPrice(2.0).to_string(), "2.00usd/h");
        for wrong in ["1.99", "1.99usd", "2h/h", "-1usd/h", "usd/h", ""] {
            assert_eq!(wrong.parse::<HourlyPrice>(), Err(NotAPrice(wrong.to_owned())), "{wrong}");
        }
    }
}
