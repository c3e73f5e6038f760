//! Writes the files that are generated from the typed spec: `schemas/plan.schema.json` and `docs/settings.md`.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::create_dir_all(root.join("schemas"))?;
    fs::create_dir_all(root.join("docs"))?;
    let schema = serde_json::to_string_pretty(&memspec::plan::generate::schema())?;
    fs::write(root.join("schemas/plan.schema.json"), schema + "\n")?;
    fs::write(root.join("docs/settings.md"), memspec::plan::generate::settings_page())
}
