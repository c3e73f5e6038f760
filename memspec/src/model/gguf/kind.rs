//! ggml's ways of storing a tensor's elements.

macro_rules! kinds {
    ($($id:literal $name:ident $size:literal $bytes:literal $doc:literal)*) => {
        /// How a tensor's elements are stored: in blocks of some elements that take some bytes.
        ///
        /// Numbers and sizes are those of ggml's `enum ggml_type` and `type_traits` (`ggml.h`, `ggml-common.h`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum GgmlType { $(#[doc = $doc] $name),* }

        impl GgmlType {
            /// Every type that is known.
            pub const ALL: &[GgmlType] = &[$(GgmlType::$name),*];

            /// The type of ggml's number.
            pub fn from_id(id: u32) -> Option<GgmlType> {
                match id { $($id => Some(GgmlType::$name),)* _ => None }
            }

            /// ggml's number.
            pub fn id(self) -> u32 {
                match self { $(GgmlType::$name => $id),* }
            }

            /// Elements of a block.
            pub fn block_size(self) -> u64 {
                match self { $(GgmlType::$name => $size),* }
            }

            /// Bytes of a block.
            pub fn block_bytes(self) -> u64 {
                match self { $(GgmlType::$name => $bytes),* }
            }
        }
    };
}

kinds! {
    0 F32 1 4 "32 bit float."
    1 F16 1 2 "IEEE half precision."
    2 Q4_0 32 18 "4 bit with a scale."
    3 Q4_1 32 20 "4 bit with scale and minimum."
    6 Q5_0 32 22 "5 bit with a scale."
    7 Q5_1 32 24 "5 bit with scale and minimum."
    8 Q8_0 32 34 "8 bit with a scale."
    9 Q8_1 32 36 "8 bit with scale and sum."
    10 Q2K 256 84 "2 bit k-quant."
    11 Q3K 256 110 "3 bit k-quant."
    12 Q4K 256 144 "4 bit k-quant."
    13 Q5K 256 176 "5 bit k-quant."
    14 Q6K 256 210 "6 bit k-quant."
    15 Q8K 256 292 "8 bit k-quant."
    16 Iq2Xxs 256 66 "2.06 bit i-quant."
    17 Iq2Xs 256 74 "2.31 bit i-quant."
    18 Iq3Xxs 256 98 "3.06 bit i-quant."
    19 Iq1S 256 50 "1.56 bit i-quant."
    20 Iq4Nl 32 18 "4.5 bit i-quant, non-linear."
    21 Iq3S 256 110 "3.44 bit i-quant."
    22 Iq2S 256 82 "2.5 bit i-quant."
    23 Iq4Xs 256 136 "4.25 bit i-quant."
    24 I8 1 1 "8 bit integer."
    25 I16 1 2 "16 bit integer."
    26 I32 1 4 "32 bit integer."
    27 I64 1 8 "64 bit integer."
    28 F64 1 8 "64 bit float."
    29 Iq1M 256 56 "1.75 bit i-quant."
    30 BF16 1 2 "Brain float."
    34 Tq1_0 256 54 "Ternary, 1.69 bit."
    35 Tq2_0 256 66 "Ternary, 2.06 bit."
    39 Mxfp4 32 17 "4 bit float with a shared exponent."
}
