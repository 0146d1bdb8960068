//! The names that dashboards and alerts rely on.

use super::*;
use prometheus::proto::MetricType;

/// Every family, those with labels included.
fn all() -> Metrics {
    let metrics = Metrics::new().expect("every name is valid and registered once");
    metrics.route("api");
    metrics.coding("api");
    metrics.origin("db");
    metrics.listener.rejected.with_label_values(&["no-host"]).inc();
    metrics.l1.evictions.with_label_values(&["size"]).inc();
    metrics.purges.with_label_values(&["tag"]).inc();
    metrics.reloads.with_label_values(&["applied"]).inc();
    metrics
}

#[test]
fn names_follow_the_prometheus_conventions() {
    let families = all().registry.gather();
    assert!(families.len() > 30, "{}", families.len());
    for family in families {
        let (name, kind) = (family.name(), family.get_field_type());
        assert!(name.starts_with("millpond_") || name.starts_with("process_"), "{name}: prefix");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}: snake case");
        assert_eq!(name.ends_with("_total"), kind == MetricType::COUNTER, "{name}: _total is for counters alone");
        if kind == MetricType::HISTOGRAM {
            assert!(name.ends_with("_seconds") || name.ends_with("_bytes"), "{name}: unit");
        }
        let odd_units = ["ms", "millis", "milliseconds", "micros", "us", "minutes", "kb", "mb", "percent"];
        assert!(!name.split('_').any(|word| odd_units.contains(&word)), "{name}: base units");
        assert!(family.help().ends_with('.'), "{name}: help is a sentence");
        for label in family.get_metric()[0].get_label() {
            // The word after the prefix is the part of the program, not a label.
            assert!(
                !name.split('_').skip(2).any(|word| word == label.name()),
                "{name}: repeats its label {}",
                label.name()
            );
        }
    }
}

#[test]
fn registering_a_name_twice_is_an_error_at_once() {
    let metrics = all();
    let again = Registrar(&metrics.registry).counter("accept_errors_total", "Failures to accept a connection.");
    assert!(matches!(again, Err(prometheus::Error::AlreadyReg)));
    let other_type = Registrar(&metrics.registry).gauge("purges_total", "Other.");
    assert!(other_type.is_err());
}

#[test]
fn two_sets_of_metrics_and_two_calls_for_a_route_do_not_collide() {
    let (first, second) = (all(), all());
    first.route("api").requests[Outcome::Hit as usize].inc();
    first.route("api").requests[Outcome::Hit as usize].inc();
    let sample = r#"millpond_requests_total{outcome="hit",route="api"} 2"#;
    assert!(first.encode().contains(sample));
    assert!(!second.encode().contains(sample));
}

#[test]
fn every_reason_and_fault_has_its_handle() {
    let (route, origin) = (all().route("api"), all().origin("db"));
    assert_eq!(route.requests.len(), Outcome::ALL.len());
    assert_eq!(route.passed.len(), Reason::ALL.len());
    assert_eq!(route.not_stored.len(), Reason::ALL.len());
    assert_eq!(origin.errors.len(), OriginFault::ALL.len());
    route.passed[Reason::CacheOff as usize].inc();
    for (index, (result, _)) in RefreshResult::ALL.iter().enumerate() {
        assert_eq!(*result as usize, index, "the list is in declaration order");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn process_figures_are_there_under_their_usual_names() {
    let text = all().encode();
    for name in [
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
    ] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
    }
}

#[test]
fn the_text_format_escapes_label_values() {
    let metrics = all();
    metrics.route("a\"b\\c\nd");
    let text = metrics.encode();
    assert!(text.contains(r#"route="a\"b\\c\nd""#));
    assert!(text.lines().all(|line| line.starts_with('#') || line.rsplit_once(' ').is_some()));
}
