//! What a table of a trainer's keys is made of.

use super::Trainer;
use super::read::Reading;
use super::write::Writing;

/// A trainer's file.
pub(super) struct Format {
    pub(super) trainer: Trainer,
    /// Which version of it was read, and where.
    pub(super) source: &'static str,
    /// The key that names the model.
    pub(super) model: &'static str,
    /// Every key that is known, in the order in which they are written.
    pub(super) keys: &'static [Key],
    /// Keys that mean something together only.
    pub(super) groups: &'static [Group],
    /// Why a setting of a plan has no key, by path or block.
    pub(super) absent: &'static [(&'static str, &'static str)],
}

/// A key of a trainer's file, nested ones with dots: `fsdp_config.cpu_offload`.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// The trainer's value where the file says nothing, as YAML; empty: nothing is meant by nothing.
    pub(super) default: &'static str,
    pub(super) meaning: Meaning,
}

/// What a key means.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    /// A setting of a plan.
    Setting(&'static str, Form),
    /// Part of a group; what it decides, for its page.
    Part(&'static str),
    /// What another key is called now.
    Former(&'static str),
    /// No counterpart, and no memory: what it is about.
    Aside(&'static str),
    /// It changes memory in a way that nothing here knows, unless it has one of these values (as YAML): why.
    Refused(&'static [&'static str], &'static str),
    /// As above, but costed all the same: how the trainer differs then.
    Differs(&'static [&'static str], &'static str),
}

/// How a value is written there and here.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// Alike.
    Same,
    /// A share of 1 there, percent here.
    Share,
    /// One name, or a list of them; a list here.
    Names,
    /// Words of theirs and ours, the usual one first. Any other changes memory in a way that is not known.
    Words(&'static [(&'static str, &'static str)]),
}

/// Keys that mean something together: how they are read and how they are written.
pub(super) struct Group {
    pub(super) read: fn(&mut Reading<'_>),
    pub(super) write: fn(&mut Writing),
}

pub(super) const fn setting(name: &'static str, path: &'static str) -> Key {
    formed(name, path, Form::Same)
}

pub(super) const fn formed(name: &'static str, path: &'static str, form: Form) -> Key {
    Key { name, default: "", meaning: Meaning::Setting(path, form) }
}

pub(super) const fn part(name: &'static str, what: &'static str) -> Key {
    Key { name, default: "", meaning: Meaning::Part(what) }
}

pub(super) const fn former(name: &'static str, now: &'static str) -> Key {
    Key { name, default: "", meaning: Meaning::Former(now) }
}

pub(super) const fn aside(name: &'static str, what: &'static str) -> Key {
    Key { name, default: "", meaning: Meaning::Aside(what) }
}

pub(super) const fn refused(name: &'static str, unless: &'static [&'static str], why: &'static str) -> Key {
    Key { name, default: "", meaning: Meaning::Refused(unless, why) }
}

pub(super) const fn differs(name: &'static str, unless: &'static [&'static str], how: &'static str) -> Key {
    Key { name, default: "", meaning: Meaning::Differs(unless, how) }
}

/// One table of two; `N` is the length of both.
pub(super) const fn joined<const N: usize>(first: &[Key], then: &[Key]) -> [Key; N] {
    let mut all = [first[0]; N];
    let mut n = 0;
    while n < N {
        all[n] = if n < first.len() { first[n] } else { then[n - first.len()] };
        n += 1;
    }
    all
}

impl Key {
    /// With the trainer's default.
    pub(super) const fn or(self, default: &'static str) -> Key {
        Key { default, ..self }
    }
}

impl Format {
    /// The key of that dotted name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names that a file may have the key under: its own, and former ones.
    pub(super) fn names(&self, key: &str) -> impl Iterator<Item = &'static str> {
        let is = move |known: &&Key| known.name == key || matches!(known.meaning, Meaning::Former(now) if now == key);
        self.keys.iter().filter(is).map(|known| known.name)
    }

    /// Keys stand below this one.
    pub(super) fn has_below(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }
}
