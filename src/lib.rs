//! Millpond: a two-tier caching reverse proxy for slow HTTP APIs.
//!
//! In reading order: [`server`] starts an instance; [`flow`] is the journey of a request and
//! composes everything below it; `ARCHITECTURE.md` draws the same picture.

pub mod cli;
pub mod server;

pub mod control;

pub mod admin;

pub mod flow;

pub mod listener;

pub mod bus;
pub mod coalesce;
pub mod l1;
pub mod l2;
pub mod origin;

pub mod entry;

pub mod config;
pub mod redis;
pub mod telemetry;

pub mod clock;
mod hex;
pub mod key;
pub mod policy;
pub mod reason;
pub mod route;
mod wire;
mod words;

pub use server::{Options, Server, StartError};
