//! The RTP relay.
