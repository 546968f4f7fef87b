//! trunkline-host
