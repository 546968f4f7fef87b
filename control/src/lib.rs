//! trunkline-control
