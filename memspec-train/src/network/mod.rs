//! The network of the Llama family and its like (Mistral, Qwen 2 and 3, Phi-3), from an [`Architecture`](memspec::model::Architecture).

pub mod block;
pub mod cache;
pub mod linear;
pub mod load;
pub mod magnitude;
mod mlp;
pub(crate) mod offload;
pub mod parameter;
pub mod projection;
#[cfg(feature = "cuda")]
mod random;
pub mod rotary;
#[cfg(test)]
mod testing;

use burn::tensor::{Int, Tensor};

use crate::kernels::place::Place;
use crate::kernels::{self, AdamW, Heads, storage};
use block::{Block, Norm, Positions};
use parameter::{Moment8, Moments, Parameter, Slot};
use rotary::Rotary;

/// A decoder with its weights on the device.
#[derive(Debug)]
pub struct Model {
    /// `[vocabulary, hidden]`.
    pub embedding: Parameter<2>,
    /// The decoder blocks, first to last.
    pub blocks: Vec<Block>,
    /// The norm before the head.
    pub norm: Norm,
    /// `[vocabulary, hidden]`; absent when the embedding serves as head (tied).
    pub untied_head: Option<Parameter<2>>,
    /// Tables of the rotary embedding.
    pub rotary: Rotary,
    /// Attention's heads; `context` is the longest that the rotary tables serve. A sliding window is its block's own.
    pub heads: Heads,
    /// Where all of it is.
    pub place: Place,
}

/// How the tokens of a batch lie.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Tokens of a row.
    pub context: usize,
    /// Tokens of the longest sample.
    pub longest: usize,
    /// For each token, the column in which its sample begins, where rows hold several.
    pub starts: Option<Tensor<1, Int>>,
}

/// A parameter of any rank, to change.
#[derive(Debug)]
pub enum ParameterMut<'a> {
    /// A norm's weight or a bias.
    Vector(&'a mut Parameter<1>),
    /// A matrix.
    Matrix(&'a mut Parameter<2>),
}

/// One of the optimizer's states of a parameter, to read or write.
#[derive(Debug)]
pub enum StateMut<'a> {
    /// Of a norm's weight or a bias.
    Vector(&'a mut Slot<1>),
    /// Of a matrix.
    Matrix(&'a mut Slot<2>),
    /// Of any, in 8 bits.
    EightBit(&'a mut Moment8),
}

impl<'m> ParameterMut<'m> {
    /// See [`Parameter::grad_square`].
    pub fn grad_square(&self, sums: Tensor<1>, index: usize) -> Tensor<1> {
        match self {
            Self::Vector(parameter) => parameter.grad_square(sums, index),
            Self::Matrix(parameter) => parameter.grad_square(sums, index),
        }
    }

    /// See [`Parameter::on_card`].
    #[cfg(feature = "cuda")]
    pub(crate) fn on_card(&self) -> Option<crate::kernels::cuda::optimizer::Trained> {
        match self {
            Self::Vector(parameter) => parameter.on_card(),
            Self::Matrix(parameter) => parameter.on_card(),
        }
    }

    /// Its shape, outermost dimension first.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Vector(parameter) => parameter.value.get().dims().to_vec(),
            Self::Matrix(parameter) => parameter.value.get().dims().to_vec(),
        }
    }

    /// Reads its value in f32: in place on the CPU.
    pub fn read<T>(&self, read: impl FnOnce(&[f32]) -> T) -> T {
        match self {
            Self::Vector(parameter) => storage::read(parameter.value.get(), read),
            Self::Matrix(parameter) => storage::read(parameter.value.get(), read),
        }
    }

    /// Writes `values` over its value, and over what products read of it.
    pub fn write(&mut self, values: &[f32]) {
        match self {
            Self::Vector(parameter) => parameter.set(|tensor| storage::write(tensor, values)),
            Self::Matrix(parameter) => parameter.set(|tensor| storage::write(tensor, values)),
        }
    }

    /// The optimizer's states, each with its name: nothing for SGD.
    pub fn states(self) -> Vec<(&'static str, StateMut<'m>)> {
        fn named<'a, const D: usize>(
            moments: Option<&'a mut Moments<D>>,
            full: fn(&'a mut Slot<D>) -> StateMut<'a>,
        ) -> Vec<(&'static str, StateMut<'a>)> {
            match moments {
                None | Some(Moments::None) => Vec::new(),
                Some(Moments::Full(first, second)) => vec![("first", full(first)), ("second", full(second))],
                Some(Moments::EightBit(first, second)) => {
                    vec![("first", StateMut::EightBit(first)), ("second", StateMut::EightBit(second))]
                }
            }
        }
        match self {
            Self::Vector(parameter) => named(parameter.moments_mut(), StateMut::Vector),
            Self::Matrix(parameter) => named(parameter.moments_mut(), StateMut::Matrix),
        }
    }

    /// See [`Parameter::step`].
    pub fn step(self, how: AdamW) {
        match self {
            Self::Vector(parameter) => parameter.step(how),
            Self::Matrix(parameter) => parameter.step(how),
        }
    }

    /// See [`Parameter::zero_grad`].
    pub fn zero_grad(self, place: Place) {
        match self {
            Self::Vector(parameter) => parameter.zero_grad(place),
            Self::Matrix(parameter) => parameter.zero_grad(place),
        }
    }

    fn is_trained(&self) -> bool {
        match self {
            Self::Vector(parameter) => parameter.training.is_some(),
            Self::Matrix(parameter) => parameter.training.is_some(),
        }
    }
}

impl Model {
    /// The head: its own weight, or the embedding's.
    pub fn head(&self) -> &Tensor<2> {
        self.untied_head.as_ref().unwrap_or(&self.embedding).used()
    }

    /// What a block needs to know of positions in such a batch.
    pub fn positions<'a>(&'a self, layout: &'a Layout) -> Positions<'a> {
        positions(&self.rotary, self.heads, layout)
    }

    /// One block to change, and its positions.
    pub fn block_mut<'a>(&'a mut self, index: usize, layout: &'a Layout) -> (&'a mut Block, Positions<'a>) {
        (&mut self.blocks[index], positions(&self.rotary, self.heads, layout))
    }

    /// Cross entropy over the head, whose gradient is added where it is trained. The gradient of `x` is written over it.
    pub fn cross_entropy(
        &mut self,
        x: Tensor<2>,
        targets: &Tensor<1, Int>,
        rows: usize,
        scale: f32,
    ) -> (Tensor<1>, Tensor<2>) {
        let head = self.untied_head.as_mut().unwrap_or(&mut self.embedding);
        let grad = head.training.as_mut().map(|training| training.grad.take());
        let (loss, x, grad) = kernels::cross_entropy(x, head.used(), grad, targets, rows, scale);
        if let (Some(training), Some(grad)) = (&mut head.training, grad) {
            training.grad = Slot::new(grad);
        }
        (loss, x)
    }

    /// From now on adapters leave out of their inputs what dropout chooses for this micro batch; `None`: nothing, as it is at first.
    pub fn drop_inputs(&mut self, draw: Option<u64>) {
        for block in &mut self.blocks {
            let adapters = block.linears.named_mut().filter_map(|(_, linear)| linear.adapter.as_mut());
            adapters.filter_map(|adapter| adapter.dropout.as_mut()).for_each(|dropout| dropout.draw = draw);
        }
    }

    /// To be called whenever adapters have changed: see [`linear::Linear::renew_norms`].
    pub fn renew_norms(&mut self) {
        for block in &mut self.blocks {
            block.linears.named_mut().for_each(|(_, linear)| linear.renew_norms());
        }
    }

    /// Every trained parameter with its name as PEFT (adapters) or Hugging Face (weights) writes it.
    pub fn trained_mut(&mut self) -> Vec<(String, ParameterMut<'_>)> {
        let mut all = vec![("model.embed_tokens.weight".to_owned(), ParameterMut::Matrix(&mut self.embedding))];
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let prefix = format!("model.layers.{index}");
            all.push((
                format!("{prefix}.input_layernorm.weight"),
                ParameterMut::Vector(&mut block.attention_norm.weight),
            ));
            all.push((
                format!("{prefix}.post_attention_layernorm.weight"),
                ParameterMut::Vector(&mut block.mlp_norm.weight),
            ));
            for (name, norm) in [("q_norm", &mut block.query_norm), ("k_norm", &mut block.key_norm)] {
                if let Some(norm) = norm {
                    all.push((format!("{prefix}.self_attn.{name}.weight"), ParameterMut::Vector(&mut norm.weight)));
                }
            }
            for (name, linear) in block.linears.named_mut() {
                let module = linear_module(&prefix, name);
                if let linear::Weight::Dense(weight) = &mut linear.weight {
                    all.push((format!("{module}.weight"), ParameterMut::Matrix(weight)));
                }
                if let Some(bias) = &mut linear.bias {
                    all.push((format!("{module}.bias"), ParameterMut::Vector(bias)));
                }
                if let Some(adapter) = &mut linear.adapter {
                    all.push((format!("{module}.lora_A.weight"), ParameterMut::Matrix(&mut adapter.a)));
                    all.push((format!("{module}.lora_B.weight"), ParameterMut::Matrix(&mut adapter.b)));
                    if let Some(magnitude) = &mut adapter.magnitude {
                        let vector = ParameterMut::Vector(&mut magnitude.value);
                        all.push((format!("{module}.lora_magnitude_vector"), vector));
                    }
                }
            }
        }
        all.push(("model.norm.weight".to_owned(), ParameterMut::Vector(&mut self.norm.weight)));
        if let Some(head) = &mut self.untied_head {
            all.push(("lm_head.weight".to_owned(), ParameterMut::Matrix(head)));
        }
        all.retain(|(_, parameter)| parameter.is_trained());
        all
    }
}

fn positions<'a>(rotary: &'a Rotary, heads: Heads, layout: &'a Layout) -> Positions<'a> {
    let heads = Heads { context: layout.context, ..heads };
    Positions { rotary: rotary.table(layout.longest), heads, starts: layout.starts.as_ref() }
}

/// The module path of a block's linear: attention's live in `self_attn`, the rest in `mlp`.
pub fn linear_module(block: &str, leaf: &str) -> String {
    let part = if matches!(leaf, "q_proj" | "k_proj" | "v_proj" | "qkv_proj" | "o_proj") { "self_attn" } else { "mlp" };
    format!("{block}.{part}.{leaf}")
}
