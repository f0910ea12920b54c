//! What is counted is what the page shows, in both formats.
