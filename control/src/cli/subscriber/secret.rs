//! Passwords and HA1s, from where nobody else can read them: the terminal, without an echo, or standard
//! input. A command line can be read by every user of the machine.

use std::io::BufRead;
use std::io::IsTerminal as _;
use std::io::stdin;

use super::Given;
use super::Ha1;
use crate::cli::Failure;
use crate::subscribers::name::Address;

/// Bytes of HA1s on standard input: three lines take 300.
const HA1S_LEN_MAX: u64 = 4096;

/// The password of `who`.
pub(super) fn password(who: &Address, from_stdin: bool) -> Result<String, Failure> {
    if from_stdin {
        let mut line = String::new();
        stdin()
            .lock()
            .read_line(&mut line)
            .map_err(|error| unread(&error))?;
        return checked(line.trim_end_matches(['\n', '\r']));
    }
    if !stdin().is_terminal() {
        let help = "there is no terminal to ask for the password on: take --password-stdin";
        return Err(Failure::Usage(help.to_owned()));
    }
    let password = ask(&format!("Password of {who}: "))?;
    let password = checked(&password)?;
    if ask("The same again: ")? != password {
        return Err(Failure::Usage(
            "that was another one: nothing is changed".to_owned(),
        ));
    }
    Ok(password)
}

/// The HA1s of `who`: those of the command line, and where it says `-` those of standard input as well.
pub(super) fn ha1s(who: &Address, given: &[Given]) -> Result<Vec<Ha1>, Failure> {
    let mut all = Vec::new();
    for given in given {
        match given {
            Given::Here(ha1) => all.push(*ha1),
            Given::OnStdin if stdin().is_terminal() => {
                let question =
                    format!("HA1 of {who}, as in SHA-256=2cf24d.., or nothing when that was all: ");
                loop {
                    let line = ask(&question)?;
                    if line.trim().is_empty() {
                        break;
                    }
                    all.push(line.trim().parse::<Ha1>().map_err(Failure::Usage)?);
                }
            }
            Given::OnStdin => all.extend(read(stdin().lock())?),
        }
    }
    match all.is_empty() {
        true => Err(Failure::Usage(
            "there is no HA1 on standard input: nothing is changed".to_owned(),
        )),
        false => Ok(all),
    }
}

/// HA1s, one a line; what is wrong with one is said without its digits.
pub(super) fn read(source: impl BufRead) -> Result<Vec<Ha1>, Failure> {
    let mut all = Vec::new();
    for (number, line) in (1..).zip(source.take(HA1S_LEN_MAX).lines()) {
        let line = line.map_err(|error| unread(&error))?;
        if !line.trim().is_empty() {
            let ha1 = line.trim().parse::<Ha1>().map_err(|error| {
                Failure::Usage(format!("line {number} of standard input: {error}"))
            });
            all.push(ha1?);
        }
    }
    Ok(all)
}

fn ask(question: &str) -> Result<String, Failure> {
    rpassword::prompt_password(question).map_err(Failure::Terminal)
}

fn unread(error: &std::io::Error) -> Failure {
    Failure::Read {
        path: "standard input".into(),
        error: error.to_string(),
    }
}

fn checked(password: &str) -> Result<String, Failure> {
    match password.is_empty() {
        true => Err(Failure::Usage(
            "the password is empty: nothing is changed".to_owned(),
        )),
        false => Ok(password.to_owned()),
    }
}
