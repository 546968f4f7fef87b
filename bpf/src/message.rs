//! What libbpf and the kernel say when something fails.
//!
//! libbpf prints its warnings, the verifier's log and the kernel's netlink messages to stderr unless
//! told otherwise. They are kept instead, for the text of the error they belong to.

use std::cell::RefCell;
use std::sync::Once;

use libbpf_rs::PrintLevel;

/// The last lines are kept. A verifier log has its reason at the end; one failed load or attach says
/// less than this in all.
const LINES_MAX: usize = 12;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Takes libbpf's output over for the whole process, and forgets what this thread has heard so far.
pub(crate) fn listen() {
    static TAKEN: Once = Once::new();
    TAKEN.call_once(|| {
        libbpf_rs::set_print(Some((PrintLevel::Warn, hear)));
    });
    LINES.with_borrow_mut(Vec::clear);
}

/// libbpf calls this on the thread that made the failing call.
#[allow(
    clippy::needless_pass_by_value,
    reason = "libbpf_rs::PrintCallback hands over the text"
)]
fn hear(_level: PrintLevel, text: String) {
    LINES.with_borrow_mut(|lines| {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            lines.push(line.trim_end().to_owned());
        }
        let surplus = lines.len().saturating_sub(LINES_MAX);
        lines.drain(..surplus);
    });
}

/// What was said on this thread since [`listen`], or "no further message".
pub(crate) fn heard() -> String {
    LINES.with_borrow_mut(|lines| {
        if lines.is_empty() {
            return "no further message".to_owned();
        }
        let text = lines.join("\n");
        lines.clear();
        text
    })
}

/// The kernel's own sentence about a refused netlink request (extended ack), or all that was said.
pub(crate) fn heard_from_kernel() -> String {
    let text = heard();
    text.lines()
        .find_map(|line| line.split_once("Kernel error message: "))
        .map_or(text.clone(), |(_, reason)| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept() {
        listen();
        for number in 0..100 {
            hear(PrintLevel::Warn, format!("line {number}\n\n"));
        }
        let text = heard();
        assert_eq!(text.lines().count(), LINES_MAX);
        assert!(text.ends_with("line 99"));
        assert_eq!(heard(), "no further message");
    }

    #[test]
    fn the_kernels_sentence_is_taken_out_of_libbpfs_line() {
        listen();
        hear(
            PrintLevel::Warn,
            "libbpf: Kernel error message: veth: peer MTU is too large\n".to_owned(),
        );
        assert_eq!(heard_from_kernel(), "veth: peer MTU is too large");
    }
}
