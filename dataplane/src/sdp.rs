//! Find and rewrite the lines of an SDP body that name where media goes.
