//! JSON of our own making: a scanner that a tensor's type directs, and writers that lay text out
//! as the servers that clients know do. No tree is built of what is read.

pub(crate) mod debug;
pub(crate) mod fill;
pub(crate) mod float;
pub(crate) mod number;
pub(crate) mod scan;
pub(crate) mod write;
