//! What a package carries beside the programs: shell completions and manual pages, both
//! made of the same description of the command line that reads it.

use std::fs;
use std::io;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;

use clap::Command;
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::Arguments;
use super::daemon;
use super::exit;

/// The completions of `trunkctl` for `shell`.
pub fn completions(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "trunkctl", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes `trunkctl.1`, a page for each of its commands, and `trunklined.8` into
/// `directory`, which is made where it is missing. Gives the files.
pub fn man(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    tree(&command, &mut pages);
    let mut files = Vec::new();
    for (command, section) in pages
        .into_iter()
        .map(|command| (command, "1"))
        .chain([(daemon::Arguments::command(), "8")])
    {
        let page = page(command, section)?;
        fs::write(directory.join(&page.0), page.1)?;
        files.push(directory.join(page.0));
    }
    Ok(files)
}

/// `command` and all below it.
fn tree(command: &Command, pages: &mut Vec<Command>) {
    pages.push(command.clone());
    for below in command.get_subcommands() {
        tree(below, pages);
    }
}

/// The file's name and its text in roff.
fn page(command: Command, section: &str) -> io::Result<(String, Vec<u8>)> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let file = format!("{name}.{section}");
    let has_commands = command.has_subcommands();
    let is_daemon = section == "8";
    // The exit codes are a section of their own here.
    let man = Man::new(command.after_help("").after_long_help(""))
        .section(section)
        .manual("Trunkline")
        .source(format!("Trunkline {}", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_commands {
        man.render_subcommands_section(&mut text)?;
    }
    writeln!(text, ".SH \"EXIT STATUS\"")?;
    if is_daemon {
        for line in [
            ".TP\n.B 0\nstopped as it was told to, with every sum exact; or the configuration is good",
            ".TP\n.B 1\nit did not start, or a sum did not hold or could not be checked; the last lines on standard error say why",
            ".TP\n.B 2\nthe command line is wrong",
            ".SH SIGNALS\nSIGTERM and SIGINT stop it in order.",
            ".SH FILES\n.TP\n.I /etc/trunkline/trunkline.toml\nthe configuration; \\-\\-print\\-default\\-config prints its reference\
             \n.TP\n.I /run/trunkline/control.sock\nthe operator's socket\n.TP\n.I /var/lib/trunkline/state.json\nthe keys that outlive a restart",
        ] {
            writeln!(text, "{line}")?;
        }
    } else {
        for (code, meaning) in exit::CODES {
            writeln!(text, ".TP\n.B {code}\n{meaning}")?;
        }
    }
    writeln!(text, ".SH \"SEE ALSO\"")?;
    let also = if is_daemon {
        ".BR trunkctl (1)"
    } else {
        ".BR trunkctl (1),\n.BR trunklined (8)"
    };
    writeln!(text, "{also}")?;
    Ok((file, text))
}
