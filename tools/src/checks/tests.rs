use super::*;

fn findings(path: &str, text: &str) -> Vec<String> {
    let mut out = Vec::new();
    check_file(path, text, &mut out);
    out
}

#[test]
fn each_rule_finds_what_it_is_for() {
    let long_function = format!("//! x\nfn f() {{\n{}}}\n", "    a();\n".repeat(70));
    let long_line = format!("//! x\n{}\n", "a".repeat(101));
    let long_file = format!("//! x\n{}", "a\n".repeat(600));
    let mark = format!("//! x\n// {}\n", marks()[0]);
    for (text, rule) in [
        ("fn f() {}\n", "opens with"),
        (&long_function, "72 lines"),
        (&long_line, "characters"),
        (&long_file, "601 lines"),
        (&mark, "does not land"),
        ("//! x\nfn f() { unsafe { g() } }\n", "unsafe stands only"),
    ] {
        let found = findings("engine/src/x.rs", text);
        assert_eq!(found.len(), 1, "{rule}: {found:?}");
        assert!(found[0].contains(rule), "{found:?}");
    }
    assert!(findings("engine/src/x.rs", "//! x\nfn f() {\n    a();\n}\n").is_empty());
}

#[test]
fn arrows_point_one_way() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("engine")).unwrap();
    let manifest = "[dependencies]\nreplication.workspace = true\n";
    std::fs::write(root.path().join("engine/Cargo.toml"), manifest).unwrap();
    let mut out = Vec::new();
    check_arrows(root.path(), "engine", &[], &mut out).unwrap();
    assert_eq!(out.len(), 1);
}
