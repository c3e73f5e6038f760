//! `memspec-train devices`.

use std::process::ExitCode;

use memspec::quantity::Bytes;

use super::DevicesArguments;
use super::failure::Failure;
use super::print::out;
use crate::devices::{Machine, machine};
use crate::libraries::Folders;

pub(super) fn devices(arguments: &DevicesArguments) -> Result<ExitCode, Failure> {
    let machine = machine(&Folders::of_process());
    match arguments.json {
        true => out(&format!("{}\n", serde_json::to_string_pretty(&machine).unwrap_or_default()))?,
        false => out(&text(&machine))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(machine: &Machine) -> String {
    let mut text = String::new();
    if let Ok(cpu) = memspec::device::cpu() {
        text += &format!("cpu       {}: {} usable\n", cpu.title, cpu.usable);
    }
    for card in &machine.cards {
        let catalog = card.catalog.as_ref().map_or(String::new(), |name| format!(" (`{name}`)"));
        text += &format!(
            "cuda:{:<4} {}{catalog}: {} of {} free\n",
            card.number,
            card.name,
            Bytes(card.free_bytes),
            Bytes(card.memory_bytes)
        );
        for user in &card.used_by {
            let bytes = user.bytes.map_or("an unknown part".to_owned(), |bytes| Bytes(bytes).to_string());
            text += &format!("          process {} holds {bytes}\n", user.process);
        }
    }
    if let Some(why) = &machine.no_cards {
        text += &format!("cuda      no card: {why}\n");
    }
    text += &format!("driver    {}\n", machine.driver.as_deref().unwrap_or("none"));
    for library in &machine.libraries {
        match (&library.file, &library.missing) {
            (Some(file), _) => text += &format!("{:<9} {file}\n", library.name),
            (None, Some(missing)) => text += &format!("{:<9} missing: {missing}\n", library.name),
            (None, None) => {}
        }
    }
    if !machine.built_with_cuda {
        text += "This memspec-train runs on the CPU only: for cards, `cargo install --path memspec-train --features cuda`.\n";
    }
    text
}
