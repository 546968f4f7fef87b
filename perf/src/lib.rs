//! trunkline-perf
