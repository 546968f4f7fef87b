//! How costs are measured: by whom CPU time was used, and what can be said of samples that vary.
//!
//! The machine has no performance counters. CPU time is the kernel's own, in nanoseconds, by control
//! group: a process with all its threads and children, its system calls, and the softirqs that ran
//! while it did. On veth the delivery of a packet is charged to who sent it; where a cost may be
//! charged to somebody else, the whole machine's time is taken, and that of the same run without the
//! part in question is taken off. Samples are taken in interleaved pairs; what is told of them is
//! the median and the interval in which the true median lies with 95 %.

pub mod account;
pub mod machine;
pub mod median;
