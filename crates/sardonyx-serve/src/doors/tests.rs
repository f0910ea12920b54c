//! The doors as clients find them.
