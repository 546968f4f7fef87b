//! Pages of 2 MiB for the packet memory: fewer TLB misses, and memory that is
//! there from the start.

use crate::host::Host;
use crate::row::Row;
use crate::row::State;
use crate::wanted::Wanted;

const DIRECTORY: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/// The pool of 2 MiB pages, over all NUMA nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Pages in the pool.
    pub total: u64,
    /// Pages that nobody has touched.
    pub free: u64,
    /// Of the free ones, those promised to a mapping that exists.
    pub reserved: u64,
}

/// Reads the pool; `None` where the kernel has none or hides it.
pub fn facts(host: &Host) -> Option<Pool> {
    let number = |name: &str| host.read_number(&format!("{DIRECTORY}/{name}"));
    Some(Pool {
        total: number("nr_hugepages")?,
        free: number("free_hugepages")?,
        reserved: number("resv_hugepages")?,
    })
}

/// One row. Too few pages is no more than a warning: Trunkline then takes
/// ordinary pages and says so.
pub fn judge(facts: &Option<Pool>, wanted: &Wanted) -> Vec<Row> {
    let needed = u64::from(wanted.workers) * u64::from(wanted.umem_mib.div_ceil(2));
    let wish = format!(
        "{needed} free ({} workers, {} MiB each)",
        wanted.workers, wanted.umem_mib
    );
    let Some(pool) = facts else {
        let row = Row::ok("hugepages", "no 2 MiB pages on this kernel", wish);
        return vec![row.but(State::Warn, "ordinary pages are used; nothing to do")];
    };
    let available = pool.free.saturating_sub(pool.reserved);
    let found = format!("{available} free of {} (2 MiB)", pool.total);
    let row = Row::ok("hugepages", found, wish);
    if available >= needed {
        return vec![row];
    }
    let total = pool.total + needed - available;
    vec![row.but(
        State::Warn,
        format!("echo {total} > {DIRECTORY}/nr_hugepages"),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;

    fn wanted(workers: u32, umem_mib: u32) -> Wanted {
        Wanted {
            interfaces: vec![],
            workers,
            media_ports: vec![],
            umem_mib,
        }
    }

    fn row(total: u64, free: u64, reserved: u64, wanted: &Wanted) -> Row {
        judge(
            &Some(Pool {
                total,
                free,
                reserved,
            }),
            wanted,
        )
        .remove(0)
    }

    #[test]
    fn the_pool_is_read_from_sysfs() {
        let files = [
            (
                "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
                "64\n",
            ),
            (
                "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
                "60\n",
            ),
            (
                "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages",
                "2\n",
            ),
        ];
        let pool = facts(&Tree::new(&files).host());
        assert_eq!(
            pool,
            Some(Pool {
                total: 64,
                free: 60,
                reserved: 2
            })
        );
        assert_eq!(facts(&Tree::new(&files[..2]).host()), None);
    }

    #[test]
    fn as_many_free_pages_as_needed_are_enough() {
        assert_eq!(row(16, 16, 0, &wanted(2, 16)).state, State::Ok);
        assert_eq!(row(16, 16, 1, &wanted(2, 16)).state, State::Warn);
        // Half a page is a page.
        assert_eq!(row(16, 16, 0, &wanted(2, 17)).state, State::Warn);
    }

    #[test]
    fn the_advice_keeps_the_pages_of_others() {
        let row = row(10, 4, 2, &wanted(2, 16));
        // 8 are in use or promised; 16 more are needed.
        assert_eq!(
            row.advice,
            "echo 24 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
        );
    }

    #[test]
    fn a_kernel_without_hugepages_is_a_warning() {
        assert_eq!(judge(&None, &wanted(2, 16))[0].state, State::Warn);
    }
}
