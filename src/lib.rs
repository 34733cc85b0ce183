//! Remint captures the disks of a machine into an image and mints other machines from it.
//!
//! The modules form rings; a module may name only modules of a lower ring. `tests/architecture.rs` holds
//! the code to the table in `docs/architecture.md`.

// Ring 0
pub mod units;
// Ring 1
pub mod blockio;
pub mod parallel;
pub mod progress;
pub mod schema;
// Ring 2
pub mod filesystem;
pub mod image;
pub mod partition;
pub mod protocol;
pub mod registry;
pub mod uefi;
// Ring 3
pub mod inspect;
pub mod machine;
// Ring 4
pub mod plan;
// Ring 5
pub mod capture;
pub mod customize;
pub mod resize;
pub mod verify;
// Ring 6
pub mod restore;
// Ring 7
pub mod http;
pub mod linux;
// Ring 8
pub mod client;
pub mod store;
// Ring 9
pub mod agent;
// Ring 10: being PID 1, and the console menu
pub mod init;
pub mod menu;
// Named by nobody
#[cfg(feature = "server")]
pub mod server;
