//! memspec-lint
