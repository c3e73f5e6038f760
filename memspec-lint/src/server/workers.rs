//! Threads that do what takes longer than a keystroke may.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crossbeam_channel::Sender;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that take jobs in the order in which they come. They end when this is dropped and nothing is left to do.
#[derive(Clone)]
pub(super) struct Workers {
    jobs: Sender<Job>,
}

impl Workers {
    /// So many threads.
    pub(super) fn new(threads: usize, name: &str) -> Self {
        let (jobs, queue) = crossbeam_channel::unbounded::<Job>();
        for _ in 0..threads {
            let queue = queue.clone();
            // A job that panics is lost, and its thread goes on.
            let work = move || queue.iter().for_each(|job| drop(catch_unwind(AssertUnwindSafe(job))));
            // Without its threads there is no server; the system says why.
            if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(work) {
                eprintln!("cannot start a thread: {error}");
            }
        }
        Self { jobs }
    }

    /// Has a job done.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        // Nobody is there to do it only where no thread could be started.
        let _ = self.jobs.send(Box::new(job));
    }
}
