//! The command as a person or a script meets it: exit statuses, streams, credentials. The function's side is played by a socket.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::mpsc,
};

use serde_json::{Value, json};

/// Answers each call with the next of these, the last one again and again; tells what was called, with its headers.
fn operator(answers: Vec<(u16, Value)>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, calls) = mpsc::channel();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let _ = told.send(request(&mut stream));
            let (status, body) = &answers[n.min(answers.len() - 1)];
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    (url, calls)
}

fn request(stream: &mut impl Read) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return text,
            Ok(n) => read.extend_from_slice(&buffer[..n]),
        }
    }
}

/// A home with AWS's config files, and nothing of the caller's environment.
struct Home(PathBuf);

impl Home {
    fn new(name: &str, config: &str) -> Self {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(home.join(".aws/sso/cache")).unwrap();
        std::fs::write(home.join(".aws/config"), config).unwrap();
        Self(home)
    }

    fn holdfast(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.env_clear().env("HOME", &self.0).env("AWS_EC2_METADATA_DISABLED", "true");
        command.envs(environment.iter().copied()).args(arguments).output().unwrap()
    }
}

const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_REGION", "eu-central-1")];

/// One command against one answer.
fn answered(name: &str, answer: (u16, Value), arguments: &[&str]) -> Output {
    let (url, _calls) = operator(vec![answer]);
    Home::new(name, "").holdfast(&[&KEYS[..], &[("HOLDFAST_OPERATOR_URL", &url)]].concat(), arguments)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn error(code: &str) -> Value {
    json!({ "error": { "code": code, "message": "why, and what to do" } })
}

/// A name, what the function answers, what was typed, and the exit status.
type Case<'a> = (&'a str, (u16, Value), &'a [&'a str], i32);

#[test]
fn every_class_of_outcome_has_its_exit_status() {
    let well = json!({ "tenants": {} });
    let broken = json!({ "tenant": "acme", "findings_count": 1, "findings": [], "chain": { "after": 0 } });
    let cases: [Case; 14] = [
        ("done", (200, well.clone()), &["status"], 0),
        ("not-done", (400, error("SourceRefused")), &["status"], 1),
        ("not-well", (200, json!({ "scanned_at": null })), &["coverage"], 1),
        ("usage", (200, well.clone()), &["stauts"], 2),
        ("usage-value", (200, well.clone()), &["hold", "release", "--tenant", "acme", "--reason", "r"], 2),
        ("refused", (403, error("ApprovalInvalid")), &["status"], 3),
        ("refused-by-aws", (403, json!({ "Message": "Forbidden" })), &["status"], 3),
        ("first", (409, error("Fenced")), &["status"], 3),
        ("unknown", (404, error("UnknownTenant")), &["points", "--tenant", "acme"], 4),
        ("throttled", (429, error("Throttled")), &["status"], 5),
        ("passing", (503, error("StoreUnavailable")), &["status"], 5),
        ("cut-off", (502, json!("Internal Server Error")), &["status"], 5),
        ("damaged", (500, error("NotAuthentic")), &["restore", "request", "--tenant", "acme", "--reason", "r"], 6),
        ("broken", (200, broken), &["vault", "check", "--tenant", "acme"], 6),
    ];
    for (name, answer, arguments, expected) in cases {
        let done = answered(&format!("status-{name}"), answer, arguments);
        assert_eq!(done.status.code(), Some(expected), "{name}: {}", text(&done.stderr));
    }
    let nobody = Home::new("status-nobody", "").holdfast(&[("HOLDFAST_OPERATOR_URL", "http://127.0.0.1:1")], &["status"]);
    assert_eq!(nobody.status.code(), Some(3), "{}", text(&nobody.stderr));
    let silent = Home::new("status-silent", "").holdfast(&KEYS, &["--url", "http://127.0.0.1:1", "status"]);
    assert_eq!(silent.status.code(), Some(5), "{}", text(&silent.stderr));
    let nowhere = Home::new("status-nowhere", "").holdfast(&KEYS, &["status"]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", text(&nowhere.stderr));
}

#[test]
fn with_json_the_answer_is_all_of_standard_output_and_a_failure_is_json_on_standard_error() {
    let answer = json!({ "tenants": { "protected": 3 }, "new_field": 1 });
    let done = answered("json-done", (200, answer.clone()), &["-o", "json", "status"]);
    assert_eq!(serde_json::from_slice::<Value>(&done.stdout).unwrap(), answer);
    assert_eq!(text(&done.stderr), "");
    let hostile = json!({ "error": { "code": "UnknownTenant", "message": "no \u{202e}tenant\u{1b}[2J" } });
    let failed = answered("json-failed", (404, hostile), &["-o", "json", "points", "--tenant", "x"]);
    assert_eq!(text(&failed.stdout), "");
    let said: Value = serde_json::from_slice(&failed.stderr).unwrap();
    assert_eq!((&said["error"]["code"], &said["error"]["exit_status"]), (&json!("UnknownTenant"), &json!(4)));
    assert!(!text(&failed.stderr).contains('\u{202e}'), "{said}");
}

#[test]
fn following_is_silent_where_nobody_looks() {
    let (url, calls) = operator(vec![
        (200, json!({ "tenant": "acme", "execution": "run_1" })),
        (200, json!({ "tenant": "acme", "state": "running" })),
        (200, json!({ "tenant": "acme", "state": "reconciled", "dangling": 0 })),
    ]);
    let environment = [&KEYS[..], &[("HOLDFAST_OPERATOR_URL", url.as_str())]].concat();
    let done = Home::new("silent", "").holdfast(&environment, &["references", "--tenant", "acme"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!((text(&done.stderr).as_str(), calls.try_iter().count()), ("", 3));
    assert!(!text(&done.stdout).contains('\u{1b}'));
}

/// The credential of a call's signature: whose key, and for which region.
fn signed_as(home: &Home, environment: &[(&str, &str)], flags: &[&str]) -> String {
    let (url, calls) = operator(vec![(200, json!({}))]);
    let environment = [environment, &[("HOLDFAST_OPERATOR_URL", url.as_str())]].concat();
    let done = home.holdfast(&environment, &[flags, &["status"]].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    let call = calls.recv().unwrap();
    let credential = call.split("Credential=").nth(1).unwrap().split(',').next().unwrap();
    let parts: Vec<&str> = credential.split('/').collect();
    format!("{} {}", parts[0], parts[2])
}

const PROFILES: &str = "[profile prod]\nregion = eu-west-1\naws_access_key_id = AKIAPROD\naws_secret_access_key = s\n\
                        [profile bare]\naws_access_key_id = AKIABARE\naws_secret_access_key = s\n\
                        [profile process]\nregion = eu-west-1\ncredential_process = cat {HOME}/.aws/printed\n";

#[test]
fn a_flag_outweighs_the_environment_and_that_the_config_files() {
    let home = Home::new("profiles", PROFILES);
    let config = PROFILES.replace("{HOME}", home.0.to_str().unwrap());
    std::fs::write(home.0.join(".aws/config"), config).unwrap();
    let printed = json!({ "Version": 1, "AccessKeyId": "AKIAPRINTED", "SecretAccessKey": "s" }).to_string();
    std::fs::write(home.0.join(".aws/printed"), printed).unwrap();
    let path = ("PATH", "/usr/bin:/bin");
    let default_region = [("AWS_PROFILE", "bare"), ("AWS_DEFAULT_REGION", "ap-south-1")];
    for (environment, flags, expected) in [
        (&KEYS[..], &[][..], "AKIAENV eu-central-1"),
        (&KEYS, &["--profile", "prod"], "AKIAPROD eu-central-1"),
        (&KEYS, &["--profile", "prod", "--region", "us-east-1"], "AKIAPROD us-east-1"),
        (&[("AWS_PROFILE", "prod")], &[], "AKIAPROD eu-west-1"),
        (&[("AWS_PROFILE", "bare")], &["--profile", "prod"], "AKIAPROD eu-west-1"),
        (&default_region, &[], "AKIABARE ap-south-1"),
        (&[path], &["--profile", "process"], "AKIAPRINTED eu-west-1"),
    ] {
        assert_eq!(signed_as(&home, environment, flags), expected, "{environment:?} {flags:?}");
    }
}

/// What a person is told who cannot sign.
fn refused(home: &Home, environment: &[(&str, &str)], flags: &[&str]) -> String {
    let done = home.holdfast(environment, &[flags, &["--url", "http://127.0.0.1:1", "status"]].concat());
    assert_eq!(done.status.code(), Some(3), "{}", text(&done.stderr));
    text(&done.stderr)
}

#[test]
fn who_cannot_sign_is_told_why_and_what_to_do() {
    let sso = "[profile sso]\nregion = eu-west-1\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n\
               [sso-session s]\nsso_region = eu-west-1\nsso_start_url = https://example.invalid/start\n";
    let home = Home::new("refusals", &format!("{PROFILES}{sso}"));
    let never = refused(&home, &[], &["--profile", "sso"]);
    assert!(never.contains("`aws sso login`"), "{never}");
    // The file's name is the SHA-1 of the session's name.
    let cached = home.0.join(".aws/sso/cache/a0f1490a20d0211c997b44bc357e1972deab8ae3.json");
    std::fs::write(cached, r#"{"accessToken":"t","expiresAt":"2020-01-01T00:00:00Z"}"#).unwrap();
    let expired = refused(&home, &[], &["--profile", "sso"]);
    assert!(expired.contains("`aws sso login`") && expired.contains("expired"), "{expired}");

    for (environment, flags) in [(&[][..], &["--profile", "nope"][..]), (&[("AWS_PROFILE", "nope")], &[])] {
        let unknown = refused(&home, environment, flags);
        assert!(unknown.contains("nope") && unknown.contains("aws configure list-profiles"), "{unknown}");
    }
    let none = refused(&home, &[("AWS_REGION", "eu-central-1")], &[]);
    assert!(none.contains("--profile"), "{none}");
    let nowhere = refused(&home, &[], &["--profile", "bare"]);
    assert!(nowhere.contains("--region"), "{nowhere}");
}

#[test]
fn help_has_examples_and_the_exit_statuses_and_no_colours_in_a_pipe() {
    let home = Home::new("help", "");
    let help = |arguments: &[&str]| text(&home.holdfast(&[("NO_COLOR", "1")], arguments).stdout);
    let top = help(&["--help"]);
    for expected in ["Exit status:", "HOLDFAST_OPERATOR_URL", "--profile", "--region", "completions"] {
        assert!(top.contains(expected), "{expected}: {top}");
    }
    assert!(!top.contains('\u{1b}'));
    assert!(help(&["restore", "--help"]).contains("holdfast restore approve rq_"));
    assert!(help(&["vault", "--help"]).contains("--read-data 1/7"));
}

#[test]
fn every_shell_gets_its_completions_without_a_url_or_credentials() {
    let home = Home::new("completions", "");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = home.holdfast(&[], &["completions", shell]);
        let script = text(&done.stdout);
        assert!(done.status.success() && script.contains("references") && script.contains("hold"), "{shell}: {script}");
    }
}
