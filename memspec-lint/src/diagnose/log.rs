//! Reading a log: the sentences in which PyTorch, CUDA's libraries, launchers and the kernel say that memory ran out.

use std::sync::LazyLock;

use memspec::cost::PhaseName;
use regex::{Captures, Regex};
use schemars::JsonSchema;
use serde::Serialize;

use super::traceback;

/// How a run died, and where its log says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Found {
    /// How it died.
    pub death: Death,
    /// The line of the log, from 1.
    pub line: usize,
    /// The phase it died in, where the traceback shows it.
    pub phase: Option<PhaseName>,
    /// More messages of the same kind: other ranks of the run, or the same error printed again.
    pub more: usize,
}

/// How a run died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Death {
    /// PyTorch's caching allocator got no memory from the driver.
    Refused(Refusal),
    /// Something outside of PyTorch's allocator got none.
    Library(Library),
    /// The host's memory ran out, and the kernel ended the process.
    Killed,
    /// The host refused an allocation of this many bytes.
    Host {
        /// The bytes, where they are said.
        tried: Option<u64>,
    },
}

/// Who got no memory on the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Library {
    /// cuBLAS, for its handle or workspace.
    Cublas,
    /// NCCL, for its channels.
    Nccl,
    /// CUDA itself: a context, a kernel's local memory, or a page on the host that is locked for copies.
    Cuda,
}

/// PyTorch's message: what its allocator tried, and what there was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Refusal {
    /// The card's number.
    pub gpu: Option<u32>,
    /// Bytes that it asked the driver for; none where it was more than any machine has.
    pub tried: Option<u64>,
    /// All of the card's memory, in bytes.
    pub capacity: Option<u64>,
    /// What the driver had free, in bytes.
    pub free: Option<u64>,
    /// Bytes in tensors.
    pub allocated: Option<u64>,
    /// Bytes that PyTorch held and that were in no tensor.
    pub cached: Option<u64>,
    /// What this process held, in bytes, where the driver knew.
    pub process: Option<u64>,
    /// What other processes held, in bytes, where the driver knew.
    pub others: u64,
}

const SIZE: &str = r"([\d.]+ ?(?:bytes|[KMGTPE]iB))";

/// A pattern in which `SIZE` is a size. The patterns are constants, and the tests read a message with each.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(&text.replace("SIZE", SIZE)).ok()
}

macro_rules! patterns {
    ($($name:ident = $text:literal;)+) => {
        $(static $name: LazyLock<Option<Regex>> = LazyLock::new(|| pattern($text));)+
    };
}

patterns! {
    TRIED = r"out of memory\.\s*(?:\[rank\d+\]:\s*)?(?:Tried|Trying) to allocate (?:SIZE|more than \S+ memory)";
    // to 2.0; before 1.4 it said "cached"
    BEFORE = r"\(GPU (\d+); SIZE total capacity; SIZE already allocated; SIZE free; (?:SIZE allowed; )?SIZE (?:reserved in total by PyTorch|cached)";
    // 2.1 said "capacty"
    CAPACITY = r"GPU ?(\d*) has a total capac\w*ty of SIZE of which SIZE is free";
    PROCESS = r"Process \d+ has SIZE memory in use";
    THIS_PROCESS = r"this process has SIZE memory in use";
    ALLOCATED = r"Of the allocated memory SIZE is allocated by PyTorch";
    CACHED = r"(?:and|,) SIZE is reserved by PyTorch but unallocated";
    HOST = r"DefaultCPUAllocator: .*?(?:tried|trying) to allocate (\d+) bytes";
    KILLED = r"Signals\.SIGKILL|return code = -9\b|exitcode: ?-9\b|\bexit code -9\b|[Oo]ut of memory: Killed process|oom-kill:|(?m:^.*\bKilled\s*$)|(?m:^\S+: line \d+: +\d+ Killed)|signal 9\b|CUDA_HOST_OOM";
    HOST_WORDS = r"DefaultCPUAllocator: (?:can't|not enough)|Cannot allocate memory|std::bad_alloc|MemoryError";
    CUBLAS = r"CUBLAS_STATUS_ALLOC_FAILED|CUBLAS_STATUS_NOT_INITIALIZED.{0,80}cublasCreate";
    NCCL = r"NCCL WARN .{0,80}out of memory|NCCL WARN Failed to CUDA (?:m|c)alloc|ncclUnhandledCudaError[\s\S]{0,400}out of memory";
    CUDA = r"CUDA error: out of memory|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|HIP error: out of memory";
}

/// The first death in a log that is for want of memory; PyTorch's own messages before those that only say that it ended.
pub fn death(log: &str) -> Option<Found> {
    // Logs break sentences where a terminal ends, and put a rank before each line.
    let plain = log.replace('\u{a0}', " ");
    let first = |pattern: &Option<Regex>| {
        let mut matches = pattern.as_ref()?.find_iter(&plain);
        let first = matches.next()?;
        Some((first.start(), matches.count()))
    };
    let found = |at: usize, more: usize, death: Death| {
        let line = plain[..at].matches('\n').count() + 1;
        Found { death, line, phase: traceback::phase(&plain[..at]), more }
    };
    if let Some((at, more)) = first(&TRIED) {
        return Some(found(at, more, Death::Refused(refusal(&plain[at..]))));
    }
    if let Some((at, more)) = first(&HOST).or_else(|| first(&HOST_WORDS)) {
        let tried = HOST
            .as_ref()
            .and_then(|host| host.captures(&plain))
            .and_then(|groups| groups.get(1)?.as_str().parse().ok());
        return Some(found(at, more, Death::Host { tried }));
    }
    for (pattern, library) in [(&CUBLAS, Library::Cublas), (&NCCL, Library::Nccl), (&CUDA, Library::Cuda)] {
        if let Some((at, more)) = first(pattern) {
            return Some(found(at, more, Death::Library(library)));
        }
    }
    first(&KILLED).map(|(at, more)| found(at, more, Death::Killed))
}

/// The figures of the message that a text begins with.
fn refusal(text: &str) -> Refusal {
    let sentence = one_line(text);
    let of = |pattern: &Option<Regex>| pattern.as_ref().and_then(|pattern| pattern.captures(&sentence));
    let mut refusal = Refusal { tried: of(&TRIED).and_then(|groups| size(&groups, 1)), ..Refusal::default() };
    if let Some(groups) = of(&BEFORE) {
        let (allocated, reserved) = (size(&groups, 3), size(&groups, 6));
        refusal.gpu = groups.get(1).and_then(|gpu| gpu.as_str().parse().ok());
        (refusal.capacity, refusal.allocated, refusal.free) = (size(&groups, 2), allocated, size(&groups, 4));
        refusal.cached = reserved.zip(allocated).map(|(reserved, allocated)| reserved.saturating_sub(allocated));
        return refusal;
    }
    if let Some(groups) = of(&CAPACITY) {
        refusal.gpu = groups.get(1).and_then(|gpu| gpu.as_str().parse().ok());
        (refusal.capacity, refusal.free) = (size(&groups, 2), size(&groups, 3));
    }
    refusal.allocated = of(&ALLOCATED).and_then(|groups| size(&groups, 1));
    refusal.cached = of(&CACHED).and_then(|groups| size(&groups, 1));
    let own = of(&THIS_PROCESS).and_then(|groups| size(&groups, 1));
    let named = PROCESS
        .as_ref()
        .map(|pattern| pattern.captures_iter(&sentence).filter_map(|groups| size(&groups, 1)).collect());
    processes(&mut refusal, own, named.unwrap_or_default());
    refusal
}

/// Who holds what. In a container the driver knows processes by other numbers, and calls this one "Process 2116"; under WSL what it says is no
/// size at all.
fn processes(refusal: &mut Refusal, own: Option<u64>, mut named: Vec<u64>) {
    let most = refusal.capacity.unwrap_or(u64::MAX);
    let least = refusal.allocated.unwrap_or(0) + refusal.cached.unwrap_or(0);
    // The figures are rounded.
    let least = least - least / 100;
    let possible = |bytes: &u64| (least..=most).contains(bytes);
    named.retain(|bytes| *bytes <= most);
    refusal.process = own.filter(possible).or_else(|| {
        let at = (0..named.len()).filter(|&at| possible(&named[at])).min_by_key(|&at| named[at])?;
        Some(named.remove(at))
    });
    refusal.others = named.iter().sum();
}

/// The text up to the next traceback in one line, without the ranks that launchers put before each.
fn one_line(text: &str) -> String {
    let end = text.char_indices().nth(2000).map_or(text.len(), |(at, _)| at);
    let lines = text[..end].lines().map(|line| {
        match line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
            Some((rank, rest)) if rank.starts_with("rank") => rest,
            _ => line,
        }
    });
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    let sentence = words.join(" ");
    // What a second message says is not of this one.
    match sentence.match_indices("out of memory. T").nth(1) {
        Some((at, _)) => sentence[..at].to_owned(),
        None => sentence,
    }
}

/// A size as PyTorch prints it: `1.96 GiB`, `0 bytes`.
fn size(groups: &Captures<'_>, at: usize) -> Option<u64> {
    let text = groups.get(at)?.as_str();
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..unit].trim().parse().ok()?;
    let power = match &text[unit..] {
        "bytes" => 0,
        unit => 1 + "KMGTPE".find(unit.get(..1)?)?,
    };
    Some((number * 1024_f64.powi(power as i32)) as u64)
}
