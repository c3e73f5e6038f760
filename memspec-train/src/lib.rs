//! memspec-train
pub mod checkpoint;
pub mod kernels;
pub mod monitor;
pub mod network;
pub mod quantize;
mod random;
pub mod step;
