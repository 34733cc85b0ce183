//! What agent and server say to each other, and what administrators say to the server: data only.
//!
//! `docs/protocol.md` describes the requests, `docs/openapi.json` every body. Two rules decide about what a reader does
//! not know: in what is only shown (who the server is, which images there are) it is passed over, so that an old agent
//! survives a new server; in what leads to a write (a job with its profile) it is refused. Times are RFC 3339 texts,
//! sizes are bytes, identifiers of jobs and records are numbers from 1.

mod administration;
mod artefact;
pub mod datagram;
mod inventory;
mod job;
mod multicast;
mod report;
mod session;

pub use administration::{
    Action, ActionRequest, AuditEntry, EventFilter, GroupRecord, GroupRequest, ImageChange, ImageRecord,
    JobEvent, JobFilter, JobRecord, JobRequest, JobState, JobTarget, MachineChange, MachineRecord,
    ModelMatch, ModelMatchKind, Page, ParseProfileNameError, ProfileChange, ProfileName, ProfileRecord, Role,
    Settings, UserLogin, UserRecord, UserRequest,
};
pub use artefact::{ArtefactName, ArtefactRecord, JobArtefact};
pub use inventory::{Inventory, InventoryDisk, Processor};
pub use job::{Claim, Job, JobSummary, OnDemandRequest, Operation, Place};
pub use multicast::{
    Gap, MAX_RUNS, MulticastAnswer, MulticastOffer, MulticastReport, ParseSessionIdError, Positions,
    SessionId,
};
pub use report::{EventBatch, EventsAnswer, Finish, Outcome, TimedEvent};
pub use session::{
    Hello, ImageChoice, ImageChoices, KnownMachine, Login, LoginAnswer, OnDemand, ProfileChoice,
    Registration, Session, SessionRequest,
};

/// The version of the protocol, and the first part of every path: `/api/v1`.
pub const VERSION: u32 = 1;
/// Where the requests of this version lie on a server.
pub const BASE: &str = "/api/v1";
/// A header that makes a repeated request the same request: chosen at random by the client, at most
/// [`MAX_IDEMPOTENCY_KEY`] visible ASCII characters.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest key.
pub const MAX_IDEMPOTENCY_KEY: usize = 64;
/// The longest name of an artefact, in characters.
pub const MAX_ARTEFACT_NAME: usize = 255;
/// The most events in one batch.
pub const MAX_EVENTS: usize = 500;
/// The longest log of a machine; of a longer one the end is sent.
pub const MAX_LOG_BYTES: usize = 4 << 20;
/// The largest body of any other request.
pub const MAX_BODY_BYTES: usize = 1 << 20;
