#![no_main]

#[path = "../../memspec/tests/laws/mod.rs"]
mod laws;

#[path = "../../memspec/tests/laws/foreign.rs"]
mod foreign;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    foreign::check(&String::from_utf8_lossy(bytes));
});
