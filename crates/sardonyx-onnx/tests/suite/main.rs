//! The reader and writer of ONNX files against files of the reference implementation (see
//! `tests/golden/make.py`) and against hostile ones.

#[cfg(test)]
mod advisories;
#[cfg(test)]
mod external;
#[cfg(test)]
mod files;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod support;
