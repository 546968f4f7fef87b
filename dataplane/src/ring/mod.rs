//! AF_XDP rings.
