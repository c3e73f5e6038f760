//! The operators that multiply nothing, as the stacks write them: bytes for each element, and kernels.

/// An operator's bytes for each element, and how many kernels it is, forward and backward.
#[derive(Clone, Copy)]
pub(super) struct Elementwise {
    pub(super) forward: (f64, f64),
    pub(super) backward: (f64, f64),
}

/// `LlamaRMSNorm.forward`: to f32 (2 + 4), square (4 + 4), mean (4), times its root (4 + 4), back (4 + 2), times the weight (2 + 2);
/// backward reads each operator's saved input and gradient and writes one.
pub(super) const NORM: Elementwise = Elementwise { forward: (36.0, 8.0), backward: (60.0, 14.0) };
/// One kernel: reads and writes 2 bytes; backward reads input and gradient and writes one.
pub(super) const NORM_FUSED: Elementwise = Elementwise { forward: (4.0, 1.0), backward: (8.0, 2.0) };
/// `apply_rotary_pos_emb`, for each element of queries and keys: times cos (4), half negated (2) and joined (4), times sin (4), sum
/// (6). The kernels are those of both tensors.
pub(super) const ROPE: Elementwise = Elementwise { forward: (20.0, 10.0), backward: (20.0, 14.0) };
/// In place.
pub(super) const ROPE_FUSED: Elementwise = Elementwise { forward: (4.0, 2.0), backward: (4.0, 2.0) };
/// The sum into the residual stream, and the sum of two gradients.
pub(super) const RESIDUAL: Elementwise = Elementwise { forward: (6.0, 1.0), backward: (6.0, 1.0) };
/// silu (4) and the product with up (6), for each element inside the MLP; backward two products (10) and silu's (6).
pub(super) const GATE: Elementwise = Elementwise { forward: (10.0, 2.0), backward: (16.0, 4.0) };
/// One kernel: reads gate and up, writes the product; backward writes both gradients.
pub(super) const GATE_FUSED: Elementwise = Elementwise { forward: (6.0, 1.0), backward: (10.0, 1.0) };
/// Scores as a tensor, for each of them: product written (2), scaled and masked (8), softmax in f32 and back (22), read by the
/// second product (2); backward about the same again with the saved ones.
pub(super) const SCORES: Elementwise = Elementwise { forward: (34.0, 6.0), backward: (44.0, 9.0) };
/// Whole logits, for each: written (2), to f32 (6), log-softmax (8), and TRL's entropy and accuracy, which read them again (about 18);
/// backward log-softmax (12) and back to 16 bit (6).
pub(super) const LOGITS: Elementwise = Elementwise { forward: (34.0, 40.0), backward: (18.0, 10.0) };
/// A fused or chunked loss: logits written and read once, the gradient written over them.
pub(super) const LOGITS_FUSED: Elementwise = Elementwise { forward: (8.0, 10.0), backward: (6.0, 5.0) };

/// FlashAttention's backward recomputes the scores: five products for the forward pass's two (Dao, 2023).
pub(super) const ATTENTION_BACKWARD: f64 = 2.5;

/// How the stack's adapted linear is built: bytes for each element of its input and output, and operators.
pub(super) struct AdapterCost {
    pub(super) forward: (f64, f64, f64),
    pub(super) backward: (f64, f64, f64),
}

/// `peft.tuners.lora.layer.Linear.forward`: the input is read again, the low product's output is scaled (4) and summed (6) into the
/// result, written (2); backward reads the gradient twice and writes and sums the input's.
pub(super) const PEFT: AdapterCost = AdapterCost { forward: (2.0, 12.0, 5.0), backward: (10.0, 4.0, 9.0) };
/// `peft.tuners.lora.bnb.Linear4bit.forward` clones the result besides (4).
pub(super) const PEFT_4BIT: AdapterCost = AdapterCost { forward: (2.0, 16.0, 6.0), backward: (10.0, 4.0, 10.0) };
/// An f32 adapter beside 16 bit weights: the input to f32 (6) and, under autocast, back (6); both again in backward.
pub(super) const ADAPTER_CASTS: (f64, f64, f64) = (12.0, 3.0, 5.0);
/// `unsloth.kernels.fast_lora`: the low product is summed in by the product itself.
pub(super) const UNSLOTH: AdapterCost = AdapterCost { forward: (2.0, 4.0, 3.0), backward: (6.0, 4.0, 6.0) };

/// Operators of unpacking one NF4 weight: bitsandbytes' Python, its nested maxima and its custom operators; Unsloth calls the two
/// kernels itself.
pub(super) const UNPACK: (f64, f64) = (12.0, 6.0);
