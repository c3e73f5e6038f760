//! Building the network: weights read piece by piece, quantized on the way where the plan says so, adapters beside them.

use burn::tensor::Tensor;
use memspec::model::Architecture;
use memspec::plan::{AdapterKind, OptimizerKind, QuantizeKind};
use memspec::setup::{Adapter, Quantize, Setup};

use super::block::{Block, Linears, Norm};
use super::linear::{AbsMax, Dropout, Linear, LowRank, Weight};
use super::parameter::{OptimizerStates, Parameter};
use super::projection::Projection;
use super::rotary::Rotary;
use super::{Model, linear_module};
use crate::checkpoint::{Checkpoint, CheckpointError, PackedWeight};
use crate::kernels::place::Place;
use crate::kernels::{Heads, storage};
use crate::quantize::NotFinite;
use crate::quantize::int8::Int8Encoder;
use crate::quantize::nf4::{Nf4, Nf4Encoder, Scales};
use crate::random::Random;

/// Elements that are read at a time while a weight is quantized.
const PIECE: usize = 64 * 1024;

/// The name of the table of embeddings.
const EMBEDDING: &str = "model.embed_tokens.weight";

/// Where weights come from.
#[derive(Debug)]
pub enum Weights {
    /// A checkpoint on disk.
    Checkpoint(Box<Checkpoint>),
    /// Random weights of the right shapes: for measuring memory and speed, not for words.
    Random {
        /// Seed of the generator.
        seed: u64,
    },
}

/// Why a model cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A weight cannot be quantized.
    #[error("tensor `{tensor}`: {source}; fetch the model again, or another copy of it")]
    NotFinite {
        /// Its name.
        tensor: String,
        /// Where and what.
        source: NotFinite,
    },
    /// A weight that is packed in the checkpoint, otherwise than the plan says.
    #[error(
        "tensor `{tensor}` is packed already, as `{stored}` packs it, and the plan {plan}; write `{stored}` in the plan{skip}: what is packed is taken as it is"
    )]
    Packed {
        /// Its name.
        tensor: String,
        /// The plan's block that packs so.
        stored: &'static str,
        /// What the plan says instead.
        plan: String,
        /// What else to change.
        skip: &'static str,
    },
    /// A rotary scaling that the executor does not know.
    #[error(
        "the rotary scaling of `{model}` is not known to this version; a model without it, or with linear, llama3 or longrope scaling, works"
    )]
    Rotary {
        /// The model's name.
        model: String,
    },
}

impl Weights {
    /// Refuses a checkpoint whose tensor has another shape than the architecture says.
    fn expect(&self, name: &str, shape: &[usize]) -> Result<(), LoadError> {
        match self {
            Self::Checkpoint(checkpoint) => Ok(checkpoint.expect_shape(name, shape)?),
            Self::Random { .. } => Ok(()),
        }
    }

    /// Reads the elements from `first` on.
    fn read(&self, name: &str, first: usize, out: &mut [f32]) -> Result<(), LoadError> {
        match self {
            Self::Checkpoint(checkpoint) => Ok(checkpoint.read_f32(name, first..first + out.len(), out)?),
            Self::Random { seed } => {
                let norm = name.ends_with("norm.weight");
                let mut random = Random::new(*seed, &format!("{name}/{first}"));
                for value in out {
                    // About the spread of a fresh model's weights; norms start at one.
                    *value = if norm { 1.0 } else { random.uniform(0.05) };
                }
                Ok(())
            }
        }
    }

    fn tensor<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Tensor<D>, LoadError> {
        self.expect(name, &shape)?;
        storage::f32_tensor(shape, |out| self.read(name, 0, out))
    }

    /// Feeds a weight to `push` piece by piece.
    fn pieces(
        &self,
        name: &str,
        shape: [usize; 2],
        mut push: impl FnMut(&[f32]) -> Result<(), NotFinite>,
    ) -> Result<(), LoadError> {
        self.expect(name, &shape)?;
        let elements = shape[0] * shape[1];
        let mut piece = vec![0.0; PIECE.min(elements)];
        for first in (0..elements).step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(elements - first)];
            self.read(name, first, piece)?;
            push(piece).map_err(|source| LoadError::NotFinite { tensor: name.to_owned(), source })?;
        }
        Ok(())
    }
}

/// Builds the network of a setup at `place`. `progress` is called after each block with the number of blocks done.
///
/// # Errors
/// A checkpoint that lacks a tensor, has one of another shape, or cannot be read.
pub fn load(setup: &Setup, weights: &Weights, place: Place, progress: &mut dyn FnMut(u64)) -> Result<Model, LoadError> {
    let architecture = &setup.model;
    let plan = Builder {
        architecture,
        weights,
        quantize: setup.quantize.as_ref(),
        adapter: setup.adapter.as_ref(),
        optimizer: setup.train.optimizer,
        seed: setup.seed,
        place,
    };
    let (hidden, vocabulary) = (architecture.hidden as usize, architecture.vocab as usize);
    let embedding = plan.matrix(EMBEDDING, [vocabulary, hidden])?;
    let mut blocks = Vec::new();
    for index in 0..architecture.layers {
        blocks.push(plan.block(index)?);
        progress(index + 1);
    }
    let norm = plan.norm("model.norm.weight")?;
    let untied_head =
        if architecture.tied_embeddings { None } else { Some(plan.matrix("lm_head.weight", [vocabulary, hidden])?) };
    let longest = setup.longest_sample();
    let rotary = Rotary::new(&architecture.rope, architecture.head_dim, longest, place)
        .ok_or_else(|| LoadError::Rotary { model: architecture.name.clone() })?;
    let heads = Heads {
        context: longest as usize,
        heads: architecture.heads as usize,
        kv_heads: architecture.kv_heads as usize,
        head_dim: architecture.head_dim as usize,
        window: None,
    };
    Ok(Model { embedding, blocks, norm, untied_head, rotary, heads, place })
}

struct Builder<'a> {
    architecture: &'a Architecture,
    weights: &'a Weights,
    quantize: Option<&'a Quantize>,
    adapter: Option<&'a Adapter>,
    optimizer: OptimizerKind,
    seed: u64,
    place: Place,
}

impl Builder<'_> {
    /// Without an adapter everything is trained, with one only the adapter.
    fn parameter<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Parameter<D>, LoadError> {
        let states = self.states(shape.iter().product(), name == EMBEDDING);
        #[cfg(feature = "cuda")]
        if let (Weights::Random { seed }, Place::Cuda { card, active, trained }) = (self.weights, self.place) {
            let random = super::random::Random { card, seed: *seed };
            return Ok(match self.adapter {
                Some(_) => Parameter::frozen(random.weight(name, shape, active)),
                None => Parameter::trained(random.weight(name, shape, trained), states, self.place),
            });
        }
        let value = self.weights.tensor(name, shape)?;
        Ok(match self.adapter {
            Some(_) => Parameter::frozen(self.place.frozen(value)),
            None => Parameter::trained(self.place.to_train(value), states, self.place),
        })
    }

    fn states(&self, elements: usize, embedding: bool) -> OptimizerStates {
        OptimizerStates::of(self.optimizer, elements, embedding)
    }

    fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Parameter<2>, LoadError> {
        self.parameter(name, shape)
    }

    fn norm(&self, name: &str) -> Result<Norm, LoadError> {
        self.norm_of(name, self.architecture.hidden)
    }

    fn norm_of(&self, name: &str, width: u64) -> Result<Norm, LoadError> {
        let weight = self.parameter(name, [width as usize])?;
        Ok(Norm { weight, epsilon: self.architecture.norm_epsilon as f32 })
    }

    fn block(&self, index: u64) -> Result<Block, LoadError> {
        let prefix = format!("model.layers.{index}");
        let attention_norm = self.norm(&format!("{prefix}.input_layernorm.weight"))?;
        let mlp_norm = self.norm(&format!("{prefix}.post_attention_layernorm.weight"))?;
        let (query_norm, key_norm) = match self.architecture.query_key_norms() {
            Some(norms) => {
                let [query, key] =
                    norms.map(|norm| self.norm_of(&format!("{prefix}.{}.weight", norm.module), norm.width));
                (Some(query?), Some(key?))
            }
            None => (None, None),
        };
        let linears = self.linears(&prefix)?;
        let window = self.architecture.sliding_window.filter(|_| self.architecture.slides(index));
        let window = window.map(|window| window as usize);
        Ok(Block { attention_norm, mlp_norm, query_norm, key_norm, linears, window })
    }

    fn linears(&self, block: &str) -> Result<Linears, LoadError> {
        let a = self.architecture;
        let [hidden, query, key, inside] =
            [a.hidden, a.query_width(), a.key_width(), a.intermediate].map(|width| width as usize);
        type Named = (&'static str, Linear);
        let linear = |leaf, out, columns, bias| -> Result<Named, LoadError> {
            Ok((leaf, self.linear(block, leaf, [out, columns], bias)?))
        };
        let (qkv, o, gate_up);
        if a.fused_linears {
            let (name, fused) = linear("qkv_proj", query + 2 * key, hidden, false)?;
            qkv = Projection::fused(name, fused, [query, key, key]);
            (_, o) = linear("o_proj", hidden, query, a.o_bias)?;
            let (name, fused) = linear("gate_up_proj", 2 * inside, hidden, false)?;
            gate_up = Projection::fused(name, fused, [inside, inside]);
        } else {
            qkv = Projection::separate([
                linear("q_proj", query, hidden, a.qkv_bias)?,
                linear("k_proj", key, hidden, a.qkv_bias)?,
                linear("v_proj", key, hidden, a.qkv_bias)?,
            ]);
            (_, o) = linear("o_proj", hidden, query, a.o_bias)?;
            gate_up = Projection::separate([
                linear("gate_proj", inside, hidden, a.mlp_bias)?,
                linear("up_proj", inside, hidden, a.mlp_bias)?,
            ]);
        }
        let (_, down) = linear("down_proj", hidden, inside, a.mlp_bias)?;
        Ok(Linears { qkv, o, gate_up, down })
    }

    fn linear(&self, block: &str, leaf: &str, shape: [usize; 2], bias: bool) -> Result<Linear, LoadError> {
        let module = linear_module(block, leaf);
        let weight = self.weight(&format!("{module}.weight"), leaf, shape)?;
        let bias = match bias {
            true => Some(self.parameter(&format!("{module}.bias"), [shape[0]])?),
            false => None,
        };
        let adapter = self.adapter.filter(|adapter| adapter.targets.iter().any(|target| target == leaf));
        let low_rank = adapter.map(|adapter| self.low_rank(adapter, &module, shape));
        let mut linear = Linear { weight, bias, adapter: low_rank };
        if adapter.is_some_and(|adapter| adapter.kind == AdapterKind::Dora) {
            linear.add_magnitude(self.states(shape[0], false), self.place);
        }
        Ok(linear)
    }

    fn weight(&self, name: &str, leaf: &str, shape: [usize; 2]) -> Result<Weight, LoadError> {
        if let Weights::Checkpoint(checkpoint) = self.weights
            && let Some(packed) = checkpoint.packed(name)?
        {
            return self.packed(checkpoint, name, leaf, shape, &packed);
        }
        let Some(quantize) = self.quantize.filter(|quantize| !quantize.skip.iter().any(|skip| skip == leaf)) else {
            return Ok(Weight::Dense(self.matrix(name, shape)?));
        };
        #[cfg(feature = "cuda")]
        if let (Weights::Random { seed }, Place::Cuda { card, .. }) = (self.weights, self.place) {
            return Ok(super::random::Random { card, seed: *seed }.packed(name, shape, quantize));
        }
        let failed = |source| LoadError::NotFinite { tensor: name.to_owned(), source };
        if quantize.kind == QuantizeKind::Int8 {
            let mut encoder = Int8Encoder::new(shape[0], shape[1]);
            self.weights.pieces(name, shape, |piece| encoder.push(piece))?;
            let packed = encoder.finish();
            let codes = self.place.bytes(bytemuck::cast_slice(&packed.codes));
            return Ok(Weight::Int8 { codes, scales: self.vector(&packed.scales), shape });
        }
        let mut encoder = Nf4Encoder::new(shape[0] * shape[1]);
        self.weights.pieces(name, shape, |piece| encoder.push(piece))?;
        let packed = encoder.finish(quantize.double).map_err(failed)?;
        Ok(self.nf4(&packed, shape))
    }

    /// A weight that is packed in the checkpoint, as it is.
    fn packed(
        &self,
        checkpoint: &Checkpoint,
        name: &str,
        leaf: &str,
        shape: [usize; 2],
        packed: &PackedWeight,
    ) -> Result<Weight, LoadError> {
        let stored = match packed.double {
            Some(_) => "quantize nf4 { }",
            None => "quantize nf4 { double = false }",
        };
        let skips = self.quantize.is_some_and(|quantize| quantize.skip.iter().any(|skip| skip == leaf));
        let plan = match self.quantize {
            None => Some("does not quantize".to_owned()),
            Some(_) if skips => Some(format!("skips `{leaf}`")),
            Some(Quantize { kind: QuantizeKind::Nf4, double, .. }) if *double != packed.double.is_some() => {
                Some(format!("says `double = {double}`"))
            }
            Some(Quantize { kind: QuantizeKind::Nf4, .. }) => None,
            Some(Quantize { kind, .. }) => Some(format!("quantizes to {kind}")),
        };
        if let Some(plan) = plan {
            let skip = if skips { ", without this name in `skip`" } else { "" };
            return Err(LoadError::Packed { tensor: name.to_owned(), stored, plan, skip });
        }
        if packed.shape != shape {
            return Err(CheckpointError::Shape {
                path: checkpoint.path().to_owned(),
                tensor: name.to_owned(),
                found: packed.shape.to_vec(),
                expected: shape.to_vec(),
            }
            .into());
        }
        Ok(self.nf4(&checkpoint.read_packed(name, packed)?, shape))
    }

    fn nf4(&self, packed: &Nf4, shape: [usize; 2]) -> Weight {
        let codes = self.place.bytes(&packed.codes);
        let absmax = match &packed.scales {
            Scales::Plain(absmax) => AbsMax::Plain(self.vector(absmax)),
            Scales::Double { codes, scales, offset } => {
                AbsMax::Double { codes: self.place.bytes(codes), scales: self.vector(scales), offset: *offset }
            }
        };
        Weight::Nf4 { codes, absmax, shape }
    }

    fn vector(&self, values: &[f32]) -> Tensor<1> {
        self.place.full(filled([values.len()], values))
    }

    /// One of an adapter's matrices.
    fn trained(&self, value: Tensor<2>) -> Parameter<2> {
        let [rows, columns] = value.dims();
        Parameter::trained(value, self.states(rows * columns, false), self.place)
    }

    /// A fresh adapter: A uniform within 1/sqrt(in) (Kaiming, as PEFT makes it), B zero, so that training starts at the base model.
    fn low_rank(&self, adapter: &Adapter, module: &str, [out, columns]: [usize; 2]) -> LowRank {
        let rank = adapter.rank as usize;
        let bound = 1.0 / (columns as f32).sqrt();
        let mut random = Random::new(self.seed, module);
        let a: Vec<f32> = (0..rank * columns).map(|_| random.uniform(bound)).collect();
        LowRank {
            a: self.trained(self.place.to_train(filled([rank, columns], &a))),
            b: self.trained(self.place.zeros_to_train([out, rank])),
            scale: adapter.scale() as f32,
            dropout: (adapter.dropout > 0.0).then(|| Dropout {
                share: adapter.dropout as f32,
                stream: Random::new(self.seed, &format!("{module}/dropout")).next_u64(),
                draw: None,
            }),
            magnitude: None,
        }
    }
}

fn filled<const D: usize>(shape: [usize; D], values: &[f32]) -> Tensor<D> {
    let filled = storage::f32_tensor(shape, |out| {
        out.copy_from_slice(values);
        Ok::<(), std::convert::Infallible>(())
    });
    match filled {
        Ok(tensor) => tensor,
        Err(never) => match never {},
    }
}
