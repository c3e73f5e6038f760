//! memspec-train
pub mod checkpoint;
pub mod kernels;
pub mod monitor;
pub mod network;
pub mod quantize;
pub mod step;
