//! What sardonyx leaves behind, judged by software that is not sardonyx: the ONNX checker, ONNX
//! Runtime, scikit-learn, an HTML parser; and by what hostile files do to the program.
//!
//! `SARDONYX_PYTHON` names a Python that has onnx, onnxruntime, numpy and scikit-learn. Without
//! it a test says so and checks what it can.

mod dashboards;
mod determinism;
mod exports;
mod hostile;
mod report;
mod runs;
mod serving;
mod support;
mod torch_networks;
