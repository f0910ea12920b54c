//! The command line as its users see it: help, success and the commonest error of each verb.
//!
//! `UPDATE_EXPECT=1 cargo test -p sardonyx --test cli` writes changed snapshots.

mod bench;
mod config;
mod demo;
mod doctor;
mod eval;
mod general;
mod hostile;
mod inspect;
mod interop;
mod killed;
mod new;
mod predict;
mod profile;
mod readme;
mod serve;
mod support;
mod train;
