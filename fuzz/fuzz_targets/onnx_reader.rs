//! Any bytes as an ONNX file: never a panic, and what is accepted survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    sardonyx_onnx::fuzzing::read_model(bytes);
});
