//! Where the two policies differ on purpose. Each difference takes its cause out of a case; the
//! difference explains a disagreement if both agree on what is left.

use std::time::Duration;

use super::case::{Case, http_date};

/// One difference.
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    /// Takes the cause out; changes nothing if the cause is not there.
    pub(crate) remove: fn(&mut Case),
}

const CC: &str = "cache-control";

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "apparent age",
        reason: "RFC 9111 section 4.2.3: the age on arrival counts from Date if that is more than Age says",
        remove: |case| case.response.replace("date", |date| date != "x", &http_date(0)),
    },
    Difference {
        name: "list in Age",
        reason: "RFC 9111 section 5.1: of several members the first counts",
        remove: |case| case.response.replace("age", |age| age.contains(','), "5"),
    },
    Difference {
        name: "status",
        reason: "RFC 9111 section 3: explicit freshness makes any final status cacheable",
        // Known to both, and without freshness by default.
        remove: |case| {
            if !matches!(case.status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 501) {
                case.status = 302;
            }
        },
    },
    Difference {
        name: "must-understand",
        reason: "RFC 9111 section 5.2.2.3: it stands in for no-store where the status is understood",
        remove: |case| case.response.drop_members(CC, |member| member == "must-understand"),
    },
    Difference {
        name: "proxy-revalidate",
        reason: "RFC 9111 section 5.2.2.8: it forbids stale use, and does not end freshness",
        remove: |case| case.response.drop_members(CC, |member| member == "proxy-revalidate"),
    },
    Difference {
        name: "field names",
        reason: "RFC 9111 sections 5.2.2.4 and 5.2.2.7: with names they restrict those fields alone",
        remove: |case| case.response.drop_members(CC, |member| member.ends_with("=\"x-a\"")),
    },
    Difference {
        name: "case of directives",
        reason: "RFC 9111 section 5.2: the names of directives are compared without case",
        remove: |case| case.response.change_members(CC, |member| Some(member.to_lowercase())),
    },
    Difference {
        name: "quoted string",
        reason: "RFC 9110 section 5.6.4: a comma inside a quoted string separates nothing",
        remove: |case| case.response.drop_members(CC, |member| member.starts_with("extension=")),
    },
    Difference {
        name: "lifetime without value",
        reason: "RFC 9111 section 4.2.1: invalid freshness information makes stale; it is not as if it were absent",
        remove: |case| {
            let zero = |member: &str| if member == "max-age" { "max-age=0".to_owned() } else { member.to_owned() };
            case.response.change_members(CC, |member| Some(zero(member)));
        },
    },
    Difference {
        name: "conflicting lifetimes",
        reason: "RFC 9111 section 4.2.1: conflicting values may be taken as stale; the smallest is the cautious one",
        remove: |case| case.response.keep_smallest(CC),
    },
    Difference {
        name: "Set-Cookie",
        reason: "a cookie that is handed to everybody is somebody's session, whatever Cache-Control says",
        remove: |case| case.response.remove("set-cookie"),
    },
    Difference {
        name: "Pragma in a response",
        reason: "RFC 9111 section 5.4: it has no meaning there",
        remove: |case| case.response.remove("pragma"),
    },
    Difference {
        name: "Pragma beside Cache-Control",
        reason: "RFC 9111 section 5.4: it counts only in a request without Cache-Control",
        remove: |case| {
            if case.second.has(CC) {
                case.second.remove("pragma");
            }
        },
    },
    Difference {
        name: "no-store in the later request",
        reason: "RFC 9111 section 5.2.1.5: such a request goes to the origin, and nothing of it is stored",
        remove: |case| case.second.drop_members(CC, |member| member == "no-store"),
    },
    Difference {
        name: "conflicting demands",
        reason: "of several values of one directive in a request the cautious one counts",
        remove: |case| case.second.keep_first(CC),
    },
    Difference {
        name: "max-stale against s-maxage",
        reason: "RFC 9111 section 5.2.2.10: s-maxage implies proxy-revalidate, which no client can lift",
        remove: |case| {
            if case.response.any_member(CC, |member| member.starts_with("s-maxage")) {
                case.second.drop_members(CC, |member| member.starts_with("max-stale"));
            }
        },
    },
    Difference {
        name: "max-stale against no-cache",
        reason: "RFC 9111 section 5.2.2.4: no reuse without validation, fresh or stale",
        remove: |case| {
            if case.response.any_member(CC, |member| member.starts_with("no-cache")) {
                case.second.drop_members(CC, |member| member.starts_with("max-stale"));
            }
        },
    },
    Difference {
        name: "max-stale for what is never fresh",
        reason: "a response without lifetime, window or validator is not stored: it would spare the origin nothing",
        remove: |case| {
            if !case.is_storable_here() {
                case.second.drop_members(CC, |member| member.starts_with("max-stale"));
            }
        },
    },
    Difference {
        name: "max-stale is inclusive",
        reason: "RFC 9111 section 5.2.1.2: no more than the specified number of seconds",
        remove: |case| {
            if case.second.any_member(CC, |member| member.starts_with("max-stale=")) {
                // Between two seconds the question does not arise.
                case.later += Duration::from_millis(500);
            }
        },
    },
    Difference {
        name: "min-fresh with max-stale",
        reason: "a client that wants a remainder of freshness gets no stale response, whatever else it says",
        remove: |case| {
            if case.second.any_member(CC, |member| member.starts_with("max-stale")) {
                case.second.drop_members(CC, |member| member.starts_with("min-fresh"));
            }
        },
    },
    Difference {
        name: "obsolete date",
        reason: "RFC 9110 section 5.6.7: all three formats of HTTP dates are understood",
        remove: |case| case.response.replace("expires", |date| date.starts_with("Tuesday,"), &http_date(3600)),
    },
];
