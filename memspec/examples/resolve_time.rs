//! How long it takes to choose among 10,000 combinations: `cargo run --release -p memspec --example resolve_time`.

use std::path::Path;
use std::time::Instant;

use memspec::model::Environment;
use memspec::plan::read_text;
use memspec::solve::setups;

/// Ten values that only make it larger, the largest first.
const GROWING: &str = "adapter lora { rank = fit [512, 256, 192, 128, 96, 64, 48, 32, 16, 8] }
  data { context = fit [16384, 12288, 8192, 6144, 4096, 3072, 2048, 1536, 1024, 512] }
  train {
    micro_batch = fit [64, 48, 32, 24, 16, 12, 8, 4, 2, 1]
    accumulate  = fit [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    checkpointing = block
  }";

/// Some of them words, of which each has to be looked at.
const WORDS: &str = "adapter lora {
    rank    = fit [64, 48, 32, 16, 8]
    targets = fit [all_linear, mlp, attention, query_value]
    dropout = fit [5%, 0%]
  }
  data { context = fit [8192, 6144, 4096, 2048, 1024] }
  train {
    micro_batch   = fit [16, 8, 4, 2, 1]
    checkpointing = fit [none, block]
    optimizer     = fit [adamw, adamw_8bit]
    loss          = fit [auto, chunked]
  }";

fn main() {
    for (what, settings) in [("values that grow", GROWING), ("words among them", WORDS)] {
        for engine in ["trl", "unsloth", "memspec"] {
            for budget in ["<= 79GiB", "<= 24GiB", "<= 16GiB", "<= 12GiB", "<= 9GiB", "<= 6GiB", "<= 2GiB"] {
                let text = format!(
                    "plan \"p\" {{\n  model = \"meta-llama/Meta-Llama-3-8B\"\n  device = \"a100-80\"\n  engine = {engine}\n  \
                     quantize nf4 {{ }}\n  {settings}\n  budget {{ device_memory {budget} }}\n}}\n"
                );
                let document = read_text("p.mem", text);
                assert_eq!(document.problems, []);
                let start = Instant::now();
                match setups(&document.plans[0].plan, Path::new("."), &Environment::default()) {
                    Ok(resolved) => {
                        let values: Vec<_> = resolved[0].chosen.iter().map(|(_, value)| value.as_str()).collect();
                        let rejected = resolved[0].rejected.len();
                        println!(
                            "{what}, {engine} {budget}: {:?}, {rejected} rejected, {}",
                            start.elapsed(),
                            values.join(" ")
                        );
                    }
                    Err(problems) => eprintln!("{what}, {engine}: {problems:?}"),
                }
            }
        }
    }
}
