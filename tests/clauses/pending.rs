//! Clauses that Millpond does not follow. A row that holds by now fails the test and leaves the list.

use super::row::Pending;
use super::{confirming, freshness, partial, reusing, validation};

pub(crate) const PENDING: &[Pending] = &[
    Pending {
        why: "a response that breaks off is dropped, and the next request fetches the whole",
        row: partial::PENDING_INCOMPLETE,
    },
    Pending {
        why: "partial responses are passed on and not stored; the whole is fetched, and ranges are served from it",
        row: partial::PENDING_206,
    },
    Pending { why: "partial responses are not stored, so there is nothing to combine", row: partial::PENDING_COMBINED },
    Pending {
        why: "on purpose: our condition names one response, so a 304 without validators can only be about that; many \
              origins leave them out, and each refresh would cost a whole fetch",
        row: confirming::PENDING_NO_VALIDATOR,
    },
    Pending {
        why: "the newest match is taken; to prefer one that varies, the choice would have to know which are fresh, or a \
              stale one would keep the origin busy",
        row: reusing::PENDING_WITHOUT_VARY,
    },
    Pending {
        why: "only equal preferences match; choosing a stored language by its weight is planned",
        row: reusing::PENDING_RANKING,
    },
    Pending {
        why: "the origin is asked about what is stored here alone, and the client's list is compared with the answer",
        row: validation::PENDING_UNION,
    },
    Pending {
        why: "on purpose: an origin that sends s-maxage with a window of RFC 5861 has allowed stale use itself, and the \
              pair is a common idiom",
        row: freshness::PENDING_WINDOW_BESIDE_S_MAXAGE,
    },
];
