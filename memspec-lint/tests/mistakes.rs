//! What `memspec-lint check` prints of real mistakes: the fixtures are the library's.

mod common;
#[path = "../../memspec/tests/fixtures/mistakes.rs"]
mod fixtures;

use common::command::run;

#[test]
fn what_is_printed() {
    let folder = fixtures::folder();
    for fixture in fixtures::all() {
        let printed = run(&folder, &["check", &fixture.file]).out;
        // no rule adds to what is wrong with the text
        let errors = match fixture.mistakes {
            1 => "1 file, 1 error".to_owned(),
            count => format!("1 file, {count} errors"),
        };
        let summary = printed.lines().next_back().unwrap();
        assert_eq!(summary.split([';', ',']).take(2).collect::<Vec<_>>().join(","), errors, "{printed}");
        insta::assert_snapshot!(fixture.name(), printed.replace(folder.to_str().unwrap(), "/project"));
    }
}
