//! The closed lists of what can happen to a request, and why.
//!
//! These enums alone feed the `Cache-Status` header (RFC 9211), the access log and the
//! metric labels, so a reason can never be missing from one of them.

/// Declares a closed enum with one stable text per variant, and the list of all variants.
macro_rules! closed_list {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every variant, in declaration order: `ALL[x as usize] == x`.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The text used in headers, logs and labels.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

closed_list! {
    /// How a request was answered, seen from the client.
    Outcome {
        /// A fresh stored response.
        Hit = "hit",
        /// A fresh response that another instance stored in Redis.
        HitL2 = "hit-l2",
        /// A stale stored response, refreshed in the background.
        StaleWhileRevalidate = "stale-while-revalidate",
        /// A stale stored response, because the origin failed.
        StaleIfError = "stale-if-error",
        /// A stale response that the client itself asked to accept (`max-stale`).
        StaleAccepted = "stale-accepted",
        /// A stored response that the origin confirmed with 304.
        Revalidated = "revalidated",
        /// Fetched from the origin and stored.
        Miss = "miss",
        /// Joined a fetch that another request had begun.
        Coalesced = "coalesced",
        /// Fetched from the origin and not stored; see the [`Reason`].
        Uncacheable = "uncacheable",
        /// Sent to the origin without a look at the cache; see the [`Reason`].
        Pass = "pass",
        /// Refused before any station looked at it: malformed, no route, limits.
        Rejected = "rejected",
        /// The origin failed and nothing stored could stand in.
        Failed = "failed",
    }
}

closed_list! {
    /// Why a request was passed, or a response not stored.
    Reason {
        /// RFC 9110 section 9.2.1: not a safe method, so it must reach the origin.
        UnsafeMethod = "unsafe-method",
        /// A safe method that this cache does not store (OPTIONS, TRACE, unknown ones).
        MethodNotCached = "method-not-cached",
        /// The body is not part of the key: that of GET or HEAD, or one that `key.body` has no room for.
        RequestBody = "request-body",
        /// The body is not clearly a GraphQL query, and the route looks up nothing else.
        NotAQuery = "not-a-query",
        /// `Cache-Control: no-store` in the request, where the route respects it.
        RequestNoStore = "request-no-store",
        /// A bypass rule of the route matched.
        BypassRule = "bypass-rule",
        /// The route has no cache section.
        CacheOff = "cache-off",
        /// The request asks for a protocol upgrade.
        Upgrade = "upgrade",
        /// A marker says that this URL was uncacheable a moment ago.
        HitForMiss = "hit-for-miss",
        /// Another request's fetch did not answer within `coalesce_wait`.
        CoalesceTimeout = "coalesce-timeout",
        /// RFC 9111 section 5.2.2.5.
        ResponseNoStore = "no-store",
        /// RFC 9111 section 5.2.2.7.
        Private = "private",
        /// The response sets a cookie and no rule allows sharing it.
        SetCookie = "set-cookie",
        /// RFC 9111 section 3.5: the request carried credentials.
        Authorization = "authorization",
        /// RFC 9111 section 4.1: `Vary: *` never matches.
        VaryStar = "vary-star",
        /// Neither the response nor the route gives this status a lifetime.
        NoLifetime = "no-lifetime",
        /// The lifetime is zero and nothing allows a later reuse.
        ZeroLifetime = "zero-lifetime",
        /// RFC 9111 section 3: the status is not understood, or forbids storing.
        StatusNotCacheable = "status-not-cacheable",
        /// RFC 9111 section 5.2.2.3: `must-understand` with an unknown status.
        MustUnderstand = "must-understand",
        /// A 206: partial content is not stored.
        PartialContent = "partial-content",
        /// The body is larger than the route's `max_object_size`.
        TooLarge = "too-large",
        /// The URL already has as many variants as `cache.max_variants` allows.
        TooManyVariants = "too-many-variants",
        /// An endless stream (server-sent events).
        EventStream = "event-stream",
        /// The body broke off before its end.
        Incomplete = "incomplete",
        /// An invalidation that matches was applied while the fetch was under way.
        Invalidated = "invalidated",
    }
}

closed_list! {
    /// Why the origin gave no usable response.
    OriginFault {
        /// No connection: it was refused.
        Connect = "connect",
        /// The origin's name does not resolve.
        Resolve = "resolve",
        /// No route leads to the origin's address.
        Unreachable = "unreachable",
        /// No connection within `connect_timeout`.
        ConnectTimeout = "connect-timeout",
        /// No response head within `first_byte_timeout`.
        FirstByteTimeout = "first-byte-timeout",
        /// A gap in the body longer than `between_bytes_timeout`.
        BetweenBytesTimeout = "between-bytes-timeout",
        /// The whole exchange took longer than `total_timeout`.
        TotalTimeout = "total-timeout",
        /// The connection broke before the response was complete.
        Reset = "reset",
        /// The response is not valid HTTP.
        Protocol = "protocol",
        /// The queue for a connection was full.
        QueueFull = "queue-full",
        /// No connection became free within `queue_timeout`.
        QueueTimeout = "queue-timeout",
        /// The request's own body broke off on its way to the origin.
        RequestBody = "request-body",
        /// The fetch ended without an answer: a fault of the proxy itself.
        Abandoned = "abandoned",
    }
}
