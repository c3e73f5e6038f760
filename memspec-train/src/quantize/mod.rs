//! q
pub mod nf4 { #[derive(Clone,Copy)] pub enum AbsMax<'a> { Plain(&'a [f32]), Double{codes:&'a [u8], scales:&'a [f32], offset:f32, map:&'a [f32;256]} } pub fn decode(_:&[u8],_:AbsMax<'_>,_:usize,_:&mut [f32]){} pub fn dynamic_map()->&'static [f32;256]{unimplemented!()} }
pub mod int8 { pub fn decode(_:&[u8],_:&[f32],_:usize,_:usize,_:&mut [f32]){} }
