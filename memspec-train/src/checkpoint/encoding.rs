//! How numbers are stored in a file of weights, and how they become `f32`.
//!
//! The block formats are ggml's: a block of 32 or 256 weights shares its scales. Layouts as in ggml's `ggml-common.h`;
//! the values are checked against the `gguf` package's reference (see `tests/fixtures/ggml_blocks.py`).

use half::{bf16, f16};
use std::fmt;

/// How a tensor's numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Encoding {
    F32,
    F16,
    Bf16,
    F64,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
    /// Bytes that are no weights to this crate: integers, booleans, another program's quantized values.
    Other(&'static str),
}

impl Encoding {
    /// Elements that are stored together; 1 for plain numbers.
    pub fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 | Self::F64 | Self::Other(_) => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of one block; `None` for what cannot be read as numbers.
    pub fn block_bytes(self) -> Option<usize> {
        Some(match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F64 => 8,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
            Self::Other(_) => return None,
        })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F64 => "F64",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Other(name) => name,
        })
    }
}

/// Decodes whole blocks; `bytes` and `out` hold the same number of them.
pub(super) fn decode(encoding: Encoding, bytes: &[u8], out: &mut [f32]) {
    match encoding {
        Encoding::F32 => numbers(bytes, out, f32::from_le_bytes),
        Encoding::F16 => numbers(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        Encoding::Bf16 => numbers(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        Encoding::F64 => numbers(bytes, out, |b| f64::from_le_bytes(b) as f32),
        Encoding::Q4_0 => blocks::<18, 32>(bytes, out, q4_0),
        Encoding::Q4_1 => blocks::<20, 32>(bytes, out, q4_1),
        Encoding::Q5_0 => blocks::<22, 32>(bytes, out, q5_0),
        Encoding::Q5_1 => blocks::<24, 32>(bytes, out, q5_1),
        Encoding::Q8_0 => blocks::<34, 32>(bytes, out, q8_0),
        Encoding::Q4K => blocks::<144, 256>(bytes, out, q4_k),
        Encoding::Q5K => blocks::<176, 256>(bytes, out, q5_k),
        Encoding::Q6K => blocks::<210, 256>(bytes, out, q6_k),
        // never asked for: reading such a tensor is an error before this
        Encoding::Other(_) => out.fill(f32::NAN),
    }
}

fn numbers<const N: usize>(bytes: &[u8], out: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    let (chunks, _) = bytes.as_chunks::<N>();
    for (chunk, value) in chunks.iter().zip(out) {
        *value = number(*chunk);
    }
}

fn blocks<const BYTES: usize, const N: usize>(
    bytes: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; N]),
) {
    let (stored, _) = bytes.as_chunks::<BYTES>();
    let (values, _) = out.as_chunks_mut::<N>();
    for (stored, values) in stored.iter().zip(values) {
        block(stored, values);
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for i in 0..16 {
        let byte = block[2 + i];
        out[i] = (f32::from(byte & 15) - 8.0) * scale;
        out[i + 16] = (f32::from(byte >> 4) - 8.0) * scale;
    }
}

fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, low) = (half_at(block, 0), half_at(block, 2));
    for i in 0..16 {
        let byte = block[4 + i];
        out[i] = f32::from(byte & 15) * scale + low;
        out[i + 16] = f32::from(byte >> 4) * scale + low;
    }
}

/// The fifth bits of 32 weights, one bit each.
fn fifth_bits(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

fn fifth_bit(bits: u32, i: usize) -> u8 {
    ((bits >> i & 1) as u8) << 4
}

fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let (scale, high) = (half_at(block, 0), fifth_bits(block, 2));
    for i in 0..16 {
        let byte = block[6 + i];
        out[i] = (f32::from(byte & 15 | fifth_bit(high, i)) - 16.0) * scale;
        out[i + 16] = (f32::from(byte >> 4 | fifth_bit(high, i + 16)) - 16.0) * scale;
    }
}

fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (scale, low) = (half_at(block, 0), half_at(block, 2));
    let high = fifth_bits(block, 4);
    for i in 0..16 {
        let byte = block[8 + i];
        out[i] = f32::from(byte & 15 | fifth_bit(high, i)) * scale + low;
        out[i + 16] = f32::from(byte >> 4 | fifth_bit(high, i + 16)) * scale + low;
    }
}

fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for i in 0..32 {
        out[i] = f32::from(block[2 + i] as i8) * scale;
    }
}

/// Scale and minimum of the eight groups of 32 in a block of the K formats: 6 bits each, packed in 12 bytes.
fn k_scales(packed: &[u8]) -> [(f32, f32); 8] {
    std::array::from_fn(|j| {
        let (scale, low) = if j < 4 {
            (packed[j] & 63, packed[j + 4] & 63)
        } else {
            (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
        };
        (f32::from(scale), f32::from(low))
    })
}

fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (scale, low) = (half_at(block, 0), half_at(block, 2));
    let groups = k_scales(&block[4..16]);
    for (j, (group_scale, group_low)) in groups.into_iter().enumerate() {
        let (d, m) = (scale * group_scale, low * group_low);
        // groups 2k and 2k + 1 share their bytes: low nibbles, high nibbles
        let shift = 4 * (j % 2);
        for i in 0..32 {
            let code = block[16 + 32 * (j / 2) + i] >> shift & 15;
            out[32 * j + i] = d * f32::from(code) - m;
        }
    }
}

fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (scale, low) = (half_at(block, 0), half_at(block, 2));
    let groups = k_scales(&block[4..16]);
    for (j, (group_scale, group_low)) in groups.into_iter().enumerate() {
        let (d, m) = (scale * group_scale, low * group_low);
        let shift = 4 * (j % 2);
        for i in 0..32 {
            let high = (block[16 + i] >> j & 1) << 4;
            let code = block[48 + 32 * (j / 2) + i] >> shift & 15 | high;
            out[32 * j + i] = d * f32::from(code) - m;
        }
    }
}

fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let (lows, highs, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let scale = half_at(block, 208);
    for (i, value) in out.iter_mut().enumerate() {
        // halves of 128; in a half, quarter q of 32: nibble q / 2 of byte 32 (q % 2) + l, bits 2q of the high byte l
        let (half, quarter, l) = (i / 128, i % 128 / 32, i % 32);
        let low = lows[64 * half + 32 * (quarter % 2) + l] >> (4 * (quarter / 2)) & 15;
        let high = highs[32 * half + l] >> (2 * quarter) & 3;
        let code = f32::from(low | high << 4) - 32.0;
        *value = scale * f32::from(scales[i / 16] as i8) * code;
    }
}
