//! What holds for every text that is read as another trainer's file.

use memspec::exchange::foreign::{self, Trainer};
use memspec::plan::Source;

use crate::laws;

/// A text is read as every other trainer's file; a plan without mistakes, written as such a file and read again, is written the same.
pub(crate) fn check(text: &str) {
    foreign::detect(text);
    for trainer in Trainer::ALL {
        let read = |text: &str| foreign::read(Source { name: "any.yaml".to_owned(), text: text.to_owned() }, *trainer);
        let document = read(text);
        laws::within(&document);
        let notes = document.foreign.iter().flat_map(|foreign| &foreign.notes);
        for note in notes.filter(|note| note.span.is_some()) {
            let span = note.span.clone().unwrap();
            assert!(text.get(span).is_some(), "{note:?} is not in {text:?}");
        }
        for plan in document.plans.iter().map(|read| &read.plan).filter(|_| document.problems.is_empty()) {
            let written = foreign::write(plan, *trainer).unwrap();
            let again = read(&written.text);
            assert_eq!(again.problems, [], "of {text:?}\n{}", written.text);
            let twice = foreign::write(&again.plans[0].plan, *trainer).unwrap();
            assert_eq!(
                read(&twice.text).plans[0].plan,
                again.plans[0].plan,
                "of {text:?}\n{}\n{}",
                written.text,
                twice.text
            );
        }
    }
}
