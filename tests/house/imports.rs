//! Which files of a crate use which others, from the paths in them that begin with `crate::`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use crate::files;
use crate::product_text;

/// The files of a crate and what each uses.
pub(crate) struct Imports {
    source: PathBuf,
    uses: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
}

impl Imports {
    /// Reads the crate whose sources stand in `source`. Tests are left out.
    pub(crate) fn of(source: &Path) -> Self {
        let mut all = Vec::new();
        files(source, &mut all);
        let mut imports = Self { source: source.to_owned(), uses: BTreeMap::new() };
        for file in all {
            let text = product_text(&file);
            let used = paths(&text).iter().map(|path| imports.file_of(path)).filter(|used| *used != file).collect();
            imports.uses.insert(file, used);
        }
        imports
    }

    /// How many files use another.
    pub(crate) fn count(&self) -> usize {
        self.uses.values().map(BTreeSet::len).sum()
    }

    /// Each circle: the files of which every one uses every other, by itself or through others.
    pub(crate) fn circles(&self) -> Vec<Vec<&Path>> {
        let reached: BTreeMap<&Path, BTreeSet<&Path>> = self.uses.keys().map(|file| (file.as_path(), self.reached(file))).collect();
        let mut circles: Vec<Vec<&Path>> = Vec::new();
        for (file, behind) in reached.iter().filter(|(file, behind)| behind.contains(*file)) {
            if circles.iter().all(|circle| !circle.contains(file)) {
                circles.push(behind.iter().copied().filter(|other| reached.get(other).is_some_and(|back| back.contains(file))).collect());
            }
        }
        circles
    }

    fn reached<'a>(&'a self, from: &'a Path) -> BTreeSet<&'a Path> {
        let (mut found, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            for used in self.uses.get(file).into_iter().flatten() {
                if found.insert(used.as_path()) {
                    open.push(used);
                }
            }
        }
        found
    }

    /// The file that holds what the path names: through the names that a module hands on from its own files.
    fn file_of(&self, path: &[String]) -> PathBuf {
        let mut folder = self.source.clone();
        let mut file = folder.join("lib.rs");
        for name in path {
            let below = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
            let Some(found) = below.into_iter().find(|candidate| candidate.is_file()) else {
                return handed_on(&file, &folder, name).unwrap_or(file);
            };
            file = found;
            folder = folder.join(name);
        }
        file
    }
}

/// The file of a module's own from which it hands `name` on.
fn handed_on(file: &Path, folder: &Path, name: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string(file).expect("a source");
    let path = text.split(';').map(str::trim).filter(|item| item.starts_with("pub")).find_map(|item| {
        let (_, path) = item.split_once(" use ").or_else(|| item.split_once("use "))?;
        let (child, names) = path.split_once("::")?;
        let words = names.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.into_iter().any(|word| word == name).then(|| child.to_owned())
    })?;
    let below = [folder.join(format!("{path}.rs")), folder.join(&path).join("mod.rs")];
    below.into_iter().find(|candidate| candidate.is_file())
}

/// The paths behind `crate::` in a text, without what follows a brace.
fn paths(text: &str) -> Vec<Vec<String>> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    text.split("crate::")
        .skip(1)
        .map(|rest| {
            let mut path = Vec::new();
            let mut rest = rest;
            loop {
                let next = name(rest);
                let Some(behind) = rest.strip_prefix(next.as_str()) else { break path };
                path.push(next);
                let Some(behind) = behind.strip_prefix("::") else { break path };
                rest = behind;
            }
        })
        .collect()
}
