//! Lists of cores as the kernel writes them, `0-3,8`.

/// The cores in a list; parts that are no numbers are left out.
pub fn list(text: &str) -> Vec<u32> {
    /// More than a list of the kernel's can name (NR_CPUS is 8,192 at most).
    const CORE_MAX: u32 = 65_535;
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            cores.extend(first..=last.min(CORE_MAX));
        }
    }
    cores
}

/// The other way round.
pub fn text(cores: &[u32]) -> String {
    let mut sorted = cores.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let parts: Vec<String> = sorted
        .chunk_by(|left, right| left + 1 == *right)
        .map(|run| match run {
            [one] => one.to_string(),
            [first, .., last] => format!("{first}-{last}"),
            [] => String::new(),
        })
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_is_written() {
        for text_of in ["0", "0-3", "0-3,8", "2,4,6-7"] {
            assert_eq!(text(&list(text_of)), text_of);
        }
        assert_eq!(list(""), Vec::<u32>::new());
        assert_eq!(list("(null)"), Vec::<u32>::new());
        assert_eq!(text(&[3, 1, 2, 2]), "1-3");
    }
}
