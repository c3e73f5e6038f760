//! # missing-name (SPEC037)
//!
//! ## What it does
//! Finds plans in YAML or JSON without a `name`.
//!
//! ## Why is this bad?
//! A plan is asked for, reported on and stored by its name.

pub(crate) use crate::rules::mistakes as check;
