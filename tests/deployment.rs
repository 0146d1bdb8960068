//! The files under `config/` for running more than one instance, as far as they can be checked without
//! a container engine: they parse, Millpond takes what they hold, and what they say in several places
//! agrees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test ends by a panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

use millpond::config::{Config, parse};
use serde::Deserialize;
use serde_yaml_ng::Value;

const POD_LABEL: &str = "app.kubernetes.io/name";

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(path: &str) -> Vec<Value> {
    let text = file(path);
    let documents = serde_yaml_ng::Deserializer::from_str(&text).map(Value::deserialize);
    let mut documents: Vec<Value> = documents.collect::<Result<_, _>>().unwrap();
    for document in &mut documents {
        document.apply_merge().unwrap();
    }
    documents
}

/// What stands at a path such as `spec.ports.0.name`.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    let step = |value: &'a Value, key: &str| match key.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(key),
    };
    path.split('.').try_fold(value, step).unwrap_or_else(|| panic!("no {path} in {value:?}"))
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_else(|| panic!("{path} is no text"))
}

fn number(value: &Value, path: &str) -> u64 {
    at(value, path).as_u64().unwrap_or_else(|| panic!("{path} is no number"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_sequence().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

/// Millpond's own verdict, by the real command, and the configuration that it takes.
fn checked(toml: &str, variables: &[(&str, &str)]) -> Config {
    let directory = tempfile::tempdir().unwrap();
    // The secret that an engine would mount.
    let secret = directory.path().join("admin_token");
    std::fs::write(&secret, "s3cret").unwrap();
    let toml = toml.replace("/run/secrets/admin_token", secret.to_str().unwrap());
    let path = directory.path().join("millpond.toml");
    std::fs::write(&path, &toml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
    command.arg("check").arg("-c").arg(&path).envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    parse(&toml, &PathBuf::from("millpond.toml"), &variable).unwrap()
}

#[test]
fn two_instances_share_a_redis_by_one_file() {
    let config = checked(&file("two-instances/millpond.toml"), &[]);
    assert!(config.redis.is_some() && config.admin.is_some());
}

#[test]
fn the_compose_file_agrees_with_the_configuration_that_it_mounts() {
    let compose = documents("compose/compose.yaml").remove(0);
    let config = checked(&file("compose/millpond/millpond.toml"), &[]);
    let http = config.listen.http.port();
    let admin = config.admin.as_ref().unwrap();
    assert!(admin.token.is_some());
    let prometheus = documents("compose/prometheus.yml").remove(0);
    let targets = texts(at(&prometheus, "scrape_configs.0.static_configs.0.targets"));
    let redis = config.redis.as_ref().unwrap();
    assert_eq!(redis.url, "redis://redis:6379");
    at(&compose, "services.redis");
    for name in ["millpond-1", "millpond-2"] {
        let service = at(&compose, &format!("services.{name}"));
        assert!(texts(at(service, "ports"))[0].ends_with(&format!(":{http}")), "{name}");
        assert_eq!(texts(at(service, "volumes")), ["./millpond:/etc/millpond:ro"]);
        assert!(targets.contains(&&*format!("{name}:{}", admin.listen.port())), "{targets:?}");
        let grace = text(service, "stop_grace_period").trim_end_matches('s').parse::<u64>().unwrap();
        assert!(grace > config.limits.shutdown_deadline.as_secs(), "{name}");
        let health = texts(at(service, "healthcheck.test"));
        assert!(health.contains(&&*format!("http://127.0.0.1:{}", admin.listen.port())));
        // The command of the container's image, with its arguments.
        assert_eq!(&health[..3], ["CMD", "/usr/local/bin/millpond", "health"]);
    }
    // A log that makes room for responses would be a log that loses purges.
    let command = texts(at(&compose, "services.redis.command"));
    assert!(command.windows(2).any(|pair| pair == ["--maxmemory-policy", "volatile-lru"]));
    let image = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Dockerfile")).unwrap();
    assert!(image.contains("ENTRYPOINT [\"/usr/local/bin/millpond\"]"));
    assert!(image.contains("/etc/millpond/millpond.toml"));
}

#[test]
fn the_kubernetes_manifests_agree_with_one_another_and_with_the_configuration_in_them() {
    let all = documents("kubernetes/millpond.yaml");
    let kind = |kind: &'static str| all.iter().filter(move |document| text(document, "kind") == kind);
    let map = kind("ConfigMap").next().unwrap();
    let secrets = [("MILLPOND_ADMIN_TOKEN", "a"), ("MILLPOND_REDIS_PASSWORD", "b")];
    let config = checked(at(map, "data").get("millpond.toml").unwrap().as_str().unwrap(), &secrets);
    let deployment = kind("Deployment").next().unwrap();
    let pod = at(deployment, "spec.template.spec");
    let container = at(pod, "containers.0");

    let labels = at(deployment, "spec.template.metadata.labels");
    assert_eq!(at(deployment, "spec.selector.matchLabels"), labels);
    assert_eq!(at(kind("PodDisruptionBudget").next().unwrap(), "spec.selector.matchLabels"), labels);
    for service in kind("Service") {
        assert_eq!(at(service, "spec.selector"), labels);
        assert_eq!(text(service, "spec.ports.0.name"), text(service, "spec.ports.0.targetPort"));
    }
    assert!(labels.get(POD_LABEL).is_some());

    let ports: Vec<(&str, u64)> = at(container, "ports")
        .as_sequence()
        .unwrap()
        .iter()
        .map(|port| (text(port, "name"), number(port, "containerPort")))
        .collect();
    let (http, admin) = (config.listen.http, config.admin.as_ref().unwrap());
    assert_eq!(ports, [("http", u64::from(http.port())), ("admin", u64::from(admin.listen.port()))]);
    assert!(http.ip().is_unspecified() && admin.listen.ip().is_unspecified() && admin.token.is_some());

    // The variables that the configuration names are set from the secret.
    let variables: Vec<&str> =
        at(container, "env").as_sequence().unwrap().iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(variables, secrets.map(|(name, _)| name));
    assert!(config.redis.as_ref().unwrap().password.is_some());

    let mounted = text(container, "volumeMounts.0.mountPath");
    assert_eq!(texts(at(container, "args")), ["run", "-c", &format!("{mounted}/millpond.toml")]);
    assert_eq!(text(container, "volumeMounts.0.name"), text(pod, "volumes.0.name"));
    assert_eq!(text(pod, "volumes.0.configMap.name"), text(map, "metadata.name"));

    let health = texts(at(container, "readinessProbe.exec.command"));
    assert_eq!(
        health,
        ["/usr/local/bin/millpond", "health", "--admin", &format!("http://127.0.0.1:{}", admin.listen.port())]
    );
    assert_eq!(text(container, "livenessProbe.tcpSocket.port"), "admin");
    let grace = number(pod, "terminationGracePeriodSeconds");
    let pause = number(container, "lifecycle.preStop.sleep.seconds");
    assert!(grace > config.limits.shutdown_deadline.as_secs() + pause);
    assert!(
        number(deployment, "spec.replicas") > number(kind("PodDisruptionBudget").next().unwrap(), "spec.minAvailable")
    );
}
