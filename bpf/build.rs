//! Compiles the XDP program to `$OUT_DIR/trunkline.bpf.o`, which src/lib.rs embeds.

use std::process::ExitCode;

#[path = "compile.rs"]
mod compile;

fn main() -> ExitCode {
    match compile::compile("src/bpf", &["trunkline"]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}
