#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tagalong_fuzz::srcset(bytes));
