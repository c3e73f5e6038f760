//! How long an estimate takes: `cargo run --release -p memspec --example estimate_time`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use memspec::cost::{estimate, peak_allocated};
use memspec::exchange::job::Job;
use serde_json::json;

fn main() {
    for model in ["llama3-8b", "llama3-70b"] {
        let job = json!({"model": model, "quant": "nf4", "batch": 2, "seq": 2048});
        let setup = match Job::read(&job).map(|job| job.setup("H200")) {
            Ok(Ok(setup)) => setup,
            other => {
                eprintln!("{model}: {other:?}");
                continue;
            }
        };
        let quick = median(|| drop(black_box(peak_allocated(&setup))));
        let whole = median(|| drop(black_box(estimate(&setup))));
        println!("{model}: allocated alone {quick:?}, with the allocator's replay {whole:?}");
    }
}

/// The median of 201 runs.
fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..201)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}
