//! Faults of a configuration file: where, what is wrong, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a file, both counted from one; columns count characters, as editors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Character of the line.
    pub column: usize,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where; `None` if the file as a whole is at fault (it cannot be read).
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a file, in the order of the file. One fault a line when displayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    file: PathBuf,
    list: Vec<Fault>,
}

impl Faults {
    /// A file that could not be read at all.
    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        let fault = Fault {
            position: None,
            message: format!("cannot read the file: {error}"),
            hint: Some("give the path of a readable file".to_owned()),
        };
        Self { file: file.to_owned(), list: vec![fault] }
    }

    /// The faults, in the order of the file.
    pub fn list(&self) -> &[Fault] {
        &self.list
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            let (end, gap) = (if index == 0 { "" } else { "\n" }, if fault.position.is_some() { "" } else { " " });
            write!(f, "{end}{}:{gap}{fault}", self.file.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Gathers faults while a file is read. Reading goes on after a fault, so that one run shows all.
#[derive(Debug)]
pub(super) struct Collector<'a> {
    text: &'a str,
    found: Vec<(usize, Fault)>,
}

impl<'a> Collector<'a> {
    /// A collector for a file with this text.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Notes a fault at a byte offset of the text. An empty hint means that there is none.
    pub(super) fn add(&mut self, offset: usize, message: impl Into<String>, hint: impl Into<String>) {
        let hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        let fault = Fault { position: Some(self.position(offset)), message: message.into(), hint };
        self.found.push((offset, fault));
    }

    /// How many faults were noted so far.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// The line and column of a byte offset.
    pub(super) fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    /// The result of reading: `value` if nothing was wrong. Whoever returns `None` has noted a fault.
    pub(super) fn finish<T>(mut self, file: &Path, value: Option<T>) -> Result<T, Faults> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => {
                self.found.sort_by_key(|(offset, _)| *offset);
                let list = self.found.into_iter().map(|(_, fault)| fault).collect();
                Err(Faults { file: file.to_owned(), list })
            }
        }
    }
}

/// `did you mean "x"?` for the candidate nearest to `word`, if one is near enough to be meant.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    // One slip in a short word, one more for every five letters: "tll" is "ttl", but "age" is not "key".
    let allowed = 1 + word.chars().count() / 5;
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| format!("did you mean {candidate:?}?"))
}
