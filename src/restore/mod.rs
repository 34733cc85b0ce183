//! Carry out a restore plan through traits: preflight, write, verify, commit, abandon.
