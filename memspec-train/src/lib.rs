//! memspec-train: runs fine-tuning plans inside the memory that was promised.

pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod data;
pub mod devices;
pub mod eval;
pub mod export;
pub mod generate;
pub mod kernels;
pub mod libraries;
pub mod merge;
pub mod metrics;
pub mod monitor;
pub mod network;
pub mod output;
pub mod peft;
pub mod prepare;
pub mod quantize;
mod random;
pub mod report;
pub mod run;
pub mod scaler;
pub mod schedule;
pub mod step;
pub mod template;
pub mod tokenizer;

#[cfg(test)]
mod testing;
