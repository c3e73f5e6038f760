//! The typed plan: every block and setting, where each was written, and what was wrong with the writing.
//!
//! A plan is read from a file ([`read`], [`read_text`]) or made in code:
//!
//! ```
//! use memspec::plan::{Adapter, AdapterKind, Choice, Plan, Precision, Train};
//!
//! let plan = Plan {
//!     name: "tiny".into(),
//!     model: Some("HuggingFaceTB/SmolLM2-135M-Instruct".into()),
//!     device: Some("cpu".into()),
//!     adapter: Some(Adapter { kind: AdapterKind::Lora, rank: Some(8.into()), ..Default::default() }),
//!     train: Some(Train {
//!         precision: Some(Precision::F32.into()),
//!         micro_batch: Some(Choice::Fit(vec![4, 2, 1])),
//!         ..Default::default()
//!     }),
//!     ..Default::default()
//! };
//! assert_eq!(plan.train.unwrap().micro_batch.unwrap().values(), [4, 2, 1]);
//! ```

#[macro_use]
mod spec;
mod arithmetic;
mod assertion;
mod blocks;
#[cfg_attr(not(any(feature = "lang", feature = "yaml")), allow(dead_code, reason = "only reading a text checks it"))]
mod check;
mod choice;
mod data;
#[cfg_attr(not(any(feature = "lang", feature = "yaml")), allow(dead_code, reason = "only reading a text checks it"))]
mod document;
mod edit;
#[cfg_attr(not(any(feature = "lang", feature = "yaml")), allow(dead_code, reason = "only reading a text checks it"))]
mod explain;
mod expression;
mod follow;
mod limit;
#[cfg_attr(not(any(feature = "lang", feature = "yaml")), allow(dead_code, reason = "only reading a text checks it"))]
mod problem;
mod read;
mod section;
mod settings;
mod settle;
mod symbols;
mod value;

pub use assertion::Assertion;
pub use blocks::{Adapter, Budget, Data, Eval, Parallel, Plan, Quantize, Save, Serve, Train};
pub use choice::Choice;
pub use document::{Allow, Document, Place, Source, Spans, Written};
pub use edit::{Edit, apply};
pub use expression::{Expression, FIGURES, Figure, Function, Operator};
pub(crate) use expression::{HEADROOM, HEADROOM_PART};
pub use limit::{Comparison, Headroom, Limit};
pub use problem::Problem;
#[cfg(feature = "report")]
pub use problem::Report;
pub use read::{read, read_text, read_text_among, real_path};
pub use settings::{Checkpointing, ImageSize, Name, NotASize, Targets, Warmup};
pub use settle::{Follows, Unsettled};
pub use spec::{Block, Kind, Setting, Symbol, UnknownSymbol, nearest};
pub use symbols::{
    AdapterKind, Attention, CachePrecision, DataFormat, DeviceMap, EngineName, Float, LossKind, LossOn, Offload,
    OptimizerKind, Padding, ParallelKind, Precision, QuantizeKind, SampleOrder, Schedule, Script, ServePrecision,
    Storage, Upcast,
};

#[cfg(feature = "lang")]
pub(crate) use arithmetic::{call, negative, not, operate};
#[cfg(any(feature = "lang", feature = "yaml"))]
pub(crate) use check::{Entry, RawAssert, RawBlock, Reading, check};
#[cfg(feature = "yaml")]
pub(crate) use data::text_of;
#[cfg(feature = "lang")]
pub(crate) use explain::unit;
#[cfg(feature = "lang")]
pub(crate) use expression::symbols;
#[cfg(feature = "lang")]
pub(crate) use follow::is_path;
pub(crate) use settle::lookup;
#[cfg(any(feature = "lang", feature = "yaml"))]
pub(crate) use value::Item;
pub(crate) use value::Value;

#[cfg(feature = "schema")]
pub mod generate;

impl Plan {
    /// The blocks that a plan may hold, in the order of the documentation.
    pub fn blocks() -> &'static [&'static Block] {
        Plan::SPEC.blocks
    }

    /// The setting at a dotted path: `train.micro_batch`, `model`.
    pub fn setting(path: &str) -> Option<&'static Setting> {
        match path.split_once('.') {
            Some((block, name)) => Plan::SPEC.block(block)?.setting(name),
            None => Plan::SPEC.setting(path),
        }
    }

    /// Sets the setting at a dotted path to a value as YAML would write it: `set("train.micro_batch", "2")`.
    ///
    /// # Errors
    /// A sentence that names the setting and what it takes.
    pub fn set(&mut self, path: &str, value: &str) -> Result<(), String> {
        check::set(self, path, value)
    }

    /// It names no device, or `auto`: whoever looks at it decides.
    pub fn leaves_device_open(&self) -> bool {
        let auto = |choice: &Choice<Name>| choice.one().is_some_and(|name| name.eq_ignore_ascii_case("auto"));
        self.device.as_ref().is_none_or(auto)
    }

    /// Takes the value of that number of the setting at a dotted path, where it has several.
    pub(crate) fn choose(&mut self, path: &str, number: usize) {
        use section::Section;
        match path.split_once('.') {
            Some((block, name)) => {
                if let Some(section) = self.section(block) {
                    section.choose(name, number);
                }
            }
            None => Section::choose(self, path, number),
        }
    }
}
