//! The files that a file imports: found inside of its project, read once, and never in a circle.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::inherit::Profile;
use super::lower::lower;
use super::{parse, tree};
use crate::plan::{Document, Problem, Source, Value, real_path};

/// What stands at the top of a project.
const MARKS: [&str; 2] = ["memspec.toml", ".git"];
/// A file that is imported has this many bytes at most.
const MOST_BYTES: u64 = 16 << 20;
/// Imports go this deep at most, and this many files are read.
const MOST_FILES: usize = 64;

/// What a file gives to those who import it.
#[derive(Debug)]
pub(super) struct Exports {
    /// Its values by name.
    pub(super) lets: HashMap<String, Value>,
    /// Its profiles by name.
    pub(super) profiles: HashMap<String, Rc<Profile>>,
    /// Its plans' names, which nobody can extend.
    pub(super) plans: Vec<String>,
    /// What is wrong with it, to be said where it is imported.
    pub(super) mistakes: Option<Mistakes>,
    pub(super) source: Rc<Source>,
}

/// What is wrong with a file, as seen from those who import it.
#[derive(Debug)]
pub(super) enum Mistakes {
    /// How many, and the first: `a mistake on line 3, column 5: ..`.
    Own(String),
    /// It imports a file that imports it, or one of which that is so.
    Circle(Circle),
}

/// Files that import each other.
#[derive(Clone, Debug)]
pub(super) struct Circle {
    /// Each with the line on which it imports the next one, the last one the first.
    files: Vec<(String, usize)>,
}

impl Exports {
    /// Of a file that cannot be read: nobody knows what it would give.
    fn unknown(mistakes: Mistakes) -> Self {
        Exports {
            lets: HashMap::new(),
            profiles: HashMap::new(),
            plans: Vec::new(),
            mistakes: Some(mistakes),
            source: Rc::new(Source::default()),
        }
    }

    /// The file's name without its folders.
    pub(super) fn name(&self) -> String {
        file_name(Path::new(&self.source.name))
    }
}

/// Texts that go before what is on disk, by their real path.
pub(super) type Texts<'t> = &'t dyn Fn(&Path) -> Option<String>;

/// The files around the one that is read.
pub(super) struct Project<'t> {
    texts: Texts<'t>,
    /// The folder that no import leaves, once it was looked for.
    top: Option<PathBuf>,
    /// The files that are being read, the one that was asked for first, each with the line of its import that is being read.
    open: Vec<(PathBuf, usize)>,
    /// The circle that was found last in what is being read.
    circle: Option<Circle>,
    done: HashMap<PathBuf, Rc<Exports>>,
    /// The imported files in the order in which they were read; also those that are not there.
    pub(super) imports: Vec<PathBuf>,
}

impl<'t> Project<'t> {
    /// Nothing is read yet.
    pub(super) fn among(texts: Texts<'t>) -> Self {
        Project { texts, top: None, open: Vec::new(), circle: None, done: HashMap::new(), imports: Vec::new() }
    }

    /// What an import in the file `from` gives, and what is wrong with it.
    pub(super) fn import(&mut self, path: &tree::Name, from: &Source) -> (Rc<Exports>, Option<Problem>) {
        match self.find(path, from) {
            Ok(exports) => {
                let problem = exports.mistakes.as_ref().map(|mistakes| match mistakes {
                    Mistakes::Circle(circle) => {
                        self.circle = Some(circle.clone());
                        circle.problem(path)
                    }
                    Mistakes::Own(mistakes) => {
                        let message = format!("`{}` has {mistakes}", path.text);
                        let problem = Problem::new("bad-import", path.span.clone(), message);
                        problem.label("has mistakes").help("see `memspec-lint check` on that file")
                    }
                });
                (exports, problem)
            }
            Err(problem) => (Rc::new(Exports::unknown(Mistakes::Own(problem.message.clone()))), Some(*problem)),
        }
    }

    fn find(&mut self, written: &tree::Name, from: &Source) -> Result<Rc<Exports>, Box<Problem>> {
        let bad = |message: String, label: &str| Problem::new("bad-import", written.span.clone(), message).label(label);
        let relative = Path::new(&written.text);
        if relative.extension().is_none_or(|extension| extension != "mem") {
            let problem = bad(format!("`{}` is not a `.mem` file", written.text), "another kind of file");
            return Err(with_help(
                problem,
                "only `.mem` files have names to import; `memspec-lint convert` makes them of others",
            ));
        }
        let here = Path::new(&from.name);
        let folder = here.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let top = self.top.get_or_insert_with(|| top(folder)).clone();
        let path = folder.join(relative);
        let outside = || {
            let problem = bad(format!("`{}` lies outside of the project", written.text), "outside");
            with_help(
                problem,
                format!(
                    "the project is the nearest folder above with a memspec.toml or .git, else the file's own; here it is\n{}",
                    shown(&top)
                ),
            )
        };
        if relative.is_absolute() || leaves(folder, relative, &top) {
            return Err(outside());
        }
        let not_found = || {
            let problem = bad(format!("there is no file `{}`", written.text), "not found");
            match similar(&path) {
                Some(meant) => {
                    let meant = relative.with_file_name(meant).display().to_string();
                    let fix = format!("\"{meant}\"");
                    Box::new(problem.help(format!("did you mean `{meant}`?")).fix(written.span.clone(), fix))
                }
                None => with_help(problem, format!("it is looked for in {}", shown(folder))),
            }
        };
        let real = real_path(&path).ok_or_else(not_found)?;
        if !real.starts_with(&top) {
            return Err(outside());
        }
        let line = from.position(written.span.start).0;
        match self.open.last_mut() {
            Some((_, reading)) => *reading = line,
            None => self.open.push((real_path(here).unwrap_or_else(|| here.to_owned()), line)),
        }
        if let Some(first) = self.open.iter().position(|(open, _)| *open == real) {
            let files = self.open[first..].iter().map(|(path, line)| (file_name(path), *line)).collect();
            let circle = Circle { files };
            let problem = circle.problem(written);
            self.circle = Some(circle);
            return Err(Box::new(problem));
        }
        if let Some(exports) = self.done.get(&real) {
            return Ok(exports.clone());
        }
        if self.imports.len() >= MOST_FILES {
            return Err(Box::new(bad(format!("more than {MOST_FILES} files are imported"), "one too many")));
        }
        if !self.imports.contains(&real) {
            self.imports.push(real.clone());
        }
        let text = match (self.texts)(&real) {
            Some(text) => text,
            None if !real.exists() => return Err(not_found()),
            None => read(&real)
                .map_err(|why| Box::new(bad(format!("cannot read `{}`: {why}", written.text), "not readable")))?,
        };
        let name = path.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>();
        self.open.push((real.clone(), 0));
        let before = self.circle.take();
        let tree = parse(&text);
        let (document, exports) = lower(Source { name: name.display().to_string(), text }, tree, self);
        self.open.pop();
        let circle = std::mem::replace(&mut self.circle, before);
        // whatever else is wrong with it: this is not to be seen in that file alone
        let mistakes = circle.map(Mistakes::Circle).or_else(|| mistakes(&document).map(Mistakes::Own));
        let exports = Rc::new(Exports { mistakes, ..exports });
        self.done.insert(real, exports.clone());
        Ok(exports)
    }
}

impl Circle {
    /// One sentence wherever it is met, and where its imports stand.
    fn problem(&self, at: &tree::Name) -> Problem {
        let names: Vec<String> = self.files.iter().map(|(name, _)| format!("`{name}`")).collect();
        let new = |message| Problem::new("bad-import", at.span.clone(), message).label("in a circle");
        let [first @ .., last] = names.as_slice() else { return new("a file imports itself".to_owned()) };
        if first.is_empty() {
            return new(format!("{last} imports itself")).help("remove the import");
        }
        let next = names.iter().cycle().skip(1);
        let links = names.iter().zip(next).zip(&self.files);
        let links: Vec<String> =
            links.map(|((name, next), (_, line))| format!("{name} imports {next} on line {line}")).collect();
        new(format!("{} and {last} import each other in a circle", first.join(", ")))
            .help(format!("{}; move what they share into a file that imports none of them", links.join(", ")))
    }
}

fn with_help(problem: Problem, help: impl Into<String>) -> Box<Problem> {
    Box::new(problem.help(help))
}

fn mistakes(document: &Document) -> Option<String> {
    let first = document.problems.first()?;
    let (line, column) = document.source.position(first.span.start);
    let count = match document.problems.len() {
        1 => "a mistake".to_owned(),
        count => format!("{count} mistakes, the first"),
    };
    Some(format!("{count} on line {line}, column {column}: {}", first.message))
}

/// The nearest folder at or above that has a mark of a project; else the folder itself.
fn top(folder: &Path) -> PathBuf {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let marked = folder.ancestors().find(|above| MARKS.iter().any(|mark| above.join(mark).exists()));
    marked.unwrap_or(&folder).to_owned()
}

/// Whether the path's own `..` lead above the top; links are followed later.
fn leaves(folder: &Path, relative: &Path, top: &Path) -> bool {
    let Ok(mut at) = folder.canonicalize() else { return false };
    relative.components().any(|part| {
        match part {
            Component::ParentDir => _ = at.pop(),
            Component::Normal(name) => at.push(name),
            _ => {}
        }
        !at.starts_with(top)
    })
}

fn read(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let kind = file.metadata().map_err(|error| error.to_string())?;
    if !kind.is_file() {
        return Err("it is not a file".to_owned());
    }
    if kind.len() > MOST_BYTES {
        return Err(format!("it has more than {} MiB", MOST_BYTES >> 20));
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// A file beside it with nearly that name.
fn similar(path: &Path) -> Option<String> {
    let names: Vec<String> = fs::read_dir(path.parent()?)
        .ok()?
        .take(1000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".mem").map(str::to_owned))
        .collect();
    let wanted = path.file_stem()?.to_str()?;
    crate::plan::nearest(wanted, names.iter().map(String::as_str)).map(|name| format!("{name}.mem"))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn shown(folder: &Path) -> String {
    format!("`{}`", folder.display())
}
