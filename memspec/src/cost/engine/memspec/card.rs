//! What a card's kernels take, and how they share their work where that says what they allocate.

/// Whether a card adds an adapter of this rank to the rows of a packed weight with so many columns as it decodes them, in 16 bits and
/// without dropout and magnitudes: what its kernels take (`memspec_train`'s `kernels/cuda/source/quantized.cu`).
pub fn is_folded(rank: u64, columns: u64) -> bool {
    rank.is_multiple_of(8) && rank <= 64 && columns.is_multiple_of(64)
}

/// Whether a card's kernels read an activation with so many columns once for adapters of this rank beside it, in 16 bits
/// (`memspec_train`'s `kernels/cuda/source/low_rank.cu`).
pub fn is_read_once(rank: u64, columns: u64) -> bool {
    (rank == 8 || rank == 16) && columns.is_multiple_of(32)
}

/// How such a reading is shared among the blocks of a card, and what each of its sums leaves in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Blocks side by side, each with [`Reading::COLUMNS`] columns.
    pub blocks: u64,
    /// Blocks one below another.
    pub splits: u64,
    /// Tokens of a block.
    pub each: u64,
    /// Elements, in f32, that a sum over the columns leaves: of each token as many as the largest rank, in each block.
    pub inner_elements: u64,
    /// Those of a sum over the tokens.
    pub outer_elements: u64,
}

impl Reading {
    /// Columns of a block.
    pub const COLUMNS: u64 = 512;
    const TOKENS: u64 = 16;
    const RANK: u64 = 16;
    /// About the multiprocessors of a large card.
    const BLOCKS: u64 = 132;
    /// Tokens of a block at least: with fewer, what it leaves of a sum over them is more than a quarter of what it reads.
    const LEAST: u64 = 128;

    /// That of an activation `[tokens, columns]`.
    pub fn of(tokens: u64, columns: u64) -> Self {
        let blocks = columns.div_ceil(Self::COLUMNS);
        let each = tokens.div_ceil((Self::BLOCKS / blocks).max(1)).max(Self::LEAST).next_multiple_of(Self::TOKENS);
        let splits = tokens.div_ceil(each);
        Self {
            blocks,
            splits,
            each,
            inner_elements: blocks * tokens.next_multiple_of(Self::TOKENS) * Self::RANK,
            outer_elements: splits * Self::RANK * columns,
        }
    }
}
