//! The exit codes of `trunkctl`, for scripts.

use std::process::ExitCode;

use super::client::ClientError;

/// What there is to say about them, in `--help`, the manual page and the manual.
pub const CODES: [(u8, &str); 6] = [
    (0, "it is done, or the answer is yes"),
    (
        1,
        "the answer is no: there is no such call or subscriber, no way to that address, a configuration with errors, a box that is not ready",
    ),
    (2, "the command line is wrong"),
    (
        3,
        "trunklined cannot be asked: it is not running, it is stopping, or it does not answer",
    ),
    (
        4,
        "you may not ask it, or may not write where you wanted to",
    ),
    (
        5,
        "its answer makes no sense to this trunkctl, which is of another version",
    ),
];

/// The same as text.
#[must_use]
pub fn text() -> String {
    let lines = CODES.iter().map(|(code, meaning)| {
        let meaning = super::wrapped(meaning, 74).join("\n     ");
        format!("  {code}  {meaning}\n")
    });
    format!("Exit codes:\n{}", lines.collect::<String>())
}

/// The exit code of a question that the daemon did not answer.
#[must_use]
pub fn of(error: &ClientError) -> ExitCode {
    let code = match error {
        ClientError::Refused(_) => 1,
        ClientError::NoSocket { .. }
        | ClientError::Dead { .. }
        | ClientError::Closed
        | ClientError::Unavailable(_)
        | ClientError::Silent
        | ClientError::Io { .. } => 3,
        ClientError::NotPermitted { .. } => 4,
        ClientError::Strange(_) => 5,
    };
    ExitCode::from(code)
}

/// The exit code of a file that could not be written.
#[must_use]
pub fn of_io(error: &std::io::Error) -> ExitCode {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => ExitCode::from(4),
        _ => ExitCode::FAILURE,
    }
}
