//! What the worker asks of the machine.
