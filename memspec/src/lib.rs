//! memspec
