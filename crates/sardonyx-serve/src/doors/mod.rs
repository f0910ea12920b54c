//! The doors: how requests come in from the network and answers go out.
//!
//! Thin on purpose. A door takes connections ([`listen`]), asks who is there ([`auth`]), turns a
//! body into tensors, hands them to the core and turns its answer into bytes. What is asked and
//! what is answered is the core's business.

pub mod auth;
pub mod listen;
mod watch;
