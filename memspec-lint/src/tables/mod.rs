//! The tables of the guide that started the project, computed: each of its claims with the figure that memspec has, and the difference.
//!
//! The claims are data (`data/guide.json`), each with its line in the guide and the question that it answers. What the guide leaves open
//! (context, engine, card) is in [`Assumptions`] (`data/assumptions.json`), which are printed with the tables.

mod answer;
mod question;

use memspec::model::Environment;
use memspec::plan::{Checkpointing, EngineName, OptimizerKind, Targets};
use serde::{Deserialize, Serialize};

pub use answer::Answer;
use question::Asked;
pub use question::{Figure, Method, Question, Run};

const GUIDE: &str = include_str!("../../data/guide.json");
const ASSUMPTIONS: &str = include_str!("../../data/assumptions.json");

/// What the guide leaves open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumptions {
    /// Whose engine trains, where a row names none.
    pub engine: EngineName,
    /// The device that memory is given for; its capacity plays no part.
    pub device: String,
    /// Which bytes a training's memory is.
    pub memory: Figure,
    /// Tokens of a sample.
    pub context: u64,
    /// Samples of a micro batch, where a row names none.
    pub micro_batch: u32,
    /// Micro batches of a step, where a row names none.
    pub accumulate: u32,
    /// The adapter's rank, where a row names none.
    pub rank: u32,
    /// The adapted linears.
    pub targets: Targets,
    /// 4 bit weights have their maxima quantized too.
    pub double_quantization: bool,
    /// What is computed again in the backward pass, where a row does not say.
    pub checkpointing: Checkpointing,
    /// The optimizer.
    pub optimizer: OptimizerKind,
    /// The device that times are given for: the guide names none.
    pub time_device: String,
    /// Samples of a micro batch, and micro batches of a step, of the runs that are timed.
    pub time_micro_batch: u32,
    /// See above.
    pub time_accumulate: u32,
    /// The device that serves; its capacity plays no part.
    pub serve_device: String,
    /// Tokens of a conversation.
    pub serve_context: u64,
    /// Conversations at once.
    pub serve_concurrency: u32,
}

impl Assumptions {
    /// Those of `data/assumptions.json`.
    ///
    /// # Errors
    /// A file that does not read, which the tests catch.
    pub fn standard() -> serde_json::Result<Self> {
        serde_json::from_str(ASSUMPTIONS)
    }
}

/// A claim of the guide, or a figure beside its claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    table: String,
    subject: String,
    figure: String,
    line: Option<u32>,
    says: Option<String>,
    value: Option<f64>,
    expects: Option<String>,
    ask: Question,
}

#[derive(Deserialize)]
struct Guide {
    source: String,
    #[allow(dead_code, reason = "for the readers of the file")]
    note: String,
    rows: Vec<Claim>,
}

/// Every table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tables {
    /// Where the claims are from.
    pub source: String,
    /// What the guide leaves open.
    pub assumptions: Assumptions,
    /// Every figure, in the guide's order.
    pub rows: Vec<Row>,
}

/// A figure beside the guide's claim.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The table that it is in.
    pub table: String,
    /// Of which model, machine or strategy.
    pub subject: String,
    /// Which figure.
    pub figure: String,
    /// The claim's line in the guide; `null`: the guide says nothing of it.
    pub line: Option<u32>,
    /// The claim, as it is written.
    pub says: Option<String>,
    /// The claim as a number, in the answer's unit; the guide's GB are GiB, as its own monitor divides by 1024^3.
    pub claimed: Option<f64>,
    /// What memspec has.
    #[serde(flatten)]
    pub answer: Answer,
    /// How far the figure is from the claim: "+12 %" of it, "-3 points", "same", "smaller"; empty where one of them is missing.
    pub difference: String,
}

/// The tables under these assumptions. A figure that cannot be costed says why in its place.
///
/// # Errors
/// A data file that does not read, which the tests catch.
pub fn tables(assumptions: Assumptions, environment: &Environment) -> serde_json::Result<Tables> {
    let guide: Guide = serde_json::from_str(GUIDE)?;
    let asked = Asked::new(&assumptions, environment);
    let rows = guide.rows.into_iter().map(|claim| row(claim, &asked)).collect();
    Ok(Tables { source: guide.source, rows, assumptions })
}

fn row(claim: Claim, asked: &Asked<'_>) -> Row {
    let answer = claim.ask.answer(asked);
    let difference = answer.difference(claim.value, claim.expects.as_deref());
    let Claim { table, subject, figure, line, says, value, .. } = claim;
    Row { table, subject, figure, line, says, claimed: value, answer, difference }
}
