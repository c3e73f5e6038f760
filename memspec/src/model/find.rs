//! Which model a plan's `model` setting means.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::gguf::Header;
use super::{Architecture, ModelError, catalog, config};
use crate::device::Device;
use crate::setup::{Lengths, Setup};

/// More than any `config.json` has; a file that is larger is something else.
const MAX_CONFIG: u64 = 16 << 20;

/// Where models are looked up beside the plan's own folder.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `HF_HOME`: Hugging Face's folder; its cache of models is `hub` in it.
    pub hf_home: Option<PathBuf>,
    /// `HF_HUB_CACHE`: the cache of models itself; goes before `hf_home`.
    pub hf_hub_cache: Option<PathBuf>,
    /// Who counts the tokens of a setup's data; `None`: nobody, and their lengths are what the plan says.
    pub measure: Option<Measure>,
    /// Who knows this machine's graphics card, which is what `device = auto` means to engines that run on one; `None`: nobody, and it
    /// means any card.
    pub card: Option<ThisCard>,
    /// Whoever asks runs plans on that card itself: then `device = auto` means it to the engine `memspec` too.
    pub runs_on_card: bool,
}

/// Finds this machine's graphics card; `None` where it has none.
#[derive(Clone, Copy)]
pub struct ThisCard(pub fn() -> Option<Device>);

impl fmt::Debug for ThisCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThisCard")
    }
}

/// Counts how long the samples of a setup's data are, or says why it cannot; `None` where the setup names no file that is here.
#[derive(Clone, Copy)]
pub struct Measure(pub fn(&Setup) -> Option<Result<Lengths, String>>);

impl fmt::Debug for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Measure")
    }
}

/// A model that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What it is made of.
    pub architecture: Architecture,
    /// The folder with its `config.json` (and, for a hub name in the cache, its weights if they are there).
    pub folder: Option<PathBuf>,
    /// The GGUF file.
    pub gguf: Option<PathBuf>,
    /// Which kind of place it was found in.
    pub from: From,
}

/// The kind of place that a model was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A folder with `config.json`.
    Folder,
    /// A GGUF file.
    Gguf,
    /// The local Hugging Face cache.
    HubCache,
    /// memspec's catalog: shapes only, no weights.
    Catalog,
}

impl Environment {
    /// As this process's variables have it: `HF_HOME` (else `huggingface` in `XDG_CACHE_HOME` or `~/.cache`) and
    /// `HF_HUB_CACHE`.
    pub fn from_process() -> Environment {
        let path = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let cache = || path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
        Environment {
            hf_home: path("HF_HOME").or_else(|| Some(cache()?.join("huggingface"))),
            hf_hub_cache: path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")),
            measure: None,
            card: None,
            runs_on_card: false,
        }
    }

    /// The folder with `models--ORG--NAME` in it.
    pub fn hub_cache(&self) -> Option<PathBuf> {
        self.hf_hub_cache.clone().or_else(|| Some(self.hf_home.as_ref()?.join("hub")))
    }
}

/// Finds the model that `name` means: a folder or `.gguf` file (relative to `base_dir`), a hub name in the local Hugging
/// Face cache, or a name of the catalog, in this order. Reads no weights and never the network.
///
/// # Errors
/// A path that is not there, a file that is not understood, or a name that nobody knows (with the nearest that are known).
pub fn find(name: &str, base_dir: &Path, environment: &Environment) -> Result<Found, ModelError> {
    let unknown = || ModelError::Unknown { name: name.to_owned(), nearest: catalog::nearest(name) };
    if name.trim().is_empty() {
        return Err(unknown());
    }
    let path = base_dir.join(name);
    if path.is_file() {
        return file(name, path);
    }
    let is_folder = path.is_dir();
    if is_folder && path.join("config.json").is_file() {
        return folder(name, path, From::Folder);
    }
    if looks_like_a_path(name) {
        return Err(if is_folder { ModelError::NoConfig { folder: path } } else { ModelError::NoSuchPath { path } });
    }
    if let Some(snapshot) = environment.hub_cache().and_then(|cache| snapshot(&cache, name)) {
        return folder(name, snapshot, From::HubCache);
    }
    match catalog::get(name) {
        Some(architecture) => Ok(Found { architecture, folder: None, gguf: None, from: From::Catalog }),
        // a folder of that name was most likely meant, now that nothing else is called so
        None if is_folder => Err(ModelError::NoConfig { folder: path }),
        None => Err(unknown()),
    }
}

fn looks_like_a_path(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or(name);
    name.starts_with('/') || matches!(first, "." | ".." | "~") || is_gguf(Path::new(name))
}

fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
}

fn file(name: &str, path: PathBuf) -> Result<Found, ModelError> {
    if is_gguf(&path) {
        let header = Header::open(&path).and_then(|h| h.architecture());
        let architecture = header.map_err(|error| ModelError::Gguf { path: path.clone(), error })?;
        let architecture = Architecture { name: name.to_owned(), source: path.display().to_string(), ..architecture };
        return Ok(Found { architecture, folder: None, gguf: Some(path), from: From::Gguf });
    }
    match path.parent() {
        Some(parent) if path.ends_with("config.json") => folder(name, parent.to_path_buf(), From::Folder),
        _ => Err(ModelError::NotAModel { path }),
    }
}

fn folder(name: &str, folder: PathBuf, from: From) -> Result<Found, ModelError> {
    let path = folder.join("config.json");
    let text = read_config(&path).map_err(|source| ModelError::Unreadable { path: path.clone(), source })?;
    let architecture = config::from_json(&text).map_err(|error| ModelError::Config { path: path.clone(), error })?;
    let architecture = Architecture { name: name.to_owned(), source: path.display().to_string(), ..architecture };
    Ok(Found { architecture, folder: Some(folder), gguf: None, from })
}

fn read_config(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_CONFIG + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_CONFIG {
        return Err(std::io::Error::other("larger than any config.json"));
    }
    Ok(text)
}

/// The snapshot of the branch `main` in the hub's cache, if it has a `config.json`.
fn snapshot(cache: &Path, name: &str) -> Option<PathBuf> {
    // the hub's own rule for names; it also keeps the lookup inside the cache
    let part = |p: &str| {
        !p.is_empty() && !p.contains("..") && p.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if name.split('/').count() > 2 || !name.split('/').all(part) {
        return None;
    }
    let model = cache.join(format!("models--{}", name.replace('/', "--")));
    let revision = fs::read_to_string(model.join("refs").join("main")).ok()?;
    let revision = revision.trim();
    if !part(revision) {
        return None;
    }
    let snapshot = model.join("snapshots").join(revision);
    snapshot.join("config.json").is_file().then_some(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 96, "vocab_size": 10}"#;

    /// A plan's folder with models in it and a Hugging Face cache beside it.
    fn place() -> (tempfile::TempDir, Environment) {
        let temp = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = temp.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("plan/tiny/config.json", CONFIG);
        write("plan/broken/config.json", r#"{"model_type": "llama", "hidden_size": 64}"#);
        write("plan/noise.gguf", "noise");
        write("plan/notes.txt", "notes");
        fs::create_dir_all(temp.path().join("plan/empty")).unwrap();
        fs::create_dir_all(temp.path().join("plan/phi-2")).unwrap();
        let model = "hf/hub/models--HuggingFaceTB--SmolLM2-135M";
        write(&format!("{model}/refs/main"), "abc123\n");
        write(&format!("{model}/snapshots/abc123/config.json"), CONFIG);
        write("hf/hub/models--org--escape/refs/main", "../../..");
        let environment = Environment { hf_home: Some(temp.path().join("hf")), ..Environment::default() };
        (temp, environment)
    }

    fn check(name: &str, expected: &str) {
        let (temp, environment) = place();
        let root = temp.path().display().to_string();
        let found = match find(name, &temp.path().join("plan"), &environment) {
            Ok(found) => {
                let place = found.folder.or(found.gguf).map(|p| p.display().to_string()).unwrap_or_default();
                format!("{:?} {} {place}", found.from, found.architecture.vocab)
            }
            Err(e) => e.to_string(),
        };
        assert_eq!(found.replace(&root, "ROOT"), expected, "{name}");
    }

    #[test]
    fn the_nearest_place_wins() {
        check("tiny", "Folder 10 ROOT/plan/tiny");
        check("./tiny", "Folder 10 ROOT/plan/./tiny");
        check("tiny/config.json", "Folder 10 ROOT/plan/tiny");
        check(
            "HuggingFaceTB/SmolLM2-135M",
            "HubCache 10 ROOT/hf/hub/models--HuggingFaceTB--SmolLM2-135M/snapshots/abc123",
        );
        check("smollm2-135m", "Catalog 49152 ");
        check("phi-2", "Catalog 51200 ");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_path() {
        check("./missing", "no such folder or file: ROOT/plan/./missing");
        check("missing.gguf", "no such folder or file: ROOT/plan/missing.gguf");
        check("/missing", "no such folder or file: /missing");
        check(
            "empty",
            "ROOT/plan/empty has no config.json; give a folder as `save_pretrained` writes it, or a .gguf file",
        );
        check("notes.txt", "ROOT/plan/notes.txt is neither a folder with config.json nor a .gguf file");
        check("noise.gguf", "ROOT/plan/noise.gguf: not a GGUF file: it does not begin with `GGUF`");
        check("broken", "ROOT/plan/broken/config.json: `num_hidden_layers` is missing; a `llama` config needs it");
        check(
            "meta-llama/Meta-Llama-3-8b-x",
            "model `meta-llama/Meta-Llama-3-8b-x` is neither in the local Hugging Face cache nor in memspec's catalog (nearest: \
             meta-llama/Meta-Llama-3-8B, NousResearch/Meta-Llama-3-8B, meta-llama/Meta-Llama-3.1-8B); give a folder with its config.json",
        );
        for name in ["org/escape", "../../escape/x/..", "", " "] {
            let (temp, environment) = place();
            assert!(find(name, &temp.path().join("plan"), &environment).is_err(), "{name}");
        }
    }

    #[test]
    fn the_hub_cache_of_its_own_variable_goes_first() {
        let home = Environment { hf_home: Some("h".into()), ..Environment::default() };
        assert_eq!(home.hub_cache(), Some("h/hub".into()));
        let both = Environment { hf_hub_cache: Some("c".into()), ..home };
        assert_eq!(both.hub_cache(), Some("c".into()));
        assert_eq!(Environment::default().hub_cache(), None);
    }
}
