//! What a native webhook can be about, and the tag that a rule makes of it.

use crate::model::image::Tag;

/// What a rule of the configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookEvent {
    /// A branch was pushed.
    Push,
    /// A tag was pushed.
    Tag,
    /// A release was published.
    Release,
    /// An image was published to the registry of the forge.
    Package,
    /// A workflow run has succeeded.
    WorkflowRun,
    /// A deployment was created at the forge.
    Deployment,
    /// Somebody called the forge to tell us.
    RepositoryDispatch,
}

/// What stands in the place of a word in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagWord {
    /// The whole name of the commit.
    Sha,
    /// Its first seven digits.
    ShortSha,
    /// The branch, with `-` for each `/`.
    Branch,
    /// The tag.
    Tag,
    /// The tag without a `v` before its first digit.
    Version,
    /// The number of the workflow run.
    RunNumber,
}

impl HookEvent {
    /// Every event.
    pub const ALL: [Self; 7] =
        [Self::Push, Self::Tag, Self::Release, Self::Package, Self::WorkflowRun, Self::Deployment, Self::RepositoryDispatch];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Tag => "tag",
            Self::Release => "release",
            Self::Package => "package",
            Self::WorkflowRun => "workflow_run",
            Self::Deployment => "deployment",
            Self::RepositoryDispatch => "repository_dispatch",
        }
    }

    /// What of it a tag can be made of.
    #[must_use]
    pub fn words(self) -> &'static [TagWord] {
        match self {
            Self::Push => &[TagWord::Sha, TagWord::ShortSha, TagWord::Branch],
            Self::Tag => &[TagWord::Tag, TagWord::Version, TagWord::Sha, TagWord::ShortSha],
            Self::Release | Self::Package => &[TagWord::Tag, TagWord::Version],
            Self::WorkflowRun => &[TagWord::Sha, TagWord::ShortSha, TagWord::Branch, TagWord::RunNumber],
            Self::Deployment => &[TagWord::Sha, TagWord::ShortSha],
            Self::RepositoryDispatch => &[TagWord::Tag, TagWord::Version, TagWord::Sha, TagWord::ShortSha, TagWord::Branch],
        }
    }
}

impl std::fmt::Display for HookEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TagWord {
    const ALL: [Self; 6] = [Self::Sha, Self::ShortSha, Self::Branch, Self::Tag, Self::Version, Self::RunNumber];

    /// As it stands between braces.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha => "sha",
            Self::ShortSha => "short_sha",
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::Version => "version",
            Self::RunNumber => "run_number",
        }
    }
}

/// How the tag of an image is made of what a webhook says: `{sha}`, `v{version}`, `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplate(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Word(TagWord),
}

impl TagTemplate {
    /// Takes `given` as a template for `event`.
    ///
    /// # Errors
    /// When it has a word that the event does not have, or can never be a tag.
    pub fn parse(given: &str, event: HookEvent) -> Result<Self, String> {
        let quoted = given.escape_default();
        let known: Vec<String> = event.words().iter().map(|word| format!("{{{}}}", word.as_str())).collect();
        let mut pieces = Vec::new();
        let mut rest = given;
        while let Some((text, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or_else(|| format!("\"{quoted}\" has a {{ without a }} behind it."))?;
            let word = TagWord::ALL.into_iter().find(|word| word.as_str() == name && event.words().contains(word));
            let word = word.ok_or_else(|| {
                format!(
                    "{{{}}} is not known of the event {event}, so no tag can be made of it; it has {}.",
                    name.escape_default(),
                    known.join(", ")
                )
            })?;
            pieces.extend([Piece::Text(text.to_owned()), Piece::Word(word)]);
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        let template = Self(pieces);
        let sample = template.fill(|_| Some("0".to_owned()));
        sample.map_err(|error| format!("\"{quoted}\" can never be the tag of an image: {error}"))?;
        Ok(template)
    }

    /// The tag, where `value` says what stands in the place of each word.
    ///
    /// # Errors
    /// One sentence: a word has no value, or what comes of it is no tag.
    pub fn fill(&self, value: impl Fn(TagWord) -> Option<String>) -> Result<Tag, String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text += piece,
                Piece::Word(word) => {
                    text += &value(*word).ok_or_else(|| format!("The delivery does not say what {{{}}} is.", word.as_str()))?;
                }
            }
        }
        Tag::parse(&text).map_err(|error| error.to_string())
    }

    /// The tag of a template without words.
    #[must_use]
    pub fn fixed(&self) -> Option<Tag> {
        self.fill(|_| None).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::HookEvent;
    use super::TagTemplate;
    use super::TagWord;

    #[test]
    fn a_template_has_only_words_of_its_event_and_makes_only_tags() {
        let value = |word| match word {
            TagWord::Sha => Some("1f0c9e2".to_owned()),
            TagWord::Version => Some("1.2".to_owned()),
            TagWord::Branch => Some("a/b".to_owned()),
            _ => None,
        };
        let fill = |text: &str, event| TagTemplate::parse(text, event).expect("a template").fill(value).map(|tag| tag.to_string());
        assert_eq!(fill("sha-{sha}", HookEvent::Push).as_deref(), Ok("sha-1f0c9e2"));
        assert_eq!(fill("v{version}-arm", HookEvent::Release).as_deref(), Ok("v1.2-arm"));
        assert_eq!(fill("latest", HookEvent::Package).as_deref(), Ok("latest"));
        assert!(fill("{branch}", HookEvent::Push).is_err() && fill("{short_sha}", HookEvent::Push).is_err());
        for (bad, event) in [
            ("{sha}", HookEvent::Release),
            ("{tag}", HookEvent::Push),
            ("{ref}", HookEvent::Push),
            ("{sha", HookEvent::Push),
            ("", HookEvent::Push),
            ("a b", HookEvent::Push),
            ("sha}", HookEvent::Push),
            ("-{sha}", HookEvent::Push),
            ("{}", HookEvent::Push),
            ("{{sha}}", HookEvent::Push),
        ] {
            assert!(TagTemplate::parse(bad, event).is_err(), "{bad}");
        }
        assert_eq!(
            TagTemplate::parse("latest", HookEvent::Push).expect("one").fixed().map(|tag| tag.to_string()).as_deref(),
            Some("latest")
        );
    }
}
