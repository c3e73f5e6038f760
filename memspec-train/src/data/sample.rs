//! A record to tokens, and which of them the loss counts.
//!
//! A conversation is tokenized as one text, so that training sees the tokens that serving sees. Where an assistant's words
//! begin and end in that text is found by rendering the conversation's beginnings: up to the turn with the generation prompt,
//! and up to the turn itself.

use super::error::LineProblem;
use super::record::Record;
use super::{LossOn, Options};
use crate::template::{ChatTemplate, Message};
use crate::tokenizer::Tokenizer;
use std::ops::Range;

/// Tokens, and whether each is one that the model shall learn to say.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Tokens {
    pub(super) ids: Vec<u32>,
    pub(super) scored: Vec<bool>,
    /// Whether tokens beyond the context were dropped.
    pub(super) truncated: bool,
}

pub(super) fn tokenize(record: Record, tokenizer: &Tokenizer, options: &Options<'_>) -> Result<Tokens, LineProblem> {
    let mut tokens = match (record, options.template) {
        (Record::Text(text), _) => plain("", &text, tokenizer, LossOn::All)?,
        (Record::Chat(messages), Some(template)) => chat(&messages, template, tokenizer, options.loss_on)?,
        (Record::Instruction { prompt, answer }, Some(template)) => {
            let messages = [Message::new("user", prompt), Message::new("assistant", answer)];
            chat(&messages, template, tokenizer, options.loss_on)?
        }
        (Record::Instruction { prompt, answer }, None) => plain(&prompt, &answer, tokenizer, options.loss_on)?,
        // the caller asks for a template before it reads such records
        (Record::Chat(_), None) => Tokens::default(),
    };
    let all = tokens.ids.len();
    if all < 2 {
        return Err(LineProblem::NoTokens);
    }
    tokens.truncated = all > options.context;
    tokens.ids.truncate(options.context);
    tokens.scored.truncate(options.context);
    // the first token follows nothing: it is never predicted
    if !tokens.scored.iter().skip(1).any(|&scored| scored) {
        return Err(LineProblem::NothingScored { context: options.context, tokens: all });
    }
    Ok(tokens)
}

/// A text as it stands, after the model's beginning of text and before its end of text.
fn plain(prompt: &str, answer: &str, tokenizer: &Tokenizer, loss_on: LossOn) -> Result<Tokens, LineProblem> {
    if prompt.is_empty() && answer.is_empty() {
        return Err(LineProblem::NoTokens);
    }
    let text = format!("{prompt}{answer}");
    let encoded = tokenizer.encode_with_ranges(&text)?;
    let count_from = match loss_on {
        LossOn::All => 0,
        LossOn::Assistant => prompt.len(),
    };
    let mut tokens = Tokens::default();
    tokens.ids.extend_from_slice(tokenizer.prefix());
    tokens.scored.resize(tokens.ids.len(), loss_on == LossOn::All);
    for (id, start, _) in encoded {
        tokens.ids.push(id);
        tokens.scored.push(start >= count_from);
    }
    if let Some(eos) = tokenizer.eos() {
        tokens.ids.push(eos);
        tokens.scored.push(true);
    }
    Ok(tokens)
}

fn chat(
    messages: &[Message],
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    loss_on: LossOn,
) -> Result<Tokens, LineProblem> {
    let text = template.render(messages, false)?;
    let encoded = tokenizer.encode_with_ranges(&text)?;
    let mut tokens = Tokens {
        ids: encoded.iter().map(|&(id, _, _)| id).collect(),
        scored: vec![loss_on == LossOn::All; encoded.len()],
        truncated: false,
    };
    if loss_on == LossOn::All {
        return Ok(tokens);
    }
    if !messages.iter().any(|message| message.role == "assistant") {
        return Err(LineProblem::NoAssistant);
    }
    for (turn, message) in messages.iter().enumerate() {
        if message.role != "assistant" {
            continue;
        }
        let words = assistant_words(messages, turn, &text, template)?;
        let first = encoded.partition_point(|&(_, start, _)| start < words.start);
        let end = encoded.partition_point(|&(_, start, _)| start < words.end);
        // templates put a line break behind the end-of-turn token: not the assistant's to say
        let last_special = (first..end).rev().find(|&at| tokenizer.is_special(encoded[at].0));
        let end = match last_special {
            Some(at) if text[encoded[at].2.min(words.end)..words.end].trim().is_empty() => at + 1,
            _ => end,
        };
        tokens.scored[first..end].fill(true);
    }
    Ok(tokens)
}

/// Where in the conversation's text the assistant's turn stands, its end-of-turn token included.
fn assistant_words(
    messages: &[Message],
    turn: usize,
    text: &str,
    template: &ChatTemplate,
) -> Result<Range<usize>, LineProblem> {
    let differs = || LineProblem::PrefixDiffers { turn: turn + 1 };
    // a conversation of nothing is refused by some templates
    let (before, prompt) = match turn {
        0 => (String::new(), template.render(&[], true).unwrap_or_default()),
        _ => (template.render(&messages[..turn], false)?, template.render(&messages[..turn], true)?),
    };
    let through = template.render(&messages[..=turn], false)?;
    if !text.starts_with(&before) {
        return Err(differs());
    }
    // a generation prompt may go further than the turn itself does (an empty thinking block, say): as far as they agree
    let start = common(&prompt, text).max(before.len());
    let end = common(&through, text);
    let said = messages[turn].content.trim();
    if end < start || !text[start..end].contains(said) {
        return Err(differs());
    }
    Ok(start..end)
}

/// Bytes of the common beginning, whole characters.
fn common(a: &str, b: &str) -> usize {
    let mut same = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    while !b.is_char_boundary(same) {
        same -= 1;
    }
    same
}
