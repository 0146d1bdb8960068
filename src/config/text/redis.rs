//! Where Redis is.

use super::{Refusal, Text, refuse};

/// The URL of a Redis server, Sentinel or cluster, without secrets.
#[derive(Clone, Debug)]
pub(in crate::config) struct RedisUrl(pub(in crate::config) String);

const SCHEMES: [&str; 7] =
    ["redis", "rediss", "redis-cluster", "rediss-cluster", "redis-sentinel", "rediss-sentinel", "redis+unix"];

impl Text for RedisUrl {
    const WHAT: &'static str = "the URL of a Redis";
    const EXAMPLE: &'static str = "redis://127.0.0.1:6379";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse("has no scheme", format!("write for example {:?}", Self::EXAMPLE));
        };
        if !SCHEMES.contains(&scheme) {
            return refuse("has an unknown scheme", format!("the schemes are {}", SCHEMES.join(", ")));
        }
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        if authority.contains('@') || query.to_ascii_lowercase().contains("password=") {
            let hint = "write the user as `username` and put the password into password_env or password_file";
            return Err(Refusal { what: "holds a user or a password".to_owned(), hint: hint.to_owned(), hidden: true });
        }
        if authority.trim_matches('/').is_empty() {
            return refuse("has no host", format!("write for example {:?}", Self::EXAMPLE));
        }
        if scheme.ends_with("-sentinel") && !query.contains("sentinelServiceName=") {
            return refuse("names no master", "add ?sentinelServiceName=mymaster");
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}
