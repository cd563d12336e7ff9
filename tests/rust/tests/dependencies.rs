//! The workspace's dependency direction: functions and cli, then runtime, aws, sources, then authorisation, catalog and vault, then domain.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// What each room of the workspace may depend on inside the workspace.
fn allowed(package: &str, path: &str) -> Vec<&'static str> {
    match package {
        "domain" => vec![],
        "vault" | "catalog" | "authorisation" => vec!["domain"],
        "sources" => vec!["domain", "vault"],
        "aws" => vec!["domain", "vault", "catalog", "sources"],
        "runtime" => vec!["domain", "vault", "catalog", "authorisation", "sources", "aws"],
        "holdfast-cli" => vec!["domain", "aws"],
        "holdfast-benches" => vec!["domain", "vault", "sources", "aws"],
        "holdfast-tests" => vec![],
        _ if path.contains("/functions/") => vec!["domain", "vault", "catalog", "authorisation", "sources", "aws", "runtime"],
        other => panic!("package {other} has no room yet: give it one here and in ARCHITECTURE.md"),
    }
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .expect("cargo answers");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn normal_dependencies(package: &Value) -> impl Iterator<Item = &str> {
    let all = package["dependencies"].as_array().into_iter().flatten();
    all.filter(|dependency| dependency["kind"].is_null()).filter_map(|dependency| dependency["name"].as_str())
}

#[test]
fn dependencies_point_one_way() {
    let packages = packages();
    let names: BTreeMap<&str, &str> = packages
        .iter()
        .map(|package| (package["name"].as_str().expect("a name"), package["manifest_path"].as_str().expect("a path")))
        .collect();
    for package in &packages {
        let name = package["name"].as_str().expect("a name");
        let allowed = allowed(name, names[name]);
        for dependency in normal_dependencies(package).filter(|dependency| names.contains_key(dependency)) {
            assert!(allowed.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn only_the_aws_crate_names_the_aws_sdk() {
    for package in packages().iter().filter(|package| package["name"] != "aws") {
        for dependency in normal_dependencies(package) {
            assert!(
                !dependency.starts_with("aws-sdk") && !dependency.starts_with("aws-smithy"),
                "{} names {dependency}",
                package["name"]
            );
        }
    }
}

#[test]
fn the_domain_is_pure() {
    let packages = packages();
    let domain = packages.iter().find(|package| package["name"] == "domain").expect("the domain");
    for dependency in normal_dependencies(domain) {
        assert!(
            !["tokio", "async-trait", "futures", "tracing", "rand", "reqwest"].contains(&dependency),
            "domain names {dependency}"
        );
    }
}
