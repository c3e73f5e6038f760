#![no_main]

#[path = "../../memspec/tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    laws::foreign(&String::from_utf8_lossy(bytes));
});
