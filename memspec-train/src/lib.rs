//! memspec-train
