//! Every operation at a place compared with the plain version on the CPU: one list, for the tests and for a machine with a card.
//!
//! Inputs are random and rounded to bf16, so that both sides begin with the same numbers; the CPU computes in f32.

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use super::place::{Format, Place, fetch};
use super::{AdamW, DeviceFailed, Heads, Mask, Packed, Product, RowsOf, buffer, product};
use crate::quantize::int8::Int8Encoder;
use crate::quantize::nf4::{Nf4Encoder, Scales};
use crate::random::Random;

/// What an operation gave at a place and on the CPU.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The operation.
    pub name: &'static str,
    /// The largest difference, as a share of the CPU's largest number.
    pub difference: f32,
    /// What it may be.
    pub tolerance: f32,
}

impl Compared {
    /// The difference is within its tolerance. One that is no number is not.
    pub fn holds(&self) -> bool {
        self.difference <= self.tolerance
    }
}

/// Makes inputs at a place.
struct Inputs {
    place: Place,
}

type Outputs = Result<Vec<Vec<f32>>, DeviceFailed>;

fn random(seed: &str, count: usize, bound: f32) -> Vec<f32> {
    let mut random = Random::new(7, seed);
    (0..count).map(|_| half::bf16::from_f32(random.uniform(bound)).to_f32()).collect()
}

/// The column in which each token's sample begins, in a row of samples of these lengths that is filled up to `context`.
fn starts(lengths: &[usize], context: usize) -> Vec<i32> {
    let mut starts = Vec::new();
    for &length in lengths {
        starts.resize(starts.len() + length, starts.len() as i32);
    }
    starts.extend((starts.len() as i32)..context as i32);
    starts
}

fn on_cpu<const D: usize>(shape: [usize; D], values: &[f32]) -> Tensor<D> {
    super::storage::write(super::storage::zeros_tensor(shape), values)
}

/// The optimizer's numbers of a step.
fn adamw(step: i32) -> AdamW {
    AdamW { learning_rate: 0.01, betas: (0.9, 0.999), epsilon: 1e-8, weight_decay: 0.1, step, gradient_scale: 0.5 }
}

impl Inputs {
    /// As activations are.
    fn active<const D: usize>(&self, seed: &str, shape: [usize; D]) -> Tensor<D> {
        self.place.frozen(on_cpu(shape, &random(seed, shape.iter().product(), 1.0)))
    }

    /// As weights that are trained are, and their gradients.
    fn trained<const D: usize>(&self, seed: &str, shape: [usize; D]) -> Tensor<D> {
        self.place.to_train(on_cpu(shape, &random(seed, shape.iter().product(), 1.0)))
    }

    /// In f32.
    fn full<const D: usize>(&self, seed: &str, shape: [usize; D]) -> Tensor<D> {
        self.place.full(on_cpu(shape, &random(seed, shape.iter().product(), 1.0)))
    }

    fn heads(&self, heads: Heads, rows: usize) -> Outputs {
        self.packed_heads(heads, rows, None)
    }

    /// The same with samples of these lengths in each row, whose rest is filled up.
    fn packed_heads(&self, heads: Heads, rows: usize, lengths: Option<&[usize]>) -> Outputs {
        let starts = lengths.map(|lengths| self.place.integers(&starts(lengths, heads.context).repeat(rows)));
        let starts = starts.as_ref();
        let (tokens, width, kv) = (rows * heads.context, heads.heads * heads.head_dim, heads.kv_heads * heads.head_dim);
        let (q, k, v) =
            (self.active("q", [tokens, width]), self.active("k", [tokens, kv]), self.active("v", [tokens, kv]));
        let g = self.active("g", [tokens, width]);
        let (out, lse) = super::attention(&q, &k, &v, starts, heads);
        let mut outputs = vec![fetch(&out)?, fetch(&lse)?];
        let (gq, gk, gv) = super::attention_backward(q, &k, &v, &out, &lse, &g, starts, heads);
        outputs.extend([fetch(&gq)?, fetch(&gk)?, fetch(&gv)?]);
        Ok(outputs)
    }

    /// A random weight as NF4.
    fn nf4(&self, [rows, columns]: [usize; 2], double: bool) -> Result<Packed<Dispatch>, DeviceFailed> {
        let mut encoder = Nf4Encoder::new(rows * columns);
        encoder.push(&random("weight", rows * columns, 1.0)).map_err(|error| DeviceFailed(error.to_string()))?;
        let packed = encoder.finish(double).map_err(|error| DeviceFailed(error.to_string()))?;
        let vector = |values: &[f32]| self.place.full(on_cpu([values.len()], values));
        let codes = self.place.bytes(&packed.codes);
        Ok(match packed.scales {
            Scales::Plain(absmax) => Packed::nf4(&codes, &vector(&absmax)),
            Scales::Double { codes: absmax, scales, offset } => {
                Packed::nf4_double(&codes, &self.place.bytes(&absmax), &vector(&scales), offset)
            }
        })
    }

    /// A random weight as int8.
    fn int8(&self, [rows, columns]: [usize; 2]) -> Result<Packed<Dispatch>, DeviceFailed> {
        let mut encoder = Int8Encoder::new(rows, columns);
        encoder.push(&random("weight", rows * columns, 1.0)).map_err(|error| DeviceFailed(error.to_string()))?;
        let packed = encoder.finish();
        let codes = self.place.bytes(bytemuck::cast_slice(&packed.codes));
        Ok(Packed::int8(&codes, &self.place.full(on_cpu([rows], &packed.scales))))
    }

    fn ids(&self) -> Tensor<1, Int> {
        self.place.integers(&[3, 0, 6, 3, 3, 1, 5, 2])
    }

    fn targets(&self) -> Tensor<1, Int> {
        self.place.integers(&[3, -1, 6, 0, 46, 1, -1, 2])
    }
}

const WIDE: Heads = Heads { context: 150, heads: 4, kv_heads: 2, head_dim: 128, window: None };

/// The operations: what to run, and the tolerance in f32 and in bf16.
type Check = (&'static str, f32, f32, fn(&Inputs) -> Outputs);

const CHECKS: &[Check] = &[
    ("embed", 0.0, 0.0, |at| Ok(vec![fetch(&super::embed(&at.active("table", [7, 40]), &at.ids()))?])),
    ("embed_backward", 1e-6, 1e-6, |at| {
        let grad = super::embed_backward(at.trained("grad", [7, 40]), &at.ids(), &at.active("g", [8, 40]));
        Ok(vec![fetch(&grad)?])
    }),
    ("product NT, NN, TN", 2e-6, 5e-3, |at| {
        let (x, w, g) = (at.active("x", [24, 96]), at.active("w", [64, 96]), at.active("g", [24, 64]));
        let y = product(buffer(&x, 24, 64), &x, &w, Product::NT);
        let gx = product(buffer(&x, 24, 96), &g, &w, Product::NN.times(0.5));
        let gw = product(at.trained("gw", [64, 96]), &g, &x, Product::TN.added());
        let onto = super::product_onto(buffer(&x, 24, 64), &g, &x, &w, Product::NT);
        Ok(vec![fetch(&y)?, fetch(&gx)?, fetch(&gw)?, fetch(&onto)?])
    }),
    ("product of columns", 2e-6, 8e-3, |at| {
        let (x, w, g) = (at.active("x", [24, 96]), at.active("w", [16, 96]), at.active("g", [24, 64]));
        let y = at.active("y", [24, 64]);
        let y = product(y, &x, &w, Product { c_columns: Some((32, 16)), ..Product::NT });
        let how = Product { a_columns: Some((16, 16)), ..Product::NN };
        let gx = product(at.active("gx", [24, 96]), &g, &w, how.added());
        Ok(vec![fetch(&y)?, fetch(&gx)?])
    }),
    ("product of rows", 2e-6, 8e-3, |at| {
        let (x, w, g) = (at.active("x", [24, 96]), at.active("w", [64, 96]), at.active("g", [24, 16]));
        let y = product(buffer(&x, 24, 16), &x, &w, Product { b_rows: Some((32, 16)), ..Product::NT });
        let how = Product { b_rows: Some((48, 16)), ..Product::NN };
        let gx = product(at.active("gx", [24, 96]), &g, &w, how.added());
        let how = Product { c_rows: Some((16, 16)), ..Product::TN };
        let gw = product(at.trained("gw", [64, 96]), &g, &x, how.added());
        Ok(vec![fetch(&y)?, fetch(&gx)?, fetch(&gw)?])
    }),
    ("add, add_bias, add_rows", 1e-6, 5e-3, |at| {
        let x = super::add(at.active("x", [10, 37]), &at.active("y", [10, 37]));
        let biased = super::add_bias(at.active("x", [10, 37]), &at.active("bias", [37]));
        let rows = super::add_rows(at.trained("grad", [37]), &at.active("g", [10, 37]));
        Ok(vec![fetch(&x)?, fetch(&biased)?, fetch(&rows)?])
    }),
    ("rms_norm and gradients", 3e-6, 6e-3, |at| {
        let (x, w, g) = (at.active("x", [9, 72]), at.active("w", [72]), at.active("g", [9, 72]));
        let y = super::rms_norm(&x, &w, 1e-5);
        let gw = super::rms_norm_weight_backward(at.trained("gw", [72]), &g, &x, 1e-5);
        let past = super::rms_norm_backward_past(at.active("g", [9, 72]), &x, &w, &at.active("past", [9, 72]), 1e-5);
        let gx = super::rms_norm_backward(g, &x, &w, 1e-5);
        Ok(vec![fetch(&y)?, fetch(&gx)?, fetch(&past)?, fetch(&gw)?])
    }),
    ("rms_norm of odd rows", 3e-6, 6e-3, |at| {
        let (x, w, g) = (at.active("x", [9, 37]), at.active("w", [37]), at.active("g", [9, 37]));
        Ok(vec![fetch(&super::rms_norm(&x, &w, 1e-5))?, fetch(&super::rms_norm_backward(g, &x, &w, 1e-5))?])
    }),
    ("rotary and its transpose", 2e-6, 6e-3, |at| {
        let (cos, sin) = (at.full("cos", [5, 8]), at.full("sin", [5, 8]));
        let heads = |head_dim| Heads { context: 5, heads: 48 / head_dim, kv_heads: 1, head_dim, window: None };
        let turn =
            |head_dim, inverse| super::rotary(at.active("x", [10, 48]), &cos, &sin, None, heads(head_dim), inverse);
        // The second two heads of 24 elements have 8 that are not rotated.
        let starts = at.place.integers(&starts(&[2, 3], 5).repeat(2));
        let packed = super::rotary(at.active("x", [10, 48]), &cos, &sin, Some(&starts), heads(24), false);
        let turned = [turn(16, false), turn(16, true), turn(24, false), turn(24, true), packed];
        turned.iter().map(fetch).collect()
    }),
    ("attention, heads of 16", 5e-6, 1e-2, |at| {
        at.heads(Heads { context: 37, heads: 6, kv_heads: 2, head_dim: 16, window: None }, 2)
    }),
    ("attention, heads of 64", 5e-6, 1e-2, |at| {
        at.heads(Heads { context: 200, heads: 6, kv_heads: 2, head_dim: 64, window: None }, 2)
    }),
    ("attention, heads of 128", 5e-6, 1e-2, |at| at.heads(WIDE, 2)),
    ("attention, window", 5e-6, 1e-2, |at| at.heads(Heads { window: Some(70), ..WIDE }, 1)),
    ("attention, small window", 5e-6, 1e-2, |at| {
        at.heads(Heads { context: 260, heads: 2, kv_heads: 2, head_dim: 64, window: Some(5) }, 1)
    }),
    ("attention of packed samples, heads of 16", 5e-6, 1e-2, |at| {
        let heads = Heads { context: 37, heads: 6, kv_heads: 2, head_dim: 16, window: None };
        at.packed_heads(heads, 2, Some(&[1, 9, 20, 3]))
    }),
    ("attention of packed samples, heads of 64", 5e-6, 1e-2, |at| {
        let heads = Heads { context: 460, heads: 6, kv_heads: 2, head_dim: 64, window: None };
        at.packed_heads(heads, 2, Some(&[130, 64, 3, 1, 200, 40]))
    }),
    ("attention of packed samples, heads of 128", 5e-6, 1e-2, |at| {
        at.packed_heads(Heads { context: 300, ..WIDE }, 2, Some(&[33, 190, 60]))
    }),
    ("attention of packed samples, window", 5e-6, 1e-2, |at| {
        at.packed_heads(Heads { context: 300, window: Some(40), ..WIDE }, 1, Some(&[33, 190, 60]))
    }),
    ("swiglu and gradients", 3e-6, 6e-3, |at| {
        let (gate, up, g) = (at.active("gate", [11, 45]), at.active("up", [11, 45]), at.active("g", [11, 45]));
        let y = super::swiglu(&gate, &up);
        let over = super::swiglu_over(at.active("gate", [11, 45]), &up);
        let (gg, gu) = super::swiglu_backward(gate, up, &g);
        Ok(vec![fetch(&y)?, fetch(&over)?, fetch(&gg)?, fetch(&gu)?])
    }),
    ("cross_entropy", 3e-6, 2e-2, |at| {
        let (x, head) = (at.active("x", [8, 24]), at.active("head", [47, 24]));
        let alone = super::cross_entropy_loss(&x, &head, &at.targets(), 3, 0.25);
        let (loss, gx, _) = super::cross_entropy(x, &head, None, &at.targets(), 3, 0.25);
        Ok(vec![fetch(&alone)?, fetch(&loss)?, fetch(&gx)?])
    }),
    ("cross_entropy, trained head", 3e-6, 2e-2, |at| {
        let (x, head, grad) = (at.active("x", [8, 24]), at.active("head", [48, 24]), at.trained("grad", [48, 24]));
        let (loss, gx, grad) = super::cross_entropy(x, &head, Some(grad), &at.targets(), 5, 0.25);
        let grad = grad.map_or(Ok(Vec::new()), |grad| fetch(&grad))?;
        Ok(vec![fetch(&loss)?, fetch(&gx)?, grad])
    }),
    ("nf4, plain and double", 1e-6, 4e-3, |at| {
        let (rows, columns) = (40, 136);
        let like = at.active("like", [1, 1]);
        let mut outputs = Vec::new();
        for double in [false, true] {
            for (first, count) in [(0, rows), (7, 9)] {
                let rows_of = RowsOf { first, rows: count, columns };
                outputs.push(fetch(&super::packed_rows(&like, at.nf4([rows, columns], double)?, rows_of))?);
            }
        }
        Ok(outputs)
    }),
    ("int8", 1e-6, 4e-3, |at| {
        let rows_of = RowsOf { first: 3, rows: 5, columns: 40 };
        Ok(vec![fetch(&super::packed_rows(&at.active("like", [1, 1]), at.int8([12, 40])?, rows_of))?])
    }),
    ("packed weights with an adapter", 2e-6, 4e-3, |at| {
        let shape = [70, 192];
        let mut outputs = Vec::new();
        for rank in [8, 16, 32, 40, 64] {
            let (b, a) = (at.active("b", [shape[0], rank]), at.active("a", [rank, shape[1]]));
            for weight in [at.nf4(shape, false)?, at.nf4(shape, true)?, at.int8(shape)?] {
                let rows = RowsOf { first: 3, rows: 67, columns: shape[1] };
                outputs.push(fetch(&super::packed_rows_adapted(weight, &b, &a, 0.25, rows))?);
            }
        }
        Ok(outputs)
    }),
    ("dropout of the same elements", 1e-6, 5e-3, |at| {
        // Some that a vector access does not reach, and a counter beyond 32 bits.
        let mask = Mask { share: 0.3, stream: 0x0123_4567_89ab_cdef, draw: 1 << 33 };
        let x = at.active("x", [11, 37]);
        let added = super::add_dropout(at.active("y", [11, 37]), &x, mask);
        let rare = super::dropout(&x, Mask { share: 0.05, draw: 7, ..mask });
        Ok(vec![fetch(&super::dropout(&x, mask))?, fetch(&rare)?, fetch(&added)?])
    }),
    ("DoRA: norms, magnitudes and gradients", 5e-6, 1e-2, |at| {
        let (w, a, b) = (at.active("w", [72, 40]), at.active("a", [8, 40]), at.active("b", [72, 8]));
        let positive =
            |seed| at.place.full(on_cpu([72], &random(seed, 72, 1.0).iter().map(|x| x + 1.5).collect::<Vec<_>>()));
        let squares = super::row_squares(at.full("squares", [80]), &w, 5);
        let of_rows = super::row_squares(at.place.zeros([72]), &w, 0);
        let inner = product(buffer(&a, 8, 72), &a, &w, Product::NT);
        let gram = product(buffer(&a, 8, 8), &a, &a, Product::NT);
        let inner = product(inner, &gram, &b, Product::NT.times(0.25).added());
        let norms = super::adapted_norms(at.place.zeros([72]), &of_rows, &inner, &b, 0.5);
        let (magnitude, given) = (positive("magnitude"), positive("norms"));
        let scaled = super::to_magnitude(at.active("x", [19, 37]), &magnitude, &given, 20);
        let (z, g) = (at.active("z", [19, 37]), at.active("g", [19, 37]));
        let (grad, gz) = super::to_magnitude_backward(at.full("grad", [72]), z, &g, &magnitude, &given, 20);
        [squares, norms, grad].iter().map(fetch).chain([scaled, gz].iter().map(fetch)).collect()
    }),
    ("sum_of_squares, adamw, sgd", 3e-6, 3e-6, |at| {
        let of = |seed| at.trained(seed, [33, 7]);
        let second =
            at.place.to_train(on_cpu([33, 7], &random("second", 231, 1.0).iter().map(|x| x * x).collect::<Vec<_>>()));
        let sums = super::sum_of_squares(at.place.zeros([3]), &of("grad"), 1);
        let (value, grad, first, second) = super::adamw((of("value"), of("grad"), of("first"), second), adamw(3));
        let (plain, zero) = super::sgd(of("value"), of("grad"), adamw(3));
        Ok(vec![
            fetch(&sums)?,
            fetch(&value)?,
            fetch(&grad)?,
            fetch(&first)?,
            fetch(&second)?,
            fetch(&plain)?,
            fetch(&zero)?,
        ])
    }),
    ("adamw_8bit", 3e-6, 3e-6, |at| {
        // Blocks of 256 and one that is not full. Where two codes are equally near, another rounding may take the other: what is compared
        // is what two steps make of the weight, and the blocks' largest moments.
        let moment = || (at.place.zero_bytes(660), at.place.zeros([3]));
        let (weight, grad) = (at.trained("value", [33, 20]), at.trained("grad", [33, 20]));
        let ((weight, grad), first, second) = super::adamw_8bit((weight, grad), moment(), moment(), adamw(1));
        let mut outputs = vec![fetch(&weight)?, fetch(&grad)?, fetch(&first.1)?, fetch(&second.1)?];
        let ((weight, _), ..) = super::adamw_8bit((weight, at.trained("more", [33, 20])), first, second, adamw(2));
        outputs.push(fetch(&weight)?);
        Ok(outputs)
    }),
    ("adamw of tensors too small for 8 bits", 3e-6, 3e-6, |at| {
        let moments = (at.full("first", [33, 7]), at.place.full(on_cpu([33, 7], &[0.25; 231])));
        let (weight, grad) = (at.trained("value", [33, 7]), at.trained("grad", [33, 7]));
        let (weight, grad, first, second) = super::adamw((weight, grad, moments.0, moments.1), adamw(3));
        Ok(vec![fetch(&weight)?, fetch(&grad)?, fetch(&first)?, fetch(&second)?])
    }),
    ("working_copy", 1e-6, 5e-3, |at| {
        let value = at.full("value", [33, 7]);
        // Where activations are f32 there is no copy.
        let copy = at.place.working_zeros([33, 7]).map(|copy| super::working_copy(copy, &value));
        Ok(vec![fetch(copy.as_ref().unwrap_or(&value))?])
    }),
];

/// What a difference may be where activations are as they are at `place`, from what it may be in f32 and in bf16.
fn tolerance(place: Place, tf32: bool, in_f32: f32, in_bf16: f32) -> f32 {
    match place.active() {
        Format::F32 if !tf32 => in_f32,
        // Where gradients and weights are bf16 too, what is exact elsewhere is rounded once or twice.
        Format::Bf16 if place.trained() == Format::Bf16 => in_bf16.max(1e-2),
        Format::Bf16 => in_bf16,
        // Three bits more of each number, as TF32 has of what goes into a product; what bf16 rounds off is at least half of its tolerance.
        Format::F32 | Format::F16 => (in_bf16 / 4.0).max(in_f32),
    }
}

/// Runs all checks; `tf32` says that products round to it.
///
/// # Errors
/// An operation that failed, with its name.
pub fn all(place: Place, tf32: bool) -> Vec<Result<Compared, (&'static str, DeviceFailed)>> {
    let one = |&(name, in_f32, in_bf16, run): &Check| {
        let failed = |error| (name, error);
        let here = run(&Inputs { place }).map_err(failed)?;
        let plain = run(&Inputs { place: Place::Cpu }).map_err(failed)?;
        let difference = here.iter().zip(&plain).map(|(a, b)| apart(a, b)).fold(0.0, worse);
        Ok(Compared { name, difference, tolerance: tolerance(place, tf32, in_f32, in_bf16) })
    };
    CHECKS.iter().map(one).collect()
}

/// The larger; what is no number is larger than all.
fn worse(a: f32, b: f32) -> f32 {
    if b.is_nan() || a.is_nan() { f32::NAN } else { a.max(b) }
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    let most = b.iter().fold(1e-12_f32, |most, value| most.max(value.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, worse) / most
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows `[tokens, width]` of a matrix, which is read in the middle of a larger one.
    fn part(whole: &[f32], first: usize, tokens: usize, width: usize) -> Tensor<2> {
        on_cpu([tokens, width], &whole[first * width..(first + tokens) * width])
    }

    #[test]
    fn packed_samples_are_as_samples_alone() {
        let lengths = [5, 90, 1, 70];
        for window in [None, Some(7)] {
            let heads = Heads { context: 170, heads: 4, kv_heads: 2, head_dim: 16, window };
            let (width, kv) = (64, 32);
            let [q, g] = ["q", "g"].map(|name| random(name, 170 * width, 1.0));
            let [k, v] = ["k", "v"].map(|name| random(name, 170 * kv, 1.0));
            let table = |name| on_cpu([90, 8], &random(name, 90 * 8, 1.0));
            let (cos, sin) = (table("cos"), table("sin"));
            let run = |first, tokens, starts: Option<&Tensor<1, Int>>| {
                let heads = Heads { context: tokens, ..heads };
                let turn = |x, inverse| super::super::rotary(x, &cos, &sin, starts, heads, inverse);
                let q = turn(part(&q, first, tokens, width), false);
                let k = turn(part(&k, first, tokens, kv), false);
                let (v, g) = (part(&v, first, tokens, kv), part(&g, first, tokens, width));
                let (out, lse) = super::super::attention(&q, &k, &v, starts, heads);
                let (gq, gk, gv) = super::super::attention_backward(q, &k, &v, &out, &lse, &g, starts, heads);
                [out, lse, turn(gq, true), turn(gk, true), gv].map(|tensor| fetch(&tensor).unwrap())
            };
            let starts = super::super::storage::i32_tensor(&starts(&lengths, 170));
            let packed = run(0, 170, Some(&starts));
            let mut first = 0;
            for length in lengths {
                let alone = run(first, length, None);
                for ((packed, alone), width) in packed.iter().zip(&alone).zip([width, 4, width, kv, kv]) {
                    let difference = apart(&packed[first * width..(first + length) * width], alone);
                    assert!(difference < 2e-6, "{length} tokens, window {window:?}: {difference}");
                }
                first += length;
            }
        }
    }

    #[test]
    fn the_cpu_agrees_with_itself() {
        for compared in all(Place::Cpu, false) {
            let compared = compared.unwrap();
            assert!(compared.holds(), "{compared:?}");
        }
    }
}
