//! Blocks by name: what the checker needs of the structs that `block!` makes.

use super::spec::{Block, Symbol, UnknownSymbol};
use super::value::{Fault, Item};
use super::{AdapterKind, ParallelKind, QuantizeKind};

/// A block whose settings can be set by name.
pub(crate) trait Section {
    /// Its entry in the table.
    fn spec(&self) -> &'static Block;
    /// Sets what stands after its name.
    fn set_head(&mut self, text: &str) -> Result<(), UnknownSymbol>;
    /// Sets a setting that the table has; any other name does nothing.
    fn set(&mut self, name: &str, item: &Item) -> Result<(), Vec<Fault>>;
    /// Takes the value of that number of a setting that has several; of any other setting nothing.
    fn choose(&mut self, name: &str, number: usize);
    /// The block of that name inside it, made when it was not there.
    fn section(&mut self, name: &str) -> Option<&mut dyn Section>;
}

/// How a block holds its settings.
pub(crate) trait Held: Sized {
    /// As limits.
    const LIMITS: bool;
    /// Reads one.
    fn from_item(item: &Item) -> Result<Self, Vec<Fault>>;
    /// A number of it that is below the least.
    fn below(&self, _least: f64) -> Option<f64> {
        None
    }
    /// Takes the value of that number where there are several.
    fn choose(&mut self, number: usize);
}

/// What stands between a block's name and its `{`.
pub(crate) trait Head: Sized {
    /// The words it may be; empty for a name.
    const KINDS: &'static [Symbol];
    /// Reads it.
    fn read(text: &str) -> Result<Self, UnknownSymbol>;
}

impl Head for String {
    const KINDS: &'static [Symbol] = &[];
    fn read(text: &str) -> Result<Self, UnknownSymbol> {
        Ok(text.to_owned())
    }
}

macro_rules! kinds {
    ($($Kind:ident),+) => {$(
        impl Head for $Kind {
            const KINDS: &'static [Symbol] = $Kind::SYMBOLS;
            fn read(text: &str) -> Result<Self, UnknownSymbol> {
                text.parse()
            }
        }

        impl Default for $Kind {
            /// The first of them; a written plan always names its own.
            fn default() -> Self {
                $Kind::ALL[0]
            }
        }
    )+};
}

kinds!(AdapterKind, ParallelKind, QuantizeKind);
