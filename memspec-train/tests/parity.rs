//! The executor against transformers and PEFT: logits, losses, gradients and optimizer steps on tiny random models
//! (`fixtures/parity/README.md` says what each tensor is and how it was made).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use memspec::model::Environment;
use memspec::plan::{self, AdapterKind, Checkpointing, Choice, Plan, QuantizeKind};
use memspec::quantity::Tokens;
use memspec::setup::{Setup, resolve};
use memspec_train::checkpoint::Checkpoint;
use memspec_train::generate::logits;
use memspec_train::kernels::place::{Place, fetch};
use memspec_train::kernels::{AdamW, storage};
use memspec_train::network::cache::Cache;
use memspec_train::network::load::{Weights, load};
use memspec_train::network::{Model, ParameterMut};
use memspec_train::output::read_adapter;
use memspec_train::step::{Batch, Packed, StepConfig, hidden, micro_batch, optimizer_step};

/// Relative to the largest magnitude of the expected tensor.
const TOLERANCE: f32 = 1e-4;
/// Of weights after a few steps: Adam divides a gradient by its own size, so where it is nearly zero, rounding decides its sign.
const AFTER_STEPS: f32 = 2e-2;
const FOLDERS: [&str; 10] = [
    "llama-untied",
    "llama-tied-llama3",
    "llama-multihead-linear",
    "mistral",
    "mistral-window",
    "qwen2",
    "qwen2-window",
    "qwen3",
    "phi3",
    "phi3-long",
];

struct Fixture {
    folder: PathBuf,
    /// How the base is packed.
    quantize: Option<plan::Quantize>,
    expected: HashMap<String, Vec<f32>>,
    ids: HashMap<String, Vec<i64>>,
}

impl Fixture {
    fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity").join(name);
        let mut fixture = Self { folder, quantize: None, expected: HashMap::new(), ids: HashMap::new() };
        fixture.read("expected.safetensors", "");
        fixture
    }

    /// Adds what a file holds, its names behind `prefix`.
    fn read(&mut self, file: &str, prefix: &str) {
        let bytes = std::fs::read(self.folder.join(file)).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (name, tensor) in file.tensors() {
            let name = format!("{prefix}{name}");
            match tensor.dtype() {
                safetensors::Dtype::F32 => {
                    let values = tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                    self.expected.insert(name, values);
                }
                _ => {
                    let values = tensor.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
                    self.ids.insert(name, values);
                }
            }
        }
    }

    /// The model, with the adapter of `adapter` where that is given; without one, all weights are trained.
    fn model(&self, adapter: Option<&str>, checkpointing: Checkpointing) -> (Setup, Model) {
        let (setup, mut model) = self.fresh(adapter, checkpointing);
        if let Some(adapter) = adapter {
            // the scale is the plan's, so the same files serve for both
            read_adapter(&self.folder.join(adapter.replace("rsdora", "dora")), &mut model).unwrap();
        }
        (setup, model)
    }

    /// The same with an adapter as it begins.
    fn fresh(&self, adapter: Option<&str>, checkpointing: Checkpointing) -> (Setup, Model) {
        let plan = Plan {
            name: "parity".to_owned(),
            model: Some(self.folder.to_str().unwrap().into()),
            device: Some("cpu".into()),
            quantize: self.quantize.clone(),
            adapter: adapter.map(|folder| plan::Adapter {
                kind: if folder.ends_with("dora") { AdapterKind::Dora } else { AdapterKind::Lora },
                rank: Some(4.into()),
                alpha: Some(8.0.into()),
                rank_stabilized: Some(folder.contains("-rs").into()),
                ..Default::default()
            }),
            data: Some(plan::Data { context: Some(Choice::One(Tokens(12))), ..Default::default() }),
            train: Some(plan::Train { checkpointing: Some(Choice::One(checkpointing)), ..Default::default() }),
            ..Default::default()
        };
        let setup = resolve(&plan, Path::new("."), &Environment::default()).unwrap();
        let weights = Weights::Checkpoint(Box::new(Checkpoint::open(&self.folder).unwrap()));
        let model = load(&setup, &weights, Place::Cpu, &mut |_| {}).unwrap();
        (setup, model)
    }

    /// Rows `[first, first + 2)` of the ids and labels under `prefix`.
    fn batch(&self, prefix: &str, first: usize) -> Batch {
        let rows = 2 * 12;
        let ids = &self.ids[&format!("{prefix}input_ids")][first * 12..first * 12 + rows];
        let labels = &self.ids[&format!("{prefix}labels")][first * 12..first * 12 + rows];
        let targets =
            (0..rows).map(|at| if at % 12 == 11 || labels[at + 1] < 0 { -1 } else { labels[at + 1] as i32 }).collect();
        Batch { ids: ids.iter().map(|&id| id as i32).collect(), targets, context: 12, packed: None }
    }

    /// Three optimizer steps over the batches under `prefix`: their losses, and the gradients' norms before clipping.
    fn train(
        &self,
        setup: &Setup,
        model: &mut Model,
        prefix: &str,
        micro_batches: usize,
        weight_decay: f32,
    ) -> (Vec<f32>, Vec<f32>) {
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        for step in 0..3 {
            let batches: Vec<Batch> = (0..micro_batches)
                .map(|index| self.batch(&format!("{prefix}."), (step * micro_batches + index) * 2))
                .collect();
            let scored = batches.iter().map(Batch::scored).sum();
            let loss = |batch| fetch(&micro_batch(model, batch, scored, &config(setup), &mut |_| {})).unwrap()[0];
            losses.push(batches.iter().map(loss).sum());
            let how = AdamW {
                learning_rate: 1e-2,
                betas: (0.9, 0.999),
                epsilon: 1e-8,
                weight_decay,
                step: step as i32 + 1,
                gradient_scale: 1.0,
            };
            norms.push(optimizer_step(model, how, 1.0).unwrap());
        }
        (losses, norms)
    }

    #[track_caller]
    fn check(&self, name: &str, got: &[f32], tolerance: f32) {
        let want = &self.expected[name];
        assert_eq!(got.len(), want.len(), "{}: {name}", self.folder.display());
        let largest = want.iter().fold(1e-12_f32, |largest, value| largest.max(value.abs()));
        let apart = got.iter().zip(want).fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs()));
        let error = apart / largest;
        assert!(error <= tolerance, "{}: {name} is off by {error:.2e}", self.folder.display());
    }
}

fn config(setup: &Setup) -> StepConfig {
    // Five rows, so that the loss is computed in several chunks.
    StepConfig { loss_rows: 5, ..StepConfig::of(setup) }
}

fn gradients(model: &mut Model) -> Vec<(String, Vec<f32>)> {
    let read = |(name, parameter): (String, ParameterMut<'_>)| {
        let grad = match parameter {
            ParameterMut::Vector(p) => storage::read(p.training.as_ref().unwrap().grad.get(), <[f32]>::to_vec),
            ParameterMut::Matrix(p) => storage::read(p.training.as_ref().unwrap().grad.get(), <[f32]>::to_vec),
        };
        (name, grad)
    };
    model.trained_mut().into_iter().map(read).collect()
}

fn peft_name(name: &str) -> String {
    format!("base_model.model.{name}")
}

#[test]
fn logits_agree() {
    for folder in FOLDERS {
        let fixture = Fixture::open(folder);
        for (adapter, name) in [(None, "base"), (Some("adapter"), "lora"), (Some("adapter-rslora"), "rslora")] {
            let (_, model) = fixture.model(adapter, Checkpointing::None);
            let logits = logits(&model, &hidden(&model, &fixture.batch("", 0)));
            fixture.check(&format!("{name}.logits"), &storage::read(&logits, <[f32]>::to_vec), TOLERANCE);
        }
    }
}

#[test]
fn losses_and_adapter_gradients_agree_with_and_without_checkpointing() {
    for folder in FOLDERS {
        let fixture = Fixture::open(folder);
        for checkpointing in [Checkpointing::None, Checkpointing::Block, Checkpointing::Blocks(1)] {
            let (setup, mut model) = fixture.model(Some("adapter"), checkpointing);
            let batch = fixture.batch("", 0);
            let loss = micro_batch(&mut model, &batch, batch.scored(), &config(&setup), &mut |_| {});
            let loss = fetch(&loss).unwrap()[0];
            fixture.check("lora.loss", &[loss], TOLERANCE);
            for (name, grad) in gradients(&mut model) {
                fixture.check(&format!("lora.grad.{}", peft_name(&name)), &grad, TOLERANCE);
            }
        }
    }
}

/// Tied and untied heads, with and without biases and norms of heads, modules of their own and fused ones.
const FULL: [&str; 5] = ["llama-tied-llama3", "llama-multihead-linear", "qwen2", "qwen3", "phi3-long"];

#[test]
fn gradients_of_all_weights_agree() {
    for folder in FULL {
        let mut fixture = Fixture::open(folder);
        fixture.read("full.safetensors", "full.");
        for checkpointing in [Checkpointing::None, Checkpointing::Block] {
            let (setup, mut model) = fixture.model(None, checkpointing);
            let batch = fixture.batch("", 0);
            let loss = micro_batch(&mut model, &batch, batch.scored(), &config(&setup), &mut |_| {});
            let loss = fetch(&loss).unwrap()[0];
            fixture.check("base.loss", &[loss], TOLERANCE);
            let gradients = gradients(&mut model);
            assert_eq!(gradients.len(), fixture.expected.keys().filter(|name| name.starts_with("full.grad.")).count());
            for (name, grad) in gradients {
                fixture.check(&format!("full.grad.{name}"), &grad, TOLERANCE);
            }
        }
    }
}

#[test]
fn steps_of_all_weights_agree() {
    for folder in FULL {
        let mut fixture = Fixture::open(folder);
        fixture.read("full.safetensors", "full.");
        for (prefix, micro_batches) in [("steps", 1), ("accumulated", 2)] {
            let (setup, mut model) = fixture.model(None, Checkpointing::Block);
            let (losses, norms) = fixture.train(&setup, &mut model, prefix, micro_batches, 0.1);
            fixture.check(&format!("full.{prefix}.losses"), &losses, TOLERANCE);
            fixture.check(&format!("full.{prefix}.gradient_norms"), &norms, TOLERANCE);
            if prefix == "steps" {
                for (name, parameter) in model.trained_mut() {
                    let values = parameter.read(<[f32]>::to_vec);
                    fixture.check(&format!("full.steps.weight.{name}"), &values, AFTER_STEPS);
                }
            }
        }
    }
}

/// Llama with a tied head and with its own, biases, and fused linears.
const DORA: [&str; 4] = ["llama-tied-llama3", "llama-untied", "qwen2", "phi3"];

#[test]
fn dora_agrees() {
    for folder in DORA {
        let mut fixture = Fixture::open(folder);
        fixture.read("dora.safetensors", "dora.");
        for checkpointing in [Checkpointing::None, Checkpointing::Block, Checkpointing::Blocks(1)] {
            let (setup, mut model) = fixture.model(Some("adapter-dora"), checkpointing);
            let batch = fixture.batch("", 0);
            let logits = logits(&model, &hidden(&model, &batch));
            fixture.check("dora.logits", &storage::read(&logits, <[f32]>::to_vec), TOLERANCE);
            fixture.check("dora.merged.logits", &storage::read(&logits, <[f32]>::to_vec), TOLERANCE);
            let loss = micro_batch(&mut model, &batch, batch.scored(), &config(&setup), &mut |_| {});
            fixture.check("dora.loss", &[fetch(&loss).unwrap()[0]], TOLERANCE);
            let gradients = gradients(&mut model);
            assert_eq!(gradients.len(), fixture.expected.keys().filter(|name| name.starts_with("dora.grad.")).count());
            for (name, grad) in gradients {
                fixture.check(&format!("dora.grad.{}", peft_name(&name)), &grad, TOLERANCE);
            }
        }
    }
}

#[test]
fn steps_of_dora_agree() {
    for folder in DORA {
        let mut fixture = Fixture::open(folder);
        fixture.read("dora.safetensors", "dora.");
        for (prefix, micro_batches) in [("steps", 1), ("accumulated", 2)] {
            let (setup, mut model) = fixture.model(Some("adapter-dora"), Checkpointing::Block);
            let (losses, norms) = fixture.train(&setup, &mut model, prefix, micro_batches, 0.01);
            fixture.check(&format!("dora.{prefix}.losses"), &losses, TOLERANCE);
            fixture.check(&format!("dora.{prefix}.gradient_norms"), &norms, TOLERANCE);
            for (name, parameter) in model.trained_mut().into_iter().filter(|_| prefix == "steps") {
                let values = parameter.read(<[f32]>::to_vec);
                fixture.check(&format!("dora.steps.adapter.{}", peft_name(&name)), &values, AFTER_STEPS);
            }
        }
    }
}

/// transformers' Trainer leaves out biases and norms by their names, of which `lora_magnitude_vector` is none.
#[test]
fn magnitudes_decay_as_matrices_do() {
    let (_, mut model) = Fixture::open("qwen2").model(Some("adapter-dora"), Checkpointing::None);
    let values = |model: &mut Model| -> Vec<Vec<f32>> {
        model.trained_mut().iter().map(|(_, parameter)| parameter.read(<[f32]>::to_vec)).collect()
    };
    let before = values(&mut model);
    let how = AdamW {
        learning_rate: 0.1,
        betas: (0.9, 0.999),
        epsilon: 1e-8,
        weight_decay: 1.0,
        step: 1,
        gradient_scale: 1.0,
    };
    // nothing but decay, as there are no gradients
    optimizer_step(&mut model, how, 1.0).unwrap();
    for (before, after) in before.iter().flatten().zip(values(&mut model).iter().flatten()) {
        assert!((after - 0.9 * before).abs() <= 1e-6 * before.abs(), "{before} {after}");
    }
}

#[test]
fn dora_begins_as_peft_does() {
    for folder in DORA {
        let mut fixture = Fixture::open(folder);
        fixture.read("dora.safetensors", "dora.");
        let (_, mut model) = fixture.fresh(Some("adapter-dora"), Checkpointing::None);
        let logits = logits(&model, &hidden(&model, &fixture.batch("", 0)));
        fixture.check("base.logits", &storage::read(&logits, <[f32]>::to_vec), TOLERANCE);
        let first_block = |name: &str| name.contains(".layers.0.") && name.ends_with("lora_magnitude_vector");
        let mut magnitudes = model.trained_mut();
        magnitudes.retain(|(name, _)| first_block(name));
        assert!(magnitudes.len() >= 4, "{}", magnitudes.len());
        for (name, parameter) in magnitudes {
            let values = parameter.read(<[f32]>::to_vec);
            fixture.check(&format!("dora.initial.{}", peft_name(&name)), &values, TOLERANCE);
        }
        let (_, stabilized) = fixture.model(Some("adapter-rsdora"), Checkpointing::None);
        let logits = self::logits(&stabilized, &hidden(&stabilized, &fixture.batch("", 0)));
        fixture.check("dora.stabilized.logits", &storage::read(&logits, <[f32]>::to_vec), TOLERANCE);
    }
}

/// Of bitsandbytes' own files: `fixtures/packed/make.py`.
#[test]
fn bases_that_bitsandbytes_packed_agree() {
    for (folder, double) in [("double", true), ("plain", false)] {
        let mut fixture = Fixture::open(&format!("../packed/{folder}"));
        fixture.quantize =
            Some(plan::Quantize { kind: QuantizeKind::Nf4, double: Some(Choice::One(double)), ..Default::default() });
        for (adapter, name) in [(None, "base"), (Some("../../parity/llama-untied/adapter"), "lora")] {
            let (setup, mut model) = fixture.model(adapter, Checkpointing::Block);
            let batch = fixture.batch("", 0);
            let logits = logits(&model, &hidden(&model, &batch));
            fixture.check(&format!("{name}.logits"), &storage::read(&logits, <[f32]>::to_vec), TOLERANCE);
            let loss = micro_batch(&mut model, &batch, batch.scored(), &config(&setup), &mut |_| {});
            fixture.check(&format!("{name}.loss"), &[fetch(&loss).unwrap()[0]], TOLERANCE);
            for (name, grad) in gradients(&mut model).into_iter().filter(|_| adapter.is_some()) {
                fixture.check(&format!("lora.grad.{}", peft_name(&name)), &grad, TOLERANCE);
            }
        }
    }
}

/// Norms are those of the weights as they are unpacked: a packed base with a DoRA is the dense model that `merge` makes of both.
#[test]
fn dora_of_a_packed_base_is_that_of_its_unpacked_weights() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/packed/double");
    let adapter = base.join("../../parity/llama-untied/adapter-dora");
    let folder = tempfile::tempdir().unwrap();
    let merged = folder.path().join("merged");
    memspec_train::merge::merge(&base, &adapter, &merged, &mut |_| {}).unwrap();
    let packed = Fixture {
        quantize: Some(plan::Quantize { kind: QuantizeKind::Nf4, ..Default::default() }),
        ..Fixture::open("../packed/double")
    };
    let mut dense = Fixture { folder: merged, ..Fixture::open("../packed/double") };
    let logits_of = |fixture: &Fixture, adapter| {
        let (_, model) = fixture.model(adapter, Checkpointing::None);
        storage::read(&logits(&model, &hidden(&model, &fixture.batch("", 0))), <[f32]>::to_vec)
    };
    dense.expected.insert("merged".to_owned(), logits_of(&dense, None));
    dense.check("merged", &logits_of(&packed, Some("../../parity/llama-untied/adapter-dora")), TOLERANCE);
}

/// Samples of these tokens, side by side in rows of `context` tokens or each in a row; all that follows is scored but every third token.
fn samples(ids: &[i64], lengths: &[&[usize]], context: usize, packed: bool) -> Batch {
    let (mut tokens, mut targets, mut starts, mut from) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for &row in lengths {
        let first = tokens.len();
        for &length in row {
            let sample = &ids[from..from + length];
            starts.resize(starts.len() + length, (tokens.len() - first) as i32);
            tokens.extend(sample.iter().map(|&id| id as i32));
            let next = (1..length).map(|at| if (from + at) % 3 == 0 { -1 } else { sample[at] as i32 });
            targets.extend(next.chain([-1]));
            from += length;
        }
        starts.extend(((tokens.len() - first) as i32)..context as i32);
        tokens.resize(first + context, 0);
        targets.resize(first + context, -1);
    }
    let longest = lengths.iter().copied().flatten().copied().max().unwrap();
    Batch { ids: tokens, targets, context, packed: packed.then_some(Packed { starts, longest }) }
}

#[test]
fn packed_samples_train_as_samples_alone_do() {
    for folder in FOLDERS {
        let fixture = Fixture::open(folder);
        let ids = &fixture.ids["input_ids"];
        for adapter in [None, Some("adapter")] {
            let run = |batch: Batch| {
                let (setup, mut model) = fixture.model(adapter, Checkpointing::Blocks(1));
                let loss = micro_batch(&mut model, &batch, batch.scored(), &config(&setup), &mut |_| {});
                (fetch(&loss).unwrap()[0], gradients(&mut model))
            };
            let (loss, grads) = run(samples(ids, &[&[5, 7], &[2, 9, 1]], 14, true));
            let (alone, grads_alone) = run(samples(ids, &[&[5], &[7], &[2], &[9], &[1]], 9, false));
            assert!((loss - alone).abs() < 1e-6 * alone, "{folder}: {loss} {alone}");
            for ((name, packed), (_, alone)) in grads.iter().zip(&grads_alone) {
                let largest = alone.iter().fold(1e-12_f32, |largest, value| largest.max(value.abs()));
                let apart = packed.iter().zip(alone).fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs()));
                assert!(apart <= 1e-5 * largest, "{folder}: {name} is off by {:.2e}", apart / largest);
            }
        }
    }
}

#[test]
fn a_token_at_a_time_gives_the_logits_of_all_at_once() {
    for folder in FOLDERS {
        let fixture = Fixture::open(folder);
        let (_, model) = fixture.model(Some("adapter"), Checkpointing::None);
        let ids: Vec<u32> = fixture.ids["input_ids"][..12].iter().map(|&id| id as u32).collect();
        let want = &fixture.expected["lora.logits"];
        let largest = want.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let vocabulary = want.len() / 24;
        let mut cache = Cache::new(&model);
        // a prompt, a piece of several tokens, single ones, and what was forgotten once more
        for range in [0..4, 4..9, 9..10, 10..11, 11..12, 6..7, 7..12] {
            cache.truncate(&model, range.start);
            let known = cache.ids().len();
            let logits = logits(&model, &cache.extend(&model, &ids[known..range.end]).unwrap());
            // The figures are those of the whole sample, whose beginning alone LongRoPE rotates otherwise.
            if model.rotary.changes(range.end, ids.len()) {
                continue;
            }
            let want = &want[(range.end - 1) * vocabulary..range.end * vocabulary];
            let got = storage::read(&logits, <[f32]>::to_vec);
            let apart = got.iter().zip(want).fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs()));
            assert!(apart / largest <= TOLERANCE, "{folder} {range:?}: off by {:.2e}", apart / largest);
        }
        assert_eq!(cache.ids(), ids);
    }
}

#[test]
fn three_adamw_steps_agree() {
    for folder in FOLDERS {
        let fixture = Fixture::open(folder);
        for (prefix, micro_batches) in [("steps", 1), ("accumulated", 2)] {
            let (setup, mut model) = fixture.model(Some("adapter"), Checkpointing::Block);
            let (losses, norms) = fixture.train(&setup, &mut model, prefix, micro_batches, 0.01);
            fixture.check(&format!("{prefix}.losses"), &losses, TOLERANCE);
            fixture.check(&format!("{prefix}.gradient_norms"), &norms, TOLERANCE);
            for (name, parameter) in model.trained_mut() {
                let ParameterMut::Matrix(parameter) = parameter else { continue };
                let values = storage::read(parameter.value.get(), <[f32]>::to_vec);
                fixture.check(&format!("{prefix}.adapter.{}", peft_name(&name)), &values, AFTER_STEPS);
            }
        }
    }
}
