//! Content codings.

use prometheus::{IntCounter, IntCounterVec};

use super::registrar::Registrar;
use crate::policy::coding::Coding;

/// The handles of one coding on one route.
#[derive(Clone)]
pub struct CodingMetrics {
    /// Bodies that were coded and kept.
    pub kept: IntCounter,
    /// Bodies that were coded and not kept: purged or replaced meanwhile, or too large for L1.
    pub dropped: IntCounter,
    /// Bodies that the coding did not make smaller.
    pub unshrunk: IntCounter,
    /// Bodies sent in this coding.
    pub sent: IntCounter,
    /// Bytes that need not be sent because of it.
    pub saved: IntCounter,
}

pub(super) struct CodingFamilies {
    made: IntCounterVec,
    sent: IntCounterVec,
    saved: IntCounterVec,
}

impl CodingFamilies {
    pub(super) fn register(r: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        let made = "Stored bodies coded, once per coding, by what became of the result.";
        Ok(Self {
            made: r.counters("codings_total", made, &["route", "coding", "result"])?,
            sent: r.counters("coded_responses_total", "Bodies sent in a coding of ours.", &["route", "coding"])?,
            saved: r.counters(
                "coded_saved_bytes_total",
                "Bytes by which bodies sent in a coding of ours were smaller.",
                &["route", "coding"],
            )?,
        })
    }

    /// The handles of a route, indexed by `Coding as usize`.
    pub(super) fn of(&self, route: &str) -> Vec<CodingMetrics> {
        let of = |coding: Coding| CodingMetrics {
            kept: self.made.with_label_values(&[route, coding.as_str(), "kept"]),
            dropped: self.made.with_label_values(&[route, coding.as_str(), "dropped"]),
            unshrunk: self.made.with_label_values(&[route, coding.as_str(), "unshrunk"]),
            sent: self.sent.with_label_values(&[route, coding.as_str()]),
            saved: self.saved.with_label_values(&[route, coding.as_str()]),
        };
        Coding::ALL.into_iter().map(of).collect()
    }
}
