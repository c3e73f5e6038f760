//! Which rules' findings are wanted.

use std::fmt;
use std::str::FromStr;

use crate::diagnostic::{Finding, Severity};
use crate::registry::{self, RULES, Rule};

/// Rules that are meant together: `default`, `all`, a family (`MEM`), or one by its code or name.
#[derive(Clone, Copy, Debug)]
pub enum Selector {
    /// Every rule that is no heuristic.
    Default,
    /// Every rule.
    All,
    /// The rules whose codes have these letters; where rules are selected, those of them that are no heuristics.
    Family(&'static str),
    /// One rule.
    Rule(&'static Rule),
}

/// A word that means no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSelector {
    /// What was written.
    pub written: String,
    /// What is probably meant.
    pub nearest: Option<&'static str>,
}

impl fmt::Display for UnknownSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no rule, family or code", self.written)
    }
}

impl UnknownSelector {
    /// What to write.
    pub fn help(&self) -> String {
        match self.nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("families: default, all, {}; `memspec-lint rules` lists every rule", families().join(", ")),
        }
    }
}

impl FromStr for Selector {
    type Err = UnknownSelector;

    fn from_str(written: &str) -> Result<Self, UnknownSelector> {
        if written.eq_ignore_ascii_case("all") {
            return Ok(Self::All);
        }
        if written.eq_ignore_ascii_case("default") {
            return Ok(Self::Default);
        }
        let family = families().into_iter().find(|family| family.eq_ignore_ascii_case(written)).map(Self::Family);
        family
            .or_else(|| registry::find(written).map(Self::Rule))
            .ok_or_else(|| UnknownSelector { written: written.to_owned(), nearest: nearest(written) })
    }
}

/// What is probably meant: letters alone are a family's.
fn nearest(written: &str) -> Option<&'static str> {
    let family = || memspec::plan::nearest(&written.to_uppercase(), families());
    let rule = || registry::nearest(written).map(|rule| rule.name);
    if written.chars().all(char::is_alphabetic) { family().or_else(rule) } else { rule().or_else(family) }
}

/// The letters of the rules' codes, each once.
pub fn families() -> Vec<&'static str> {
    let mut families: Vec<_> = RULES.iter().map(Rule::family).collect();
    families.sort_unstable();
    families.dedup();
    families
}

/// The rules whose findings are wanted: those selected and not ignored. What names a rule more exactly decides.
#[derive(Clone, Debug)]
pub struct Selection {
    /// What is wanted.
    pub select: Vec<Selector>,
    /// What is not.
    pub ignore: Vec<Selector>,
}

impl Default for Selection {
    fn default() -> Self {
        Self { select: vec![Selector::Default], ignore: Vec::new() }
    }
}

/// How exactly a rule is named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    WithAll,
    ByFamily,
    Alone,
}

impl Selector {
    fn names(&self, rule: &Rule) -> Option<Named> {
        match self {
            Self::Default => rule.is_default().then_some(Named::WithAll),
            Self::All => Some(Named::WithAll),
            Self::Family(family) => (*family == rule.family()).then_some(Named::ByFamily),
            Self::Rule(one) => (one.code == rule.code).then_some(Named::Alone),
        }
    }
}

impl Selection {
    /// The rule's findings are wanted.
    pub fn wants_rule(&self, rule: &Rule) -> bool {
        let wanted = |selector: &&Selector| rule.is_default() || !matches!(selector, Selector::Family(_));
        let selected = self.select.iter().filter(wanted).filter_map(|selector| selector.names(rule)).max();
        let ignored = self.ignore.iter().filter_map(|selector| selector.names(rule)).max();
        selected > ignored
    }

    /// Some of the rule's findings may be wanted, so it has to look.
    pub(crate) fn may_want(&self, rule: &Rule) -> bool {
        self.wants_rule(rule) || is_of_text(rule)
    }

    /// The finding is wanted. A mistake of the text itself is never left out: without the setting that it is about, nothing else
    /// that is said of the plan is right.
    pub fn wants(&self, finding: &Finding) -> bool {
        registry::find(finding.rule)
            .is_none_or(|rule| self.wants_rule(rule) || (is_of_text(rule) && finding.severity == Severity::Error))
    }
}

/// It finds mistakes of the text itself.
fn is_of_text(rule: &Rule) -> bool {
    rule.family() == "SPEC"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(select: &[&str], ignore: &[&str], wanted: &[&str], unwanted: &[&str]) {
        let read = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect();
        let selection = Selection { select: read(select), ignore: read(ignore) };
        let wants = |name: &&str| selection.wants_rule(registry::find(name).unwrap());
        assert!(wanted.iter().all(wants) && !unwanted.iter().any(wants), "{select:?} {ignore:?}");
    }

    #[test]
    fn what_names_a_rule_more_exactly_decides() {
        check(&["all"], &[], &["MEM001", "HW001"], &[]);
        check(&["MEM"], &[], &["MEM001"], &["HW001"]);
        check(&["all"], &["mem"], &["HW001"], &["MEM001", "MEM002"]);
        check(&["all", "MEM001"], &["MEM"], &["MEM001"], &["MEM002"]);
        check(&["MEM"], &["thin-headroom"], &["MEM001"], &["MEM002"]);
        check(&["MEM001"], &["MEM001"], &[], &["MEM001"]);
    }

    #[test]
    fn heuristics_are_off_until_they_are_named() {
        check(&["default"], &[], &["MEM001"], &["budget-missing"]);
        check(&["MEM"], &[], &["MEM001"], &["budget-missing"]);
        check(&["default", "budget-missing"], &[], &["MEM001", "budget-missing"], &["unused-memory"]);
        check(&["all"], &["MEM017"], &["budget-missing"], &["unused-memory"]);
        check(&["all"], &["MEM"], &["HW001"], &["MEM001", "budget-missing"]);
    }

    #[test]
    fn a_word_that_means_no_rule_is_told() {
        let error = "MEM0001".parse::<Selector>().unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.nearest),
            ("`MEM0001` is no rule, family or code", Some("peak-over-budget"))
        );
        assert_eq!("MEN".parse::<Selector>().unwrap_err().nearest, Some("MEM"));
        assert!("xyzzy".parse::<Selector>().unwrap_err().help().starts_with("families: default, all, "));
    }
}
