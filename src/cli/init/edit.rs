//! Edits of compose files, where they are asked for: one line each, and nothing else.

use std::path::Path;

use anyhow::Context as _;
use process::Cancel;

use crate::cli::init::files::Wanted;
use crate::cli::init::stack::Edit;
use crate::engine::Compose;
use crate::engine::Daemon;
use crate::engine::Survey;

/// Writes the edits into the files of the stack in `dir`, which was `before`; afterwards compose reads the same services and images, and
/// the edited ones have a variable. Gives the stack as it is then.
///
/// # Errors
/// When a line cannot be found, or compose makes something else of the file; then the files are as they were.
pub(super) async fn carry_out(edits: &[Edit], before: &Survey, daemon: &Daemon, dir: &Path) -> anyhow::Result<Survey> {
    let mut originals: Vec<Wanted> = Vec::new();
    for edit in edits {
        let text = std::fs::read_to_string(&edit.file).with_context(|| format!("{} cannot be read", edit.file.display()))?;
        let Some(changed) = edited(&text, edit) else {
            put_back(&originals)?;
            anyhow::bail!("The line is not found in exactly one form, so do it by hand: {}", edit.words());
        };
        let wanted = |text: String| Wanted { path: edit.file.clone(), text, mode: 0o644, may_replace: true };
        if !originals.iter().any(|known| known.path == edit.file) {
            originals.push(wanted(text));
        }
        wanted(changed).write()?;
    }
    let after = Compose::survey(daemon, dir, &Cancel::default()).await;
    match after {
        Ok(after) if is_as_meant(edits, before, &after) => Ok(after),
        other => {
            put_back(&originals)?;
            let why = other.err().map_or_else(|| "compose makes something else of it".to_owned(), |error| error.to_string());
            anyhow::bail!(
                "The compose files are as they were, because they would not work after the edit: {why}. Edit them by hand: {}",
                edits[0].words()
            )
        }
    }
}

fn put_back(originals: &[Wanted]) -> anyhow::Result<()> {
    originals.iter().try_for_each(|original| original.write().map(drop))
}

/// Whether nothing but the edited images has changed, and each of them has its variable.
fn is_as_meant(edits: &[Edit], before: &Survey, after: &Survey) -> bool {
    let is_edited = |name: &str| edits.iter().any(|edit| edit.service == name);
    let unchanged = before.services.iter().zip(&after.services).all(|(one, other)| {
        let same_image = one.repository == other.repository || (one.repository.is_none() && is_edited(&one.name));
        one.name == other.name && one.build == other.build && same_image
    });
    let holds = |edit: &Edit| {
        let service = after.services.iter().find(|service| service.name == edit.service);
        service.and_then(|service| service.written.as_ref()).is_some_and(|written| written.image == edit.to)
    };
    before.services.len() == after.services.len() && unchanged && edits.iter().all(holds)
}

/// `text` with the edit; none where its place is not clear.
fn edited(text: &str, edit: &Edit) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if let Some(from) = &edit.from {
        let mut found = 0;
        for line in &mut lines {
            if let Some(changed) = with_image(line, from, &edit.to) {
                *line = changed;
                found += 1;
            }
        }
        return (found > 0).then(|| lines.concat());
    }
    let is_head = |line: &String| {
        let name = line.trim_start();
        name.len() < line.len() && name.strip_prefix(edit.service.as_str()).is_some_and(|rest| rest.trim_end() == ":")
    };
    let mut heads = lines.iter().enumerate().filter(|(_, line)| is_head(line)).map(|(at, _)| at);
    let (Some(head), None) = (heads.next(), heads.next()) else { return None };
    let indent = |line: &str| line.len() - line.trim_start().len();
    let next = lines.get(head + 1).filter(|next| indent(next) > indent(&lines[head]) && !next.trim().is_empty())?;
    let line = format!("{}{}\n", &next[..indent(next)], edit.line());
    lines.insert(head + 1, line);
    Some(lines.concat())
}

/// The line `image: FROM`, quoted or not and with what stands behind it, with another image; none: it is another line.
fn with_image(line: &str, from: &str, to: &str) -> Option<String> {
    let (before, rest) = line.split_once("image:").filter(|(before, _)| before.chars().all(|c| c.is_whitespace() || c == '-'))?;
    let gap = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let (gap, value) = rest.split_at(gap);
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'')).map_or(String::new(), |quote| quote.to_string());
    let behind = value.strip_prefix(&quote)?.strip_prefix(from)?.strip_prefix(&quote)?;
    let is_end = behind.is_empty() || behind.starts_with(['\r', '\n', ' ', '\t']);
    (is_end && !gap.is_empty()).then(|| format!("{before}image:{gap}{quote}{to}{quote}{behind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(text: &str, from: Option<&str>) -> Option<String> {
        let from = from.map(str::to_owned);
        edited(text, &Edit { file: "compose.yml".into(), service: "web".into(), from, to: "acme/web:${WEB_TAG:-1}".into() })
    }

    #[test]
    fn one_line_changes_and_no_other() {
        let text = "services:\r\n  web:\r\n    image:  \"acme/web:1\" # ours\r\n  db:\r\n    image: acme/web:12\r\n";
        let changed = edit(text, Some("acme/web:1")).unwrap();
        assert_eq!(changed, text.replace("\"acme/web:1\"", "\"acme/web:${WEB_TAG:-1}\""));
        assert_eq!(edit("services: {web: {image: acme/web:1}}\n", Some("acme/web:1")), None);
        assert_eq!(edit("x-image: acme/web:1\n", Some("acme/web:1")), None);
    }

    #[test]
    fn a_service_that_is_only_built_gets_a_name_for_its_image() {
        let text = "services:\n  web:\n    build: .\n    ports: [\"80:80\"]\n  web-2:\n    build: .\n";
        let changed = edit(text, None).unwrap();
        assert_eq!(changed, text.replace("  web:\n", "  web:\n    image: acme/web:${WEB_TAG:-1}\n"));
        for unclear in ["services: {web: {build: .}}\n", "services:\n  web:\n    build: .\nx-all:\n  web:\n    a: b\n", "web:\nx: 1\n"] {
            assert_eq!(edit(unclear, None), None, "{unclear}");
        }
    }
}
