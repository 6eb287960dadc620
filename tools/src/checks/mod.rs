//! The tidy checks: what a compiler does not see. Each finding names file and line and the rule.
//!
//! What was over a bound when the rule came stands in [`OVER_LENGTH`]; it may only shrink.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 100;

/// Functions longer than the bound, by file and name, with the length they have.
const OVER_LENGTH: &[(&str, &str, usize)] = &[("server/src/runtime/threads.rs", "start", 78)];

/// Files that may use `unsafe`; each says why.
const UNSAFE_FILES: &[&str] = &[
    "engine/src/keyspace/entry.rs",
    "engine/src/table/prefetch.rs",
    "engine/src/value/compact.rs",
    "engine/src/value/hash.rs",
    "engine/src/value/set.rs",
    "engine/src/value/thin.rs",
    "engine/src/value/zset/member.rs",
    "engine/tests/allocator/mod.rs",
    "server/src/glue.rs",
    "server/src/memory.rs",
    "tests/src/harness/server.rs",
];
const UNSAFE_FOLDERS: &[&str] = &["server/src/runtime/", "benches/"];

/// Crates of this workspace that a crate may know.
const ARROWS: &[(&str, &[&str])] =
    &[("engine", &[]), ("replication", &[]), ("server", &["engine", "replication"])];

/// Runs every check below `root`, the repository.
pub fn run(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (krate, allowed) in ARROWS {
        check_arrows(root, krate, allowed, &mut findings)?;
    }
    for path in rust_files(root)? {
        let text = std::fs::read_to_string(root.join(&path))
            .with_context(|| format!("reading {}", path.display()))?;
        check_file(&path.to_string_lossy(), &text, &mut findings);
    }
    Ok(findings)
}

fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["engine", "server", "replication", "tools", "benches", "tests"].map(PathBuf::from).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn check_arrows(root: &Path, krate: &str, allowed: &[&str], out: &mut Vec<String>) -> Result<()> {
    let manifest = std::fs::read_to_string(root.join(krate).join("Cargo.toml"))?;
    let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    for other in ["engine", "replication", "server", "tools", "benches", "tests"] {
        if dependencies.contains(&format!("\n{other}.workspace")) && !allowed.contains(&other) {
            out.push(format!("{krate}/Cargo.toml: {krate} must not depend on {other}"));
        }
    }
    Ok(())
}

/// Marks of unfinished work; spelt apart so that this file does not find itself.
fn marks() -> [String; 5] {
    [("TO", "DO"), ("FIX", "ME"), ("dbg", "!("), ("todo", "!("), ("#[ig", "nore")]
        .map(|(a, b)| format!("{a}{b}"))
}

fn check_file(path: &str, text: &str, out: &mut Vec<String>) {
    let lines: Vec<&str> = text.lines().collect();
    let is_test = path.contains("tests");
    if !text.starts_with("//!") && !is_test {
        out.push(format!("{path}:1: a file opens with //! and says what it is"));
    }
    // The command table's rows are data.
    let is_table = path.contains("command/table/");
    if lines.len() > FILE_LINES_MAX && !is_test && !is_table {
        out.push(format!("{path}: {} lines, more than {FILE_LINES_MAX}", lines.len()));
    }
    for (number, line) in lines.iter().enumerate() {
        // So is an expected reply.
        let data = is_table || is_test && line.contains('"');
        if line.chars().count() > LINE_CHARS_MAX && !data {
            out.push(format!("{path}:{}: longer than {LINE_CHARS_MAX} characters", number + 1));
        }
        if let Some(mark) = marks().iter().find(|mark| line.contains(mark.as_str())) {
            out.push(format!("{path}:{}: {mark} does not land", number + 1));
        }
    }
    check_unsafe(path, text, out);
    if !is_test {
        check_functions(path, &lines, out);
    }
}

fn check_unsafe(path: &str, text: &str, out: &mut Vec<String>) {
    let used = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait"]
        .iter()
        .any(|form| text.lines().any(|l| !l.trim_start().starts_with("//") && l.contains(form)));
    if !used || path.starts_with("tools/src/checks/") {
        return;
    }
    let listed = UNSAFE_FILES.contains(&path)
        || UNSAFE_FOLDERS.iter().any(|folder| path.starts_with(folder));
    if !listed {
        out.push(format!("{path}: unsafe stands only in the files that the checks list"));
    }
}

/// A function's length, from its `fn` to the closing brace at the same indentation.
fn check_functions(path: &str, lines: &[&str], out: &mut Vec<String>) {
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let Some(name) = function_name(trimmed).filter(|_| !trimmed.ends_with(';')) else {
            continue;
        };
        let end = lines[start..].iter().position(|l| {
            let t = l.trim_start();
            l.len() - t.len() == indent && (t == "}" || t.ends_with("}") && l == line)
        });
        let length = end.map_or(0, |end| end + 1);
        let allowed = OVER_LENGTH
            .iter()
            .find(|(file, function, _)| *file == path && *function == name)
            .map_or(FUNCTION_LINES_MAX, |(_, _, length)| *length);
        if length > allowed {
            out.push(format!(
                "{path}:{}: {name} has {length} lines, more than {allowed}",
                start + 1
            ));
        }
    }
}

fn function_name(line: &str) -> Option<&str> {
    let rest = ["pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix))
        .unwrap_or(line);
    let rest = rest.strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

#[cfg(test)]
mod tests;
