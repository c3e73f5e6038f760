//! How a family's block is put together, where that is not in the numbers of its [`Architecture`]: read from `transformers/models/NAME/modeling_NAME.py`.
//!
//! A family whose block differs by this only needs its line here, and its arm in `supported.rs`.

use crate::model::{Architecture, Family, Norm};

/// How a block is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Its norms.
    pub(crate) norm: NormKind,
    /// How queries and keys are rotated.
    pub(crate) rotation: Rotation,
    /// Columns of a head that are rotated.
    pub(crate) rotated: u64,
    /// Which layers rotate.
    pub(crate) rotating: Rotating,
    /// Sliding layers and the others each have their own tables (`modeling_gemma3.py:559`, `modeling_olmo3.py:434`).
    pub(crate) own_tables: bool,
    /// Query, key and value of a head are beside each other in the one projection (`modeling_gpt_neox.py:208`), not all queries, keys and values.
    pub(crate) joint_by_head: bool,
    /// Queries and keys are normalized after rotation, not before (`modeling_hunyuan_v1_dense.py:209`).
    pub(crate) norms_after_rotation: bool,
    /// Queries are scaled by their position (`modeling_ministral3.py:161`).
    pub(crate) scales_queries: bool,
    /// The block keeps the attention's input and output as locals (`modeling_stablelm.py:352`).
    pub(crate) keeps_locals: bool,
    /// The names of all weights but the head's are before `lm_head` (`gpt_neox.`), and so loaded first.
    pub(crate) head_last: bool,
    /// The embedding's output is scaled (`modeling_gemma.py`, `GemmaTextScaledWordEmbedding`).
    pub(crate) scales_embedding: bool,
}

/// How a norm computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NormKind {
    /// Root mean square, cast back, then scaled (`modeling_llama.py:53`).
    Rms,
    /// Scaled in float32, then cast back (`modeling_gpt_oss.py:48`, `modeling_olmo3.py:45`).
    RmsWide,
    /// Scaled in float32 by one plus the weight (`modeling_gemma2.py:49`).
    RmsOnePlus,
    /// `torch.nn.LayerNorm`.
    Layer,
    /// The same with one plus the weight, in autocast's type (`modeling_nemotron.py:62`).
    LayerOnePlus,
    /// LayerNorm step by step in float32, without a bias (`modeling_cohere2.py:96`).
    LayerByStep,
}

/// How queries and keys are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// Whole (`modeling_llama.py:138`).
    Whole,
    /// The first columns are sliced off, rotated, and joined with the rest (`modeling_phi3.py:199`, `modeling_gpt_neox.py:115`).
    Part,
    /// The same in the attention's own body, whose locals keep the slices (`modeling_phi.py:186`, `modeling_stablelm.py:281`).
    PartKept,
    /// As `Part`, with tables that each call interleaves (`modeling_glm4.py:157`).
    PartInterleaved,
    /// Cast to float32, rotated, cast back (`modeling_cohere2.py:158`).
    Wide,
    /// The tables are float32, and so are the products until they are cast back (`modeling_olmo3.py:103`).
    WideTables,
    /// The pieces are cast to float32, the tables are float32 and interleaved by each call (`modeling_ernie4_5.py:159`).
    WidePieces,
}

/// Which layers rotate queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotating {
    /// All.
    All,
    /// Those that slide (`modeling_cohere2.py:230`).
    Sliding,
    /// All but every fourth (`configuration_smollm3.py`, `no_rope_layer_interval`).
    AllButEveryFourth,
}

impl Form {
    /// That of a model's family.
    pub(crate) fn of(model: &Architecture) -> Self {
        let gemma = matches!(model.family, Family::Gemma | Family::Gemma2 | Family::Gemma3);
        Self {
            norm: match (model.family, model.norm) {
                (Family::GptOss | Family::Olmo3, _) => NormKind::RmsWide,
                (Family::Nemotron, _) => NormKind::LayerOnePlus,
                (Family::Cohere2, _) => NormKind::LayerByStep,
                _ if gemma => NormKind::RmsOnePlus,
                (_, Norm::Layer | Norm::LayerWithoutBias) => NormKind::Layer,
                (_, Norm::Rms) => NormKind::Rms,
            },
            rotation: match model.family {
                Family::Phi3 | Family::GptNeoX | Family::Nemotron => Rotation::Part,
                Family::Phi | Family::StableLm => Rotation::PartKept,
                Family::Glm4 => Rotation::PartInterleaved,
                Family::Cohere2 => Rotation::Wide,
                Family::Olmo3 => Rotation::WideTables,
                Family::Ernie45 => Rotation::WidePieces,
                _ => Rotation::Whole,
            },
            // `int(head_dim * partial_rotary_factor)`.
            rotated: (model.head_dim as f64 * model.rope.fraction) as u64,
            rotating: match model.family {
                Family::Cohere2 => Rotating::Sliding,
                Family::SmolLm3 => Rotating::AllButEveryFourth,
                _ => Rotating::All,
            },
            own_tables: model.family == Family::Gemma3 || model.model_type == "olmo3",
            joint_by_head: model.family == Family::GptNeoX,
            norms_after_rotation: model.family == Family::Hunyuan,
            scales_queries: model.model_type == "ministral3",
            keeps_locals: model.family == Family::StableLm,
            head_last: model.family == Family::GptNeoX,
            scales_embedding: gemma,
        }
    }

    /// Whether the layer at `index` rotates.
    pub(crate) fn rotates(&self, model: &Architecture, index: u64) -> bool {
        match self.rotating {
            Rotating::All => true,
            Rotating::Sliding => model.slides(index),
            Rotating::AllButEveryFourth => !(index + 1).is_multiple_of(4),
        }
    }
}
