//! The picture of a run's memory: areas stacked by owner, in the plane of the `svg` and as shares of its width and height, so that the page can
//! stretch the one and set words beside the other.

use std::fmt::Write;

use memspec::cost::{Estimate, Moment, PhaseName, Timeline, Visit};
use memspec::quantity::Bytes;
use serde::Serialize;

use super::owner::Owner;

/// The plane that shapes are drawn in; the page stretches it.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 400.0;
/// Columns of the picture.
pub(super) const COLUMNS: usize = 240;
/// A name stands in an area that is as high as this share of the picture over the width of its letters.
const ROOM: f64 = 0.062;
/// The share of the width that a letter takes where the page is wide.
const LETTER: f64 = 0.008;
/// Owners that a row of the table names.
const NAMED: usize = 2;

/// Everything that the page draws, ready to be placed.
#[derive(Debug, Serialize)]
pub(super) struct Picture {
    /// All that the process holds, on the way to its limit; and, where its base weights or its limit leave little to be seen, what is alive beside them.
    plots: Vec<Plot>,
    phases: Vec<Phase>,
    /// A phase is too narrow to write its name along it.
    upright: bool,
    steps: Vec<Span>,
}

/// Stacked areas with their scale.
#[derive(Debug, Serialize)]
struct Plot {
    title: &'static str,
    areas: Vec<Area>,
    ticks: Vec<Mark>,
    /// Where most is alive.
    peak: Peak,
    /// What the process takes at its highest, with its interval.
    process: Option<Band>,
    /// What it may take; `None` where no card is named.
    limit: Option<Mark>,
    /// One sentence for who does not see it.
    words: String,
}

/// What one owner holds over the run.
#[derive(Debug, Serialize)]
struct Area {
    name: &'static str,
    class: &'static str,
    path: String,
    /// What it holds at the peak, for the legend.
    at_peak: String,
    /// Where its name has room.
    label: Option<Place>,
}

/// A place in per cent of the width and of the height from the top.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Place {
    x: f64,
    y: f64,
}

/// A level with its words, in per cent from the top.
#[derive(Debug, Serialize)]
struct Mark {
    y: f64,
    words: String,
}

/// From left to right, in per cent.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Span {
    x: f64,
    wide: f64,
    words: String,
}

/// A phase below the picture, and its row of the table.
#[derive(Debug, Serialize)]
struct Phase {
    #[serde(flatten)]
    span: Span,
    highest: String,
    after: String,
    /// What is alive then beside the base weights, the largest first.
    mostly: String,
    is_peak: bool,
}

#[derive(Debug, Serialize)]
struct Peak {
    place: Place,
    words: String,
}

#[derive(Debug, Serialize)]
struct Band {
    /// Per cent from the top of the upper end, of the figure and of the lower end.
    high: f64,
    y: f64,
    low: f64,
    words: String,
}

/// Draws a run. `limit`: the estimate has one that is a card's.
pub(super) fn draw(timeline: &Timeline, estimate: &Estimate, limit: bool) -> Picture {
    let peak = &estimate.peak;
    let beside = peak.process.bytes.saturating_sub(peak.reserved.bytes);
    let columns: Vec<Column> = timeline
        .visits
        .iter()
        .flat_map(|visit| &visit.columns)
        .map(|moment| Column::of(moment, timeline, beside))
        .collect();
    // The first of equal ones.
    let highest = (0..columns.len()).rev().max_by_key(|at| columns[*at].alive()).unwrap_or(0);
    let mut plots = vec![all(&columns, highest, estimate, limit.then_some(estimate.limit_bytes))];
    let weights = columns.get(highest).map_or(0, |column| column.owners[Owner::Weights as usize]);
    let far = limit && estimate.limit_bytes / 2 > peak.process.high;
    if far || weights > peak.allocated.bytes / 2 {
        let columns: Vec<Column> = columns.iter().map(Column::without_weights).collect();
        plots.push(beside_weights(&columns, highest, estimate));
    }
    let scale = Scale { top: 1.0, columns: columns.len().max(1) as f64 };
    let phases = phases(timeline, &scale, highest);
    let narrow = |phase: &Phase| phase.span.wide < 100.0 * LETTER * phase.span.words.len() as f64;
    Picture { plots, upright: phases.iter().any(narrow), phases, steps: steps(timeline, &scale) }
}

/// All that the process holds.
fn all(columns: &[Column], highest: usize, estimate: &Estimate, limit: Option<u64>) -> Plot {
    let peak = &estimate.peak;
    let top = columns.iter().map(Column::held).chain([peak.process.high]).chain(limit).max().unwrap_or(1);
    let scale = Scale { top: top.max(1) as f64 * 1.08, columns: columns.len().max(1) as f64 };
    let words = format!(
        "Memory over a run of plan {}, phase by phase. Most is alive in the {} phase: {} of tensors. \
         The process takes {} then, expected between {} and {}{}.",
        estimate.name,
        peak.phase,
        Bytes(peak.allocated.bytes),
        Bytes(peak.process.bytes),
        Bytes(peak.process.low),
        Bytes(peak.process.high),
        limit.map(|limit| format!(", of {} that it may", Bytes(limit))).unwrap_or_default(),
    );
    Plot {
        title: "All that the process holds",
        areas: areas(columns, highest, &scale),
        ticks: ticks(&scale),
        peak: Peak::of(columns, highest, &scale),
        process: Some(Band {
            high: scale.y(peak.process.high),
            y: scale.y(peak.process.bytes),
            low: scale.y(peak.process.low),
            words: format!("process: {}", Bytes(peak.process.bytes)),
        }),
        limit: limit.map(|limit| Mark { y: scale.y(limit), words: format!("limit: {}", Bytes(limit)) }),
        words,
    }
}

/// What is alive beside the base weights.
fn beside_weights(columns: &[Column], highest: usize, estimate: &Estimate) -> Plot {
    let top = columns.iter().map(Column::held).max().unwrap_or(1);
    let scale = Scale { top: top.max(1) as f64 * 1.12, columns: columns.len().max(1) as f64 };
    let alive = columns.get(highest).map_or(0, Column::alive);
    Plot {
        title: "What is alive beside the base weights",
        areas: areas(columns, highest, &scale),
        ticks: ticks(&scale),
        peak: Peak::of(columns, highest, &scale),
        process: None,
        limit: None,
        words: format!(
            "The same without base weights, context and unused memory: {} at the peak, in the {} phase.",
            Bytes(alive),
            estimate.peak.phase
        ),
    }
}

fn areas(columns: &[Column], highest: usize, scale: &Scale) -> Vec<Area> {
    let layers = Layer::all(columns);
    layers.iter().filter(|layer| layer.is_there()).map(|layer| layer.area(scale, highest)).collect()
}

impl Peak {
    fn of(columns: &[Column], highest: usize, scale: &Scale) -> Self {
        let column = columns.get(highest).cloned().unwrap_or_default();
        Self {
            place: Place { x: scale.x(highest as f64 + 0.5), y: scale.y(column.live_top()) },
            words: format!("peak: {} alive", Bytes(column.alive())),
        }
    }
}

/// From bytes and columns to per cent.
struct Scale {
    top: f64,
    columns: f64,
}

impl Scale {
    fn x(&self, column: f64) -> f64 {
        rounded(100.0 * column / self.columns)
    }

    fn y(&self, bytes: u64) -> f64 {
        rounded(100.0 * (1.0 - bytes as f64 / self.top))
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// A column of the picture: bytes beside the tensors, of each owner, and what the allocator holds and nobody uses.
#[derive(Clone, Debug, Default)]
struct Column {
    beside: u64,
    owners: [u64; Owner::ALL.len()],
    unused: u64,
}

impl Column {
    fn of(moment: &Moment, timeline: &Timeline, beside: u64) -> Self {
        let unused = moment.reserved.saturating_sub(moment.allocated());
        Self { beside, owners: owners(moment, timeline), unused }
    }

    /// What is alive beside the base weights.
    fn without_weights(&self) -> Self {
        let mut owners = self.owners;
        owners[Owner::Weights as usize] = 0;
        Self { beside: 0, owners, unused: 0 }
    }

    fn alive(&self) -> u64 {
        self.owners.iter().sum()
    }

    fn live_top(&self) -> u64 {
        self.beside + self.alive()
    }

    fn held(&self) -> u64 {
        self.live_top() + self.unused
    }

    /// What lies below the layer at this place, and what it adds.
    fn layer(&self, at: usize) -> (u64, u64) {
        match at {
            0 => (0, self.beside),
            at if at <= self.owners.len() => {
                (self.beside + self.owners[..at - 1].iter().sum::<u64>(), self.owners[at - 1])
            }
            _ => (self.live_top(), self.unused),
        }
    }
}

fn owners(moment: &Moment, timeline: &Timeline) -> [u64; Owner::ALL.len()] {
    let mut owners = [0; Owner::ALL.len()];
    for (part, bytes) in timeline.parts.iter().zip(&moment.alive) {
        owners[Owner::of(part.what, part.setting) as usize] += bytes;
    }
    owners
}

/// One of the stacked areas: in each column from where to where.
struct Layer {
    name: &'static str,
    class: &'static str,
    columns: Vec<(u64, u64)>,
}

impl Layer {
    fn all(columns: &[Column]) -> Vec<Self> {
        let names = [("context and libraries", "beside")]
            .into_iter()
            .chain(Owner::ALL.map(|owner| (owner.name(), owner.class())))
            .chain([("reserved, unused", "unused")]);
        names
            .enumerate()
            .map(|(at, (name, class))| Self {
                name,
                class,
                columns: columns.iter().map(|column| column.layer(at)).collect(),
            })
            .collect()
    }

    fn is_there(&self) -> bool {
        self.columns.iter().any(|(_, bytes)| *bytes > 0)
    }

    fn area(&self, scale: &Scale, peak: usize) -> Area {
        Area {
            name: self.name,
            class: self.class,
            path: self.path(scale),
            at_peak: self.columns.get(peak).map(|(_, bytes)| Bytes(*bytes).to_string()).unwrap_or_default(),
            label: self.label(scale),
        }
    }

    /// Along the upper edge, and back along the lower one.
    fn path(&self, scale: &Scale) -> String {
        let x = |column: usize| WIDTH * column as f64 / scale.columns;
        let y = |bytes: u64| HEIGHT * (1.0 - bytes as f64 / scale.top);
        let mut path = String::new();
        let mut edge = |at: &mut dyn Iterator<Item = (usize, usize, u64)>| {
            let mut last = None;
            for (from, to, bytes) in at {
                // A level that goes on needs no point of its own.
                if last != Some(bytes) {
                    let command = if path.is_empty() { 'M' } else { 'L' };
                    let _ = write!(path, "{command}{:.1} {:.1}", x(from), y(bytes));
                }
                last = Some(bytes);
                if path.ends_with(&format!("H{:.1}", x(from))) {
                    path.truncate(path.rfind('H').unwrap_or(path.len()));
                }
                let _ = write!(path, "H{:.1}", x(to));
            }
        };
        let columns = || self.columns.iter().enumerate();
        edge(&mut columns().map(|(at, (below, bytes))| (at, at + 1, below + bytes)));
        edge(&mut columns().rev().map(|(at, (below, _))| (at + 1, at, *below)));
        path + "Z"
    }

    /// The middle of the highest place as wide as its name.
    fn label(&self, scale: &Scale) -> Option<Place> {
        let wide = ((self.name.len() as f64 + 1.0) * LETTER * scale.columns).ceil() as usize;
        let room = |at: usize, columns: &[(u64, u64)]| {
            let below = columns.iter().map(|(below, _)| *below).max()?;
            let above = columns.iter().map(|(below, bytes)| below + bytes).min()?;
            let high = above.checked_sub(below).filter(|high| *high as f64 >= ROOM * scale.top)?;
            let middle = at as f64 + wide as f64 / 2.0;
            Some((high, Place { x: scale.x(middle), y: scale.y(below + high / 2) }))
        };
        let places = self.columns.windows(wide.max(1)).enumerate().filter_map(|(at, columns)| room(at, columns));
        places.max_by_key(|(high, _)| *high).map(|(_, place)| place)
    }
}

/// The phases, each with its row of the table.
fn phases(timeline: &Timeline, scale: &Scale, peak: usize) -> Vec<Phase> {
    let mut at = 0;
    let phase = |visit: &Visit| {
        let (from, to) = (at, at + visit.columns.len());
        at = to;
        let highest = visit.highest();
        Phase {
            span: span(scale, from, to, visit.phase.to_string()),
            highest: Bytes(highest.allocated()).to_string(),
            after: Bytes(visit.after.allocated()).to_string(),
            mostly: mostly(highest, timeline),
            is_peak: (from..to).contains(&peak),
        }
    };
    timeline.visits.iter().map(phase).collect()
}

fn span(scale: &Scale, from: usize, to: usize, words: String) -> Span {
    Span { x: scale.x(from as f64), wide: scale.x((to - from) as f64), words }
}

/// `activations 1.2 GiB, gradients 0.8 GiB`: beside the base weights, which are always there.
fn mostly(moment: &Moment, timeline: &Timeline) -> String {
    let mut owners: Vec<(Owner, u64)> = Owner::ALL.into_iter().zip(owners(moment, timeline)).collect();
    owners.retain(|(owner, bytes)| *owner != Owner::Weights && *bytes > 0);
    owners.sort_by_key(|(owner, bytes)| (std::cmp::Reverse(*bytes), *owner));
    let named = owners.iter().take(NAMED).map(|(owner, bytes)| format!("{} {}", owner.name(), Bytes(*bytes)));
    named.collect::<Vec<_>>().join(", ")
}

/// The steps of the run: each ends with the optimizer.
fn steps(timeline: &Timeline, scale: &Scale) -> Vec<Span> {
    let mut steps: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    let mut open = false;
    for visit in &timeline.visits {
        let to = at + visit.columns.len();
        let is_step =
            matches!(visit.phase, PhaseName::Forward | PhaseName::Loss | PhaseName::Backward | PhaseName::Optimizer);
        match steps.last_mut() {
            Some(step) if is_step && open => step.1 = to,
            _ if is_step => steps.push((at, to)),
            _ => {}
        }
        open = is_step && visit.phase != PhaseName::Optimizer;
        at = to;
    }
    let name = |at: usize| match (steps.len(), at) {
        (1, _) => "a step",
        (_, 0) => "first step",
        _ => "every later step",
    };
    steps.iter().enumerate().map(|(at, &(from, to))| span(scale, from, to, name(at).to_owned())).collect()
}

/// Levels at round figures, five or so.
fn ticks(scale: &Scale) -> Vec<Mark> {
    const GIB: f64 = (1u64 << 30) as f64;
    const MIB: f64 = (1u64 << 20) as f64;
    let (unit, name) = if scale.top >= GIB { (GIB, "GiB") } else { (MIB, "MiB") };
    let round = [0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
    let each = round.into_iter().find(|each| scale.top / (each * unit) <= 6.0).unwrap_or(2000.0);
    let levels = (0..).map(|at| f64::from(at) * each).take_while(|level| level * unit < 0.97 * scale.top);
    let decimals = usize::from(each < 1.0);
    let mark = |level: f64| Mark { y: scale.y((level * unit) as u64), words: format!("{level:.decimals$} {name}") };
    levels.map(mark).collect()
}
