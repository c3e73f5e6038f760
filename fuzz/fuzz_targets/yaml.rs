#![no_main]

#[path = "../../memspec/tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    laws::yaml(&String::from_utf8_lossy(bytes));
});
