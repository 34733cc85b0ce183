//! Read and write GPT, MBR and EBR chains, from bytes.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
