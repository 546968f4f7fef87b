//! Whether this host is ready for Trunkline, and what to change where it is not.
//!
//! One stage a file. Each stage has two functions and a struct of facts between
//! them: `facts` looks at the host and changes nothing, `judge` is pure and says
//! what the facts mean for what is [`Wanted`]. So every judgement is tested
//! without root and without the hardware.
//!
//! What cannot be seen (no root, another namespace, an older kernel) is said to
//! be so; it is never taken for right or wrong.

pub mod capabilities;
pub mod driver;
pub mod host;
pub mod hugepages;
pub mod kernel;
pub mod links;
pub mod memlock;
mod netlink;
pub mod ports;
pub mod queues;
pub mod report;
pub mod row;
pub mod wanted;

use host::Host;
use links::Links;
use row::Row;
use wanted::Wanted;

/// Looks at the whole host and judges it: the rows of all stages, in the order
/// in which a person would put things right.
pub fn examine(host: &Host, wanted: &Wanted) -> Vec<Row> {
    let links = Links::of_this_namespace(host);
    let capabilities = capabilities::facts(host);
    let mut rows = kernel::judge(&kernel::facts(host));
    rows.extend(capabilities::judge(&capabilities));
    rows.extend(hugepages::judge(&hugepages::facts(host), wanted));
    rows.extend(memlock::judge(&memlock::facts(host), &capabilities, wanted));
    rows.extend(ports::judge(&ports::facts(host), wanted));
    rows.extend(links::judge(&links, wanted));
    for link in links.named(&wanted.interfaces) {
        rows.extend(driver::judge(link));
        rows.extend(queues::judge(link, wanted));
    }
    rows
}
