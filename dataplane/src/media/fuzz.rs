//! Fuzz targets of the relay.
