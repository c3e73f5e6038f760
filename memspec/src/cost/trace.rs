//! A trace: which tensors a run allocates and frees, in order, phase by phase.

use serde::{Deserialize, Serialize};

/// The phases of a run. Forward to optimizer repeat with every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// Reading the weights; in the engine `memspec` also making the adapters and the optimizer's states.
    Load,
    /// Making the adapters and the trainer.
    Init,
    /// Wrapping by DDP or FSDP, before the first step.
    Prepare,
    /// The blocks, first to last; in the engines `trl` and `unsloth` the loss, too.
    Forward,
    /// The final norm, the head and the cross entropy with its gradient.
    Loss,
    /// The blocks, last to first.
    Backward,
    /// Clipping and the optimizer's step.
    Optimizer,
    /// The loss on the evaluation data.
    Evaluate,
    /// Writing a checkpoint or the adapter.
    Save,
    /// Merging the adapter into the base.
    Merge,
    /// Answering conversations: the one phase of a plan that only serves.
    Serve,
}

impl PhaseName {
    /// All, in the order of a run.
    pub const ALL: [Self; 11] = [
        Self::Load,
        Self::Init,
        Self::Prepare,
        Self::Forward,
        Self::Loss,
        Self::Backward,
        Self::Optimizer,
        Self::Evaluate,
        Self::Save,
        Self::Merge,
        Self::Serve,
    ];

    /// As it is written in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Init => "init",
            Self::Prepare => "prepare",
            Self::Forward => "forward",
            Self::Loss => "loss",
            Self::Backward => "backward",
            Self::Optimizer => "optimizer",
            Self::Evaluate => "evaluate",
            Self::Save => "save",
            Self::Merge => "merge",
            Self::Serve => "serve",
        }
    }
}

impl std::fmt::Display for PhaseName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What tensors are for, and the setting that decides how large they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// In a reader's words: "block inputs".
    pub what: &'static str,
    /// The setting to change, by its dotted path: "train.checkpointing".
    pub setting: &'static str,
}

/// An allocated tensor; freeing it takes it, so nothing is freed twice.
#[derive(Debug)]
#[must_use = "a tensor that is never freed lives to the end of the run: `keep` it"]
pub struct Tensor(u32);

impl Tensor {
    /// Says that the tensor lives to the end of the run.
    pub fn keep(self) {}
}

/// One event of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A phase begins.
    Enter(PhaseName),
    /// The tensor with this index is allocated.
    Allocate(u32),
    /// The tensor with this index is freed.
    Free(u32),
    /// What follows is of this block of the model, or of none.
    Block(Option<Block>),
    /// The allocator gives everything unused back (`torch.cuda.empty_cache`).
    EmptyCache,
}

/// A block of the model: which stack of blocks it is in, and its place there, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// Which stack.
    pub stack: Stack,
    /// Its place in the stack.
    pub index: u16,
}

/// Stacks of equal blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stack {
    /// The decoder's.
    Text,
    /// The vision tower's.
    Vision,
}

/// A tensor of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is for.
    pub part: Part,
    /// Its bytes.
    pub bytes: u64,
    /// The stream it is used on: PyTorch's allocator reuses memory within one stream.
    pub stream: u8,
}

/// Tensors and events of a run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Of each tensor, what it is by its place in `entries`: tensors of repeated blocks share theirs.
    tensors: Vec<u32>,
    entries: Vec<Request>,
    parts: Vec<Part>,
    events: Vec<Event>,
}

/// An [`Entry`] with its part by number, which is its place in [`Trace::parts`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) bytes: u64,
    pub(crate) part: u16,
    pub(crate) stream: u8,
}

impl Trace {
    /// An empty trace with room for `tensors`.
    pub(crate) fn with_room(tensors: usize) -> Self {
        Self {
            tensors: Vec::with_capacity(tensors),
            entries: Vec::with_capacity(tensors),
            parts: Vec::with_capacity(32),
            events: Vec::with_capacity(2 * tensors),
        }
    }

    /// An empty trace of tensors that are like those of `other`, with room for `times` as many.
    pub(crate) fn like(other: &Self, times: usize) -> Self {
        Self {
            tensors: Vec::with_capacity(other.tensors.len() * times),
            entries: other.entries.clone(),
            parts: other.parts.clone(),
            events: Vec::with_capacity(other.events.len() * times),
        }
    }

    /// The phase `name` begins.
    pub fn enter(&mut self, name: PhaseName) {
        self.events.push(Event::Enter(name));
    }

    /// A tensor of `bytes` is allocated.
    pub fn allocate(&mut self, part: Part, bytes: u64) -> Tensor {
        Tensor(self.add(Entry { part, bytes, stream: 0 }))
    }

    /// A tensor is allocated; returns its index.
    pub(crate) fn add(&mut self, entry: Entry) -> u32 {
        let Entry { part, bytes, stream } = entry;
        let part = self.number(part);
        self.entries.push(Request { bytes, part, stream });
        self.add_like((self.entries.len() - 1) as u32)
    }

    /// A tensor like the one that was added as number `entry` is allocated; returns its index.
    pub(crate) fn add_like(&mut self, entry: u32) -> u32 {
        let index = self.tensors.len() as u32;
        self.tensors.push(entry);
        self.events.push(Event::Allocate(index));
        index
    }

    /// The number of a part.
    fn number(&mut self, part: Part) -> u16 {
        // Nearly always the very constant is there already.
        let same = |known: &Part| std::ptr::eq(known.what, part.what) && std::ptr::eq(known.setting, part.setting);
        let number = self.parts.iter().position(same).or_else(|| self.parts.iter().position(|known| *known == part));
        number.unwrap_or_else(|| {
            self.parts.push(part);
            self.parts.len() - 1
        }) as u16
    }

    /// Says what a tensor is for, now that it is known.
    pub(crate) fn relabel(&mut self, index: u32, part: Part) {
        let part = self.number(part);
        self.entries[self.tensors[index as usize] as usize].part = part;
    }

    /// Something happens that allocates nothing.
    pub(crate) fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// A tensor is freed.
    pub fn free(&mut self, tensor: Tensor) {
        self.events.push(Event::Free(tensor.0));
    }

    /// Tensors are freed.
    pub fn free_all(&mut self, tensors: impl IntoIterator<Item = Tensor>) {
        for tensor in tensors {
            self.free(tensor);
        }
    }

    /// A tensor is allocated and freed at once: scratch of an operation.
    pub fn scratch(&mut self, part: Part, bytes: u64) {
        let tensor = self.allocate(part, bytes);
        self.free(tensor);
    }

    /// The events in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What a tensor is for, and its bytes.
    pub fn tensor(&self, index: u32) -> Entry {
        let Request { bytes, part, stream } = self.request(index);
        Entry { part: self.parts[usize::from(part)], bytes, stream }
    }

    /// How many tensors there are.
    pub fn tensors(&self) -> usize {
        self.tensors.len()
    }

    /// What tensors are for.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// A tensor, with its part by number.
    pub(crate) fn request(&self, index: u32) -> Request {
        self.entries[self.tensors[index as usize] as usize]
    }
}
