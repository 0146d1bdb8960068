use super::*;
use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::time::Duration;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Stands in for the proxy: the address of the origin itself.
struct NoProxy<'a> {
    addr: SocketAddr,
    stopped: &'a Cell<bool>,
}

impl DemoProxy for NoProxy<'_> {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn admin_addr(&self) -> Option<SocketAddr> {
        Some(ANY)
    }

    fn figures(&self) -> Figures {
        Figures::default()
    }

    async fn stop(self) {
        self.stopped.set(true);
    }
}

fn args() -> DemoArgs {
    DemoArgs {
        listen: ANY,
        admin: ANY,
        latency: Some(Duration::from_millis(1)),
        workers: 25,
        error_rate: 0.0,
        size: 200,
        clients: Some(10),
        connections: 2,
        duration: Some(Duration::from_secs(1)),
        no_load: false,
        quick: true,
    }
}

/// Plays the demo and returns its output, its configuration, and whether the proxy was stopped.
async fn played(args: &DemoArgs, stop: impl Future<Output = ()>) -> (String, toml::Table, bool) {
    let mut out = Vec::new();
    let seen = RefCell::new(toml::Table::new());
    let stopped = Cell::new(false);
    let start = async |text: String| {
        let table: toml::Table = text.parse().unwrap();
        let url = table["origins"]["catalogue"]["url"].as_str().unwrap();
        let addr = url.strip_prefix("http://").unwrap().parse().unwrap();
        seen.replace(table);
        Ok(NoProxy { addr, stopped: &stopped })
    };
    play(args, start, &mut out, false, stop).await.unwrap();
    (String::from_utf8(out).unwrap(), seen.into_inner(), stopped.get())
}

#[tokio::test]
async fn the_show_prints_three_things_to_try_the_comparison_and_the_live_line() {
    let (out, _, stopped) = played(&args(), std::future::pending()).await;
    assert_eq!(out.matches("curl ").count(), 3, "{out}");
    assert!(out.contains("straight to the origin   through Millpond"), "{out}");
    let herds: Vec<&str> = out.lines().filter(|line| line.contains("requests at the origin  ")).collect();
    assert_eq!(herds.len(), 2, "{out}");
    for line in herds {
        // The stand-in does not cache, so both sides measure the whole herd.
        assert_eq!(line.split_whitespace().filter(|word| *word == "10").count(), 2, "{line}");
    }
    assert!(out.contains("requests/s"), "{out}");
    assert!(!out.contains('\x1b'), "no escape codes where nobody understands them");
    assert!(stopped);
}

#[tokio::test]
async fn a_stop_before_the_live_line_ends_the_show_and_the_proxy() {
    let (out, _, stopped) = played(&args(), std::future::ready(())).await;
    assert!(stopped);
    assert!(!out.contains("requests/s"));
}

/// Output that says when the first live line was written.
#[derive(Default)]
struct Watched {
    text: Vec<u8>,
    live: std::sync::Arc<tokio::sync::Notify>,
}

impl io::Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if String::from_utf8_lossy(&self.text).contains("requests/s") {
            self.live.notify_one();
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_stop_of_a_live_line_without_an_end_still_sums_up() {
    let endless = DemoArgs { duration: Some(Duration::MAX), no_load: true, ..args() };
    let mut out = Watched::default();
    let live = std::sync::Arc::clone(&out.live);
    let stopped = Cell::new(false);
    let elsewhere = DemoOrigin::start(endless.origin()).await.unwrap();
    let start = async |_| Ok(NoProxy { addr: elsewhere.addr(), stopped: &stopped });
    play(&endless, start, &mut out, false, live.notified()).await.unwrap();
    let text = String::from_utf8(out.text).unwrap();
    assert!(text.contains("No load") && text.contains("of waiting saved."), "{text}");
    assert!(stopped.get());
}

#[tokio::test]
async fn the_configuration_caches_the_api_and_passes_the_rest() {
    let (_, table, _) = played(&args(), std::future::ready(())).await;
    let routes = table["routes"].as_array().unwrap();
    assert_eq!(routes[0]["path"].as_str(), Some("/api/*"));
    assert_eq!(routes[0]["cache"]["ttl"].as_str(), Some("1s"), "the origin's own lifetime with --quick");
    assert_eq!(routes[1]["path"].as_str(), Some("*"));
    assert_eq!(routes[1]["cache"].as_bool(), Some(false));
    assert_eq!(table["listen"]["http"].as_str(), Some("127.0.0.1:0"));
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_argument_that_changes_it() {
    let taken = TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap();
    for (flag, args) in
        [("--listen", DemoArgs { listen: address, ..args() }), ("--admin", DemoArgs { admin: address, ..args() })]
    {
        let start = async |_: String| -> io::Result<NoProxy<'_>> { panic!("nothing may start") };
        let error = play(&args, start, &mut io::sink(), false, std::future::pending()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("{address} is in use by another program")), "{text}");
        assert!(text.contains(&format!("{flag} 127.0.0.1:")), "{text}");
    }
}
