//! Metadata values. Arrays are kept flat, so that a vocabulary of 150 000 tokens is two allocations.

use std::io::{Read, Seek};

use super::GgufError;
use super::reader::Reader;

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the types")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array of values of one type.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the types")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    Strings(Strings),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

/// Strings in one piece of text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strings {
    text: String,
    ends: Vec<usize>,
}

impl Strings {
    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The string of this index.
    pub fn get(&self, index: usize) -> Option<&str> {
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..*self.ends.get(index)?)
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|i| self.get(i))
    }
}

impl Value {
    /// The value as a number that is whole and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U8(v) => Some(v.into()),
            Value::U16(v) => Some(v.into()),
            Value::U32(v) => Some(v.into()),
            Value::U64(v) => Some(v),
            Value::I8(v) => v.try_into().ok(),
            Value::I16(v) => v.try_into().ok(),
            Value::I32(v) => v.try_into().ok(),
            Value::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// The value as a float.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            // by way of its shortest decimal, so that 1e-5 stays 1e-5
            Value::F32(v) => v.to_string().parse().ok(),
            Value::F64(v) => Some(v),
            _ => None,
        }
    }

    /// The value as a truth.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(v) = *self { Some(v) } else { None }
    }

    /// The value as text.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(v) = self { Some(v) } else { None }
    }

    /// The value as an array of strings.
    pub fn as_strings(&self) -> Option<&Strings> {
        if let Value::Array(Array::Strings(v)) = self { Some(v) } else { None }
    }
}

/// Reads a value with its type in front. An array of arrays is refused, as ggml does.
pub(super) fn read<R: Read + Seek>(reader: &mut Reader<R>, key: &str) -> Result<Value, GgufError> {
    const WHAT: &str = "a metadata value";
    Ok(match reader.u32("a metadata value's type")? {
        0 => Value::U8(reader.bytes(WHAT).map(u8::from_le_bytes)?),
        1 => Value::I8(reader.bytes(WHAT).map(i8::from_le_bytes)?),
        2 => Value::U16(reader.bytes(WHAT).map(u16::from_le_bytes)?),
        3 => Value::I16(reader.bytes(WHAT).map(i16::from_le_bytes)?),
        4 => Value::U32(reader.bytes(WHAT).map(u32::from_le_bytes)?),
        5 => Value::I32(reader.bytes(WHAT).map(i32::from_le_bytes)?),
        6 => Value::F32(reader.bytes(WHAT).map(f32::from_le_bytes)?),
        7 => Value::Bool(reader.bytes::<1>(WHAT)? != [0]),
        8 => Value::String(reader.string(WHAT)?),
        9 => Value::Array(array(reader, key)?),
        10 => Value::U64(reader.bytes(WHAT).map(u64::from_le_bytes)?),
        11 => Value::I64(reader.bytes(WHAT).map(i64::from_le_bytes)?),
        12 => Value::F64(reader.bytes(WHAT).map(f64::from_le_bytes)?),
        id => {
            return Err(GgufError::ValueType { key: key.to_owned(), id });
        }
    })
}

fn array<R: Read + Seek>(reader: &mut Reader<R>, key: &str) -> Result<Array, GgufError> {
    let id = reader.u32("an array's type")?;
    let count = reader.u64("an array's length")?;
    Ok(match id {
        0 => Array::U8(numbers(reader, count, u8::from_le_bytes)?),
        1 => Array::I8(numbers(reader, count, i8::from_le_bytes)?),
        2 => Array::U16(numbers(reader, count, u16::from_le_bytes)?),
        3 => Array::I16(numbers(reader, count, i16::from_le_bytes)?),
        4 => Array::U32(numbers(reader, count, u32::from_le_bytes)?),
        5 => Array::I32(numbers(reader, count, i32::from_le_bytes)?),
        6 => Array::F32(numbers(reader, count, f32::from_le_bytes)?),
        7 => Array::Bool(numbers(reader, count, |b: [u8; 1]| b != [0])?),
        8 => Array::Strings(strings(reader, count)?),
        10 => Array::U64(numbers(reader, count, u64::from_le_bytes)?),
        11 => Array::I64(numbers(reader, count, i64::from_le_bytes)?),
        12 => Array::F64(numbers(reader, count, f64::from_le_bytes)?),
        id => {
            return Err(GgufError::ValueType { key: format!("{key}[]"), id });
        }
    })
}

fn numbers<R: Read + Seek, T, const N: usize>(
    reader: &mut Reader<R>,
    count: u64,
    from: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, GgufError> {
    reader.room("an array", count, N as u64)?;
    (0..count).map(|_| reader.bytes::<N>("an array").map(&from)).collect()
}

fn strings<R: Read + Seek>(reader: &mut Reader<R>, count: u64) -> Result<Strings, GgufError> {
    const WHAT: &str = "an array of strings";
    reader.room(WHAT, count, 8)?;
    let at = reader.position();
    let mut text = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..count {
        reader.append(WHAT, &mut text)?;
        ends.push(text.len());
    }
    let text = String::from_utf8(text).map_err(|_| GgufError::NotText { what: WHAT, at })?;
    // the whole may be UTF-8 while a character is split between two strings
    if ends.iter().any(|end| !text.is_char_boundary(*end)) {
        return Err(GgufError::NotText { what: WHAT, at });
    }
    Ok(Strings { text, ends })
}
