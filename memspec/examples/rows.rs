//! scratch
use memspec::cost::{Pool, PhaseName, replay_cached};
use memspec::plan::*;
use serde_json::Value;
use std::time::Instant;
fn main() {
    let models: Value = serde_json::from_str(&std::fs::read_to_string("/tmp/models.json").unwrap()).unwrap();
    let path = std::env::args().nth(1).unwrap();
    let only: Option<usize> = std::env::args().nth(2).and_then(|a| a.parse().ok());
    let text = r#"{"name":"x","model":"meta-llama/Meta-Llama-3-8B","device":"h200","engine":"trl","adapter":{"kind":"lora"}}"#;
    let mut plan: Plan = serde_json::from_str(text).unwrap();
    plan.name = "x".into();
    let base = memspec::setup::resolve(&plan, std::path::Path::new("."), &memspec::model::Environment::default());
    let base = match base { Ok(b) => b, Err(e) => panic!("{e:?}") };
    let mut sums = std::collections::BTreeMap::<String, Vec<f64>>::new();
    for (i, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
        if only.is_some_and(|o| o != i) { continue }
        let row: Value = serde_json::from_str(line).unwrap();
        let j = &row["job"];
        let s = |k: &str, d: &str| j[k].as_str().unwrap_or(d).to_owned();
        let n = |k: &str, d: u64| j[k].as_u64().unwrap_or(d);
        let mut setup = base.clone();
        let name = s("model", "");
        let mut cfg = models[&name].clone();
        if cfg["torch_dtype"].is_null() { cfg["torch_dtype"] = "bfloat16".into(); }
        setup.model = match memspec::model::config::from_json(&cfg.to_string()) { Ok(m) => m, Err(e) => { println!("{i} {name}: {e}"); continue } };
        setup.engine = if s("stack", "trl") == "trl" { EngineName::Trl } else { EngineName::Unsloth };
        if n("world", 1) > 1 { continue }
        setup.train.micro_batch = n("batch", 1) as u32; setup.data.context = n("seq", 1024);
        setup.train.accumulate = n("accum", 1) as u32;
        setup.train.recomputed_blocks = if j["ckpt"] == Value::Bool(false) { 0 } else { setup.model.layers };
        setup.train.activation_offload = j["ckpt"] == "unsloth";
        setup.train.liger = j["liger"] == Value::Bool(true);
        setup.train.attention = if s("attn", "sdpa") == "eager" { Attention::Eager } else { Attention::Sdpa };
        setup.train.precision = match s("precision", "bf16").as_str() { "bf16" => Precision::Bf16, "fp16" => Precision::Fp16, "fp32" => Precision::F32, _ => Precision::Bf16Pure };
        setup.train.optimizer = match s("optim", "adamw_torch_fused").as_str() { "adamw_torch_fused" => OptimizerKind::Adamw, "adamw_torch" => OptimizerKind::AdamwForeach, "adamw_8bit" => OptimizerKind::Adamw8bit, "paged_adamw_8bit" => OptimizerKind::PagedAdamw8bit, "adafactor" => OptimizerKind::Adafactor, _ => OptimizerKind::Sgd };
        let q = s("quant", "none");
        setup.quantize = (q != "none").then(|| memspec::setup::Quantize { kind: if q == "nf4" { QuantizeKind::Nf4 } else { QuantizeKind::Int8 }, double: j["dq"] != Value::Bool(false), block: 64, skip: vec!["lm_head".into()], compute: Float::Bf16, storage: Storage::Uint8 });
        if s("method", "lora") == "full" { setup.adapter = None } else {
            let a = setup.adapter.as_mut().unwrap();
            a.rank = n("rank", 16) as u32;
            let all: Vec<String> = setup.model.block_linears().iter().map(|l| l.leaf().to_owned()).collect();
            let t = s("targets", "all");
            a.vision = t == "all-linear";
            a.targets = match t.as_str() { "qv" => vec!["q_proj".into(), "v_proj".into(), "qkv_proj".into()], "attn" => ["q_proj", "k_proj", "v_proj", "o_proj"].map(String::from).to_vec(), _ => all };
        }
        if let Some(px) = j["image_px"].as_str() { let (w, h) = px.split_once('x').unwrap(); setup.data.image_size = Some(ImageSize { width: w.parse().unwrap(), height: h.parse().unwrap() }); setup.data.images = n("images", 0) as u32; }
        let t0 = Instant::now();
        let trace = match setup.engine { EngineName::Trl => memspec::cost::engine::trl::trace(&setup), _ => memspec::cost::engine::unsloth::trace(&setup) };
        let trace = match trace { Ok(t) => t, Err(e) => { println!("{i} {name}: {e}"); continue } };
        let t1 = t0.elapsed();
        let r = replay_cached(&trace, Pool::UNLIMITED);
        let t2 = t0.elapsed();
        let full = (if setup.engine == EngineName::Trl { memspec::cost::engine::trl::trace_in_full(&setup) } else { memspec::cost::engine::unsloth::trace_in_full(&setup) }).unwrap();
        let t3 = t0.elapsed();
        let same = full.events().iter().filter(|e| !matches!(e, memspec::cost::Event::Block(_))).eq(trace.events().iter().filter(|e| !matches!(e, memspec::cost::Event::Block(_)))) ;
        let phase = |p: PhaseName| r.phases.iter().find(|x| x.name == p).copied();
        let mut out = format!("{i} {name} {} events {:?} {:?} full {:?} same {same}", trace.events().len(), t1, t2 - t1, t3 - t2);
        let f = |out: &mut String, sums: &mut std::collections::BTreeMap<String, Vec<f64>>, key: &str, got: u64| {
            if let Some(m) = row[key].as_u64() { let e = 100.0 * (got as f64 / m as f64 - 1.0); sums.entry(key.to_owned()).or_default().push(e); out.push_str(&format!(" | {key} {e:+.3}")); if only.is_some() { out.push_str(&format!(" {got} {m}\n")); } }
        };
        for (k, p, after) in [("load_alloc", PhaseName::Load, true), ("load_peak", PhaseName::Load, false), ("ready_alloc", PhaseName::Init, true), ("fwd_peak", PhaseName::Forward, false), ("after_fwd", PhaseName::Forward, true), ("bwd_peak", PhaseName::Backward, false), ("after_bwd", PhaseName::Backward, true), ("opt_peak", PhaseName::Optimizer, false), ("after_opt", PhaseName::Optimizer, true)] {
            if let Some(x) = phase(p) { f(&mut out, &mut sums, k, if after { x.after_bytes } else { x.allocated_bytes }); }
        }
        f(&mut out, &mut sums, "peak", r.peak);
        f(&mut out, &mut sums, "reserved_peak", r.reserved);
        println!("{out}");
        if only.is_some() { for (p, b) in &r.at_peak { println!("  {:>14} {}", b, p.what); } }
    }
    for (k, v) in sums { println!("{k:14} n {} mean {:.3} worst {:.3}", v.len(), v.iter().map(|x| x.abs()).sum::<f64>() / v.len() as f64, v.iter().map(|x| x.abs()).fold(0.0, f64::max)); }
}
