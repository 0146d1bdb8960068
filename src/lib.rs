//! Millpond: a two-tier caching reverse proxy for slow HTTP APIs.

pub mod clock;
pub mod config {
    //! Configuration.
    pub mod model;
    pub use model::*;
}
pub mod key;
pub mod policy;
pub mod reason;
pub mod route;
pub mod telemetry {
    //! Telemetry.
    pub mod metrics;
}
