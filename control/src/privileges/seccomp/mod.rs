//! Which system calls a thread may make once it serves, by the kind of thread.
//!
//! A worker makes some twenty calls, most of them only when it ends: its list is closed,
//! arguments and all, and a call beyond it ends the process, since it is either a bug of
//! ours or an intruder's. Control's libraries may ask the kernel for what a newer release
//! of them has found, so control's list is wide and a call beyond it gets ENOSYS, as from
//! a kernel that lacks it: libraries are written for that. What only an intruder asks for
//! ([`intruder`]) ends the process there as well.
//!
//! Each call stands in its table with the reason why it is needed.

mod control;
mod intruder;
mod worker;

use std::collections::BTreeMap;

use seccompiler::BpfProgram;
use seccompiler::SeccompAction;
use seccompiler::SeccompCmpArgLen;
use seccompiler::SeccompCmpOp;
use seccompiler::SeccompCondition;
use seccompiler::SeccompFilter;
use seccompiler::SeccompRule;
use seccompiler::TargetArch;

/// A system call of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    number: libc::c_long,
    name: &'static str,
    /// It is meant where all the conditions of one of these hold; always where there are none.
    only: &'static [&'static [Argument]],
    /// Why it is in the table: for the reader.
    #[allow(dead_code, reason = "read by people and by a test")]
    reason: &'static str,
}

/// What an argument of a system call must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Argument {
    index: u8,
    test: Test,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    /// An `int` that is this.
    Int(u64),
    /// A pointer or a length that is this.
    Word(u64),
    /// A word whose bits under the mask are these.
    Bits { mask: u64, value: u64 },
}

const fn call(number: libc::c_long, name: &'static str, reason: &'static str) -> Call {
    only(number, name, &[], reason)
}

const fn only(
    number: libc::c_long,
    name: &'static str,
    only: &'static [&'static [Argument]],
    reason: &'static str,
) -> Call {
    Call {
        number,
        name,
        only,
        reason,
    }
}

/// An `int` argument. Constants of libc come as `i32` and as `u32`.
const fn int(index: u8, value: libc::c_int) -> Argument {
    let test = Test::Int(value.unsigned_abs() as u64);
    Argument { index, test }
}

const fn word(index: u8, value: u64) -> Argument {
    let test = Test::Word(value);
    Argument { index, test }
}

const fn bits(index: u8, mask: libc::c_int, value: libc::c_int) -> Argument {
    let test = Test::Bits {
        mask: mask.unsigned_abs() as u64,
        value: value.unsigned_abs() as u64,
    };
    Argument { index, test }
}

/// What becomes of a call that a filter does not let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The thread is trapped, or the call fails.
    Enforce,
    /// It passes, and the kernel logs it (`dmesg`, or the audit log): to find out what a
    /// refusal was about.
    Log,
}

/// The filters of one kind of thread: the kernel applies them all, and the strictest wins.
#[derive(Clone, Debug)]
pub(super) struct Filters(Vec<BpfProgram>);

impl Filters {
    /// A worker's.
    pub fn worker(refusal: Refusal) -> Result<Filters, seccompiler::Error> {
        let (beyond, unasked) = match refusal {
            Refusal::Enforce => (SeccompAction::Trap, Some(libc::EACCES)),
            Refusal::Log => (SeccompAction::Log, None),
        };
        let known = worker::ALLOWED.iter().chain(worker::REFUSED);
        let mut filters = vec![compile(known, SeccompAction::Allow, beyond)?];
        if let Some(errno) = unasked {
            let refuse = SeccompAction::Errno(errno.unsigned_abs());
            filters.push(compile(worker::REFUSED, refuse, SeccompAction::Allow)?);
        }
        Ok(Filters(filters))
    }

    /// Control's.
    pub fn control(refusal: Refusal) -> Result<Filters, seccompiler::Error> {
        let (beyond, hostile) = match refusal {
            Refusal::Enforce => (
                SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
                SeccompAction::Trap,
            ),
            Refusal::Log => (SeccompAction::Log, SeccompAction::Log),
        };
        Ok(Filters(vec![
            compile(control::allowed(), SeccompAction::Allow, beyond)?,
            compile(intruder::calls(), hostile, SeccompAction::Allow)?,
        ]))
    }

    /// Puts them on the calling thread, for good. It cannot gain privileges by exec(2) from
    /// now on (PR_SET_NO_NEW_PRIVS).
    pub fn apply(&self) -> Result<(), seccompiler::Error> {
        // The last may forbid what it takes to apply another.
        self.0
            .iter()
            .rev()
            .try_for_each(|program| seccompiler::apply_filter(program))
    }
}

fn compile<'a>(
    calls: impl IntoIterator<Item = &'a Call>,
    matched: SeccompAction,
    otherwise: SeccompAction,
) -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in calls {
        let alternatives = call.only.iter().map(|conditions| {
            let conditions = conditions.iter().map(condition);
            SeccompRule::new(conditions.collect::<Result<_, _>>()?)
        });
        let alternatives: Vec<_> = alternatives.collect::<Result<_, _>>()?;
        rules.insert(call.number, alternatives);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, otherwise, matched, arch)?;
    Ok(filter.try_into()?)
}

fn condition(argument: &Argument) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (len, operation, value) = match argument.test {
        Test::Int(value) => (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value),
        Test::Word(value) => (SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value),
        Test::Bits { mask, value } => {
            let operation = SeccompCmpOp::MaskedEq(mask);
            (SeccompCmpArgLen::Qword, operation, value)
        }
    };
    SeccompCondition::new(argument.index, len, operation, value)
}

/// The name of a call that stands in one of the tables. It allocates nothing.
pub(super) fn name(number: i64) -> Option<&'static str> {
    let known = intruder::calls().chain(control::allowed());
    let mut known = known.chain(worker::ALLOWED).chain(worker::REFUSED);
    known
        .find(|call| call.number == number)
        .map(|call| call.name)
}

#[cfg(test)]
mod tests;
