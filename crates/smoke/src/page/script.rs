//! What a module script imports: enough of JavaScript's tokens to tell an `import` from a string, a comment, a template or a
//! regular expression that looks like one.
//!
//! Where the text is not certain to be what it seems, nothing more is said of it: a browser runs no script that it cannot read.

use crate::page::escape::escape;

/// One module that a script imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    /// As the script names it, escapes resolved.
    pub(super) specifier: String,
    /// Line in the script, from 0.
    pub(super) line: u32,
}

/// The modules that `text` imports with `import` and `export … from`; `import()` comes later, if ever.
pub(super) fn imports(text: &str) -> Vec<Import> {
    let mut reader =
        Reader { rest: text.strip_prefix("#!").map_or(text, |line| line.trim_start_matches(|c| c != '\n')), ..Reader::default() };
    let mut found = Vec::new();
    match reader.statements(&mut found) {
        // A script that ends in the middle of something is not run.
        Ok(()) if !reader.open.is_empty() || matches!(reader.before, Before::Operator | Before::Dot) => Vec::new(),
        Ok(()) | Err(Stop::Unsure) => found,
        Err(Stop::Broken) => Vec::new(),
    }
}

/// Why reading ends before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// No browser reads it.
    Broken,
    /// A slash may begin a regular expression or divide.
    Unsure,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Lexeme<'t> {
    Word(&'t str),
    Text(String),
    Template,
    Regex,
    Mark(char),
}

/// What stands before a slash decides what the slash is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Before {
    /// A statement may begin here.
    #[default]
    Start,
    /// An operator, or a word such as `return`.
    Operator,
    /// Something with a value.
    Value,
    /// A brace that closes a block or an object.
    Brace,
    /// A dot: the word behind it is a name.
    Dot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Brace,
    Square,
    /// Whether it belongs to `if`, `for`, `while` or `with`, so that a statement follows.
    Round(bool),
    Template,
}

#[derive(Debug, Default)]
struct Reader<'t> {
    rest: &'t str,
    line: u32,
    before: Before,
    /// Whether the last word may own the parenthesis behind it.
    is_head: bool,
    /// Whether the last token stands on another line.
    is_new_line: bool,
    open: Vec<Open>,
}

impl<'t> Reader<'t> {
    fn statements(&mut self, found: &mut Vec<Import>) -> Result<(), Stop> {
        loop {
            let before = self.before;
            let Some(token) = self.lexeme()? else { return Ok(()) };
            let Lexeme::Word(word @ ("import" | "export")) = token else { continue };
            if before == Before::Dot || !self.open.is_empty() {
                continue;
            }
            let begins = matches!(before, Before::Start | Before::Brace) || self.is_new_line;
            match word {
                "import" => self.import(begins, found)?,
                _ => self.export(found)?,
            }
        }
    }

    /// Behind `import`: a name, a list of names, or `import()` and `import.meta`, which fetch nothing now.
    fn import(&mut self, begins: bool, found: &mut Vec<Import>) -> Result<(), Stop> {
        let first = self.lexeme()?.ok_or(Stop::Broken)?;
        match first {
            Lexeme::Mark('(' | '.') => return Ok(()),
            _ if !begins => return Err(Stop::Broken),
            Lexeme::Text(specifier) => {
                self.keep(specifier, found);
                return Ok(());
            }
            Lexeme::Mark('{') => self.names()?,
            Lexeme::Mark('*') => self.namespace()?,
            Lexeme::Word(_) => {}
            _ => return Err(Stop::Broken),
        }
        let mut next = self.lexeme()?.ok_or(Stop::Broken)?;
        if matches!(first, Lexeme::Word(_)) && next == Lexeme::Mark(',') {
            match self.lexeme()?.ok_or(Stop::Broken)? {
                Lexeme::Mark('{') => self.names()?,
                Lexeme::Mark('*') => self.namespace()?,
                _ => return Err(Stop::Broken),
            }
            next = self.lexeme()?.ok_or(Stop::Broken)?;
        }
        if next == Lexeme::Word("from") { self.source(found) } else { Err(Stop::Broken) }
    }

    /// Behind `export`: only `* from` and `{…} from` name another module.
    fn export(&mut self, found: &mut Vec<Import>) -> Result<(), Stop> {
        match self.lexeme()?.ok_or(Stop::Broken)? {
            Lexeme::Mark('*') => {
                let mut next = self.lexeme()?.ok_or(Stop::Broken)?;
                if next == Lexeme::Word("as") {
                    self.lexeme()?;
                    next = self.lexeme()?.ok_or(Stop::Broken)?;
                }
                if next == Lexeme::Word("from") { self.source(found) } else { Err(Stop::Broken) }
            }
            Lexeme::Mark('{') => {
                self.names()?;
                let here = self.rest;
                let line = self.line;
                let before = self.before;
                if self.lexeme()? == Some(Lexeme::Word("from")) {
                    return self.source(found);
                }
                // The list stands alone: what follows is a statement of its own.
                self.rest = here;
                self.line = line;
                self.before = before;
                self.open.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// `* as name`, behind the star.
    fn namespace(&mut self) -> Result<(), Stop> {
        let is_named = self.lexeme()? == Some(Lexeme::Word("as")) && matches!(self.lexeme()?, Some(Lexeme::Word(_)));
        if is_named { Ok(()) } else { Err(Stop::Broken) }
    }

    /// A list of names up to its brace.
    fn names(&mut self) -> Result<(), Stop> {
        loop {
            match self.lexeme()?.ok_or(Stop::Broken)? {
                Lexeme::Mark('}') => return Ok(()),
                Lexeme::Mark(',') | Lexeme::Word(_) | Lexeme::Text(_) => {}
                _ => return Err(Stop::Broken),
            }
        }
    }

    fn source(&mut self, found: &mut Vec<Import>) -> Result<(), Stop> {
        match self.lexeme()? {
            Some(Lexeme::Text(specifier)) => {
                self.keep(specifier, found);
                Ok(())
            }
            _ => Err(Stop::Broken),
        }
    }

    fn keep(&self, specifier: String, found: &mut Vec<Import>) {
        found.push(Import { specifier, line: self.line });
    }

    fn lexeme(&mut self) -> Result<Option<Lexeme<'t>>, Stop> {
        self.is_new_line = false;
        self.space()?;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let token = match first {
            '"' | '\'' => Lexeme::Text(self.text(first)?),
            '`' => {
                self.advance(1);
                self.template()?
            }
            '/' if self.is_regex()? => self.regex()?,
            c if is_of_word(c) => self.word(),
            c => return self.mark(c).map(Some),
        };
        if !matches!(token, Lexeme::Word(_) | Lexeme::Template) {
            self.before = Before::Value;
        }
        let has_head = std::mem::take(&mut self.is_head);
        let is_head = |word: &str| matches!(word, "if" | "for" | "while" | "with") || (has_head && word == "await");
        self.is_head = matches!(token, Lexeme::Word(word) if is_head(word)) && self.before != Before::Value;
        Ok(Some(token))
    }

    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        self.line += passed.bytes().filter(|b| *b == b'\n').count() as u32;
        self.rest = rest;
    }

    fn space(&mut self) -> Result<(), Stop> {
        loop {
            let length = self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').len();
            let length = if self.rest.starts_with("//") {
                self.rest.find(['\n', '\u{2028}', '\u{2029}']).unwrap_or(self.rest.len())
            } else if self.rest.starts_with("/*") {
                self.rest.get(2..).and_then(|inside| inside.find("*/")).map(|end| end + 4).ok_or(Stop::Broken)?
            } else if self.rest.starts_with("<!--") {
                // A comment in old scripts, and a fault in modules.
                return Err(Stop::Broken);
            } else if length == 0 {
                return Ok(());
            } else {
                length
            };
            self.is_new_line |= self.rest.get(..length).is_some_and(|passed| passed.contains('\n'));
            self.advance(length);
        }
    }

    fn text(&mut self, quote: char) -> Result<String, Stop> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\n' => break,
                '\\' => {
                    let taken = escape(self.rest.get(at + 1..).unwrap_or_default(), &mut text).ok_or(Stop::Broken)?;
                    for _ in 0..taken {
                        chars.next();
                    }
                }
                c if c == quote => {
                    self.advance(at + 1);
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        Err(Stop::Broken)
    }

    /// The text of a template up to its end or to `${`.
    fn template(&mut self) -> Result<Lexeme<'t>, Stop> {
        let mut escaped = false;
        let bytes = self.rest.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'`' => {
                    self.advance(at + 1);
                    self.before = Before::Value;
                    return Ok(Lexeme::Template);
                }
                b'$' if bytes.get(at + 1) == Some(&b'{') => {
                    self.advance(at + 2);
                    self.open.push(Open::Template);
                    self.before = Before::Operator;
                    return Ok(Lexeme::Template);
                }
                _ => {}
            }
        }
        Err(Stop::Broken)
    }

    fn is_regex(&self) -> Result<bool, Stop> {
        match self.before {
            Before::Start | Before::Operator => Ok(true),
            Before::Value => Ok(false),
            Before::Brace => Err(Stop::Unsure),
            Before::Dot => Err(Stop::Broken),
        }
    }

    fn regex(&mut self) -> Result<Lexeme<'t>, Stop> {
        let mut escaped = false;
        let mut in_class = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '[' => in_class = true,
                ']' => in_class = false,
                '/' if !in_class => {
                    self.advance(at + 1);
                    return Ok(Lexeme::Regex);
                }
                _ => {}
            }
        }
        Err(Stop::Broken)
    }

    fn word(&mut self) -> Lexeme<'t> {
        let is_number = self.rest.starts_with(|c: char| c.is_ascii_digit());
        let ends = |c: char| !(is_of_word(c) || (is_number && c == '.'));
        let (word, _) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.advance(word.len());
        let is_name = self.before == Before::Dot;
        self.before = if !is_name && is_operator(word) { Before::Operator } else { Before::Value };
        if !is_name && matches!(word, "if" | "for" | "while" | "with" | "of") {
            self.before = Before::Brace;
        }
        Lexeme::Word(word)
    }

    fn mark(&mut self, mark: char) -> Result<Lexeme<'t>, Stop> {
        let is_twice = matches!(mark, '+' | '-') && self.rest.get(1..2).is_some_and(|next| next.starts_with(mark));
        self.advance(mark.len_utf8() + usize::from(is_twice));
        let is_head = std::mem::take(&mut self.is_head);
        let was = self.before;
        self.before = match mark {
            '(' => self.opens(Open::Round(is_head), Before::Operator),
            '[' => self.opens(Open::Square, Before::Operator),
            '{' => self.opens(Open::Brace, Before::Start),
            ')' => match self.open.pop() {
                Some(Open::Round(true)) => Before::Start,
                Some(Open::Round(false)) => Before::Value,
                _ => return Err(Stop::Broken),
            },
            ']' if self.open.pop() == Some(Open::Square) => Before::Value,
            '}' => match self.open.pop() {
                Some(Open::Template) => return self.template(),
                Some(Open::Brace) => Before::Brace,
                _ => return Err(Stop::Broken),
            },
            ']' => return Err(Stop::Broken),
            ';' => Before::Start,
            // A spread is no member's dot.
            '.' if self.rest.starts_with('.') || was == Before::Operator => Before::Operator,
            '.' => Before::Dot,
            '?' if self.rest.starts_with('.') && !self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.advance(1);
                Before::Dot
            }
            _ if is_twice && was == Before::Value => Before::Value,
            _ => Before::Operator,
        };
        Ok(Lexeme::Mark(mark))
    }

    fn opens(&mut self, open: Open, before: Before) -> Before {
        self.open.push(open);
        before
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '#' | '\\' | '\u{200c}' | '\u{200d}')
}

fn is_operator(word: &str) -> bool {
    const WORDS: [&str; 13] =
        ["await", "case", "default", "delete", "do", "else", "in", "instanceof", "new", "return", "throw", "typeof", "void"];
    WORDS.contains(&word) || word == "yield"
}

#[cfg(test)]
mod tests {
    use super::imports;

    #[test]
    fn static_imports_are_found_and_nothing_else() {
        let table: &[(&str, &[&str])] = &[
            ("import 'a'", &["a"]),
            ("import a from 'b';import*as c from\"d\"", &["b", "d"]),
            ("import a, {b as c, 'd e' as f, default as g} from 'h'\nimport i, * as j from 'k'", &["h", "k"]),
            ("export * from 'a'; export * as b from 'c'; export {d, e as f} from 'g'", &["a", "c", "g"]),
            ("export {a}\nimport 'b'; export {c}; export default 1; export const d = 2", &["b"]),
            ("import 'a\\x62\\u0063\\u{64}\\/'", &["abcd/"]),
            ("import t from 'a' with {type: 'css'}; import 'b'", &["a", "b"]),
            ("/* import 'a' */ // import 'b'\n import 'c'", &["c"]),
            ("let a = `import 'b' ${`${'}'}`} import 'c'`; import 'd'", &["d"]),
            ("let a = /import 'b'[/]'/; import 'c'", &["c"]),
            ("if (a) /'/.test(b); import 'c'", &["c"]),
            ("a / 2; b = ')' / 2; c++ / 2; f(d) / 2; import 'e'", &["e"]),
            ("import('a'); import.meta.url; b.import; c.import('d'); x = {import: 'e'}", &[]),
            ("import a from b", &[]),
            ("import 'a'; let b = ", &[]),
            ("import 'a'; f(", &[]),
            ("import 'a'; let b = 'c", &[]),
            ("import 'a\n'", &[]),
            ("import 'a'; {", &[]),
            ("import 'a'; )", &[]),
            ("if (1) {import 'a'}", &[]),
            ("x import 'a'", &[]),
            ("<!-- import 'a'\nimport 'b'", &[]),
            ("import defer * as a from 'b'", &[]),
            ("import source a from 'b'", &[]),
            ("#!/usr/bin/x import 'a'\nimport 'b'", &["b"]),
            ("import 'a'; function f() {} /'/; import 'b'", &["a"]),
            ("import 'a'; for (const b of /'/g) {}", &["a"]),
            ("import 'a'; f(...b); c = [...d, .5]; e?.import; import 'g'", &["a", "g"]),
            ("", &[]),
        ];
        for (text, wanted) in table {
            let seen: Vec<_> = imports(text).into_iter().map(|import| import.specifier).collect();
            assert_eq!(seen, *wanted, "{text}");
        }
    }

    #[test]
    fn lines_are_those_of_the_specifier() {
        let seen: Vec<_> = imports("\nimport {\na\n} from 'b'\n`\n`;import 'c'").into_iter().map(|import| import.line).collect();
        assert_eq!(seen, [3, 5]);
    }
}
