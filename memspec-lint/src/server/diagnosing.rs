//! Diagnostics after a change: what is known within a moment, and the rest when it is.
//!
//! A plan that was not seen before is costed by other threads. If that takes longer than [`PATIENCE`], as where many combinations are tried, mistakes of
//! the text and findings about the other plans are sent without it, and all again once it is known.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::documents::Open;
use super::handlers;
use super::outbox::Outbox;
use super::snapshot::Snapshot;
use super::workers::Workers;

/// How long costs are waited for.
const PATIENCE: Duration = Duration::from_millis(4);

/// The threads that diagnose.
#[derive(Clone)]
pub(super) struct Diagnosing {
    /// One thread: of two texts of a document, the diagnostics of the later one are sent last.
    send: Workers,
    cost: Workers,
}

impl Diagnosing {
    pub(super) fn new(threads: usize) -> Self {
        Self { send: Workers::new(1, "diagnostics"), cost: Workers::new(threads, "costs") }
    }

    /// Sends a document's diagnostics, unless it has changed by then.
    pub(super) fn start(&self, snapshot: Snapshot, outbox: Outbox, open: Arc<Open>) {
        let all = self.clone();
        self.send.run(move || all.diagnose(snapshot, outbox, open));
    }

    /// Says that a closed document has none.
    pub(super) fn clear(&self, outbox: Outbox, uri: gen_lsp_types::Uri) {
        self.send.run(move || outbox.publish(uri, None, Vec::new()));
    }

    fn diagnose(&self, snapshot: Snapshot, outbox: Outbox, open: Arc<Open>) {
        if !open.is_newest() {
            return;
        }
        let again = {
            let (all, snapshot, outbox, open) = (self.clone(), snapshot.clone(), outbox.clone(), Arc::clone(&open));
            move || all.start(snapshot.clone(), outbox.clone(), Arc::clone(&open))
        };
        let (left, done) = self.cost(&snapshot, &open, Arc::new(again));
        let deadline = Instant::now() + PATIENCE;
        // The channel is closed when nothing is left.
        while done.recv_deadline(deadline).is_ok() {}
        if !open.is_newest() {
            return;
        }
        let known = left.lock().unwrap_or_else(PoisonError::into_inner).stop_waiting();
        let found = catch_unwind(AssertUnwindSafe(|| handlers::diagnostics::of(&snapshot, &open, known)));
        match found {
            Ok(found) if open.is_newest() => outbox.publish(open.uri.clone(), Some(open.version), found),
            Ok(_) => {}
            Err(_) => outbox.log(format!("{} could not be checked; please report this", open.uri)),
        }
    }

    /// Has the plans costed that were not seen before. The channel ends when all are.
    fn cost(
        &self,
        snapshot: &Snapshot,
        open: &Arc<Open>,
        again: Arc<dyn Fn() + Send + Sync>,
    ) -> (Arc<Mutex<Left>>, Receiver<()>) {
        let (ends, done) = crossbeam_channel::bounded(0);
        let base = open.linter.base();
        let plans = open.document.plans.iter().map(|written| &written.plan);
        let unknown: Vec<_> = plans.filter(|plan| !snapshot.memo.is_ready(plan, base)).cloned().collect();
        let left = Arc::new(Mutex::new(Left { plans: unknown.len(), is_late: false }));
        for plan in unknown {
            let end = End { left: Arc::clone(&left), again: Arc::clone(&again), _ends: ends.clone() };
            let (snapshot, open) = (snapshot.clone(), Arc::clone(open));
            self.cost.run(move || {
                if open.is_newest() {
                    // Rules that change a setup and estimate it again remember that.
                    open.findings(&snapshot.known_context(&open, Some(&plan)));
                    snapshot.memo.ready(&plan, open.linter.base());
                }
                drop(end);
            });
        }
        (left, done)
    }
}

/// Plans that are being costed.
struct Left {
    plans: usize,
    /// Diagnostics were sent without them.
    is_late: bool,
}

impl Left {
    /// Whether all are costed; if not, the diagnostics are to be sent again.
    fn stop_waiting(&mut self) -> bool {
        self.is_late = self.plans > 0;
        !self.is_late
    }
}

/// The end of costing a plan, however it ends.
struct End {
    left: Arc<Mutex<Left>>,
    again: Arc<dyn Fn() + Send + Sync>,
    _ends: crossbeam_channel::Sender<()>,
}

impl Drop for End {
    fn drop(&mut self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.plans -= 1;
        if left.plans == 0 && left.is_late {
            (self.again)();
        }
    }
}
