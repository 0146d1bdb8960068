//! Trap F25: a secret is used and never shown.

use super::{exit_code, stopped};
use crate::support::binary::{Millpond, millpond_with};
use crate::support::config::ConfigText;
use crate::support::origin::Origin;

const SECRET: &str = "hunter2-correct-horse";
const VARIABLE: &str = "MILLPOND_TEST_TOKEN";

/// Uses the token in every way, then looks for it in everything the proxy says.
async fn never_shows(config: &ConfigText, variables: &[(&str, &str)]) {
    let mut millpond = Millpond::run_with(config, variables).await;
    let file = millpond.config_file();
    let admin = millpond.admin_client();
    let bearer = format!("Bearer {SECRET}");
    for path in ["/config", "/metrics", "/readyz"] {
        assert_eq!(admin.get(path).send().await.status, 401, "{path} without a token");
        let wrong = admin.get(path).header("authorization", &format!("{bearer}x")).send().await;
        assert_eq!(wrong.status, 401, "{path} with a wrong one");
        let answer = admin.get(path).header("authorization", &bearer).send().await;
        assert_eq!(answer.status, 200, "{path} with the token");
        assert!(!answer.text().contains(SECRET), "{path}: {}", answer.text());
    }
    let dump = ["check", "--dump", "-c", file.to_str().unwrap()];
    let mut check = millpond_with(&dump, variables);
    assert_eq!(exit_code(&mut check).await, Some(0), "{}", check.stderr.text());
    let url = millpond.admin_url();
    let mut refused = millpond_with(&["purge", "--all", "--admin", &url], &[("MILLPOND_ADMIN_TOKEN", "wrong")]);
    assert_eq!(exit_code(&mut refused).await, Some(77), "{}", refused.stderr.text());
    let mut purge = millpond_with(&["purge", "--all", "--admin", &url], &[("MILLPOND_ADMIN_TOKEN", SECRET)]);
    assert_eq!(exit_code(&mut purge).await, Some(0), "{}", purge.stderr.text());
    // A file that no longer fits is reported, and that must not show it either.
    std::fs::write(&file, "[admin]\ntoken = 'nothing'").unwrap();
    millpond.process.signal(nix::sys::signal::Signal::SIGHUP);
    millpond.process.stderr.says("the old one stays in force").await;
    millpond.client().get(&format!("/?token={SECRET}")).send().await;
    stopped(&mut millpond).await;
    for said in [&check.stdout, &check.stderr, &purge.stdout, &purge.stderr, &millpond.process.stderr] {
        assert!(!said.text().contains(SECRET), "{}", said.text());
    }
}

#[tokio::test]
async fn f25_a_token_from_the_environment_is_never_shown() {
    let mut config = ConfigText::for_origin(&Origin::start().await);
    config.admin(&format!("token_env = '{VARIABLE}'"));
    config.section("[log]\nlevel = 'trace'");
    never_shows(&config, &[(VARIABLE, SECRET)]).await;
}

#[tokio::test]
async fn f25_a_token_from_a_file_is_never_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{SECRET}\n")).unwrap();
    let mut config = ConfigText::for_origin(&Origin::start().await);
    config.admin(&format!("token_file = '{}'", file.path().display()));
    config.section("[log]\nlevel = 'trace'");
    never_shows(&config, &[]).await;
}

#[tokio::test]
async fn a_missing_token_stops_the_start_and_names_the_variable() {
    let mut config = ConfigText::for_origin(&Origin::start().await);
    config.admin(&format!("token_env = '{VARIABLE}'"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("millpond.toml");
    let any = crate::support::binary::free_address();
    std::fs::write(&file, config.text(any, any)).unwrap();
    let mut check = millpond_with(&["check", "-c", file.to_str().unwrap()], &[]);
    assert_eq!(exit_code(&mut check).await, Some(78));
    assert!(check.stderr.text().contains(VARIABLE), "{}", check.stderr.text());
}
