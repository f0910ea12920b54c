//! The wire forms against what other software says and sends: the behaviour that TensorFlow
//! Serving's own tests hold it to, replies of a real Triton, requests of real clients (see
//! `tests/golden/make.py`), and hostile bytes.

#[cfg(test)]
mod clients;
#[cfg(test)]
mod configs;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kserve;
#[cfg(test)]
mod kserve_documents;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tensorflow_examples;
#[cfg(test)]
mod tensorflow_predict;
#[cfg(test)]
mod tensorflow_reply;
