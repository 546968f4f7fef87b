//! Read-only snapshots fed by control.
