//! The map in `src/lib.rs` is the truth: every module stands on one floor and uses only floors below its own. What the crates of the
//! workspace may use is said by their own Cargo.toml.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what is wrong by ending")]

mod imports;

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use imports::Imports;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Floor by module, from the table.
fn floors() -> BTreeMap<String, u32> {
    let map = std::fs::read_to_string(source().join("lib.rs")).expect("lib.rs");
    let mut floors = BTreeMap::new();
    for line in map.lines().filter_map(|line| line.strip_prefix("//! |")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Ok(floor) = cells[0].parse() else { continue };
        for module in cells[1].split_whitespace() {
            assert!(floors.insert(module.trim_matches('`').to_owned(), floor).is_none(), "{module} stands on two floors");
        }
    }
    floors
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else if entry.path().extension().is_some_and(|ending| ending == "rs") {
            found.push(entry.path());
        }
    }
}

/// The top module that a file belongs to.
fn module_of(file: &Path) -> String {
    let first = file.strip_prefix(source()).expect("below src").components().next().expect("a name");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

#[test]
fn modules_use_only_floors_below_their_own() {
    let floors = floors();
    let mut all = Vec::new();
    files(&source(), &mut all);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in all {
        let module = module_of(&file);
        if module == "lib" || module == "main" {
            continue;
        }
        let floor = floors.get(&module).unwrap_or_else(|| panic!("{module} is not on the map"));
        let text = std::fs::read_to_string(&file).expect("a source");
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let Some(below) = floors.get(&used).filter(|_| used != module) else { continue };
                seen += 1;
                if below >= floor {
                    wrong.push(format!("{}:{} uses {used}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 100, "only {seen} uses were found: the test reads the wrong thing");
}

#[test]
fn every_file_keeps_to_its_budget() {
    let mut all = Vec::new();
    files(&source(), &mut all);
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("crates"), &mut all);
    let too_long: Vec<String> = all
        .iter()
        .map(|file| {
            let text = std::fs::read_to_string(file).expect("a source");
            (file, without_tests(&text).len())
        })
        .filter(|(file, lines)| *lines > 400 && !file.components().any(|part| part.as_os_str() == "tests"))
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(too_long.is_empty(), "{too_long:#?}");
}

/// What of a source file is no comment and no test.
fn product_text(file: &Path) -> String {
    let text = std::fs::read_to_string(file).expect("a source");
    if file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs") {
        return String::new();
    }
    let product = without_tests(&text).into_iter().filter(|line| !line.trim_start().starts_with("//"));
    product.fold(String::new(), |all, line| all + line + "\n")
}

/// The lines of a source file but for the items below `#[cfg(test)]`, wherever these stand.
fn without_tests(text: &str) -> Vec<&str> {
    let mut kept = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[cfg(test)]") {
            // As rustfmt writes an item: it ends on its own line, or with a brace at the beginning of one.
            lines.by_ref().find(|line| line.starts_with('}') || (line.ends_with(';') && !line.starts_with([' ', '#'])));
        } else {
            kept.push(line);
        }
    }
    kept
}

#[test]
fn what_stands_behind_tests_is_read_too() {
    let text = "use a;\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;\n\npub use b;\n#[cfg(test)]\nmod more {\n    use c;\n}\nfn d() {}";
    assert_eq!(without_tests(text), ["use a;", "", "pub use b;", "fn d() {}"]);
}

#[test]
fn files_use_each_other_in_one_direction() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = std::fs::read_dir(root.join("crates")).expect("the crates").map(|entry| entry.expect("an entry").path().join("src"));
    let mut seen = 0;
    for source in crates.chain([root.join("src")]) {
        let imports = Imports::of(&source);
        seen += imports.count();
        assert!(imports.circles().is_empty(), "{}: {:#?}", source.display(), imports.circles());
    }
    assert!(seen > 1500, "only {seen} uses were found: the test reads the wrong thing");
}

/// A tuple on both sides of `=` says how many values there are and not what they have to do with each other.
#[test]
fn no_tuple_only_hides_how_many_values_there_are() {
    let mut all = Vec::new();
    files(&source(), &mut all);
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("crates"), &mut all);
    let pattern = regex::Regex::new(r"(?m)^ *(let )?\((mut )?[a-z_][\w.]*(, (mut )?[a-z_][\w.]*)+\) = \(").expect("a pattern");
    let found: Vec<String> = all
        .iter()
        .flat_map(|file| {
            let text = product_text(file);
            pattern.find_iter(&text).map(|found| format!("{}: {}", file.display(), found.as_str().trim())).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Who runs programs in the modules that carry a run out: the one place that asks for leave first, and those who only ask docker
/// something.
#[test]
fn only_the_engine_runs_programs_for_a_run() {
    let known = [
        "compose/containers.rs",
        "compose/events.rs",
        "compose/hook.rs",
        "compose/image.rs",
        "compose/runs.rs",
        "compose/stack.rs",
        "compose/waiting.rs",
    ];
    let pattern = regex::Regex::new(r"process::(run|run_with|follow|capture|capture_from|capture_bytes|start_apart)\b|process::\{")
        .expect("a pattern");
    let mut all = Vec::new();
    for module in ["engine", "landing", "executor", "orders"] {
        files(&source().join(module), &mut all);
    }
    let runs: Vec<String> = all
        .iter()
        .filter(|file| pattern.is_match(&product_text(file).replace("pub use process::{", "")))
        .map(|file| file.strip_prefix(source()).expect("below src").display().to_string())
        .collect();
    let mut all = Vec::new();
    files(&source(), &mut all);
    let alone: Vec<_> = all.iter().filter(|file| product_text(file).contains(".acting_alone(")).collect();
    assert!(alone.is_empty(), "only tests have a stack to themselves: {alone:?}");
    // Who dials a host by ssh acts on nothing: what the host takes over that line it does itself.
    let known = known.iter().map(|file| format!("engine/{file}")).chain(["executor/ssh.rs".to_owned()]);
    assert_eq!(runs.into_iter().collect::<std::collections::BTreeSet<_>>(), known.collect());
}

/// `docs/reliability.md` names tests as `FILE::NAME`.
#[test]
fn every_test_of_the_promises_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/reliability.md")).expect("the document");
    let pattern = regex::Regex::new(r"`([a-z_/]+\.rs)::([a-z_0-9]+)`").expect("a pattern");
    let mut promises = 0;
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case")) {
        let test = row.split('|').nth(3).expect("the column of tests");
        let named: Vec<_> = pattern.captures_iter(test).collect();
        assert!(!named.is_empty(), "nothing shows this: {row}");
        for one in named {
            let source = std::fs::read_to_string(root.join(&one[1])).unwrap_or_else(|error| panic!("{}: {error}", &one[1]));
            // A function, or a name that a macro makes tests of.
            let is_there = [format!("fn {}(", &one[2]), format!("    {}: &", &one[2]), format!("    {},", &one[2])];
            assert!(is_there.iter().any(|written| source.contains(written)), "there is no {} in {}", &one[2], &one[1]);
        }
        promises += 1;
    }
    assert!(promises > 10, "only {promises} rows were read");
}

/// The anchor that forges give to a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.trim().to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Links of the documents to files of this repository, and to headings in them.
#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = Vec::new();
    for folder in [root.to_owned(), root.join("docs")] {
        let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        documents.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    let link = regex::Regex::new(r"\]\(([^)\s:]+)\)").expect("a pattern");
    let mut seen = 0;
    for document in &documents {
        let text = std::fs::read_to_string(document).expect("a document");
        for found in link.captures_iter(&text) {
            let (file, heading) = found[1].split_once('#').unwrap_or((&found[1], ""));
            let target = if file.is_empty() { document.clone() } else { document.parent().expect("a folder").join(file) };
            assert!(target.exists(), "{}: {} is not there", document.display(), &found[1]);
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&target).expect("a document");
                let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#')));
                assert!(headings.into_iter().any(|one| one == heading), "{}: {} has no such heading", document.display(), &found[1]);
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} links were read");
}

/// The script of pages puts fresh parts in the place of those that a page has: one that is there only sometimes would never come.
#[test]
fn every_part_of_a_page_that_stays_fresh_is_always_there() {
    let templates = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("templates")).expect("the templates");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for template in templates.flatten().map(|entry| entry.path()) {
        let text = std::fs::read_to_string(&template).expect("a template");
        // How many conditions and loops are open.
        let mut depth = 0_i32;
        for (at, _) in text.match_indices(['{', 'd']) {
            let rest = &text[at..];
            if let Some(tag) = rest.strip_prefix("{%") {
                match tag.trim_start_matches(['-', ' ']).split_whitespace().next() {
                    Some("if" | "for" | "match") => depth += 1,
                    Some("endif" | "endfor" | "endmatch") => depth -= 1,
                    _ => {}
                }
            } else if rest.strip_prefix("data-fresh").is_some_and(|after| !after.starts_with('-')) {
                seen += 1;
                if depth > 0 {
                    wrong.push(format!("{}: {}", template.display(), rest.lines().next().unwrap_or_default()));
                }
            }
        }
        assert_eq!(depth, 0, "{}: what this test takes for conditions is something else", template.display());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 10, "only {seen} parts were found: the test reads the wrong thing");
}
