//! How long `fit` takes with 10,000 candidates of an 8B model: `cargo bench -p memspec --bench fit`.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use memspec::model::Environment;
use memspec::plan::{Plan, read_text};
use memspec::solve::setups;

/// 10 ranks, contexts, batches and batches of evaluation; `accumulate` as it says.
fn plan(accumulate: &str, limit: &str) -> Plan {
    let text = format!(
        r#"
plan "fit" {{
  model  = "meta-llama/Meta-Llama-3-8B"
  device = rtx4090
  engine = trl
  quantize nf4 {{ }}
  adapter lora {{ rank = fit [512, 256, 128, 96, 64, 48, 32, 16, 8, 4] }}
  data {{ context = fit [65536tok, 49152tok, 32768tok, 24576tok, 16384tok, 8192tok, 4096tok, 2048tok, 1024tok, 512tok]; eval_path = "eval.jsonl" }}
  train {{ micro_batch = fit [64, 48, 32, 24, 16, 12, 8, 4, 2, 1]; accumulate = {accumulate}; checkpointing = block }}
  eval {{ micro_batch = fit [64, 48, 32, 24, 16, 12, 8, 4, 2, 1] }}
  budget {{ device_memory <= {limit} }}
}}
"#
    );
    let document = read_text("fit.mem", text);
    assert_eq!(document.problems, []);
    document.plans.into_iter().next().expect("one plan").plan
}

fn fit(criterion: &mut Criterion) {
    let environment = Environment::default();
    for (what, accumulate) in [("given", "4"), ("computed", "192 / micro_batch")] {
        let mut group = criterion.benchmark_group(format!("accumulate {what}"));
        group.sample_size(10);
        for limit in ["22GiB", "7GiB", "4GiB"] {
            let plan = plan(accumulate, limit);
            let found = setups(&plan, Path::new("."), &environment).expect("a plan that can be resolved");
            println!("{limit}: {:?} after {}", found[0].chosen, found[0].rejected.len());
            group.bench_function(limit, |bencher| {
                bencher.iter(|| black_box(setups(black_box(&plan), Path::new("."), &environment)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, fit);
criterion_main!(benches);
