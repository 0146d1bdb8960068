//! Who takes part, and who has applied what: the proof of a purge.

use std::collections::HashMap;
use std::time::Duration;

use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, HashesInterface, StreamsInterface};
use futures_util::future::FutureExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::Log;
use super::fleet::{Instance, LEFT};
use super::number::split;
use super::shared::{Logged, Shared, Unreachable, within};
use crate::redis::run;

/// Pauses between looks at who has applied a record: at first, and at the most.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));
/// Stands for instances that nobody has heard of since Redis lost the registry.
const UNLISTED: &str = "(whoever has not spoken since Redis lost the list of instances)";

/// The last look at the registry: when it began, and what went wrong.
#[derive(Default)]
pub(super) struct LookedAround {
    began: Option<Instant>,
    fault: Option<String>,
}

impl Shared {
    /// The instances by their ids: those that live, and those that were silent for so short a time that
    /// they may still trust what they knew of the log.
    pub async fn instances(&self) -> Result<Vec<(String, Instance)>, Unreachable> {
        self.look_around(Instant::now()).await?;
        Ok(self.fleet.lock().present(self.member.presence()))
    }

    /// Reads the registry, unless somebody has begun to after `moment`: a crowd of waiting purges costs
    /// Redis no more than one, and waits no longer for one that does not answer.
    async fn look_around(&self, moment: Instant) -> Result<(), Unreachable> {
        let mut looked = self.looked.lock().await;
        if looked.began.is_none_or(|began| began < moment) {
            let began = Instant::now();
            let keys = vec![self.keys.head.as_str(), &self.keys.instances];
            let registry = run(&self.registry, &self.commands, keys, Vec::<&str>::new());
            let fault = match within::<(u64, HashMap<String, String>, String)>(self.member.patience, registry).await {
                Ok((age, registry, roll)) => {
                    self.fleet.lock().meet(registry, roll, began, Duration::from_millis(age));
                    None
                }
                Err(error) => Some(error.to_string()),
            };
            *looked = LookedAround { began: Some(began), fault };
        }
        match &looked.fault {
            Some(fault) => Err(Error::new(ErrorKind::Unknown, fault.clone()).into()),
            None => Ok(()),
        }
    }

    /// When everybody has applied a record, or `deadline` has passed: who has, and who has not.
    ///
    /// # Errors
    ///
    /// Redis does not answer, or has lost the record.
    pub async fn receipts(&self, logged: &Logged, deadline: Instant) -> Result<Vec<(String, Instance)>, Unreachable> {
        let mut pause = LOOK.0;
        loop {
            let looked = timeout_at(deadline + self.member.patience, self.instances()).await;
            let mut instances = looked.map_err(|_| Error::new(ErrorKind::Timeout, "no answer in time"))??;
            if !instances.iter().any(|(id, _)| *id == self.member.id) {
                // Whoever is not even listed here cannot be the only one.
                instances.push((self.member.id.clone(), Instance::default()));
            }
            if self.fleet.lock().is_young(self.member.silence()) {
                let seen = instances.iter().map(|(_, instance)| instance.seen).max().unwrap_or_default();
                instances.push((UNLISTED.to_owned(), Instance { seen, ..Instance::default() }));
            }
            if instances.iter().all(|(_, instance)| instance.applied >= logged.seq) || Instant::now() >= deadline {
                self.confirm(logged).await?;
                return Ok(instances);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LOOK.1);
        }
    }

    /// Makes sure that what others have applied under this number is this record.
    async fn confirm(&self, logged: &Logged) -> Result<(), Unreachable> {
        let id = format!("{}-0", split(logged.seq).1);
        let there = self.commands.xrange_values(self.keys.records.as_str(), id.as_str(), id.as_str(), None).boxed();
        let there: Vec<(String, HashMap<String, String>)> = within(self.member.patience, there).await?;
        // Trimmed, or another era has invalidated everything: then it counts all the same.
        let lost = there.first().is_some_and(|(_, fields)| fields.get("r") != Some(&logged.line));
        if lost { Err(Unreachable::Lost) } else { Ok(()) }
    }

    /// The name of this instance.
    pub fn id(&self) -> &str {
        &self.member.id
    }

    /// Tells the others what they are owed, as nobody else will. Then leaves the fleet, so that nobody waits
    /// for this instance's receipts, and ends the connections.
    pub async fn close(&self, log: &Log) {
        let _ = timeout(self.member.patience, self.settle(log)).await;
        let left = [(self.member.id.as_str(), format!("0 {LEFT} {}", self.member.report()))];
        let _ =
            within(self.member.patience, self.commands.hset::<(), _, _>(self.keys.instances.as_str(), left).boxed())
                .await;
        let roll = [("roll", rand::random::<u64>().to_string())];
        let _ =
            within(self.member.patience, self.commands.hset::<(), _, _>(self.keys.head.as_str(), roll).boxed()).await;
        let _ = self.commands.quit().await;
        let _ = self.subscriber.quit().await;
    }
}
