//! The admin listener: metrics, health, configuration, log level, purges.
//!
//! It is separate from the listener that clients reach and knows neither the cache nor the
//! proxy: everything it can do goes through [`Control`]. A connection carries requests in turn and
//! has an end, so that no client of it can hold anything for long (trap F14).
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /metrics` | Prometheus text format |
//! | `GET /healthz` | 200 while the process runs; needs no token |
//! | `GET /readyz` | 200 or 503, with every check in JSON |
//! | `GET /config` | the configuration in force, without secrets |
//! | `PUT /log-level` | body: the level as plain text, such as `debug` or `warn,millpond=debug` |
//! | `POST /purge` | body: JSON that names exactly one target, see [`PurgeOrder`] |

mod body;
mod control;
mod endpoint;
mod guard;
mod order;
mod refusal;
mod scrape;
mod server;

pub use control::{
    Check, Control, Member, Missing, PurgeFault, PurgeOrder, PurgeReport, PurgeTarget, Readiness, Receipt, TargetKind,
};
pub use order::{MAX_WAIT, OrderError};
pub use refusal::Problem;
pub use server::serve;
