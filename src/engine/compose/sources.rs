//! The YAML files of a stack, read before compose reads them: what they fetch, and who reads `.env` as its own.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use saphyr::LoadableYamlNode as _;
use saphyr::Yaml;

use crate::engine::compose::dotenv::expand;
use crate::engine::compose::replace;
use crate::engine::error::EngineError;

/// More files than this are no stack that a person wrote.
const MOST_FILES: usize = 200;

/// What the YAML files of a stack say that compose's own output does not show.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Files that services read as `env_file` or `label_file`; absolute.
    pub(super) env_files: BTreeSet<PathBuf>,
    /// Every text in them that mentions a variable.
    pub(super) templates: Vec<String>,
    /// The files of variables that an `include` brings along, whether they are there or not; absolute.
    dotenvs: BTreeSet<PathBuf>,
    /// Whether the name of one of these files is computed, so that compose may mean another one.
    pub(super) is_computed: bool,
    read: BTreeSet<(PathBuf, PathBuf)>,
}

impl Sources {
    /// Reads `files` and every local file that they include or extend. `values` are the variables that their paths may use.
    ///
    /// # Errors
    /// When one of them would fetch something remote, cannot be read, or is no YAML.
    pub(super) fn read(files: &[PathBuf], dir: &Path, values: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        let mut sources = Self::default();
        for file in files {
            sources.file(file, dir, values)?;
        }
        Ok(sources)
    }

    /// Every file that compose reads of the stack, besides `.env`, whether it is there or not.
    pub(super) fn files(&self) -> BTreeSet<&Path> {
        let others = self.env_files.iter().chain(&self.dotenvs).map(PathBuf::as_path);
        self.read.iter().map(|(file, _)| file.as_path()).chain(others).collect()
    }

    /// A file outside `dir` that compose would read and nobody has named in the configuration, whose files are `named`; none: there is
    /// none. What compose reads stands in what it says of the stack, so a repository must not choose it on the host.
    pub(super) fn elsewhere(&self, dir: &Path, named: &[PathBuf]) -> Option<PathBuf> {
        let named: BTreeSet<PathBuf> = named.iter().map(|file| without_dots(&dir.join(file))).collect();
        let dir = without_dots(dir);
        self.files().into_iter().map(without_dots).find(|file| !file.starts_with(&dir) && !named.contains(file))
    }

    fn file(&mut self, file: &Path, dir: &Path, values: &BTreeMap<String, String>) -> Result<(), EngineError> {
        if !self.read.insert((file.to_path_buf(), dir.to_path_buf())) {
            return Ok(());
        }
        if self.read.len() > MOST_FILES {
            return Err(EngineError::Stack(format!("the stack in {} includes more than {MOST_FILES} files", dir.display())));
        }
        let missing = || EngineError::Stack(format!("the stack names the file {}, which does not exist", file.display()));
        let bytes = replace::read(file)?.ok_or_else(missing)?;
        let text = String::from_utf8_lossy(&bytes);
        let documents = Yaml::load_from_str(text.strip_prefix('\u{feff}').unwrap_or(&text))
            .map_err(|error| EngineError::Stack(format!("{} is not valid YAML: {error}", file.display())))?;
        let found = Reader { file, dir, values };
        for document in &documents {
            self.templates(document);
            self.is_computed |= document.as_mapping_get("include").is_some_and(is_template);
            self.dotenvs.extend(found.dotenvs(document));
            for (path, base) in found.included(document)? {
                self.dotenvs.extend([base.as_path(), path.parent().unwrap_or(dir)].map(|folder| folder.join(".env")));
                self.file(&path, &base, values)?;
            }
            self.services(&found, document)?;
        }
        Ok(())
    }

    /// `extends` and `env_file` may stand in a service or in a fragment that an anchor copies into one: all mappings are read.
    fn services(&mut self, reader: &Reader<'_>, node: &Yaml<'_>) -> Result<(), EngineError> {
        let node = untagged(node);
        for item in node.as_sequence().into_iter().flatten() {
            self.services(reader, item)?;
        }
        for (key, value) in node.as_mapping().into_iter().flatten() {
            match key.as_str() {
                Some("include") if untagged(value).is_sequence() => {}
                Some("extends") => {
                    if let Some(base) = untagged(value).as_mapping_get("file").and_then(Yaml::as_str) {
                        self.is_computed |= base.contains('$');
                        let path = reader.local("extends", base, reader.dir)?;
                        // Relative paths in a file that is extended are meant from its own folder.
                        let folder = path.parent().unwrap_or(reader.dir).to_path_buf();
                        if path.is_file() {
                            self.file(&path, &folder, reader.values)?;
                        }
                    }
                }
                Some("env_file" | "label_file") => {
                    self.is_computed |= is_template(value);
                    self.env_files.extend(paths(value).iter().map(|path| reader.dir.join(expand(path, reader.values))));
                }
                _ => self.services(reader, value)?,
            }
        }
        Ok(())
    }

    fn templates(&mut self, node: &Yaml<'_>) {
        let node = untagged(node);
        if let Some(text) = node.as_str().filter(|text| text.contains('$')) {
            self.templates.push(text.to_owned());
        }
        node.as_sequence().into_iter().flatten().for_each(|item| self.templates(item));
        for (key, value) in node.as_mapping().into_iter().flatten() {
            self.templates(key);
            self.templates(value);
        }
    }
}

/// `path` without `.` and `..`, as compose takes them: by the words of the path, not by what is there.
fn without_dots(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut so_far, part| {
        match part {
            Component::ParentDir => drop(so_far.pop()),
            Component::CurDir => {}
            other => so_far.push(other),
        }
        so_far
    })
}

struct Reader<'a> {
    file: &'a Path,
    dir: &'a Path,
    values: &'a BTreeMap<String, String>,
}

impl Reader<'_> {
    /// The files of the top-level `include`, each with the folder its relative paths are meant from.
    fn included(&self, document: &Yaml<'_>) -> Result<Vec<(PathBuf, PathBuf)>, EngineError> {
        let mut included = Vec::new();
        let entries = document.as_mapping_get("include").map(untagged).and_then(|include| include.as_sequence());
        for entry in entries.into_iter().flatten().map(untagged) {
            let written = match entry.as_mapping_get("path") {
                Some(path) => paths(path),
                None => paths(entry),
            };
            let project = entry.as_mapping_get("project_directory").and_then(Yaml::as_str);
            let mut base = project.map(|project| self.local("include", project, self.dir)).transpose()?;
            for path in written {
                let path = self.local("include", &path, self.dir)?;
                let base = base.get_or_insert_with(|| path.parent().unwrap_or(self.dir).to_path_buf());
                included.push((path, base.clone()));
            }
        }
        Ok(included)
    }

    /// `written` as a path on this host.
    /// The `env_file` of the entries of `include`. From which folder they are meant depends on their entry: each is given from both.
    fn dotenvs(&self, document: &Yaml<'_>) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let entries = document.as_mapping_get("include").map(untagged).and_then(|include| include.as_sequence());
        for entry in entries.into_iter().flatten().map(untagged) {
            let base =
                entry.as_mapping_get("project_directory").and_then(Yaml::as_str).map(|base| self.dir.join(expand(base, self.values)));
            for path in entry.as_mapping_get("env_file").map(paths).unwrap_or_default() {
                let path = expand(&path, self.values);
                files.extend(base.iter().map(|base| base.join(&path)));
                files.push(self.dir.join(path));
            }
        }
        files
    }

    fn local(&self, what: &str, written: &str, dir: &Path) -> Result<PathBuf, EngineError> {
        let path = expand(written, self.values);
        if is_remote(&path) || is_remote(written) {
            return Err(EngineError::Stack(format!(
                "{} would fetch the remote file {written} ({what}), which tagalong does not allow: copy that file to this host and use \
                the copy",
                self.file.display()
            )));
        }
        Ok(dir.join(path))
    }
}

fn untagged<'a, 'y>(node: &'a Yaml<'y>) -> &'a Yaml<'y> {
    match node {
        Yaml::Tagged(_, inner) => untagged(inner),
        node => node,
    }
}

/// Whether a text in it mentions a variable.
fn is_template(node: &Yaml<'_>) -> bool {
    let node = untagged(node);
    node.as_str().is_some_and(|text| text.contains('$'))
        || node.as_sequence().into_iter().flatten().any(is_template)
        || node.as_mapping().into_iter().flatten().any(|(_, value)| is_template(value))
}

/// A path, several, or mappings with `path`.
fn paths(node: &Yaml<'_>) -> Vec<String> {
    let node = untagged(node);
    if let Some(path) = node.as_str() {
        return vec![path.to_owned()];
    }
    if let Some(path) = node.as_mapping_get("path") {
        return paths(path);
    }
    node.as_sequence().into_iter().flatten().flat_map(paths).collect()
}

/// Whether compose would fetch `path` rather than open it: a URL, an OCI artifact, a git repository in any of its spellings.
pub(super) fn is_remote(path: &str) -> bool {
    let path = path.trim();
    if path.starts_with(['/', '.']) {
        return false;
    }
    let scheme =
        path.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte)));
    let scp = path.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    let repository = path.split(['#', '?']).next().is_some_and(|path| path.to_ascii_lowercase().ends_with(".git"));
    scheme || scp || repository || path.starts_with("github.com/") || path.starts_with("git@")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::engine::compose::sources::Sources;
    use crate::engine::compose::sources::is_remote;

    #[test]
    fn what_would_be_fetched_is_known_by_its_spelling() {
        let remote = "https://example.com/compose.yml http://x/y oci://ghcr.io/acme/stack:1 git://x/y ssh://git@x/y \
        git@github.com:acme/stack \
                      git@github.com:acme/stack.git#main:deploy github.com/acme/stack acme.git acme/stack.git#main git+ssh://x/y deploy@host:stack";
        remote.split_whitespace().for_each(|path| assert!(is_remote(path), "{path}"));
        let local = "compose.yml ./stack.git/compose.yml ../x.git /srv/x.git common/base.yaml ${DIR}/compose.yml a:b github/compose.yml";
        local.split_whitespace().for_each(|path| assert!(!is_remote(path), "{path}"));
    }

    fn read(files: &[(&str, &str)]) -> Result<Sources, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let values = BTreeMap::from([("REMOTE".to_owned(), "https://example.com/a.git".to_owned())]);
        let mut sources = Sources::read(&[dir.path().join("compose.yaml")], dir.path(), &values).map_err(|error| error.to_string())?;
        sources.env_files = sources.env_files.iter().map(|path| path.strip_prefix(dir.path()).unwrap_or(path).to_path_buf()).collect();
        Ok(sources)
    }

    #[test]
    fn remote_files_are_found_however_deep() {
        for yaml in [
            "include: ['https://example.com/stack.git']",
            "include: [{path: [a.yaml, 'oci://ghcr.io/acme/x']}]",
            "include: ['${REMOTE}']",
            "include: [sub/b.yaml]",
            "services: {web: {extends: {service: x, file: 'git@github.com:acme/x.git'}}}",
            "x-base: &base {extends: {service: x, file: github.com/acme/x}}\nservices: {web: {<<: *base}}",
            "services: {web: {extends: {service: x, file: sub/b.yaml}}}",
        ] {
            let sub = "include: ['https://example.com/x.git']\nservices: {x: {extends: {file: 'https://example.com/x.git', service: y}}}";
            let said = read(&[("compose.yaml", yaml), ("a.yaml", "services: {}"), ("sub/b.yaml", sub)]).unwrap_err();
            assert!(said.contains("which tagalong does not allow"), "{yaml}: {said}");
        }
    }

    #[test]
    fn files_of_services_are_found_through_anchors_includes_and_extends() {
        let main = "x-a: &a {env_file: .env}\ninclude: [{path: sub/b.yaml, env_file: not-a-service.env}]\nservices:\n  web: {<<: *a}\n  \
                    db: {env_file: [{path: db.env, required: false}, other.env]}\n  c: {extends: {file: sub/c.yaml, service: c}}";
        let files = [
            ("compose.yaml", main),
            ("sub/b.yaml", "services: {b: {env_file: ../.env}}"),
            ("sub/c.yaml", "services: {c: {label_file: l}}"),
        ];
        let found: Vec<String> = read(&files).unwrap().env_files.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(found, [".env", "db.env", "other.env", "sub/../.env", "sub/l"]);
    }

    #[test]
    fn laughs_and_loops_end() {
        let laughs = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                      d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                      g: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
        assert!(read(&[("compose.yaml", laughs)]).unwrap_err().contains("not valid YAML"));
        assert!(read(&[("compose.yaml", "include: [compose.yaml]\nservices: {}")]).is_ok());
        assert!(read(&[("compose.yaml", "include: [gone.yaml]\nservices: {}")]).unwrap_err().contains("gone.yaml, which does not exist"));
    }
}
