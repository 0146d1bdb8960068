//! Millpond: a two-tier caching reverse proxy for slow HTTP APIs.
//!
//! In reading order: [`server`] starts an instance; [`flow`] is the journey of a request and
//! composes everything below it; `ARCHITECTURE.md` draws the same picture.

pub mod bus;
pub mod clock;
pub mod coalesce;
pub mod config;
pub mod entry;
pub mod flow;
pub mod key;
pub mod l1;
pub mod l2;
pub mod listener;
pub mod origin;
pub mod policy;
pub mod reason;
pub mod route;
pub mod telemetry;
