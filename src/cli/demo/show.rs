//! The order of the show: where everything is, what to try, the herd with and without the proxy,
//! and the live line.

use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::time::Duration;

use super::herd::{Herd, compare};
use super::live::LiveLine;
use super::load::Load;
use super::origin::DemoOrigin;
use super::{DemoArgs, DemoError, DemoProxy, text};
use crate::clock::Clock;

/// The herd's keys. Two, so that neither measurement can help the other.
const HERD_DIRECT: &str = "/api/products/401";
const HERD_PROXIED: &str = "/api/products/402";

/// How often the live line changes.
const INTERVAL: Duration = Duration::from_secs(1);

/// A lifetime is over when a little more than it has passed.
const JUST_EXPIRED: Duration = Duration::from_millis(100);

/// Everything on stage.
pub(super) struct Show<'a, P> {
    /// What was asked for.
    pub(super) args: &'a DemoArgs,
    /// The slow origin.
    pub(super) origin: &'a DemoOrigin,
    /// The proxy in front of it.
    pub(super) proxy: &'a P,
    /// Measures the herd.
    pub(super) clock: &'a Clock,
    /// Whether the live line may rewrite itself.
    pub(super) in_place: bool,
}

impl<P: DemoProxy> Show<'_, P> {
    /// Runs until its time is over or `stop` is ready.
    pub(super) async fn run(
        &self,
        out: &mut dyn Write,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), DemoError> {
        self.introduce(out).map_err(DemoError::Output)?;
        tokio::select! {
            measured = self.herd(out) => measured?,
            () = &mut stop => return Ok(()),
        }
        self.live(out, stop).await.map_err(DemoError::Output)
    }

    fn introduce(&self, out: &mut dyn Write) -> io::Result<()> {
        let origin = self.args.origin();
        let proxy = self.proxy.addr();
        writeln!(
            out,
            "origin  http://{}   a catalogue that takes {} for an answer and works on {} at once",
            self.origin.addr(),
            text::span(origin.latency),
            origin.workers
        )?;
        writeln!(
            out,
            "proxy   http://{proxy}   Millpond, one tier in memory, lifetime {}",
            text::span(origin.max_age)
        )?;
        if let Some(admin) = self.proxy.admin_addr() {
            writeln!(out, "admin   http://{admin}   metrics at /metrics")?;
        }
        writeln!(out, "\nThree things to try in another terminal:")?;
        writeln!(out, "  Ask twice, and see Cache-Status and Age change:")?;
        writeln!(out, "    curl -si http://{proxy}/api/products/42 | grep -iE '^(HTTP|age|etag|cache-status)'")?;
        writeln!(out, "  Say what you already have, and get a 304 without a body from the cache:")?;
        writeln!(out, "    curl -si -H 'If-None-Match: \"p42-v1\"' http://{proxy}/api/products/42")?;
        if let Some(admin) = self.proxy.admin_addr() {
            writeln!(out, "  Purge by tag, then ask again: the next answer comes from the origin:")?;
            writeln!(
                out,
                "    curl -s -H 'Content-Type: application/json' -d '{{\"tag\": \"product:42\"}}' http://{admin}/purge"
            )?;
        }
        out.flush()
    }

    async fn herd(&self, out: &mut dyn Write) -> Result<(), DemoError> {
        let clients = self.args.herd();
        let lifetime = self.args.origin().max_age;
        let herd = Herd { origin: self.origin, clients, lifetime: lifetime + JUST_EXPIRED, clock: self.clock };
        let fault = |cause| DemoError::Herd { clients, cause };
        let mut say = |line: String| writeln!(out, "{line}").and_then(|()| out.flush()).map_err(DemoError::Output);

        say(format!("\nThe herd: {clients} clients ask for one key at once, and again when it has just expired."))?;
        say("  straight to the origin ...".to_owned())?;
        let direct = herd.measure(self.origin.addr(), HERD_DIRECT, false).await.map_err(fault)?;
        say(format!("  through Millpond, with {} in between for the key to expire ...", text::span(lifetime)))?;
        let proxied = herd.measure(self.proxy.addr(), HERD_PROXIED, true).await.map_err(fault)?;
        say(format!("\n{}", compare(&direct, &proxied)))
    }

    async fn live(&self, out: &mut dyn Write, mut stop: Pin<&mut impl Future<Output = ()>>) -> io::Result<()> {
        let load = (!self.args.no_load).then(|| Load::start(self.proxy.addr(), self.args.connections));
        let until =
            self.args.live().map_or_else(|| "until Ctrl-C".to_owned(), |time| format!("for {}", text::span(time)));
        match &load {
            Some(_) => writeln!(out, "Load from {} connections {until}:", self.args.connections)?,
            None => writeln!(out, "No load; your own requests show here {until}:")?,
        }
        let mut line = LiveLine::new(self.proxy.figures(), self.in_place);
        let start = self.clock.now();
        let mut last = start;
        let mut ticks = tokio::time::interval(INTERVAL);
        // The first tick of an interval is immediate.
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = &mut stop => return line.finish(out),
            }
            let now = self.clock.now();
            let failed = load.as_ref().map_or(0, Load::failed);
            line.write(out, self.proxy.figures(), now.since(last), failed)?;
            last = now;
            if self.args.live().is_some_and(|time| now.since(start) >= time) {
                return line.finish(out);
            }
        }
    }
}
