use memspec::{setup::*, plan::{QuantizeKind, AdapterKind, DataFormat, LossOn, Padding, Precision, OptimizerKind, Schedule, EngineName}, cost, quantity::Bytes};
use memspec_train::{network::load::*, step::*, monitor::*, kernels::AdamW};
use memspec::cost::PhaseName;
#[global_allocator]
static A: Counting = Counting;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let q = args.get(1).map(|s| s.as_str()).unwrap_or("none");
    let ckpt = args.get(2).map(|s| s.as_str()).unwrap_or("block") == "block";
    let full = args.get(3).is_some_and(|s| s=="full");
    let model = memspec::model::catalog::get("smollm2-135m").unwrap().clone();
    let setup = Setup { name: "x".into(), model_name: "x".into(), weights: None, device: memspec::device::cpu().unwrap(), engine: EngineName::Memspec, output: None, seed: 1,
        quantize: match q { "nf4" => Some(Quantize{kind: QuantizeKind::Nf4, double: true, block: 64, skip: vec![]}), "int8" => Some(Quantize{kind: QuantizeKind::Int8, double: true, block: 64, skip: vec![]}), _ => None },
        adapter: (!full).then(|| Adapter { kind: AdapterKind::Lora, rank: 16, alpha: 32.0, rank_stabilized: false, dropout: 0.0, targets: ["q_proj","k_proj","v_proj","o_proj","gate_proj","up_proj","down_proj"].map(String::from).to_vec(), train_whole: vec![] }),
        data: Data { path: None, format: DataFormat::Text, template: None, loss_on: LossOn::All, context: 256, packing: false, padding: Padding::Max, drawn: None },
        train: Train { precision: Precision::F32, micro_batch: 1, accumulate: 1, recomputed_blocks: if ckpt {model.layers} else {0}, optimizer: OptimizerKind::Adamw, learning_rate: 1e-3, schedule: Schedule::Constant, warmup: Warmup::Steps(0), weight_decay: 0.0, betas: (0.9,0.999), clip: 1.0, length: Length::Steps(3) },
        save: Save { every: 100, keep: 1 }, budget: Budget { device_memory: Bytes(1<<40), written: false }, eval: None, model };
    let trace = cost::engine::memspec::trace(&setup).unwrap();
    let t0 = std::time::Instant::now();
    for _ in 0..100 { let t = cost::engine::memspec::trace(&setup).unwrap(); std::hint::black_box(cost::replay(&t)); }
    println!("trace+replay {:?}", t0.elapsed()/100);
    let replay = cost::replay(&trace);
    println!("live before load {} {}", TENSORS.live(), TENSORS.peak());
    TENSORS.reset_peak();
    let t0 = std::time::Instant::now();
    let mut m = load(&setup, &Weights::Random{seed:1}, &mut |_|{}).unwrap();
    println!("live after load {}", TENSORS.live());
    println!("load {:?}", t0.elapsed());
    let mut peaks = std::collections::BTreeMap::new();
    peaks.insert(PhaseName::Load, TENSORS.peak());
    let batch = Batch { ids: (0..256).map(|i| (i*37)%49000).collect(), targets: (0..256).map(|i| (i*37+37)%49000).collect(), context: 256 };
    let cfg = StepConfig { recomputed_blocks: setup.recomputed_blocks() as usize, loss_rows: cost::engine::memspec::loss_rows(setup.model.vocab) as usize };
    let mut current = PhaseName::Load;
    for s in 0..5 {
        let t0 = std::time::Instant::now();
        let mut times = vec![];
        let mut last = std::time::Instant::now();
        TENSORS.reset_peak();
        let loss = micro_batch(&mut m, &batch, 256, &cfg, &mut |p| { let e = peaks.entry(current).or_insert(0); *e = (*e).max(TENSORS.peak()); TENSORS.reset_peak(); current = p; times.push(last.elapsed()); last = std::time::Instant::now(); });
        times.push(last.elapsed());
        let e = peaks.entry(current).or_insert(0); *e = (*e).max(TENSORS.peak()); TENSORS.reset_peak(); current = PhaseName::Optimizer;
        let last = std::time::Instant::now();
        let n = optimizer_step(&mut m, AdamW{learning_rate:1e-3, betas:(0.9,0.999), epsilon:1e-8, weight_decay:0.0, step: s+1, gradient_scale:1.0}, 1.0);
        times.push(last.elapsed());
        let d = t0.elapsed();
        println!("loss {loss} norm {n} {:.1} tok/s {times:?} ws {} host {} rss {:?}", 256.0/d.as_secs_f64(), WORKSPACE.peak(), HOST.peak(), resident());
    }
    let e = peaks.entry(current).or_insert(0); *e = (*e).max(TENSORS.peak());
    for (p, b) in &replay.phases { let m = peaks.get(p).copied().unwrap_or(0); println!("{p:10} promised {b} measured {m} diff {:.4}%", 100.0*(*b as f64/m.max(1) as f64 - 1.0)); }
    for (p, b) in &replay.at_peak { println!("   {:35} {:25} {:.1} MiB", p.what, p.setting, *b as f64/1048576.0); }
}
