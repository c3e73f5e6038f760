//! memspec-train

pub mod checkpoint;
pub mod data;
pub mod peft;
pub mod quantize;
pub mod template;
pub mod tokenizer;

#[cfg(test)]
mod testing;
