//! What the fuzz targets check. They are plain functions, so that the corpora are replayed
//! as ordinary tests by a stable compiler.
