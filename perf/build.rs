//! Compiles the programs of the measurements, which src/floor and src/flood embed.

use std::process::ExitCode;

#[path = "../bpf/compile.rs"]
mod compile;

fn main() -> ExitCode {
    match compile::compile("src/bpf", &["flood", "forward"]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}
