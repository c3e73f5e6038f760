//! The command line.

mod bench;
mod devices;
mod eval;
mod export;
mod failure;
mod frozen;
mod merge;
mod open;
mod out_of_memory;
mod print;
mod progress;
mod run;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::Failure;

/// Fine-tunes language models inside the memory that was promised.
#[derive(Debug, Parser)]
#[command(
    name = "memspec-train",
    version,
    after_help = "Examples:\n  memspec-train run examples/quickstart.mem\n  memspec-train run plan.mem --resume\n  \
                  memspec-train generate plan.mem --prompt \"What does the baker sell?\" --adapter runs/quickstart-1\n\n\
                  Exit codes: 0 done, 1 the plan does not fit, 2 it could not run, 130 stopped by Ctrl-C (saved)."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trains what a plan says and leaves an adapter that PEFT loads, or without `adapter` a model.
    Run(RunArguments),
    /// Says what this machine has to run on: cards, driver and libraries.
    Devices(DevicesArguments),
    /// Measures speed and memory of a plan.
    Bench(BenchArguments),
    /// Compares every operation on a card with the CPU's.
    #[command(hide = true)]
    CheckKernels(CheckKernelsArguments),
    /// Loss and perplexity on a file, of the base model or with an adapter.
    Eval(EvalArguments),
    /// Adds an adapter to its base model's weights: a folder that loads without PEFT.
    Merge(MergeArguments),
    /// Writes an adapter as a GGUF file that llama.cpp loads beside the model.
    ExportGgufLora(ExportArguments),
    /// Answers a prompt, with the base model or with an adapter.
    Generate(GenerateArguments),
    /// Writes the logits of a prompt, to compare with another implementation.
    Logits(LogitsArguments),
    /// Prints a completion script for a shell.
    #[command(
        after_help = "Examples:\n  memspec-train completions bash > ~/.local/share/bash-completion/completions/memspec-train\n  \
                            memspec-train completions fish > ~/.config/fish/completions/memspec-train.fish"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  memspec-train run plan.mem\n  memspec-train run plan.mem --resume        go on from the newest checkpoint\n  \
                        memspec-train run plan.mem --overwrite     replace an earlier run in the plan's `output`\n  \
                        memspec-train run plan.mem --json          print the report"
)]
struct RunArguments {
    /// The plan: a .mem, .yaml or .json file.
    plan: PathBuf,
    /// The plan of that name, when the file has several.
    #[arg(long)]
    name: Option<String>,
    /// Go on from the newest checkpoint.
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace what an earlier run left in the output folder.
    #[arg(long)]
    overwrite: bool,
    /// Threads to compute with [default: all cores].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print the report as JSON instead of a summary.
    #[arg(long)]
    json: bool,
    /// Print nothing but errors.
    #[arg(long, short)]
    quiet: bool,
}

/// Arguments of `devices`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  memspec-train devices\n  memspec-train devices --json")]
struct DevicesArguments {
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  memspec-train bench plan.mem --random-weights\n  memspec-train bench plan.mem --steps 50 --random-weights --json\n  memspec-train bench plan.mem --random-weights --operations"
)]
struct BenchArguments {
    /// The plan: a .mem, .yaml or .json file.
    plan: PathBuf,
    /// The plan of that name, when the file has several.
    #[arg(long)]
    name: Option<String>,
    /// Optimizer steps that are timed, after a first one that is not.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Make weights of the right shapes up: no files are needed, and the loss means nothing.
    #[arg(long)]
    random_weights: bool,
    /// Also time the operations of one step on a card, each between two events.
    #[arg(long)]
    operations: bool,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `check-kernels`.
#[derive(Debug, clap::Args)]
struct CheckKernelsArguments {
    /// Only compile them, for cards of these compute capabilities (90 for 9.0): needs NVRTC, and no card.
    #[arg(long, value_delimiter = ',', value_name = "CAPABILITIES")]
    compile: Vec<i32>,
}

/// Arguments of `eval`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  memspec-train eval plan.mem --data held-out.jsonl\n  \
                  memspec-train eval plan.mem --data held-out.jsonl --adapter runs/plan-1 --json")]
struct EvalArguments {
    /// The plan whose model is scored, and whose `data` says how lines are read and which tokens count.
    plan: PathBuf,
    /// The plan of that name, when the file has several.
    #[arg(long)]
    name: Option<String>,
    /// A run's folder, to score with its adapter; without it the base model is scored.
    #[arg(long, short)]
    adapter: Option<PathBuf>,
    /// The JSONL file to score [default: the plan's `data.eval_path`].
    #[arg(long, short)]
    data: Option<PathBuf>,
    /// The longest sample, in tokens; longer ones are cut there [default: the plan's `data.context`].
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
    context: Option<u32>,
    /// Samples that are computed together.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    micro_batch: u16,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Print nothing but the figures.
    #[arg(long, short)]
    quiet: bool,
}

/// Arguments of `merge`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  memspec-train merge plan.mem --adapter runs/plan-1 --output merged\n  \
                  memspec-train merge --base models/Llama-3.2-1B --adapter runs/plan-1 --output merged")]
struct MergeArguments {
    /// The plan whose model the adapter was trained on.
    #[arg(required_unless_present = "base", conflicts_with = "base")]
    plan: Option<PathBuf>,
    /// The plan of that name, when the file has several.
    #[arg(long, requires = "plan")]
    name: Option<String>,
    /// In place of a plan: the base model's folder, or its name in the local Hugging Face cache.
    #[arg(long, short)]
    base: Option<String>,
    /// The adapter: a run's folder, or another that PEFT wrote.
    #[arg(long, short)]
    adapter: PathBuf,
    /// The folder to write. It must be new or empty.
    #[arg(long, short)]
    output: PathBuf,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
    /// Print nothing but errors.
    #[arg(long, short)]
    quiet: bool,
}

/// Arguments of `export-gguf-lora`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  memspec-train export-gguf-lora --adapter runs/plan-1 --base models/Llama-3.2-1B --output adapter.gguf\n  \
                  llama-cli -m Llama-3.2-1B.gguf --lora adapter.gguf"
)]
struct ExportArguments {
    /// The adapter: a run's folder, or another that PEFT wrote.
    #[arg(long, short)]
    adapter: PathBuf,
    /// The model that it was trained on: its folder, GGUF file, hub name or name in the catalog. Only its shapes are read.
    #[arg(long, short)]
    base: String,
    /// The file to write.
    #[arg(long, short)]
    output: PathBuf,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `generate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  memspec-train generate plan.mem --prompt \"What does the baker sell?\"\n  \
                        memspec-train generate plan.mem --prompt \"What does the baker sell?\" --adapter runs/plan-1\n  \
                        memspec-train generate plan.mem --prompt \"Tell me a story.\" --temperature 0.8 --top-p 0.95 --max-tokens 200\n  \
                        memspec-train generate plan.mem --chat --adapter runs/plan-1")]
struct GenerateArguments {
    /// The plan whose model answers.
    plan: PathBuf,
    /// The plan of that name, when the file has several.
    #[arg(long)]
    name: Option<String>,
    /// What to ask. With a chat template it is the user's turn, without one it is continued.
    #[arg(long, short, required_unless_present = "chat", conflicts_with = "chat")]
    prompt: Option<String>,
    /// Talk: each line of the input is a turn, and what was said before is remembered. Needs a chat template.
    #[arg(long)]
    chat: bool,
    /// What the model is told before the first turn. Needs a chat template that knows such a turn.
    #[arg(long)]
    system: Option<String>,
    /// A run's folder, to answer with its adapter; without it the base model answers.
    #[arg(long, short)]
    adapter: Option<PathBuf>,
    /// Most tokens of the answer.
    #[arg(long, default_value_t = 64)]
    max_tokens: usize,
    /// 0 always takes the likeliest token, 1 draws as likely as the model says.
    #[arg(long, default_value_t = 0.0, value_parser = temperature)]
    temperature: f32,
    /// Draw only from the likeliest tokens that together are this likely, 0 to 1.
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    top_p: f32,
    /// Seed of what is drawn [default: the plan's].
    #[arg(long)]
    seed: Option<u64>,
    /// Print prompt and answer as JSON; in a chat one line a turn.
    #[arg(long)]
    json: bool,
}

/// Arguments of `logits`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  memspec-train logits plan.mem --prompt \"The baker sells\" --out logits.safetensors\n  \
                        memspec-train logits plan.mem --prompt \"The baker sells\" --adapter runs/plan-1 --out logits.safetensors"
)]
struct LogitsArguments {
    /// The plan whose model computes.
    plan: PathBuf,
    /// The plan of that name, when the file has several.
    #[arg(long)]
    name: Option<String>,
    /// The text, taken as it stands.
    #[arg(long, short)]
    prompt: String,
    /// A run's folder, to compute with its adapter.
    #[arg(long, short)]
    adapter: Option<PathBuf>,
    /// The safetensors file to write: `input_ids` [T] and `logits` [T, V].
    #[arg(long, short)]
    out: PathBuf,
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(temperature) if temperature.is_finite() && temperature >= 0.0 => Ok(temperature),
        _ => Err("a number from 0 on".to_owned()),
    }
}

fn share(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}

/// Runs the command line; the exit code says how it went.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Devices(arguments) => devices::devices(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::CheckKernels(arguments) => bench::check_kernels(&arguments.compile),
        Command::Eval(arguments) => eval::eval(&arguments),
        Command::Merge(arguments) => merge::merge(&arguments),
        Command::ExportGgufLora(arguments) => export::export(&arguments),
        Command::Generate(arguments) => words::generate(&arguments),
        Command::Logits(arguments) => words::logits(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "memspec-train", &mut script);
            print::out(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(Failure::print)
}
