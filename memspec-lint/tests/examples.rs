//! The plans of `examples/`: clean, and as large as their comments say.

mod common;

use std::path::Path;

use common::command::run;

#[test]
fn each_is_clean_and_takes_what_its_comment_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut said = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "mem") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let checked = run(&folder, &["check", name]);
        assert!(checked.out.ends_with("nothing found\n"), "{name}: {}", checked.out);
        let Some((_, after)) = text.split_once("the estimate is ") else { continue };
        let wanted: String = after.split_inclusive("GiB").take(1).collect();
        let estimated = run(&folder, &["estimate", name]).out;
        let process = estimated.lines().find(|line| line.starts_with("  process")).unwrap();
        assert_eq!(process.split_whitespace().skip(1).take(2).collect::<Vec<_>>().join(" "), wanted, "{name}");
        said += 1;
    }
    assert_eq!(said, 3, "the guide's examples say how much they take");
}
