//! The `sardonyx` binary: arguments to options, one call of the library, a report to stdout.

mod cli;
mod verbs;

fn main() -> std::process::ExitCode {
    cli::main()
}
