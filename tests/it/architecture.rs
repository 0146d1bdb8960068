//! The module map of ARCHITECTURE.md as rules: the sources are read, and a forbidden edge fails.

mod checker;
mod names;
mod rules;

use std::path::{Path, PathBuf};

use checker::{Source, violations};

/// Every source file below `folder` that is not a file of tests.
fn sources(folder: &Path, root: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, root, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            if !name.ends_with("tests.rs") {
                found.push(Source::new(&name, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
}

#[test]
fn the_sources_keep_to_the_module_map() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &root, &mut found);
    assert!(found.len() > 100, "only {} files were read", found.len());
    let violations = violations(&found);
    assert!(violations.is_empty(), "forbidden edges:\n{}", violations.join("\n"));
}

#[test]
fn every_rule_is_about_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &root, &mut found);
    for module in rules::named_modules() {
        assert!(found.iter().any(|source| source.is_in(module)), "no file belongs to the module {module}");
    }
}
