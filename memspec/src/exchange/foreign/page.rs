//! `docs/convert.md`: what every key of the tables means.

use std::fmt::Write;

use super::Trainer;
use super::table::{Form, Format, Key, Meaning};
use crate::cost::Difference;
use crate::cost::differences;

const HEAD: &str = "\
<!-- generated from the tables of memspec/src/exchange/foreign -->

# Other trainers' files

`memspec-lint convert FILE --to mem|yaml|json|TRAINERS` turns a plan into another trainer's file and such a file into a plan; `memspec-lint convert
--help` has examples. A plan that comes from a file has that trainer's defaults written out, so it costs what it costs there.

What cannot be carried over is printed, under one of these headings:

| heading | what stands there |
| --- | --- |
| not understood | a key that may change memory and that nothing here knows, with its value; the estimate may be wrong |
| known, and not costed | a key whose memory is not in the estimate, and why |
| no counterpart, and it changes memory | a setting of the plan that the other file cannot say |
| different from what is estimated | the trainer does something that the estimate has otherwise |
| not in the file, and assumed | a plan has to say it, and the file does not |
| no counterpart: does not change memory | the rest |
";

/// The page.
pub fn page() -> String {
    let names: Vec<_> = Trainer::ALL.iter().map(|trainer| trainer.name()).collect();
    let mut text = HEAD.replace("TRAINERS", &names.join("|"));
    for trainer in Trainer::ALL {
        of(&mut text, trainer.format());
    }
    text
}

fn of(text: &mut String, format: &Format) {
    let title = format.trainer.title();
    let _ = write!(text, "\n## {title}\n\nRead from {}.\n", format.source);
    differing(text, format);
    let _ = write!(text, "\n### What maps\n\n| {title} | default | plan |\n| --- | --- | --- |\n");
    for key in format.keys {
        let plan = match key.meaning {
            Meaning::Setting(path, Form::Same | Form::Words(_)) => format!("`{path}`"),
            Meaning::Setting(path, Form::Share) => format!("`{path}`, in percent"),
            Meaning::Setting(path, Form::Names) => format!("`{path}`, a list"),
            Meaning::Part(what) => what.to_owned(),
            Meaning::Former(now) => format!("a former name of `{now}`"),
            _ => continue,
        };
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        let _ = writeln!(text, "| `{}` | {default} | {plan} |", key.name);
    }
    words(text, format);
    let _ = write!(text, "\n### What is not costed\n\n| {title} | unless | why |\n| --- | --- | --- |\n");
    for key in format.keys {
        if let Meaning::Refused(unless, why) = key.meaning {
            let _ = writeln!(text, "| `{}` | {} | {why} |", key.name, listed(unless));
        }
    }
    let _ =
        write!(text, "\n### What is costed otherwise\n\n| {title} | unless | how it differs |\n| --- | --- | --- |\n");
    for key in format.keys {
        if let Meaning::Differs(unless, how) = key.meaning {
            let _ = writeln!(text, "| `{}` | {} | {how} |", key.name, listed(unless));
        }
    }
    let _ = write!(
        text,
        "\n### What has no counterpart and changes no memory\n\n| what it is about | {title} |\n| --- | --- |\n"
    );
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for key in format.keys {
        if let Meaning::Aside(what) = key.meaning {
            match reasons.iter_mut().find(|(why, _)| *why == what) {
                Some((_, names)) => names.push(key.name),
                None => reasons.push((what, vec![key.name])),
            }
        }
    }
    for (what, names) in reasons {
        let _ = writeln!(text, "| {what} | {} |", listed(&names));
    }
    let _ = write!(text, "\n### Settings of a plan that {title} has no key for\n\n| plan | why |\n| --- | --- |\n");
    for (path, why) in format.absent {
        let _ = writeln!(text, "| `{path}` | {why} |");
    }
}

/// How the trainer differs from the one whose runs were measured.
fn differing(text: &mut String, format: &Format) {
    let differences = differences::of(format.trainer.script());
    if differences.is_empty() {
        return;
    }
    let title = format.trainer.title();
    let _ = write!(
        text,
        "\nNo run of {title} was measured: a plan from its file has the engine `trl` with `train.script = {}`, whose estimate has these differences \
         from TRL's trainer, or a wide interval because of them.\n\n| difference | what {title} does | its source | in the estimate |\n| --- | --- | --- | --- |\n",
        format.trainer.script(),
    );
    for Difference { name, what, source, costed, .. } in differences {
        let place = if *costed { "yes" } else { "in the interval only" };
        let _ = writeln!(text, "| {name} | {what} | `{source}` | {place} |");
    }
}

/// The words of keys that take one of a few.
fn words(text: &mut String, format: &Format) {
    for Key { name, meaning, .. } in format.keys {
        let Meaning::Setting(path, Form::Words(words)) = meaning else { continue };
        let pairs: Vec<_> = words.iter().map(|(theirs, ours)| format!("`{theirs}` is `{ours}`")).collect();
        let _ = write!(text, "\n`{name}` and `{path}`: {}.\n", pairs.join(", "));
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
