//! Stand-in, replaced at the merge.

/// Which modules an adapter is put on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Every linear of a block.
    AllLinear,
    /// The attention's linears.
    Attention,
    /// The MLP's linears.
    Mlp,
    /// The query and value projections.
    QueryValue,
    /// Modules by name.
    Modules(Vec<String>),
}
