#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| trunkline_dataplane::fuzz::tokens(bytes));
