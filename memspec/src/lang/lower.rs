//! From the tree of a file to typed plans: names resolved, arithmetic done, profiles merged in, everything checked against the table.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

use super::body::{is_whole, plan_block};
use super::evaluate::Scope;
use super::inherit::Profile;
use super::lexer::TokenKind;
use super::project::{Exports, Project};
use super::tree::{self, Name, Tree};
use crate::plan::{Allow, Document, Problem, RawBlock, Reading, Source, check, nearest};

/// The only edition there is.
const EDITION: &str = "1";
/// Profiles extend each other this deep at most.
const MOST_DEEP: usize = 64;

/// The document of a tree, and what the file gives to those who import it.
pub(super) fn lower(source: Source, tree: Tree, project: &mut Project<'_>) -> (Document, Exports) {
    let comments = tree.tokens.iter().filter(|token| matches!(token.kind, TokenKind::Comment | TokenKind::Doc));
    let allows = Allow::collect(&source.text, comments.map(|token| token.span.clone()));
    let mut document = Document { problems: tree.errors.clone(), allows, ..Document::default() };
    let file = Rc::new(source);
    let mut scope = Scope::new(&file.text);
    let mut names = Taken::default();
    let mut lowering = Lowering {
        file: &file,
        profiles: HashMap::new(),
        known: HashMap::new(),
        plans: Vec::new(),
        torn: false,
        problems: Vec::new(),
    };
    let mut plans = Vec::new();
    for (n, item) in tree.items.iter().enumerate() {
        match item {
            tree::Item::Edition { number, span } => edition(n, number.as_ref(), span, &mut document.problems),
            tree::Item::Import(import) => {
                // of an import without a file that is said
                let Some(path) = &import.path else { continue };
                let (exports, problem) = project.import(path, &file);
                document.problems.extend(problem);
                if import.alias.is_none() {
                    lowering.import(&exports);
                }
                scope.import(exports, import.alias.as_ref(), &path.span);
            }
            tree::Item::Let(assign) => scope.define(assign),
            tree::Item::Plan(plan) => {
                let profile = plan.keyword.text == "profile";
                let twice = plan.name.as_ref().and_then(|name| names.twice(name, profile));
                let raw = plan_block(plan, &mut scope);
                match &plan.name {
                    // of two profiles the first stands
                    Some(name) if profile && twice.is_none() => lowering.define(name, plan, raw),
                    _ if profile => {}
                    _ => {
                        lowering.plans.extend(plan.name.as_ref().map(|name| name.text.clone()));
                        plans.push((plan, raw));
                    }
                }
                document.problems.extend(twice);
            }
            tree::Item::Misplaced(_) | tree::Item::Error(_) => {}
        }
    }
    document.problems.append(&mut scope.problems);
    lowering.profiles(&scope);
    for (plan, raw) in plans {
        document.plans.push(lowering.plan(plan, raw, &scope));
    }
    document.problems.append(&mut lowering.problems);
    document.problems.sort_by_key(|problem| problem.span.start);
    // what a profile does wrong it does in every plan that extends it
    let mut said = HashSet::new();
    document.problems.retain(|problem| said.insert((problem.code, problem.span.clone(), problem.message.clone())));
    let exports = Exports {
        lets: scope.exported(),
        profiles: lowering.known.into_iter().filter_map(|(name, known)| Some((name, known.profile?))).collect(),
        plans: document.plans.iter().map(|written| written.name.clone()).collect(),
        mistakes: None,
        source: file.clone(),
    };
    drop(scope);
    document.imports.clone_from(&project.imports);
    document.source = Source::clone(&file);
    (document, exports)
}

fn edition(n: usize, number: Option<&Name>, span: &Range<usize>, problems: &mut Vec<Problem>) {
    if n > 0 {
        problems.push(Problem::new("edition", span.clone(), "the edition stands on the first line").label("not first"));
    } else if let Some(number) = number
        && number.text != EDITION
    {
        let problem = Problem::new(
            "edition",
            number.span.clone(),
            format!("edition {} is not known to this version", number.text),
        );
        problems.push(problem.label("unknown edition").help("the only edition is 1").fix(number.span.clone(), EDITION));
    }
}

/// The names of plans and of profiles.
#[derive(Default)]
struct Taken(HashMap<(bool, String), Range<usize>>);

impl Taken {
    /// The mistake of a name that another one has.
    fn twice(&mut self, name: &Name, profile: bool) -> Option<Problem> {
        let first = self.0.insert((profile, name.text.clone()), name.span.clone())?;
        let what = if profile { "profiles" } else { "plans" };
        let message = format!("two {what} are called `{}`", name.text);
        let problem = Problem::new("duplicate-plan", name.span.clone(), message);
        Some(problem.label("again here").related(first, "first here"))
    }
}

struct Lowering<'a> {
    file: &'a Rc<Source>,
    /// The profiles of this file as they are written.
    profiles: HashMap<String, (&'a tree::Plan, RawBlock)>,
    /// Every profile that is not known by the name of its file, too.
    known: HashMap<String, Known>,
    /// The names of plans, which nobody can extend.
    plans: Vec<String>,
    /// A file whose names belong here could not be read whole, so that a name that is not here may be in it.
    torn: bool,
    problems: Vec<Problem>,
}

/// A profile with what it extends.
#[derive(Default)]
struct Known {
    /// Nothing: it is being put together, or cannot be.
    profile: Option<Rc<Profile>>,
    /// It comes from another file, which has mistakes.
    broken: bool,
}

/// What a plan or profile extends.
#[derive(Default)]
struct Parents {
    found: Vec<(Name, Rc<Profile>)>,
    /// One of them is not there, which is said, so that what it would give is missing.
    missing: bool,
    /// Where those stand that come from files with mistakes. What is wrong with them is said of the import.
    broken: Vec<Range<usize>>,
}

impl<'a> Lowering<'a> {
    fn import(&mut self, exports: &Rc<Exports>) {
        self.torn |= exports.mistakes.is_some();
        for (name, profile) in &exports.profiles {
            let known = Known { profile: Some(profile.clone()), broken: exports.mistakes.is_some() };
            self.known.entry(name.clone()).or_insert(known);
        }
    }

    fn define(&mut self, name: &Name, plan: &'a tree::Plan, raw: RawBlock) {
        // what an import calls so gives way
        self.known.remove(&name.text);
        self.profiles.insert(name.text.clone(), (plan, raw));
    }

    /// Puts every profile together, and checks it.
    fn profiles(&mut self, scope: &Scope) {
        let named =
            |(name, (plan, _)): (&String, &(&tree::Plan, _))| Name { text: name.clone(), span: plan.span.clone() };
        let mut names: Vec<Name> = self.profiles.iter().map(named).collect();
        names.sort_by_key(|name| name.span.start);
        for name in names {
            self.profile(&name, scope, &mut Vec::new());
        }
    }

    /// The profile of that name; `below`: those that extend it, each with the place where the one below it does.
    fn profile(&mut self, name: &Name, scope: &Scope, below: &mut Vec<Name>) -> Option<Rc<Profile>> {
        if let Some(known) = self.known.get(&name.text) {
            return known.profile.clone();
        }
        let (plan, raw) = self.profiles.remove(&name.text)?;
        self.known.insert(name.text.clone(), Known::default());
        below.push(name.clone());
        let parents = self.parents(&plan.extends, scope, below);
        below.pop();
        let mut raw = raw;
        let own = Profile::of(&raw, self.file, is_whole(plan) && !parents.missing);
        let (profile, inherited) = own.extended(&parents.found, &mut self.problems);
        profile.put(&mut raw, &inherited);
        let mut problems = Vec::new();
        check(raw, Reading::Profile, &self.file.text, &mut problems);
        self.say(problems, &parents, None);
        let profile = Rc::new(profile);
        self.known.insert(name.text.clone(), Known { profile: Some(profile.clone()), broken: false });
        Some(profile)
    }

    fn plan(&mut self, plan: &tree::Plan, mut raw: RawBlock, scope: &Scope) -> crate::plan::Written {
        let parents = self.parents(&plan.extends, scope, &mut Vec::new());
        // of a plan without a name that is already said
        let whole = plan.name.is_some() && is_whole(plan) && !parents.missing && parents.broken.is_empty();
        let own = Profile::of(&raw, self.file, whole);
        let (all, inherited) = own.extended(&parents.found, &mut self.problems);
        all.put(&mut raw, &inherited);
        let reading = if all.whole { Reading::Whole } else { Reading::Torn };
        let mut problems = Vec::new();
        let mut written = check(raw, reading, &self.file.text, &mut problems);
        written.spans.inherit(|path| inherited.has(path));
        self.say(problems, &parents, Some(plan));
        written
    }

    /// Notes what is wrong with a plan or profile. What stands outside of it is about it all the same.
    fn say(&mut self, problems: Vec<Problem>, parents: &Parents, plan: Option<&tree::Plan>) {
        for mut problem in problems {
            if parents.broken.contains(&problem.span) {
                continue;
            }
            if let Some(plan) = plan
                && let Some(name) = &plan.name
                && !(plan.span.start <= problem.span.start && problem.span.end <= plan.span.end)
            {
                problem = problem.related(name.span.clone(), "in this plan");
            }
            self.problems.push(problem);
        }
    }

    fn parents(&mut self, extends: &[Name], scope: &Scope, below: &mut Vec<Name>) -> Parents {
        let mut parents = Parents::default();
        for name in extends {
            if below.len() > MOST_DEEP {
                let message = format!("profiles extend each other more than {MOST_DEEP} deep");
                self.problems.push(Problem::new("circular", name.span.clone(), message).label("too deep"));
                parents.missing = true;
                continue;
            }
            match self.parent(name, scope, below) {
                Ok((profile, broken)) => {
                    parents.found.push((name.clone(), profile));
                    if broken {
                        parents.broken.push(name.span.clone());
                    }
                }
                Err(problem) => {
                    self.problems.extend(problem.map(|problem| *problem));
                    parents.missing = true;
                }
            }
        }
        parents
    }

    /// The profile that a name behind `extends` means, and whether its file has mistakes.
    fn parent(
        &mut self,
        name: &Name,
        scope: &Scope,
        below: &mut Vec<Name>,
    ) -> Result<(Rc<Profile>, bool), Option<Box<Problem>>> {
        if let Some((alias, inner)) = name.text.split_once('.') {
            let Some(exports) = scope.file(alias) else {
                let message = format!("no file is imported as `{alias}`");
                let problem = Problem::new("unknown-profile", name.span.clone(), message).label("unknown file");
                let problem = problem.help(format!("import it above: `import \"{alias}.mem\" as {alias}`"));
                return Err(Some(Box::new(problem)));
            };
            let found = exports.profiles.get(inner).cloned();
            return found.map(|profile| (profile, exports.mistakes.is_some())).ok_or_else(|| {
                // with mistakes in the file it may only be unread
                let names = exports.profiles.keys().map(String::as_str);
                exports
                    .mistakes
                    .is_none()
                    .then(|| Box::new(unknown(name, inner, names, &exports.plans, &format!("`{}`", exports.name()))))
            });
        }
        if let Some(first) = below.iter().position(|other| other.text == name.text) {
            return Err(Some(Box::new(circle(&below[first..], name))));
        }
        let here = self.profiles.contains_key(&name.text);
        match self.profile(name, scope, below) {
            Some(profile) => Ok((profile, self.known.get(&name.text).is_some_and(|known| known.broken))),
            // a part of a circle, which is said where it closes
            None if here || self.torn || self.known.contains_key(&name.text) => Err(None),
            None => {
                let names = self.known.keys().chain(self.profiles.keys()).map(String::as_str);
                Err(Some(Box::new(unknown(name, &name.text, names, &self.plans, "this file"))))
            }
        }
    }
}

/// The mistake of profiles that extend each other, the last of them the first again at that place.
fn circle(chain: &[Name], again: &Name) -> Problem {
    let new = |message| Problem::new("circular", again.span.clone(), message);
    if let [_] = chain {
        return new(format!("profile `{}` extends itself", again.text)).label("itself").help("remove it");
    }
    let names: Vec<String> = chain.iter().map(|name| format!("`{}`", name.text)).collect();
    let link = |from: &str, to: &str| format!("{from} extends {to}");
    let last = names.len() - 1;
    let mut problem = new(format!("{} and {} extend each other in a circle", names[..last].join(", "), names[last]));
    problem = problem.label(link(&names[last], &names[0]));
    for (n, name) in chain.iter().enumerate().skip(1) {
        problem = problem.related(name.span.clone(), link(&names[n - 1], &names[n]));
    }
    problem.help("move what they share into a profile that extends none of them")
}

fn unknown<'n>(
    name: &Name,
    written: &str,
    names: impl Iterator<Item = &'n str> + Clone,
    plans: &[String],
    file: &str,
) -> Problem {
    let problem = Problem::new("unknown-profile", name.span.clone(), format!("{file} has no profile `{written}`"));
    let problem = problem.label("unknown profile");
    if plans.iter().any(|plan| plan == written) {
        return problem.help("that is a plan; what plans share stands in a profile");
    }
    match nearest(written, names.clone()) {
        Some(meant) => {
            let fix = name.span.end - written.len()..name.span.end;
            problem.help(format!("did you mean `{meant}`?")).fix(fix, meant)
        }
        None => {
            let mut names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            names.sort();
            match names.as_slice() {
                [] => problem.help(format!("define it: `profile {written} {{ .. }}`")),
                names => problem.help(format!("it has {}", names.join(", "))),
            }
        }
    }
}
