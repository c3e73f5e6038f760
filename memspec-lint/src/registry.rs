//! Every rule, one line each, and its page.

use crate::context::Context;
use crate::diagnostic::{Finding, Severity};
use crate::rules;

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its code: `MEM001`. The letters are its family.
    pub code: &'static str,
    /// Its name, which says what it finds: `peak-over-budget`.
    pub name: &'static str,
    /// How bad its findings are.
    pub severity: Severity,
    /// Finds.
    pub check: fn(&Rule, &Context<'_>) -> Vec<Finding>,
    /// The text of its file, whose first comment is its page.
    source: &'static str,
}

macro_rules! rules {
    ($($code:literal $name:literal $severity:ident $family:ident::$file:ident;)+) => {
        /// Every rule, by family.
        pub const RULES: &[Rule] = &[$(Rule {
            code: $code,
            name: $name,
            severity: Severity::$severity,
            check: rules::$family::$file::check,
            source: include_str!(concat!("rules/", stringify!($family), "/", stringify!($file), ".rs")),
        }),+];
    };
}

rules! {
    "MEM001" "peak-over-budget" Error memory::peak_over_budget;
    "MEM002" "thin-headroom" Warning memory::thin_headroom;
    "MEM011" "pad-to-max-length" Warning data::pad_to_max_length;
    "MEM018" "budget-limit-not-checked" Info memory::budget_limit_not_checked;
    "MEM020" "run-over-budget" Warning memory::run_over_budget;
    "HW001" "bf16-on-pre-ampere" Error hardware::bf16_on_pre_ampere;
    "HW009" "device-not-in-catalog" Error hardware::device_not_in_catalog;
    "HW010" "vram-marketing-gb" Warning hardware::vram_marketing_gb;
    "MOD001" "unknown-model" Error model::unknown_model;
    "LOR001" "unknown-target" Error adapter::unknown_target;
    "ATT003" "context-beyond-positions" Error data::context_beyond_positions;
    "ATT005" "seq-shorter-than-data" Warning data::seq_shorter_than_data;
    "TOK006" "data-file-missing" Error data::data_file_missing;
    "TOK008" "data-file-empty" Error data::data_file_empty;
    "SPEC001" "syntax" Error spec::syntax;
    "SPEC002" "unknown-setting" Error spec::unknown_setting;
    "SPEC003" "duplicate-setting" Error spec::duplicate_setting;
    "SPEC004" "ambiguous-unit" Warning spec::ambiguous_unit;
    "SPEC012" "unused-allow" Warning spec::unused_allow;
    "SPEC017" "unknown-block" Error spec::unknown_block;
    "SPEC018" "unknown-kind" Error spec::unknown_kind;
    "SPEC019" "missing-kind" Error spec::missing_kind;
    "SPEC020" "missing-model" Error spec::missing_model;
    "SPEC021" "unknown-symbol" Error spec::unknown_symbol;
    "SPEC022" "quoted-symbol" Error spec::quoted_symbol;
    "SPEC023" "unquoted-text" Error spec::unquoted_text;
    "SPEC024" "wrong-type" Error spec::wrong_type;
    "SPEC025" "wrong-unit" Error spec::wrong_unit;
    "SPEC026" "unknown-unit" Error spec::unknown_unit;
    "SPEC027" "out-of-range" Error spec::out_of_range;
    "SPEC028" "not-a-limit" Error spec::not_a_limit;
    "SPEC029" "limit-outside-budget" Error spec::limit_outside_budget;
    "SPEC030" "unsupported-setting" Error spec::unsupported_setting;
    "SPEC031" "unknown-name" Error spec::unknown_name;
    "SPEC032" "let-shadows-symbol" Error spec::let_shadows_symbol;
    "SPEC033" "duplicate-plan" Error spec::duplicate_plan;
    "SPEC034" "edition" Error spec::edition;
    "SPEC035" "not-supported" Error spec::not_supported;
    "SPEC036" "not-utf8" Error spec::not_utf8;
    "SPEC037" "missing-name" Error spec::missing_name;
    "SPEC038" "no-plan" Warning spec::no_plan;
}

/// The rule for comments that silence nothing; its findings come from [`crate::suppress`].
pub(crate) const UNUSED_ALLOW: &Rule = &RULES[position("SPEC012")];

const fn position(code: &str) -> usize {
    let mut at = 0;
    while at < RULES.len() {
        if same(RULES[at].code.as_bytes(), code.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("a rule that is not in the table");
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The rule with that code or name.
pub fn find(code_or_name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == code_or_name || rule.code.eq_ignore_ascii_case(code_or_name))
}

/// The rule that was probably meant.
pub fn nearest(written: &str) -> Option<&'static Rule> {
    let codes = RULES.iter().map(|rule| (strsim::damerau_levenshtein(&written.to_uppercase(), rule.code), rule));
    let code = codes.min_by_key(|(distance, _)| *distance).filter(|(distance, _)| *distance <= 1).map(|(_, rule)| rule);
    code.or_else(|| find(memspec::plan::nearest(written, RULES.iter().map(|rule| rule.name))?))
}

/// The name of the rule that something unresolved falls under.
pub(crate) fn name_of(unresolved: &'static str) -> &'static str {
    match unresolved {
        "unknown-device" => "device-not-in-catalog",
        "missing-setting" => "missing-model",
        other => other,
    }
}

impl Rule {
    /// The letters of its code.
    pub fn family(&self) -> &'static str {
        self.code.trim_end_matches(|c: char| c.is_ascii_digit())
    }

    /// Its page: what it does, why that is bad, an example, how safe its fix is.
    pub fn page(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }

    /// The first sentence of its page.
    pub fn summary(&self) -> String {
        let page = self.page();
        let text: Vec<&str> = section(&page, "What it does").lines().take_while(|line| !line.is_empty()).collect();
        let text = text.join(" ");
        text.split_once(". ").map_or(text.clone(), |(first, _)| format!("{first}."))
    }

    /// The `.mem` text of a section: `Example` or `Use instead`.
    pub fn example(&self, heading: &str) -> Option<String> {
        let page = self.page();
        let (_, rest) = section(&page, heading).split_once("```mem\n")?;
        rest.split_once("```").map(|(code, _)| code.to_owned())
    }

    /// Whether its page says that it has a fix, in the words of its section.
    pub fn fix_safety(&self) -> Option<String> {
        let page = self.page();
        let text = section(&page, "Fix safety").trim();
        (!text.is_empty()).then(|| text.lines().collect::<Vec<_>>().join(" "))
    }
}

fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let Some((_, rest)) = page.split_once(&format!("## {heading}\n")) else { return "" };
    rest.split("\n## ").next().unwrap_or(rest).trim_start_matches('\n')
}

/// Every rule's page as one document: `docs/rules.md`.
pub fn pages() -> String {
    let mut text = String::from(
        "# The rules of memspec-lint\n\n<!-- generated from the rules' own comments: `MEMSPEC_UPDATE=1 cargo test -p memspec-lint` writes it anew -->\n\n\
         `memspec-lint explain CODE` prints a rule's page. A finding is allowed where it is meant with a comment on its line or the line\n\
         above it: `# memspec: allow(thin-headroom) measured on this machine`; above a block or plan it holds for all of it,\n\
         `# memspec: file-allow(..)` for the file. Mistakes of the text itself (SPEC, errors) cannot be allowed.\n\n\
         | code | name | severity | fix | what it finds |\n| --- | --- | --- | --- | --- |\n",
    );
    for rule in RULES {
        let fix = match rule.fix_safety() {
            Some(text) if text.starts_with("Unsafe") => "unsafe",
            Some(text) if text.starts_with("Safe") => "safe",
            _ => "",
        };
        text += &format!(
            "| [{}](#{}-{}) | {} | {} | {fix} | {} |\n",
            rule.code,
            rule.name,
            rule.code.to_lowercase(),
            rule.name,
            rule.severity,
            rule.summary()
        );
    }
    for rule in RULES {
        text += "\n";
        let mut code = false;
        for line in rule.page().lines() {
            code ^= line.starts_with("```");
            // One level down, as the document has a title of its own.
            if line.starts_with('#') && !code {
                text += "#";
            }
            text += line;
            text += "\n";
        }
    }
    text
}
