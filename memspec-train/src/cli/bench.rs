//! `memspec-train bench`, and the hidden `check-kernels`.

use std::process::ExitCode;
use std::time::Instant;

use memspec::quantity::Bytes;

use super::BenchArguments;
use super::failure::Failure;
use super::open::open;
use super::print::out;
use crate::bench::{Bench, Measured, Operation, measure};
use crate::kernels::check;
use crate::kernels::compile::{Source, cubin};
use crate::kernels::place::Place;

pub(super) fn bench(arguments: &BenchArguments) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let opened = open(&arguments.plan, arguments.name.as_deref())?;
    for resolved in &opened.resolved {
        let mut setup = resolved.setup.clone();
        setup.device.cores = Some(rayon::current_num_threads() as u32);
        let verified = opened.verify(resolved, setup)?;
        let &BenchArguments { steps, random_weights, operations, .. } = arguments;
        let measured = measure(&verified, Bench { steps, random_weights, operations }, began)?;
        match arguments.json {
            true => out(&format!("{}\n", serde_json::to_string(&measured).unwrap_or_default()))?,
            false => out(&text(&measured))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(measured: &Measured) -> String {
    let Measured {
        plan, device, tokens_per_s, first_step_s, reserved_bytes, process_bytes, phases, operations, ..
    } = measured;
    let process = process_bytes.map_or("unknown".to_owned(), |bytes| Bytes(bytes).to_string());
    let mut text = format!(
        "{plan} on {device}: {tokens_per_s:.0} tokens/s, first step after {first_step_s:.1} s, {} reserved, process {process}\n\n",
        Bytes(*reserved_bytes)
    );
    text += &format!("{:<12}{:>12}{:>12}\n", "", "promised", "measured");
    for phase in phases {
        let (promised, measured) = (Bytes(phase.promised_bytes).to_string(), Bytes(phase.measured_bytes).to_string());
        text += &format!("{:<12}{promised:>12}{measured:>12}\n", phase.name);
    }
    if !operations.is_empty() {
        text += &format!("\n{:<40}{:>10}{:>12}\n", "operation", "launches", "ms");
    }
    for Operation { name, launches, seconds } in operations {
        text += &format!("{name:<40}{launches:>10}{:>12.3}\n", seconds * 1e3);
    }
    text
}

/// Where operations can be compared: the card in each precision, or else the CPU with itself; and whether products round to TF32 there.
fn places() -> Vec<(&'static str, Place, bool)> {
    #[cfg(feature = "cuda")]
    if memspec_lint::card::this_machine().is_some() {
        use crate::kernels::place::Format::{Bf16, F16, F32};
        let card = |active, trained| Place::Cuda { card: 0, active, trained };
        return vec![
            ("cuda:0 f32", card(F32, F32), false),
            ("cuda:0 tf32", card(F32, F32), true),
            ("cuda:0 bf16", card(Bf16, F32), false),
            ("cuda:0 fp16", card(F16, F32), false),
            ("cuda:0 pure", card(Bf16, Bf16), false),
        ];
    }
    vec![("cpu", Place::Cpu, false)]
}

/// Compiles every kernel for cards of these compute capabilities; without any, compares operations where they can be.
pub(super) fn check_kernels(capabilities: &[i32]) -> Result<ExitCode, Failure> {
    if !capabilities.is_empty() {
        return compile(capabilities);
    }
    let mut code = ExitCode::SUCCESS;
    for (name, place, tf32) in places() {
        #[cfg(feature = "cuda")]
        crate::kernels::cuda::gemm::round_to_tf32(tf32);
        for compared in check::all(place, tf32) {
            let line = match compared {
                Ok(compared) => {
                    let verdict = if compared.holds() { "ok " } else { "BAD" };
                    format!(
                        "{verdict} {name:<12}{:<44}{:.1e} of {:.1e}\n",
                        compared.name, compared.difference, compared.tolerance
                    )
                }
                Err((operation, error)) => format!("BAD {name:<12}{operation:<44}{error}\n"),
            };
            if line.starts_with("BAD") {
                code = ExitCode::from(2);
            }
            out(&line)?;
        }
    }
    Ok(code)
}

fn compile(capabilities: &[i32]) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    let all = capabilities.iter().flat_map(|&one| Source::all().into_iter().map(move |source| (one, source)));
    for (capability, source) in all.filter(|(capability, source)| source.is_for(*capability)) {
        match cubin(source, capability) {
            Ok(cubin) => out(&format!("ok  sm_{capability} {source:?}: {}\n", Bytes(cubin.len() as u64)))?,
            Err(error) => {
                code = ExitCode::from(2);
                out(&format!("BAD sm_{capability} {source:?}: {error}\n"))?;
            }
        }
    }
    Ok(code)
}
