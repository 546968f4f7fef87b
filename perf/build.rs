//! Compiles the programs of the measurements, which src/floor/redirect.rs embeds.

use std::process::ExitCode;

#[path = "../bpf/compile.rs"]
mod compile;

fn main() -> ExitCode {
    match compile::compile("src/bpf", &["forward"]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}
