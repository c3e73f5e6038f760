//! CUDA C++ to machine code by NVRTC, kept on disk between runs. It needs no card, so the kernels are compiled where nothing runs them, too.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use libloading::Library as Opened;

use crate::libraries::{Folders, Library, find};
use crate::quantize::{dynamic_map, nf4};

/// A text of kernels. Each begins with `common.cuh`, and becomes one module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Elementwise,
    Norm,
    Magnitude,
    Loss,
    Quantized,
    /// Packed weights with an adapter.
    Adapted(Rank, Short),
    /// Adapters of activations that are read once.
    LowRank(Short),
    Optimizer,
    AttentionPlain,
    Flash(Head, Short),
    /// As [`Source::Flash`] on Hopper's tensor cores, which no other card has.
    Hopper(Head, Short),
}

/// The most that the rank of an adapter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rank {
    R16 = 16,
    R32 = 32,
    R64 = 64,
}

/// Elements of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Head {
    D64 = 64,
    D128 = 128,
}

/// A type of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Short {
    Bf16,
    F16,
}

#[cfg(feature = "cuda")]
impl Rank {
    /// Where adapters of this rank belong; they are at most 64.
    pub(crate) fn of(rank: usize) -> Self {
        match rank {
            ..=16 => Self::R16,
            17..=32 => Self::R32,
            _ => Self::R64,
        }
    }
}

#[cfg(feature = "cuda")]
impl Head {
    /// Those that kernels on tiles know.
    pub(crate) fn of(elements: usize) -> Option<Self> {
        [Self::D64, Self::D128].into_iter().find(|&head| head as usize == elements)
    }
}

impl Source {
    /// All of them.
    pub(crate) fn all() -> Vec<Self> {
        use Source::{AttentionPlain, Elementwise, Loss, Magnitude, Norm, Optimizer, Quantized};
        let mut all = vec![Elementwise, Norm, Magnitude, Loss, Quantized, Optimizer, AttentionPlain];
        for short in [Short::Bf16, Short::F16] {
            all.extend([Rank::R16, Rank::R32, Rank::R64].map(|rank| Self::Adapted(rank, short)));
            all.push(Self::LowRank(short));
            all.extend([Head::D64, Head::D128].map(|head| Self::Flash(head, short)));
            all.extend([Head::D64, Head::D128].map(|head| Self::Hopper(head, short)));
        }
        all
    }

    /// Whether a card of this compute capability (90 for 9.0) runs it.
    pub(crate) fn is_for(self, capability: i32) -> bool {
        !matches!(self, Self::Hopper(..)) || capability == 90
    }

    /// The attention of these heads on tiles, on a card of this compute capability.
    #[cfg(feature = "cuda")]
    pub(crate) fn attention(head: Head, short: Short, capability: i32) -> Self {
        let hopper = Self::Hopper(head, short);
        if hopper.is_for(capability) { hopper } else { Self::Flash(head, short) }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Elementwise => include_str!("cuda/source/elementwise.cu"),
            Self::Norm => include_str!("cuda/source/norm.cu"),
            Self::Magnitude => include_str!("cuda/source/magnitude.cu"),
            Self::Loss => include_str!("cuda/source/loss.cu"),
            Self::Quantized => {
                concat!(include_str!("cuda/source/packed.cuh"), include_str!("cuda/source/quantized.cu"))
            }
            Self::Adapted(..) => {
                concat!(
                    include_str!("cuda/source/packed.cuh"),
                    include_str!("cuda/source/tensor_core.cuh"),
                    include_str!("cuda/source/adapted.cu")
                )
            }
            Self::LowRank(..) => {
                concat!(include_str!("cuda/source/tensor_core.cuh"), include_str!("cuda/source/low_rank.cu"))
            }
            Self::Optimizer => include_str!("cuda/source/optimizer.cu"),
            Self::AttentionPlain => include_str!("cuda/source/attention_plain.cu"),
            Self::Flash(..) => {
                concat!(include_str!("cuda/source/attention.cuh"), include_str!("cuda/source/attention_flash.cu"))
            }
            Self::Hopper(..) => {
                concat!(include_str!("cuda/source/attention.cuh"), include_str!("cuda/source/attention_hopper.cu"))
            }
        }
    }

    /// What codes of packed weights and moments stand for; nothing for other texts.
    fn tables(self) -> String {
        let table = |name: &str, values: &[f32]| {
            let values: Vec<String> = values.iter().map(|value| format!("{value:e}f")).collect();
            format!("__constant__ float {name}[{}] = {{{}}};\n", values.len(), values.join(", "))
        };
        match self {
            Self::Quantized | Self::Adapted(..) => table("NF4", &nf4::CODE) + &table("DYNAMIC", &*dynamic_map::SIGNED),
            Self::Optimizer => table("SIGNED", &*dynamic_map::SIGNED) + &table("UNSIGNED", &*dynamic_map::UNSIGNED),
            _ => String::new(),
        }
    }

    fn defines(self) -> Vec<String> {
        let element = |short| format!("-DELEMENT={}", if short == Short::F16 { "f16" } else { "bf16" });
        match self {
            Self::Adapted(rank, short) => vec![format!("-DRANK={}", rank as u32), element(short)],
            Self::LowRank(short) => vec![element(short)],
            Self::Flash(head, short) | Self::Hopper(head, short) => {
                vec![format!("-DHEAD_DIM={}", head as u32), element(short)]
            }
            _ => Vec::new(),
        }
    }
}

const COMMON: &str = include_str!("cuda/source/common.cuh");

/// The machine code of `source` for a card of this compute capability (90 for 9.0).
///
/// # Errors
/// NVRTC is missing, or does not take the text: the error has its log.
pub(crate) fn cubin(source: Source, capability: i32) -> Result<Arc<[u8]>, String> {
    type Made = Arc<OnceLock<Result<Arc<[u8]>, String>>>;
    static MADE: LazyLock<Mutex<HashMap<(Source, i32), Made>>> = LazyLock::new(Mutex::default);
    // Whoever comes while another compiles it waits for that one alone.
    let made = match MADE.lock() {
        Ok(mut made) => Arc::clone(made.entry((source, capability)).or_default()),
        Err(_) => Made::default(),
    };
    made.get_or_init(|| make(source, capability).map(Arc::from)).clone()
}

/// Compiles what a run is going to need, each on a thread of its own: the run waits for the slowest in place of the sum. What goes wrong is
/// told by whoever needs it.
#[cfg(feature = "cuda")]
pub(crate) fn prepare(sources: Vec<Source>, capability: i32) {
    for source in sources {
        std::thread::spawn(move || cubin(source, capability));
    }
}

/// From the cache, or compiled.
fn make(source: Source, capability: i32) -> Result<Vec<u8>, String> {
    let nvrtc = nvrtc()?;
    let text = format!("{COMMON}{}{}", source.tables(), source.text());
    // What only this generation of cards has is part of another target.
    let only = if matches!(source, Source::Hopper(..)) { "a" } else { "" };
    let mut options = vec![format!("--gpu-architecture=sm_{capability}{only}"), "--std=c++17".to_owned()];
    options.extend(source.defines());
    let mut hasher = DefaultHasher::new();
    (&text, &options, nvrtc.version()).hash(&mut hasher);
    let kept = cache_folder().map(|folder| folder.join(format!("{:016x}.cubin", hasher.finish())));
    if let Some(code) = kept.as_deref().and_then(|file| fs::read(file).ok()) {
        return Ok(code);
    }
    let code = nvrtc.compile(&text, &options).map_err(|error| format!("NVRTC, {source:?}: {error}"))?;
    if let Some(file) = kept {
        // A cache that cannot be written only costs the next run a second.
        let _ = keep(&file, &code);
    }
    Ok(code)
}

/// `memspec/kernels` in the user's cache folder.
fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("memspec/kernels"))
}

/// Written beside its place and renamed: another run never reads half a file.
fn keep(file: &Path, code: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut beside, code)?;
    beside.persist(file)?;
    Ok(())
}

type Program = *mut c_void;

/// The functions of NVRTC that are used, from a library that stays open.
struct Nvrtc {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    log: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    code_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    code: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    _libraries: Vec<Opened>,
}

fn nvrtc() -> Result<&'static Nvrtc, String> {
    static NVRTC: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
    NVRTC.get_or_init(open).as_ref().map_err(Clone::clone)
}

fn open() -> Result<Nvrtc, String> {
    let file = find(Library::Nvrtc, &Folders::of_process()).map_err(|missing| missing.to_string())?;
    let mut libraries = Vec::new();
    // NVRTC asks the loader for its built-ins by name; those beside it count, wherever that is.
    let names = fs::read_dir(file.parent().unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    for builtins in names.filter(|entry| entry.file_name().to_string_lossy().starts_with("libnvrtc-builtins.so")) {
        // SAFETY: a library of NVIDIA's, whose initializers are as safe as NVRTC's.
        libraries.extend(unsafe { Opened::new(builtins.path()) }.ok());
    }
    // SAFETY: as above.
    let library = unsafe { Opened::new(&file) }.map_err(|error| format!("{}: {error}", file.display()))?;
    macro_rules! symbol {
        ($name:literal) => {
            // SAFETY: the field has the type of NVRTC's header.
            *unsafe { library.get($name) }.map_err(|error| format!("{}: {error}", file.display()))?
        };
    }
    Ok(Nvrtc {
        version: symbol!(b"nvrtcVersion\0"),
        create: symbol!(b"nvrtcCreateProgram\0"),
        compile: symbol!(b"nvrtcCompileProgram\0"),
        log_size: symbol!(b"nvrtcGetProgramLogSize\0"),
        log: symbol!(b"nvrtcGetProgramLog\0"),
        code_size: symbol!(b"nvrtcGetCUBINSize\0"),
        code: symbol!(b"nvrtcGetCUBIN\0"),
        destroy: symbol!(b"nvrtcDestroyProgram\0"),
        _libraries: {
            libraries.push(library);
            libraries
        },
    })
}

impl Nvrtc {
    fn version(&self) -> (c_int, c_int) {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both outlive the call.
        unsafe { (self.version)(&mut major, &mut minor) };
        (major, minor)
    }

    fn compile(&self, text: &str, options: &[String]) -> Result<Vec<u8>, String> {
        let no_nul = |_| "a text with a NUL".to_owned();
        let text = CString::new(text).map_err(no_nul)?;
        let options: Vec<CString> =
            options.iter().map(|option| CString::new(option.as_str()).map_err(no_nul)).collect::<Result<_, _>>()?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program = std::ptr::null_mut();
        // SAFETY: every pointer outlives its call, sizes are those that NVRTC says, and the program is destroyed once.
        unsafe {
            let none = std::ptr::null();
            let status = (self.create)(&mut program, text.as_ptr(), c"memspec.cu".as_ptr(), 0, none, none);
            if status != 0 {
                return Err(format!("status {status} for a new program"));
            }
            let status = (self.compile)(program, pointers.len() as c_int, pointers.as_ptr());
            let result = if status == 0 {
                let mut size = 0;
                (self.code_size)(program, &mut size);
                let mut code = vec![0_u8; size];
                match (self.code)(program, code.as_mut_ptr().cast()) {
                    0 => Ok(code),
                    status => Err(format!("status {status} for the machine code")),
                }
            } else {
                let mut size = 0;
                (self.log_size)(program, &mut size);
                let mut log = vec![0_u8; size.max(1)];
                (self.log)(program, log.as_mut_ptr().cast());
                let log = CStr::from_bytes_until_nul(&log).map(CStr::to_string_lossy).unwrap_or_default();
                Err(format!("status {status}: {}", log.trim()))
            };
            (self.destroy)(&mut program);
            result
        }
    }
}
