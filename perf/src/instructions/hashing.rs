//! What a digest costs where the processor hashes.
//!
//! Processors have had instructions for SHA-256 since 2016 (Goldmont, Zen, Ice Lake), and sha2 takes them where it finds
//! them. Valgrind knows none of them: under it sha2 hashes in software, with six times as many instructions. So of a load that
//! hashes callgrind's count is taken without the compression function, and each of its calls counts as what it takes in hardware.

use anyhow::Context as _;

use super::stages::Names;

/// The function that takes in a block of 64 bytes.
const COMPRESSION: &str = "sha2::sha256::compress256";

/// What it takes with the processor's instructions: counted in the machine code of sha2 0.11
/// (`x86_sha::compress`, 121, and twelve calls of `schedule_rounds`, 38 each), and the way there.
const BLOCK: u64 = 121 + 12 * 38 + 23;

/// The instructions of a profile of callgrind's, and how many blocks were hashed.
pub fn in_hardware(profile: &str) -> anyhow::Result<(u64, u64)> {
    let mut functions = Names::default();
    let (mut is_software, mut is_block, mut is_call) = (false, false, false);
    let (mut instructions, mut blocks) = (0, 0);
    for line in profile.lines() {
        match line.split_once('=') {
            Some(("fn", name)) => is_software = functions.read(name)?.contains(COMPRESSION),
            Some(("cfn", name)) => is_block = functions.read(name)?.contains(COMPRESSION),
            Some(("calls", count)) => {
                is_call = true;
                if is_block {
                    // Whoever hashes gives it one block at a time.
                    blocks += number(count.split(' ').next())?;
                }
            }
            None if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) => {
                let cost = number(line.split(' ').nth(1))?;
                // What a call takes is counted where it is defined.
                let is_counted = !std::mem::take(&mut is_call) && !is_software;
                instructions += if is_counted { cost } else { 0 };
            }
            _ => {}
        }
    }
    Ok((instructions + blocks * BLOCK, blocks))
}

fn number(text: Option<&str>) -> anyhow::Result<u64> {
    let number = text.and_then(|text| text.parse().ok());
    number.context("a count is no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_counts_as_in_hardware_and_all_else_as_it_is() {
        let profile = "events: Ir\nfl=(1) a.rs\nfn=(1) verify\n10 100\nfi=(2) b.rs\n+3 20\n\
            cfn=(2) sha2::sha256::compress256\ncalls=4 1\n12 13000\ncfn=(3) push\ncalls=1 9\n14 40\n\n\
            fl=(3) sha2.rs\nfn=(2)\n1 12000\nfi=(2)\n5 1000\n\nfl=(1)\nfn=(3)\n9 40\n\ntotals: 13160\n";
        assert_eq!(in_hardware(profile).unwrap(), (160 + 4 * BLOCK, 4));
    }
}
