//! Grow file systems, through traits.
