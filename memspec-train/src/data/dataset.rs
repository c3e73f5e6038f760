//! The tokens of a data set, compact: one list of ids, one bit a token for the loss.

use super::error::LineProblem;
use super::record::{self, Format, Record};
use super::sample::{self, Tokens};
use super::{DataError, Options, Packing, Padding};
use crate::template::TemplateError;
use crate::tokenizer::Tokenizer;
use rayon::prelude::*;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// A line longer than this is no record.
const MOST_LINE_BYTES: usize = 64 << 20;
/// Lines and bytes that are read before they are tokenized together.
const CHUNK_LINES: usize = 512;
const CHUNK_BYTES: usize = 4 << 20;

/// A tokenized data set.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    ids: Vec<u32>,
    /// A bit a token.
    scored: Vec<u64>,
    /// One past each sample's last token.
    ends: Vec<usize>,
    longest: usize,
    truncated: usize,
    context: usize,
}

/// One sample of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample<'a> {
    /// The tokens.
    pub ids: &'a [u32],
    /// Whether the loss counts the prediction *of* this token. Never of use for the first one, which follows nothing.
    pub scored: Vec<bool>,
}

/// Rows of samples, filled up to one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Rows.
    pub rows: usize,
    /// Tokens of a row, padding included.
    pub columns: usize,
    /// Row-major.
    pub ids: Vec<u32>,
    /// Row-major; false on padding, and on the first token of a sample, which follows another sample if anything.
    pub scored: Vec<bool>,
    /// Row-major: the column in which the token's sample begins. A token of padding is a sample of its own.
    pub starts: Vec<u32>,
    /// Tokens of each row, without padding.
    pub lengths: Vec<usize>,
    /// Tokens of the longest sample.
    pub longest: usize,
}

impl Batch {
    /// Tokens whose prediction the loss counts.
    pub fn scored_tokens(&self) -> usize {
        self.scored.iter().filter(|&&scored| scored).count()
    }
}

impl Dataset {
    /// Reads and tokenizes a JSONL file. Memory stays near the tokens' own four bytes each: lines are read in pieces.
    pub fn load(path: &Path, tokenizer: &Tokenizer, options: &Options<'_>) -> Result<Self, DataError> {
        let mut lines = Lines::open(path)?;
        let mut dataset = Self { context: options.context, ..Self::default() };
        let mut format = options.format;
        loop {
            // the first alone: what is wrong with every line is said at once
            let chunk = lines.chunk(if dataset.ends.is_empty() { 1 } else { CHUNK_LINES })?;
            let Some((first, text)) = chunk.first() else {
                break;
            };
            if format == Format::Auto || dataset.ends.is_empty() {
                format = record::object(text)
                    .and_then(|record| record::detect(format, &record))
                    .map_err(|problem| lines.at(*first, problem))?;
                if format == Format::Chat && options.template.is_none() {
                    return Err(TemplateError::None { model: format!("{tokenizer:?}") }.into());
                }
            }
            let tokens: Vec<Result<Tokens, LineProblem>> = chunk
                .par_iter()
                .map(|(_, line)| {
                    let record: Record = record::read(format, &record::object(line)?)?;
                    sample::tokenize(record, tokenizer, options)
                })
                .collect();
            for ((line, _), tokens) in chunk.iter().zip(tokens) {
                dataset.push(&tokens.map_err(|problem| lines.at(*line, problem))?);
            }
        }
        if dataset.ends.is_empty() {
            return Err(DataError::Empty { path: path.to_owned() });
        }
        dataset.ids.shrink_to_fit();
        dataset.scored.shrink_to_fit();
        dataset.ends.shrink_to_fit();
        Ok(dataset)
    }

    /// Samples.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no sample; never so after [`Dataset::load`].
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Tokens of the longest sample.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Tokens of all samples.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// The highest token number.
    pub fn highest_id(&self) -> u32 {
        self.ids.iter().copied().max().unwrap_or(0)
    }

    /// A number that other tokens, other ends of samples or another choice of scored tokens change (FNV-1a).
    pub fn fingerprint(&self) -> u64 {
        let ids = self.ids.iter().map(|&id| u64::from(id));
        let ends = self.ends.iter().map(|&end| end as u64);
        let all = ids.chain(ends).chain(self.scored.iter().copied());
        all.fold(0xcbf2_9ce4_8422_2325, |hash, word| {
            let bytes = word.to_le_bytes();
            bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        })
    }

    /// Samples that were cut to the context.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// A sample.
    ///
    /// # Panics
    /// When `index` is not below [`Dataset::len`].
    pub fn sample(&self, index: usize) -> Sample<'_> {
        let (start, end) = self.range(index);
        let bit = |at: usize| self.scored[at / 64] >> (at % 64) & 1 == 1;
        Sample { ids: &self.ids[start..end], scored: (start..end).map(bit).collect() }
    }

    /// The samples of each row as one batch; `pad` fills short rows (see [`Tokenizer::pad`]).
    ///
    /// # Panics
    /// When an index is not below [`Dataset::len`].
    pub fn batch(&self, samples: &[Vec<usize>], padding: Padding, pad: u32) -> Batch {
        let lengths: Vec<usize> = samples.iter().map(|row| self.row_length(row)).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let columns = match padding {
            Padding::Longest => longest,
            Padding::Max => self.context.max(longest),
        };
        let mut ids = Vec::with_capacity(samples.len() * columns);
        let mut scored = Vec::with_capacity(samples.len() * columns);
        let mut starts = Vec::with_capacity(samples.len() * columns);
        for (row, samples) in samples.iter().enumerate() {
            for &index in samples {
                let (sample, first) = (self.sample(index), ids.len());
                ids.extend_from_slice(sample.ids);
                scored.extend(sample.scored);
                scored[first] = false;
                starts.resize(ids.len(), (first - row * columns) as u32);
            }
            starts.extend(((ids.len() - row * columns)..columns).map(|column| column as u32));
            ids.resize((row + 1) * columns, pad);
            scored.resize((row + 1) * columns, false);
        }
        let longest = samples.iter().flatten().map(|&index| self.sample_length(index)).max().unwrap_or(0);
        Batch { rows: samples.len(), columns, ids, scored, starts, lengths, longest }
    }

    /// Tokens of some samples together.
    ///
    /// # Panics
    /// When an index is not below [`Dataset::len`].
    pub fn row_length(&self, samples: &[usize]) -> usize {
        samples.iter().map(|&index| self.sample_length(index)).sum()
    }

    /// How the samples are packed into rows of `context` tokens.
    pub fn packing(&self, context: usize) -> Packing {
        Packing { lengths: self.lengths(), context: context as u32 }
    }

    /// Tokens of each sample.
    pub fn lengths(&self) -> Arc<[u32]> {
        (0..self.len()).map(|index| self.sample_length(index) as u32).collect()
    }

    /// Tokens of a sample.
    ///
    /// # Panics
    /// When `index` is not below [`Dataset::len`].
    pub fn sample_length(&self, index: usize) -> usize {
        let (start, end) = self.range(index);
        end - start
    }

    fn range(&self, index: usize) -> (usize, usize) {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        (start, self.ends[index])
    }

    fn push(&mut self, tokens: &Tokens) {
        for &scored in &tokens.scored {
            let at = self.ids.len();
            // ids and bits grow together
            if at.is_multiple_of(64) {
                self.scored.push(0);
            }
            if let Some(word) = self.scored.last_mut() {
                *word |= u64::from(scored) << (at % 64);
            }
            self.ids.push(tokens.ids[at - self.ends.last().copied().unwrap_or(0)]);
        }
        self.ends.push(self.ids.len());
        self.longest = self.longest.max(tokens.ids.len());
        self.truncated += usize::from(tokens.truncated);
    }
}

/// The lines of a file that hold something, some at a time.
struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    number: usize,
}

impl<'a> Lines<'a> {
    fn open(path: &'a Path) -> Result<Self, DataError> {
        let not_lines = |found, help| DataError::NotLines { path: path.to_owned(), found, help };
        let io = |source| DataError::Io { path: path.to_owned(), source };
        if path.is_dir() {
            return Err(not_lines("a folder, not a file", " and name that file"));
        }
        let mut reader = BufReader::new(File::open(path).map_err(io)?);
        let start = reader.fill_buf().map_err(io)?;
        if start.starts_with(b"PAR1") {
            return Err(not_lines(
                "a Parquet file",
                ", for example in Python: pandas.read_parquet(p).to_json(q, orient=\"records\", lines=True)",
            ));
        }
        let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
        if text.trim_ascii_start().starts_with(b"[") {
            return Err(not_lines("a JSON list", ", for example with jq: jq -c '.[]' list.json > lines.jsonl"));
        }
        Ok(Self { path, reader, number: 0 })
    }

    fn at(&self, line: usize, problem: LineProblem) -> DataError {
        DataError::Line { path: self.path.to_owned(), line, problem: Box::new(problem) }
    }

    /// The next lines with their numbers, at most so many; none at the end of the file.
    fn chunk(&mut self, most: usize) -> Result<Vec<(usize, String)>, DataError> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        while lines.len() < most && bytes < CHUNK_BYTES {
            let mut line = Vec::new();
            let read = (&mut self.reader)
                .take(MOST_LINE_BYTES as u64 + 1)
                .read_until(b'\n', &mut line)
                .map_err(|source| DataError::Io { path: self.path.to_owned(), source })?;
            if read == 0 {
                break;
            }
            self.number += 1;
            if read > MOST_LINE_BYTES {
                return Err(self.at(self.number, LineProblem::TooLong { most: MOST_LINE_BYTES }));
            }
            let mut line = String::from_utf8(line)
                .map_err(|error| self.at(self.number, LineProblem::NotUtf8 { at: error.utf8_error().valid_up_to() }))?;
            if self.number == 1 && line.starts_with('\u{feff}') {
                line.remove(0);
            }
            if line.trim().is_empty() {
                continue;
            }
            bytes += line.len();
            lines.push((self.number, line));
        }
        Ok(lines)
    }
}
