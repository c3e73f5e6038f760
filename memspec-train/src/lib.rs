//! memspec-train
pub mod kernels;
pub mod network;
pub mod quantize;
