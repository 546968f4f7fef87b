//! Frames: who owns which.
