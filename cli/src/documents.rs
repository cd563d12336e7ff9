//! Every command that a document, a help text, an error or an alert names is one that this command takes.

use std::path::{Path, PathBuf};

use clap::{Parser, error::ErrorKind};

use crate::{args::Args, help};

/// A command line as a shell splits it, as far as these texts go: quotes, and a comment, a pipe or prose behind it cut off.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            (' ', None) if matches!(chars.peek(), Some(' ' | '#' | '|' | '>')) => break,
            (')', None) => break,
            (' ', None) => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The commands in a Markdown text: lines of code blocks, and what stands between backticks.
fn in_markdown(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        fenced ^= trimmed.starts_with("```");
        let code = fenced || line.len() - trimmed.len() >= 4;
        if code && trimmed.starts_with("holdfast ") {
            found.push(trimmed.to_owned());
        }
        found.extend(quoted(line));
    }
    found
}

/// The commands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("holdfast ")).map(str::to_owned).collect()
}

/// The commands that a program's messages name: whole ones, in strings.
fn in_source(text: &str) -> Vec<String> {
    let mut joined = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        match line.strip_suffix('\\') {
            Some(begun) => joined.push_str(begun.trim_start()),
            None => {
                joined.push_str(line.trim_start());
                joined.push('\n');
            }
        }
    }
    joined.lines().flat_map(quoted).collect()
}

/// The commands in a help text: lines that begin with one, perhaps numbered.
fn in_help(text: &str) -> Vec<String> {
    let unnumbered = |line: &str| line.trim().trim_start_matches(|c: char| c.is_ascii_digit() || ". ".contains(c)).to_owned();
    text.lines().map(unnumbered).filter(|line| line.starts_with("holdfast ")).collect()
}

fn refusal(command: &str, prose: bool) -> Option<String> {
    match Args::try_parse_from(words(command)) {
        Ok(_) => None,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => None,
        // Prose may name a command without saying it whole.
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument && prose => None,
        Err(error) => Some(format!("`{command}`: {}", error.to_string().lines().next().unwrap_or_default())),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files(&entry, extension));
        } else if entry.extension().is_some_and(|is| is == extension) {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// Checks every command of these texts; says how many there were.
fn check(texts: impl IntoIterator<Item = (String, Vec<String>)>, prose: bool) -> usize {
    let mut count = 0;
    let mut refused = Vec::new();
    for (place, commands) in texts {
        count += commands.len();
        refused.extend(commands.iter().filter_map(|command| Some(format!("{place}: {}", refusal(command, prose)?))));
    }
    assert!(refused.is_empty(), "commands that do not exist:\n{}", refused.join("\n"));
    count
}

#[test]
fn every_command_in_the_documents_exists() {
    let documents = files(&root().join("docs/runbooks"), "md");
    let prose =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "infra/README.md", "docs/glossary.md"].map(|file| root().join(file));
    let read = |file: &PathBuf| (file.display().to_string(), in_markdown(&std::fs::read_to_string(file).unwrap()));
    let count = check(documents.iter().map(read), false) + check(prose.iter().map(read), true);
    assert!(count > 80, "only {count} commands were found: are the documents still read right?");
}

#[test]
fn a_runbook_is_one_page_and_leads_to_pages_that_are_there() {
    let folder = root().join("docs/runbooks");
    let index = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let mut missing = Vec::new();
    for file in files(&folder, "md") {
        let (text, name) = (std::fs::read_to_string(&file).unwrap(), file.file_name().unwrap().display().to_string());
        assert!(text.lines().count() <= 60, "{name} is longer than a page");
        assert!(name == "README.md" || index.contains(&format!("({name})")), "docs/runbooks/README.md does not list {name}");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        missing.extend(links.filter(|link| !folder.join(link).exists()).map(|link| format!("{name} leads to {link}")));
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_exit_statuses_are_told_alike_in_the_readme_and_in_the_help() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for status in 0..=6 {
        assert!(readme.contains(&format!("\n| {status} | ")) && help::COMMAND.contains(&format!("\n  {status}  ")), "{status}");
    }
}

#[test]
fn every_command_in_a_help_text_exists() {
    let texts = [help::COMMAND, help::RESTORE, help::VAULT, help::HOLD, help::AUDIT];
    let count = check(texts.map(|text| ("--help".to_owned(), in_help(text))), false);
    assert!(count > 20, "only {count} commands were found");
}

#[test]
fn every_command_in_an_error_or_alert_exists() {
    let rooms = ["functions", "shared", "cli/src"].map(|room| files(&root().join(room), "rs")).concat();
    let sources = rooms.iter().filter(|file| !file.ends_with("cli/src/documents.rs"));
    let count = check(sources.map(|file| (file.display().to_string(), in_source(&std::fs::read_to_string(file).unwrap()))), true);
    assert!(count > 20, "only {count} commands were found");
}

#[test]
fn a_command_is_found_where_it_stands_and_a_wrong_one_is_told() {
    let found = in_markdown(
        "see `holdfast status`.\n\n    holdfast points --tenant acme   # his\n```\nholdfast tenants\n```\nholdfast is a word",
    );
    assert_eq!(found, ["holdfast status", "holdfast points --tenant acme   # his", "holdfast tenants"]);
    assert_eq!(in_source("// `holdfast not this`\nx(\"see `holdfast vault \\\n    ls`\")"), ["holdfast vault ls"]);
    assert_eq!(words("holdfast audit --act \"a b\" | jq"), ["holdfast", "audit", "--act", "a b"]);
    assert_eq!(refusal("holdfast restore preview rq_…", false), None);
    assert_eq!(refusal("holdfast restore preview", true), None);
    for wrong in ["holdfast restore preview", "holdfast stats", "holdfast points --tennant acme", "holdfast run"] {
        assert!(refusal(wrong, false).is_some(), "{wrong}");
    }
}
