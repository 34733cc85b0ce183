//! Carry out a capture plan through traits.
