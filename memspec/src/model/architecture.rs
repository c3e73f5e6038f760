//! `Architecture`: the one description of a model that everything else reads.

use serde::{Deserialize, Serialize};

use super::Vision;

/// The shapes of a decoder-only language model, as far as memory, time and a forward pass need them.
///
/// Made by [`config::from_json`](super::config::from_json), from a GGUF header
/// ([`gguf::Header::architecture`](super::gguf::Header::architecture)) or by [`catalog::get`](super::catalog::get). All of these
/// check it; one built by hand can be checked with [`Architecture::check`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// What the model is called: a hub name, a folder or a file.
    pub name: String,
    /// `model_type` of the Hugging Face `config.json`.
    pub model_type: String,
    /// Which family's forward pass and module names it has.
    pub family: Family,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Number of blocks.
    pub layers: u64,
    /// Query heads of a block.
    pub heads: u64,
    /// Key and value heads of a block; divides `heads`.
    pub kv_heads: u64,
    /// Width of one head; `heads * head_dim` need not be `hidden`.
    pub head_dim: u64,
    /// Width inside the MLP (of a dense block).
    pub intermediate: u64,
    /// Rows of the embedding.
    pub vocab: u64,
    /// Longest context that the model was made for, in tokens.
    pub max_positions: u64,
    /// The head uses the embedding's weight.
    pub tied_embeddings: bool,
    /// The query, key and value projections have a bias.
    pub qkv_bias: bool,
    /// The attention's output projection has a bias.
    pub o_bias: bool,
    /// The MLP's linears have a bias.
    pub mlp_bias: bool,
    /// The head has a bias.
    pub head_bias: bool,
    /// Queries and keys are normalized before RoPE.
    pub qk_norm: bool,
    /// That norm is over all heads together (OLMo 3, MiniMax-M2) and not over each head.
    pub qk_norm_spans_heads: bool,
    /// The query projection makes a gate of the attention's output too, so it is twice as wide (Qwen 3.5).
    pub gated_attention: bool,
    /// Most layers have linear attention in place of softmax attention (Qwen 3.5).
    pub linear_attention: Option<LinearAttention>,
    /// The MLP has a gate beside the up projection.
    pub gated_mlp: bool,
    /// Query, key and value are one linear; so are gate and up, where there is a gate (but for Qwen 1, and GLM 4 fuses the
    /// latter only).
    pub fused_linears: bool,
    /// Each query head has a learned sink logit.
    pub attention_sinks: bool,
    /// RMSNorm, or LayerNorm with a bias.
    pub norm: Norm,
    /// Norms of one block on the residual stream (query and key norms are apart).
    pub norms_per_block: u64,
    /// Added to the variance by every norm.
    pub norm_epsilon: f64,
    /// Attention and MLP read the same normalized input.
    pub parallel_residual: bool,
    /// How positions are encoded.
    pub rope: Rope,
    /// Rows of a learned position embedding; 0 nearly always (GPT-2 has one).
    pub learned_positions: u64,
    /// Tokens that a sliding layer sees; `None`: no layer slides.
    pub sliding_window: Option<u64>,
    /// Which layers slide, where there is a window.
    pub sliding_layers: SlidingLayers,
    /// The MLP's nonlinearity.
    pub activation: Activation,
    /// Scores are divided by the square root of this instead of `head_dim` (Gemma).
    pub query_scalar: Option<f64>,
    /// Scores are squashed to plus and minus this (Gemma 2).
    pub attention_softcap: Option<f64>,
    /// Logits are squashed to plus and minus this (Gemma 2).
    pub logit_softcap: Option<f64>,
    /// The MLP is a mixture of experts.
    pub experts: Option<Experts>,
    /// The vision tower in front.
    pub vision: Option<Vision>,
    /// Type of the published weights.
    pub dtype: Dtype,
    /// How the published checkpoint is quantized, if it is. Quantized copies of a model under another name are told apart
    /// only where they come with a `config.json`.
    pub published_quantization: Option<PublishedQuantization>,
    /// Where this description comes from.
    pub source: String,
}

/// Families whose forward pass and module names are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Llama 1 to 3, SmolLM2, TinyLlama, Code Llama.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3, dense.
    Qwen3,
    /// Phi 3 and 4.
    Phi3,
    /// Gemma 2.
    Gemma2,
    /// Gemma 3, text only.
    Gemma3,
    /// Mixtral.
    Mixtral,
    /// Qwen 3 with experts.
    Qwen3Moe,
    /// GPT-OSS.
    GptOss,
    /// Qwen2-VL.
    Qwen2Vl,
    /// Phi 1 to 2.
    Phi,
    /// Falcon.
    Falcon,
    /// Gemma 1.
    Gemma,
    /// Qwen 1.
    Qwen,
    /// Qwen 1.5 and 2 with experts.
    Qwen2Moe,
    /// Qwen 3.5: gated attention in every fourth layer, linear attention in the others.
    Qwen35,
    /// Qwen 3.5 with experts.
    Qwen35Moe,
    /// Qwen3-Next: as Qwen 3.5 with experts, its linear attention's projections fused.
    Qwen3Next,
    /// Arcee (AFM).
    Arcee,
    /// Seed-OSS.
    SeedOss,
    /// MiMo, without its layers for predicting further tokens.
    Mimo,
    /// Hunyuan, dense, first version.
    Hunyuan,
    /// Apertus.
    Apertus,
    /// GLM 4 of 0414.
    Glm4,
    /// GLM 4.5, without its layer for predicting a further token.
    Glm4Moe,
    /// MiniMax-M2.
    MinimaxM2,
    /// OLMo 3.
    Olmo3,
    /// Nemotron and Minitron.
    Nemotron,
    /// StableLM.
    StableLm,
    /// StarCoder 2.
    Starcoder2,
    /// Command R7B and others of Cohere's second layout.
    Cohere2,
    /// GPT-NeoX: Pythia, RedPajama.
    GptNeoX,
    /// GPT-J.
    GptJ,
    /// GPT-2.
    Gpt2,
    /// MPT.
    Mpt,
    /// DBRX.
    Dbrx,
    /// ERNIE 4.5, dense.
    Ernie45,
    /// SmolLM 3.
    SmolLm3,
    /// Another `model_type` whose `config.json` has Llama's keys; taken to be built like Llama.
    Other,
}

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 64 bit float.
    F64,
    /// 32 bit float.
    F32,
    /// IEEE half precision.
    F16,
    /// Brain float.
    Bf16,
    /// 8 bit float, of whichever layout.
    F8,
    /// 64 bit integer.
    I64,
    /// 32 bit integer.
    I32,
    /// 16 bit integer.
    I16,
    /// 8 bit integer.
    I8,
    /// Unsigned 8 bit integer.
    U8,
    /// A byte that is 0 or 1.
    Bool,
}

impl Dtype {
    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            Dtype::F64 | Dtype::I64 => 8,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::F16 | Dtype::Bf16 | Dtype::I16 => 2,
            Dtype::F8 | Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
        }
    }
}

/// The kind of norm on the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Scale only.
    Rms,
    /// Mean taken off; scale and bias.
    Layer,
    /// Mean taken off; scale only.
    LayerWithoutBias,
}

/// Rotary position embedding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// Base on sliding layers, where it differs (Gemma 3).
    pub local_theta: Option<f64>,
    /// Share of each head that is rotated; 1.0 nearly always, 0.4 in Phi-2, 0.0 where positions are not rotated at all
    /// (GPT-2's learned ones, MPT's ALiBi).
    pub fraction: f64,
    /// How frequencies are stretched for longer contexts.
    pub scaling: RopeScaling,
}

impl Rope {
    /// Elements of a head that are rotated, the first ones; the rest passes by. transformers rounds down, too.
    pub fn rotated(&self, head_dim: u64) -> u64 {
        (head_dim as f64 * self.fraction) as u64
    }

    /// How many positions each table of cosines and sines has, where samples have up to `longest` tokens: one table, or LongRoPE's
    /// for short samples and then that for long ones.
    pub fn tables(&self, longest: u64) -> Vec<u64> {
        match self.scaling {
            RopeScaling::LongRope { original_max_positions, .. } if longest > original_max_positions => {
                vec![original_max_positions, longest]
            }
            _ => vec![longest],
        }
    }
}

/// How RoPE's frequencies are stretched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// By how much.
        factor: f64,
    },
    /// Llama 3.1's: low frequencies divided, high ones kept, the ones between blended.
    Llama3 {
        /// By how much low frequencies are divided.
        factor: f64,
        /// Wavelengths above `original_max_positions / low_freq_factor` are low.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_positions / high_freq_factor` are high.
        high_freq_factor: f64,
        /// Context before the stretch, in tokens.
        original_max_positions: u64,
    },
    /// Phi-3's (Ding et al., 2024): every frequency divided by a factor of its own. There are two lists of `head_dim * fraction / 2`
    /// factors, and the longest sample of a batch says which is used for all of it.
    LongRope {
        /// The factors of batches whose samples have at most `original_max_positions` tokens.
        short_factors: Vec<f64>,
        /// The factors of batches with a longer one.
        long_factors: Vec<f64>,
        /// Context before the stretch, in tokens.
        original_max_positions: u64,
        /// What cosines and sines are multiplied with, at any length.
        attention_factor: f64,
    },
    /// A kind that is known by name only (`yarn`, `dynamic`, `mrope`, or `longrope` without its factors): enough to cost, not to run.
    Other {
        /// Hugging Face's `rope_type`.
        kind: String,
    },
}

/// Which layers of a model with a sliding window use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlidingLayers {
    /// All.
    All,
    /// All but every `n`th, counted from one (2: layers 1, 3, 5 see everything, counted from zero).
    AllButEvery(u64),
    /// From this layer on, counted from zero.
    From(u64),
    /// One entry a layer: whether it slides.
    Listed(Vec<bool>),
}

/// The MLP's nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x * sigmoid(x).
    Silu,
    /// GELU by its tanh approximation (`gelu_pytorch_tanh`).
    GeluTanh,
    /// The same, which transformers computes step by step (`gelu_new`).
    GeluNew,
    /// GELU by the error function.
    Gelu,
    /// max(x, 0).
    Relu,
    /// max(x, 0) squared.
    ReluSquared,
    /// xIELU: two polynomials with learned factors (Apertus).
    Xielu,
    /// Another one.
    Other,
}

/// A mixture of experts in place of a block's MLP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Experts {
    /// Experts of a block.
    pub count: u64,
    /// Experts that one token goes through.
    pub per_token: u64,
    /// Width inside one expert.
    pub intermediate: u64,
    /// The experts' linears have a bias (GPT-OSS).
    pub bias: bool,
    /// The router has a bias (GPT-OSS).
    pub router_bias: bool,
    /// Width of the expert that every token goes through; 0: there is none.
    pub shared_intermediate: u64,
    /// The shared expert's output is scaled by a gate of its own, one linear to a single number (Qwen 1.5 to 3.5).
    pub shared_gate: bool,
    /// Blocks at the beginning that have a dense MLP instead (GLM 4.5).
    pub first_dense: u64,
}

/// Linear attention (Gated DeltaNet) in place of softmax attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearAttention {
    /// Heads of queries and keys.
    pub key_heads: u64,
    /// Width of such a head.
    pub key_dim: u64,
    /// Heads of values.
    pub value_heads: u64,
    /// Width of such a head.
    pub value_dim: u64,
    /// Tokens that the convolution over queries, keys and values sees.
    pub conv: u64,
    /// Every so many layers one has softmax attention (4: layers 3, 7, 11, counted from zero).
    pub full_every: u64,
}

/// How a published checkpoint is quantized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishedQuantization {
    /// GPT-OSS: the experts' weights are MXFP4, all else is in `dtype`. Of 32 weights along the input, 16 bytes hold two
    /// 4-bit floats each (`*_blocks`) and one byte their common exponent (`*_scales`).
    Mxfp4Experts,
    /// Another `quant_method`, by its name.
    Other {
        /// `quantization_config.quant_method`.
        method: String,
    },
}

impl Architecture {
    /// Whether the layer, counted from zero, sees only the sliding window.
    pub fn slides(&self, layer: u64) -> bool {
        if self.sliding_window.is_none() {
            return false;
        }
        match &self.sliding_layers {
            SlidingLayers::All => true,
            SlidingLayers::AllButEvery(n) => *n == 0 || !layer.saturating_add(1).is_multiple_of(*n),
            SlidingLayers::From(first) => layer >= *first,
            SlidingLayers::Listed(list) => {
                usize::try_from(layer).ok().and_then(|i| list.get(i)).copied().unwrap_or(false)
            }
        }
    }

    /// Whether the layer, counted from zero, has linear attention in place of softmax attention.
    pub fn is_linear(&self, layer: u64) -> bool {
        self.linear_attention.as_ref().is_some_and(|l| !layer.saturating_add(1).is_multiple_of(l.full_every.max(1)))
    }

    /// Width of all query heads together.
    pub fn query_width(&self) -> u64 {
        self.heads.saturating_mul(self.head_dim)
    }

    /// Width of all key heads together, and of all value heads.
    pub fn key_width(&self) -> u64 {
        self.kv_heads.saturating_mul(self.head_dim)
    }
}
