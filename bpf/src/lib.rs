//! trunkline-bpf
