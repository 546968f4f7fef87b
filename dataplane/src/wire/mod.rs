//! Ethernet, IPv4 and UDP on the wire.
