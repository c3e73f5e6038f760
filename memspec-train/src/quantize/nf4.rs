//! NF4 in bitsandbytes' layout: 4-bit codes of a normal distribution's quantiles, one scale to 64 weights.
//!
//! The weight counts as one flat row-major list, cut into blocks of [`BLOCK`]. Two codes share a byte, the earlier one in the
//! high nibble. A block's scale is its largest magnitude ("absmax"), an `f32`, or with double quantization 8 bits plus one
//! `f32` to 256 of them ([`AbsMax::Double`]).

use super::dynamic_map;
use super::{NotFinite, largest};

/// Weights to one scale.
pub const BLOCK: usize = 64;
/// Scales to one second-level scale under double quantization.
pub const SCALE_BLOCK: usize = 256;

/// What the sixteen codes stand for.
pub const CODE: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Both weights of each byte.
static PAIRS: [[f32; 2]; 256] = {
    let mut pairs = [[0.0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [CODE[byte >> 4], CODE[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The blocks' scales, as they are kept.
#[derive(Debug, Clone, Copy)]
pub enum AbsMax<'a> {
    /// One number a block.
    Plain(&'a [f32]),
    /// Quantized themselves: block `b` has the scale `map[codes[b]] * scales[b / 256] + offset`.
    Double {
        /// One code a block.
        codes: &'a [u8],
        /// One number to 256 blocks.
        scales: &'a [f32],
        /// The mean of all scales.
        offset: f32,
        /// What the codes stand for: [`dynamic_map::SIGNED`].
        map: &'a [f32; 256],
    },
}

impl AbsMax<'_> {
    /// The scale of a block.
    #[inline]
    pub fn get(&self, block: usize) -> f32 {
        match *self {
            Self::Plain(scales) => scales[block],
            Self::Double { codes, scales, offset, map } => {
                map[usize::from(codes[block])] * scales[block / SCALE_BLOCK] + offset
            }
        }
    }
}

/// Decodes weights from `first_element` on, as many as fit `out`. Fastest from a multiple of 64 on.
///
/// # Panics
/// When `codes` or `absmax` end before the range does.
pub fn decode(codes: &[u8], absmax: AbsMax<'_>, first_element: usize, out: &mut [f32]) {
    let lead = first_element.next_multiple_of(BLOCK).min(first_element + out.len()) - first_element;
    let (head, out) = out.split_at_mut(lead);
    decode_singly(codes, absmax, first_element, head);

    let first = first_element + lead;
    let first_block = first / BLOCK;
    let (blocks, tail) = out.as_chunks_mut::<BLOCK>();
    let tail_first = first + blocks.len() * BLOCK;
    if !blocks.is_empty() {
        let (bytes, _) = codes[first_block * (BLOCK / 2)..].as_chunks::<{ BLOCK / 2 }>();
        let bytes = &bytes[..blocks.len()];
        for (i, (bytes, block)) in bytes.iter().zip(blocks).enumerate() {
            decode_block(bytes, absmax.get(first_block + i), block);
        }
    }
    decode_singly(codes, absmax, tail_first, tail);
}

#[inline]
fn decode_block(bytes: &[u8; BLOCK / 2], scale: f32, out: &mut [f32; BLOCK]) {
    let (pairs, _) = out.as_chunks_mut::<2>();
    for (pair, &byte) in pairs.iter_mut().zip(bytes) {
        let [high, low] = PAIRS[usize::from(byte)];
        *pair = [high * scale, low * scale];
    }
}

fn decode_singly(codes: &[u8], absmax: AbsMax<'_>, first: usize, out: &mut [f32]) {
    for (i, value) in out.iter_mut().enumerate() {
        let element = first + i;
        *value = PAIRS[usize::from(codes[element / 2])][element % 2] * absmax.get(element / BLOCK);
    }
}

/// A quantized weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Nf4 {
    /// Weights in it.
    pub elements: usize,
    /// Two weights a byte; the last nibble is zero's code when their number is odd.
    pub codes: Vec<u8>,
    /// The scales.
    pub scales: Scales,
}

/// The owned form of [`AbsMax`].
#[derive(Debug, Clone, PartialEq)]
pub enum Scales {
    /// One `f32` a block.
    Plain(Vec<f32>),
    /// See [`AbsMax::Double`]; the map is [`dynamic_map::SIGNED`].
    Double {
        /// One code a block.
        codes: Vec<u8>,
        /// One number to 256 blocks.
        scales: Vec<f32>,
        /// The mean of all scales.
        offset: f32,
    },
}

impl Scales {
    /// Double quantization, as bitsandbytes does it: the mean off, then 8 bits of the dynamic map, 256 to a scale.
    pub fn double(absmax: &[f32]) -> Self {
        let sum: f64 = absmax.iter().map(|&scale| f64::from(scale)).sum();
        let offset = (sum / absmax.len().max(1) as f64) as f32;
        let mut codes = Vec::with_capacity(absmax.len());
        let mut scales = Vec::with_capacity(absmax.len().div_ceil(SCALE_BLOCK));
        for block in absmax.chunks(SCALE_BLOCK) {
            let most = block.iter().fold(0.0_f32, |most, scale| most.max((scale - offset).abs()));
            scales.push(most);
            let reciprocal = 1.0 / most.max(1e-38);
            codes.extend(block.iter().map(|scale| {
                dynamic_map::nearest(&dynamic_map::SIGNED, ((scale - offset) * reciprocal).clamp(-1.0, 1.0))
            }));
        }
        Self::Double { codes, scales, offset }
    }

    /// The form that [`decode`] takes.
    pub fn as_absmax(&self) -> AbsMax<'_> {
        match self {
            Self::Plain(scales) => AbsMax::Plain(scales),
            Self::Double { codes, scales, offset } => {
                AbsMax::Double { codes, scales, offset: *offset, map: &dynamic_map::SIGNED }
            }
        }
    }

    /// Bytes that the scales take.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Plain(scales) => 4 * scales.len(),
            Self::Double { codes, scales, .. } => codes.len() + 4 * scales.len() + 4,
        }
    }
}

impl Nf4 {
    /// Decodes weights from `first_element` on, as many as fit `out`.
    ///
    /// # Panics
    /// When the weight has fewer.
    pub fn decode_range(&self, first_element: usize, out: &mut [f32]) {
        decode(&self.codes, self.scales.as_absmax(), first_element, out);
    }
}

/// Quantizes a weight that comes in slices of any length, in row-major order.
#[derive(Debug)]
pub struct Nf4Encoder {
    codes: Vec<u8>,
    absmax: Vec<f32>,
    /// The block that is not full yet.
    pending: [f32; BLOCK],
    pending_len: usize,
    elements: usize,
}

impl Nf4Encoder {
    /// For a weight of `elements` elements; the room is reserved at once and exactly.
    pub fn new(elements: usize) -> Self {
        Self {
            codes: Vec::with_capacity(elements.div_ceil(2)),
            absmax: Vec::with_capacity(elements.div_ceil(BLOCK)),
            pending: [0.0; BLOCK],
            pending_len: 0,
            elements: 0,
        }
    }

    /// The next elements.
    pub fn push(&mut self, mut values: &[f32]) -> Result<(), NotFinite> {
        if self.pending_len > 0 {
            let piece = values.len().min(BLOCK - self.pending_len);
            self.pending[self.pending_len..self.pending_len + piece].copy_from_slice(&values[..piece]);
            self.pending_len += piece;
            values = &values[piece..];
            if self.pending_len < BLOCK {
                return Ok(());
            }
            let block = self.pending;
            self.block(&block)?;
            self.pending_len = 0;
        }
        let (blocks, rest) = values.as_chunks::<BLOCK>();
        for block in blocks {
            self.block(block)?;
        }
        self.pending[..rest.len()].copy_from_slice(rest);
        self.pending_len = rest.len();
        Ok(())
    }

    /// The quantized weight. `double`: quantize the scales too.
    pub fn finish(mut self, double: bool) -> Result<Nf4, NotFinite> {
        if self.pending_len > 0 {
            let (block, length) = (self.pending, self.pending_len);
            self.block(&block[..length])?;
        }
        let scales = match double {
            true => Scales::double(&self.absmax),
            false => Scales::Plain(self.absmax),
        };
        Ok(Nf4 { elements: self.elements, codes: self.codes, scales })
    }

    fn block(&mut self, values: &[f32]) -> Result<(), NotFinite> {
        let most = largest(values, self.elements)?;
        // a reciprocal that overflows (denormal scale) would make infinities: such weights are zero for every purpose
        let reciprocal = 1.0 / most;
        let reciprocal = if reciprocal.is_finite() { reciprocal } else { 0.0 };
        self.absmax.push(most);
        let (pairs, odd) = values.as_chunks::<2>();
        self.codes.extend(pairs.iter().map(|[high, low]| code(high * reciprocal) << 4 | code(low * reciprocal)));
        if let [last] = odd {
            self.codes.push(code(last * reciprocal) << 4 | code(0.0));
        }
        self.elements += values.len();
        Ok(())
    }
}

/// Halfway between neighbouring codes' values, as bitsandbytes rounds them.
const BETWEEN: [f32; 15] = [
    -0.848_096_4,
    -0.610_632_9,
    -0.459_995_27,
    -0.339_679_43,
    -0.234_607_41,
    -0.137_911_73,
    -0.045_525_018,
    0.039_790_15,
    0.120_255_25,
    0.203_521_25,
    0.292_013_77,
    0.389_312_54,
    0.501_663_4,
    0.642_786_9,
    0.861_478_4,
];

/// The code nearest to a value of -1 to 1: how many of the midpoints lie below it.
#[inline]
fn code(value: f32) -> u8 {
    BETWEEN.iter().map(|&between| u8::from(value > between)).sum()
}
