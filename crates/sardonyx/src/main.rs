//! The `sardonyx` binary: arguments to options, one call of the library, a report to stdout.

mod cli;
mod verbs;

fn main() -> std::process::ExitCode {
    sardonyx_kernels::prepare_heap();
    cli::main()
}
