//! The words a setting may take.

use super::spec::Symbol;

/// Makes an enum of symbols: its name in a plan, its meaning, reading, writing and schema from one list.
macro_rules! symbols {
    ($(#[doc = $doc:literal])+ pub enum $Enum:ident { $($(#[doc = $meaning:literal])+ $Variant:ident = $name:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum $Enum {
            $($(#[doc = $meaning])+ #[serde(rename = $name)] $Variant,)+
        }

        impl $Enum {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [$Enum] = &[$($Enum::$Variant),+];
            /// Their names and meanings.
            pub const SYMBOLS: &'static [Symbol] =
                &[$(Symbol { name: $name, doc: concat!($($meaning),+).trim_ascii() }),+];

            /// As a plan writes it.
            pub const fn name(self) -> &'static str {
                match self { $($Enum::$Variant => $name),+ }
            }
        }

        impl std::fmt::Display for $Enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $Enum {
            type Err = super::spec::UnknownSymbol;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|one| one.name() == text)
                    .ok_or_else(|| super::spec::UnknownSymbol::new(text, Self::SYMBOLS))
            }
        }
    };
}

symbols! {
    /// Whose allocations a plan is costed with, and who runs it.
    pub enum EngineName {
        /// this project's executor
        Memspec = "memspec",
        /// Hugging Face TRL on PyTorch
        Trl = "trl",
        /// Unsloth on PyTorch
        Unsloth = "unsloth",
    }
}

symbols! {
    /// How several devices share the work.
    pub enum ParallelKind {
        /// a whole copy on each device
        Ddp = "ddp",
        /// parameters, gradients and optimizer states sharded (PyTorch FSDP2)
        Fsdp2 = "fsdp2",
        /// optimizer states sharded (DeepSpeed ZeRO 1)
        Zero1 = "zero1",
        /// optimizer states and gradients sharded (DeepSpeed ZeRO 2)
        Zero2 = "zero2",
        /// everything sharded (DeepSpeed ZeRO 3)
        Zero3 = "zero3",
        /// each linear split over the devices
        Tensor = "tensor",
    }
}

symbols! {
    /// Where sharded parameters and optimizer states rest.
    pub enum Offload {
        /// on the device
        None = "none",
        /// in host memory
        Host = "host",
    }
}

symbols! {
    /// How the base model's weights are stored.
    pub enum QuantizeKind {
        /// 4-bit NormalFloat (bitsandbytes, QLoRA)
        Nf4 = "nf4",
        /// 4-bit float (bitsandbytes)
        Fp4 = "fp4",
        /// 8-bit integers, one scale a row
        Int8 = "int8",
        /// 4-bit microscaling floats
        Mxfp4 = "mxfp4",
        /// a GPTQ checkpoint
        Gptq = "gptq",
        /// an AWQ checkpoint
        Awq = "awq",
    }
}

symbols! {
    /// The type that packed weights are stored as, which sharding sees.
    pub enum Storage {
        /// bytes
        Uint8 = "uint8",
        /// bfloat16
        Bf16 = "bf16",
        /// 32-bit float
        F32 = "f32",
    }
}

symbols! {
    /// A floating-point type.
    pub enum Float {
        /// 32-bit
        F32 = "f32",
        /// bfloat16
        Bf16 = "bf16",
        /// 16-bit
        Fp16 = "fp16",
    }
}

symbols! {
    /// What is trained beside a frozen base.
    pub enum AdapterKind {
        /// low-rank matrices
        Lora = "lora",
        /// LoRA with a trained magnitude
        Dora = "dora",
    }
}

symbols! {
    /// How a data file's records are read.
    pub enum DataFormat {
        /// found from the first record
        Auto = "auto",
        /// `messages` with roles, through the model's chat template
        Chat = "chat",
        /// `instruction`, `input`, `output`
        Instruction = "instruction",
        /// `text`, as it is
        Text = "text",
    }
}

symbols! {
    /// Which tokens the loss counts.
    pub enum LossOn {
        /// every token
        All = "all",
        /// the assistant's words only
        Assistant = "assistant",
    }
}

symbols! {
    /// To what length the samples of a batch are filled.
    pub enum Padding {
        /// the batch's longest sample
        Longest = "longest",
        /// the context
        Max = "max",
        /// none: the samples of a batch lie in one row
        None = "none",
    }
}

symbols! {
    /// In what order samples are trained on.
    pub enum SampleOrder {
        /// another one in each epoch
        Random = "random",
        /// as in their file
        Sequential = "sequential",
        /// random, but with samples of like length in one batch, so that less is filled up
        ByLength = "by_length",
    }
}

symbols! {
    /// The types a training step computes in.
    pub enum Precision {
        /// bfloat16 activations; float32 master weights where weights are trained
        Bf16 = "bf16",
        /// float16 activations with loss scaling; float32 master weights
        Fp16 = "fp16",
        /// float32 throughout
        F32 = "f32",
        /// bfloat16 throughout, weights and optimizer states too
        Bf16Pure = "bf16_pure",
        /// float16 throughout: no autocast, no loss scaling
        Fp16Pure = "fp16_pure",
    }
}

symbols! {
    /// The script around the model, with the engine trl.
    pub enum Script {
        /// TRL's SFTTrainer
        Sft = "sft",
        /// transformers and PEFT in a loop of one's own: no cast of adapters, the outputs live until the next step
        Loop = "loop",
        /// axolotl's trainer: costed by its source, not measured
        Axolotl = "axolotl",
        /// LLaMA-Factory's trainer: costed by its source, not measured
        Llamafactory = "llamafactory",
        /// LLaMA-Factory's version 1, a loop of its own: costed by its source, not measured
        LlamafactoryV1 = "llamafactory_v1",
    }
}

symbols! {
    /// The `device_map` that transformers loads the model with.
    pub enum DeviceMap {
        /// none: what runs the plan moves the model to each process's card
        None = "none",
        /// auto: accelerate spreads the blocks over every card that a process sees
        Auto = "auto",
        /// each process's own card (`cuda`, or a map of everything to the local rank)
        Own = "own",
    }
}

symbols! {
    /// Which parameters that are not packed are cast to float32 before training.
    pub enum Upcast {
        /// none
        None = "none",
        /// the norms
        Norms = "norms",
        /// the norms, the embeddings and the head (axolotl, where nothing forbids it)
        Embeddings = "embeddings",
        /// every one (PEFT's prepare_model_for_kbit_training)
        Unpacked = "unpacked",
    }
}

symbols! {
    /// How attention is computed.
    pub enum Attention {
        /// the best the engine and device have
        Auto = "auto",
        /// scores as a tensor
        Eager = "eager",
        /// PyTorch's fused attention
        Sdpa = "sdpa",
        /// PyTorch's memory-efficient kernel, with grouped keys and values repeated for it
        Efficient = "efficient",
        /// FlashAttention 2
        Flash2 = "flash2",
        /// FlashAttention 3
        Flash3 = "flash3",
    }
}

symbols! {
    /// How logits and loss are formed.
    pub enum LossKind {
        /// what the engine does
        Auto = "auto",
        /// all logits at once
        Whole = "whole",
        /// a chunk of tokens at a time
        Chunked = "chunked",
        /// Liger's fused linear cross-entropy, in scripts that take the model's own loss; TRL's SFTTrainer turns it off
        Liger = "liger",
        /// all logits at once, and how far they are from those of a frozen copy of the model (LLaMA-Factory's ASFT)
        Asft = "asft",
    }
}

symbols! {
    /// The optimizer, which decides the states kept for each trained parameter.
    pub enum OptimizerKind {
        /// fused AdamW
        Adamw = "adamw",
        /// AdamW over lists of tensors, which needs temporaries
        AdamwForeach = "adamw_foreach",
        /// AdamW with 8-bit states
        Adamw8bit = "adamw_8bit",
        /// AdamW with 8-bit states that page to host memory
        PagedAdamw8bit = "paged_adamw_8bit",
        /// AdamW with states that page to host memory
        PagedAdamw = "paged_adamw",
        /// Adafactor, factored second moments
        Adafactor = "adafactor",
        /// stochastic gradient descent
        Sgd = "sgd",
        /// Lion, one momentum
        Lion = "lion",
    }
}

symbols! {
    /// How the learning rate goes on after the warmup.
    pub enum Schedule {
        /// half a cosine down to 0
        Cosine = "cosine",
        /// a line down to 0
        Linear = "linear",
        /// as it is
        Constant = "constant",
    }
}

symbols! {
    /// The type that weights are served in.
    pub enum ServePrecision {
        /// 16-bit float
        F16 = "f16",
        /// bfloat16
        Bf16 = "bf16",
        /// 32-bit float
        F32 = "f32",
        /// 8-bit float
        F8 = "f8",
        /// 8-bit integers
        Int8 = "int8",
        /// 4-bit NormalFloat
        Nf4 = "nf4",
        /// experts in 4-bit microscaling floats, all else in 16 bits, as GPT-OSS is published
        Mxfp4 = "mxfp4",
        /// GGUF, 4 bits in blocks of 32
        Q4_0 = "q4_0",
        /// GGUF, a mixture of 4 and 6 bit k-quants
        Q4KM = "q4_k_m",
        /// GGUF, a mixture of 5 and 6 bit k-quants
        Q5KM = "q5_k_m",
        /// GGUF, 6 bit k-quants
        Q6K = "q6_k",
        /// GGUF, 8 bits in blocks of 32
        Q8_0 = "q8_0",
    }
}

symbols! {
    /// The type of the keys and values that are cached.
    pub enum CachePrecision {
        /// 16-bit float
        F16 = "f16",
        /// bfloat16
        Bf16 = "bf16",
        /// 32-bit float
        F32 = "f32",
        /// 8-bit float
        F8 = "f8",
        /// 8-bit integers
        Int8 = "int8",
    }
}

impl Precision {
    /// The type of matrix products, which weights that stay as they are are loaded in.
    pub const fn half(self) -> Float {
        match self {
            Precision::Bf16 | Precision::Bf16Pure => Float::Bf16,
            Precision::Fp16 | Precision::Fp16Pure => Float::Fp16,
            Precision::F32 => Float::F32,
        }
    }
}
