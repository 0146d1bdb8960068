//! `/metrics`, read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Client;
use super::soon;

/// Between two scrapes.
const POLL: Duration = Duration::from_millis(5);

/// One scrape: the value of every series, by its name with labels and without the prefix
/// `millpond_`, as in `requests_total{outcome="hit",route="main"}`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scrape(BTreeMap<String, String>);

impl Scrape {
    /// Scrapes the admin listener that `admin` is a client of.
    pub(crate) async fn of(admin: Client) -> Self {
        let answer = admin.get("/metrics").send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let series = answer.text().lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("a name and a value, not {line:?}"));
            (name.strip_prefix("millpond_").unwrap_or(name).to_owned(), value.to_owned())
        });
        Self(series.collect())
    }

    /// Scrapes again and again until `series` has at least this value.
    pub(crate) async fn until(admin: Client, series: &str, least: u64) -> Self {
        let reached = async {
            loop {
                let scrape = Self::of(admin).await;
                if scrape.0.contains_key(series) && scrape.value(series) >= least {
                    return scrape;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        soon(&format!("{series} to reach {least}"), reached).await
    }

    /// The value of a counter or gauge that is a whole number.
    pub(crate) fn value(&self, series: &str) -> u64 {
        self.text(series).parse().unwrap_or_else(|_| panic!("{series} is a whole number, not {}", self.text(series)))
    }

    /// The value of any series.
    pub(crate) fn amount(&self, series: &str) -> f64 {
        self.text(series).parse().unwrap_or_else(|_| panic!("{series} is a number, not {}", self.text(series)))
    }

    fn text(&self, series: &str) -> &str {
        self.0.get(series).unwrap_or_else(|| panic!("no series {series} in {:#?}", self.0))
    }

    /// The series of one family that are not zero: their labels and values, as in
    /// `outcome="hit" 2`.
    pub(crate) fn nonzero(&self, family: &str) -> Vec<String> {
        let inside = |(name, value): (&String, &String)| {
            let labels = name.strip_prefix(family)?.strip_prefix('{')?.strip_suffix('}')?;
            (value != "0").then(|| format!("{labels} {value}"))
        };
        self.0.iter().filter_map(inside).collect()
    }

    /// The names of all series.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}
