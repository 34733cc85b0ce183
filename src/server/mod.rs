//! The reference server: the contract in its smallest honest form.
