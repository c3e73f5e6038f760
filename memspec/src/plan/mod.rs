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
macro_rules! stub { ($($n:ident {$($v:ident),*})*) => {$(#[allow(missing_docs)] #[derive(Clone,Copy,Debug,PartialEq,Eq)] pub enum $n {$($v),*} impl std::fmt::Display for $n { fn fmt(&self,f:&mut std::fmt::Formatter<'_>)->std::fmt::Result{write!(f,"{self:?}")} })*} }
stub! { QuantizeKind {Nf4, Fp4, Int8, Mxfp4, Gptq, Awq} AdapterKind {Lora, Dora} Precision {Bf16, Fp16, F32, Bf16Pure} OptimizerKind {Adamw, AdamwForeach, Adamw8bit, PagedAdamw8bit, PagedAdamw, Adafactor, Sgd, Lion} Schedule {Cosine, Linear, Constant} DataFormat {Chat, Instruction, Text, Auto} LossOn {All, Assistant} Padding {Longest, Max} EngineName {Memspec, Trl, Unsloth} }
