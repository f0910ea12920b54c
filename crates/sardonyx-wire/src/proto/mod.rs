//! The messages of the protocols as structs, written by hand with the official field numbers.
//!
//! Fields that Sardonyx has no use for are left out; protobuf readers skip them. Contents of
//! tensors are [`prost::bytes::Bytes`]: slices of what was received.

pub mod administration;
pub mod health;
pub mod inference;
pub mod model_config;
pub mod model_server;
pub mod prediction_log;
pub mod serving;
pub mod statistics;
pub mod tensorflow;
pub mod well_known;
