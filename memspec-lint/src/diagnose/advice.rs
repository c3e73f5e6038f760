//! What to do, the best first.

use super::cause::Cause;
use super::log::{Death, Found, Library};
use super::plan::PlanSays;

const EXPANDABLE: &str = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True: segments that grow leave fewer pieces (`expandable_segments = true` in a plan's `train`)";
const PLAN: &str =
    "with the run's plan, `memspec-lint diagnose LOG PLAN` names the allocation, and changes that are proven to fit";

/// What helps against a death.
pub(super) fn advice(found: &Found, cause: Option<&Cause>, plan: Option<&PlanSays>) -> Vec<String> {
    let mut advice: Vec<String> = Vec::new();
    let mut say = |words: &str| advice.push(words.to_owned());
    match &found.death {
        Death::Refused(_) => match cause {
            Some(Cause::Others { .. }) => {
                say(
                    "end the other processes on the card (`nvidia-smi` lists them), or take another card with CUDA_VISIBLE_DEVICES",
                );
            }
            Some(Cause::Withheld { .. }) => {
                say(
                    "look for a limit (torch.cuda.set_per_process_memory_fraction, MIG, WSL), and for others on the card at that time (`nvidia-smi`)",
                );
            }
            Some(Cause::Fragmentation { .. }) => say(EXPANDABLE),
            _ => {}
        },
        Death::Library(library) => {
            say(match library {
                Library::Cublas => {
                    "leave cuBLAS room: its handle and workspace lie outside of PyTorch's memory, which holds all of the card. Take a smaller micro batch, or torch.cuda.set_per_process_memory_fraction(0.95) before training"
                }
                Library::Nccl => {
                    "leave NCCL room: its channels take 0.8 to 1.4 GiB of each card outside of PyTorch's memory. Take a smaller micro batch; NCCL_NVLS_ENABLE=0 and fewer NCCL_MAX_NCHANNELS take less"
                }
                Library::Cuda => {
                    "the driver itself had nothing left, on the card or of the host's locked memory: look at `nvidia-smi` before the start, and at the host's memory if optimizer states or activations are offloaded to it"
                }
            });
        }
        Death::Killed => {
            say(
                "the host's memory ran out, not the card's: `dmesg` shows `Out of memory: Killed process`, and `grep oom /proc/vmstat` counts such ends",
            );
            say(
                "load the weights in 16 bits and once (`low_cpu_mem_usage`, safetensors), take fewer workers of the data loader, and do not offload to the host what it cannot hold",
            );
        }
        Death::Host { .. } => {
            say(
                "the host's memory ran out, not the card's: offload less to it, take fewer workers of the data loader, or shorter samples",
            );
        }
    }
    // What takes less of the card does not help the host.
    let on_card = matches!(found.death, Death::Refused(_) | Death::Library(_));
    match plan.filter(|_| on_card) {
        Some(plan) => {
            let said = matches!(cause, Some(Cause::Fragmentation { .. }));
            let other = |fix: &&String| !(said && fix.starts_with("expandable_segments -> true:"));
            advice.extend(plan.fixes.iter().filter(other).cloned());
        }
        None if matches!(found.death, Death::Refused(_)) => {
            if matches!(cause, Some(Cause::Size { .. })) {
                advice.push("take a smaller micro batch with more accumulation, recompute blocks (gradient checkpointing), or cut samples shorter".to_owned());
            }
            advice.push(PLAN.to_owned());
        }
        None => {}
    }
    advice
}
