#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| throttle_monitor::fuzz::run("tcp_info", data));
