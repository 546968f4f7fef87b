//! Compiles BPF programs for a build script: bpf/build.rs and perf/build.rs both are `#[path]` users.

use std::env;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use libbpf_cargo::SkeletonBuilder;

const PACKAGES: &str = "apt-get install gcc libc6-dev make pkg-config clang libelf-dev zlib1g-dev";

/// Compiles each of `programs`, `NAME.bpf.c` in `directory`, to `$OUT_DIR/NAME.bpf.o`.
///
/// # Errors
/// A sentence that says what to do.
pub fn compile(directory: &str, programs: &[&str]) -> Result<(), String> {
    println!("cargo:rerun-if-changed=build.rs");
    // A directory is watched with all that is in it: every source and header.
    println!("cargo:rerun-if-changed={directory}");
    println!("cargo:rerun-if-env-changed=CLANG");

    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    if Command::new(&clang).arg("--version").output().is_err() {
        return Err(format!(
            "`{clang}` cannot be run, and the BPF programs are compiled with it. \
             On Debian: {PACKAGES}"
        ));
    }

    let out_dir = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this by cargo")?;
    let mut arguments = vec!["-Wall".to_owned(), "-Werror".to_owned()];
    arguments.extend(multiarch_include());
    // Its debug information goes into the programs: without the paths of the box that built them.
    if let Ok(here) = env::current_dir() {
        arguments.push(format!("-ffile-prefix-map={}=.", here.display()));
    }
    for program in programs {
        SkeletonBuilder::new()
            .source(Path::new(directory).join(format!("{program}.bpf.c")))
            .obj(PathBuf::from(&out_dir).join(format!("{program}.bpf.o")))
            .clang(&clang)
            .clang_args(arguments.clone())
            .build()
            .map_err(|error| {
                format!(
                    "{program}.bpf.c does not compile: {error:#}\n\
                     If a header is missing, on Debian: {PACKAGES}"
                )
            })?;
    }
    Ok(())
}

/// Debian keeps <asm/types.h> in a directory of the architecture, where clang does not look when it
/// compiles for BPF. The program's own target has no such directory, so the box's is taken.
fn multiarch_include() -> Option<String> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").ok()?;
    let include = format!("/usr/include/{arch}-linux-gnu");
    Path::new(&include).is_dir().then(|| format!("-I{include}"))
}
