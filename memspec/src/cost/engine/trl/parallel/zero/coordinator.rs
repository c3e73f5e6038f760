//! Which parameters are gathered when (`partitioned_param_coordinator.py`): the first pass records the order in which modules ask for theirs; from then on
//! parameters are gathered ahead as long as fewer than so many are live, and kept where they are soon used again.
//!
//! A block's modules are taken together. The head, which TRL reads outside of its module, is the whole model's: gathered from the start of a pass to its end.

use super::super::super::super::super::Part;
use super::super::super::super::super::torch::{Tape, Tensor};
use super::Zero;

/// Parameters on their way.
const GATHERED: Part = Part { what: "all-gather buffers", setting: "parallel" };
/// Parameters as they are computed with.
pub(super) const WHOLE: Part = Part { what: "gathered parameters", setting: "parallel" };
/// Elements that are gathered ahead at once (`zero/config.py`, `prefetch_bucket_size`).
const PREFETCH: u64 = 50_000_000;
/// Elements that may be live before nothing more is gathered ahead (`max_live_parameters`).
const MOST_LIVE: u64 = 1_000_000_000;
/// Elements within which a parameter is used again and so not let go (`max_reuse_distance`).
const REUSE: u64 = 1_000_000_000;
/// Elements up to which a parameter stays gathered (`param_persistence_threshold`).
const PERSISTENT: u64 = 100_000;

/// `all_gather_stream` (`parameter_offload.py`): buffers and parameters are allocated on it.
const ALL_GATHER: u8 = 1;
const MAIN: u8 = 0;

/// A parameter, and where it is.
#[derive(Debug)]
struct Param {
    elements: u64,
    state: State,
    /// The last stage for which the queue has named it.
    wanted: usize,
}

#[derive(Debug)]
enum State {
    Partitioned,
    Flying,
    Available(#[expect(dead_code, reason = "holds the memory")] Tensor),
}

/// Parameters that were gathered together.
#[derive(Debug)]
struct Flight {
    buffer: Option<Tensor>,
    /// Those that no module has asked for yet.
    pending: Vec<usize>,
    copied: bool,
}

/// The coordinator of one rank.
#[derive(Debug)]
pub(super) struct Coordinator {
    zero: Zero,
    params: Vec<Param>,
    flights: Vec<Flight>,
    /// What each stage of a pass asks for, and how many modules it has.
    stages: Vec<(Vec<usize>, usize)>,
    /// Parameters and their stages in the order of use, and how far the queue was read.
    order: Vec<(usize, usize)>,
    read: usize,
    live: u64,
    /// The order is known.
    recorded: bool,
    /// The head among the parameters.
    head: usize,
    /// What a checkpoint recomputes in backward stays until backward is over: frozen parameters are then the business of a module whose own backward never
    /// ends (`update_recompute_parameters`, `release_backward_leftovers`).
    holds: bool,
}

/// The parameters of a model.
#[derive(Debug)]
pub(super) struct Parameters {
    /// Elements of each.
    pub(super) sizes: Vec<u64>,
    /// What each stage of a forward and a backward pass asks for, and how many modules it has.
    pub(super) stages: Vec<(Vec<usize>, usize)>,
    /// The head among them.
    pub(super) head: usize,
    /// Frozen ones are recomputed in backward.
    pub(super) recomputed: bool,
}

impl Coordinator {
    /// Nothing is gathered yet.
    pub(super) fn new(zero: Zero, parameters: Parameters) -> Self {
        let Parameters { sizes, stages, head, recomputed } = parameters;
        let order =
            stages.iter().enumerate().flat_map(|(at, stage)| stage.0.iter().map(move |&param| (param, at))).collect();
        let param = |elements| Param { elements, state: State::Partitioned, wanted: 0 };
        Self {
            zero,
            params: sizes.into_iter().map(param).collect(),
            flights: Vec::new(),
            stages,
            order,
            read: 0,
            live: 0,
            recorded: false,
            head,
            holds: recomputed,
        }
    }

    /// The order of a pass is known from now on.
    pub(super) fn record(&mut self) {
        self.recorded = true;
    }

    /// A forward pass begins (`reset_step`).
    pub(super) fn reset(&mut self, tape: &mut Tape<'_>) {
        self.read = 0;
        self.live = 0;
        self.params.iter_mut().for_each(|param| param.wanted = 0);
        if self.recorded {
            self.fetch(tape, self.head);
        }
    }

    /// A stage begins: what it lacks is gathered and waited for, and more is gathered ahead (`fetch_sub_module`).
    pub(super) fn begin(&mut self, tape: &mut Tape<'_>, stage: usize) {
        let (wanted, modules) = self.stages[stage].clone();
        for param in wanted {
            self.fetch(tape, param);
        }
        while self.order.get(self.read).is_some_and(|next| next.1 <= stage) {
            self.read += 1;
        }
        self.prefetch(tape, modules);
    }

    /// A stage ends: what is not used again soon goes (`release_sub_module`), and more is gathered ahead in its place.
    pub(super) fn end(&mut self, tape: &mut Tape<'_>, stage: usize) {
        let (wanted, modules) = self.stages[stage].clone();
        for param in wanted {
            let stays = self.recorded && self.stays(param, stage) || self.holds && self.is_backward(stage);
            if !stays {
                self.release(param);
            }
        }
        self.prefetch(tape, modules);
    }

    /// Everything is let go (`release_and_reset_all`).
    pub(super) fn release_all(&mut self) {
        (0..self.params.len()).for_each(|param| self.release(param));
        self.flights.clear();
    }

    /// Small parameters are gathered for good, until the next step (`stage3.py`, `_post_step`).
    pub(super) fn gather_persistent(&mut self, tape: &mut Tape<'_>) {
        let small: Vec<usize> = (0..self.params.len()).filter(|&param| self.persists(param)).collect();
        self.gather(tape, small.clone());
        small.into_iter().for_each(|param| self.wait(tape, param));
        self.live = 0;
    }

    /// The parameter is gathered.
    pub(super) fn is_available(&self, param: usize) -> bool {
        matches!(self.params[param].state, State::Available(_))
    }

    /// A stage of the backward pass: each comes after all of the forward pass, which are one for the embedding and one for each block.
    fn is_backward(&self, stage: usize) -> bool {
        2 * stage >= self.stages.len()
    }

    /// What is not let go after a stage: the head, small parameters, and what is used again soon, or was skipped by the queue since it was there.
    fn stays(&self, param: usize, stage: usize) -> bool {
        param == self.head || self.persists(param) || self.params[param].wanted > stage || self.again(param, stage)
    }

    /// A module's own parameter: gathered by itself, unless it is there or on its way.
    fn fetch(&mut self, tape: &mut Tape<'_>, param: usize) {
        if matches!(self.params[param].state, State::Partitioned) {
            self.gather(tape, vec![param]);
        }
        self.wait(tape, param);
    }

    fn persists(&self, param: usize) -> bool {
        self.params[param].elements <= PERSISTENT
    }

    /// The parameter is used within the reuse distance after a stage.
    fn again(&self, param: usize, stage: usize) -> bool {
        let mut passed = 0;
        for (params, _) in &self.stages[stage + 1..] {
            if passed >= REUSE {
                return false;
            }
            if params.contains(&param) {
                return true;
            }
            passed += params.iter().map(|&param| self.params[param].elements).sum::<u64>();
        }
        false
    }

    fn prefetch(&mut self, tape: &mut Tape<'_>, modules: usize) {
        for _ in 0..if self.recorded { modules } else { 0 } {
            let most = MOST_LIVE.saturating_sub(self.live).min(PREFETCH);
            let (mut chosen, mut elements) = (Vec::new(), 0);
            while elements < most
                && let Some(&(param, stage)) = self.order.get(self.read)
            {
                self.read += 1;
                self.params[param].wanted = self.params[param].wanted.max(stage);
                if matches!(self.params[param].state, State::Partitioned) && !chosen.contains(&param) {
                    chosen.push(param);
                    elements += self.params[param].elements;
                }
            }
            if chosen.is_empty() {
                return;
            }
            self.gather(tape, chosen);
        }
    }

    /// `all_gather_coalesced` (`partition_parameters.py:1538`).
    fn gather(&mut self, tape: &mut Tape<'_>, params: Vec<usize>) {
        if params.is_empty() {
            return;
        }
        let part = |param: usize| self.params[param].elements.div_ceil(self.zero.world);
        let parts: u64 = params.iter().map(|&param| part(param)).sum();
        tape.stream = ALL_GATHER;
        let buffer = tape.new_as(GATHERED, parts * self.zero.world, self.zero.half);
        // From the host one after the other, then joined.
        let from_host: Vec<Tensor> = if self.zero.offload {
            params.iter().map(|&param| tape.new_as(GATHERED, part(param), self.zero.half)).collect()
        } else {
            Vec::new()
        };
        drop(from_host);
        tape.stream = MAIN;
        for &param in &params {
            self.params[param].state = State::Flying;
            self.live += self.params[param].elements;
        }
        self.flights.push(Flight { buffer: Some(buffer), pending: params, copied: false });
    }

    /// `AllGatherCoalescedHandle.wait`: all that was gathered together is copied, parameter by parameter, and the buffer goes once modules asked for each. What was
    /// gathered alone is its buffer.
    fn wait(&mut self, tape: &mut Tape<'_>, param: usize) {
        let Some(at) = self.flights.iter().position(|flight| flight.pending.contains(&param)) else { return };
        let flight = &mut self.flights[at];
        if !std::mem::replace(&mut flight.copied, true) {
            tape.stream = ALL_GATHER;
            let alone = flight.pending.len() == 1;
            for &param in &flight.pending {
                let whole = match flight.buffer.take_if(|_| alone) {
                    Some(buffer) => {
                        buffer.storage.relabel(WHOLE);
                        buffer
                    }
                    None => tape.new_as(WHOLE, self.params[param].elements, self.zero.half),
                };
                self.params[param].state = State::Available(whole);
            }
            tape.stream = MAIN;
        }
        flight.pending.retain(|&pending| pending != param);
        if flight.pending.is_empty() {
            self.flights.remove(at);
        }
    }

    fn release(&mut self, param: usize) {
        if self.is_available(param) {
            self.params[param].state = State::Partitioned;
            self.live = self.live.saturating_sub(self.params[param].elements);
        }
    }
}
