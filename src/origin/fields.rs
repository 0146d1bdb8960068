//! The fields of a request to an origin.

use http::header::{HeaderName, HeaderValue};

use crate::wire::field::{self, LINE_END, SEPARATOR};
use crate::wire::trailers;

/// What the fields of a usual request take.
const USUAL: usize = 768;

/// The fields of a request, each as the line that is written: a map costs several times as much to fill, to copy for
/// a second request, and to write.
///
/// Fields that frame the message are left out, whoever adds them: they follow from the body alone. `Host` stands
/// apart, since the origin may have one of its own.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub(super) lines: Vec<u8>,
    pub(super) host: Option<HeaderValue>,
    /// The names in `Trailer`.
    pub(super) trailers: Vec<HeaderName>,
    /// Whether another protocol is offered.
    pub(super) upgrade: bool,
}

impl Fields {
    /// None yet.
    pub fn new() -> Self {
        Self { lines: Vec::with_capacity(USUAL), ..Self::default() }
    }

    /// Adds a field behind the others. A second `Host` replaces the first.
    pub fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        match name.as_str() {
            "host" => self.host = Some(value.clone()),
            // The listener answers the expectation when the body is first read (RFC 9110 section 10.1.1), so the
            // origin need not.
            "content-length" | "transfer-encoding" | "expect" => {}
            name => {
                match name {
                    "trailer" => self.trailers.extend(trailers::listed(value)),
                    "upgrade" => self.upgrade = true,
                    _ => {}
                }
                field::write(&mut self.lines, name, value.as_bytes());
            }
        }
    }

    /// Adds a field whose value is put together from these. Each is of a field, of a target or of our own, and has no
    /// control character, so that none can end the line.
    pub fn add_text(&mut self, name: &HeaderName, parts: &[&[u8]]) {
        debug_assert!(!parts.iter().any(|part| field::has_control(part)), "{parts:?}");
        self.lines.extend_from_slice(name.as_str().as_bytes());
        self.lines.extend_from_slice(SEPARATOR);
        for part in parts {
            self.lines.extend_from_slice(part);
        }
        self.lines.extend_from_slice(LINE_END);
    }

    /// Puts a field in the place of all others of this name.
    pub fn set(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.remove(name);
        self.add(name, value);
    }

    /// The values of all fields of this name.
    pub fn all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> + Clone {
        field::all(&self.lines, name.as_str())
    }

    fn remove(&mut self, name: &HeaderName) {
        if self.all(name).next().is_none() {
            return;
        }
        let mut left = Vec::with_capacity(self.lines.capacity());
        for (own, value) in field::lines(&self.lines).filter(|(own, _)| own != name) {
            field::write(&mut left, own, value);
        }
        self.lines = left;
    }
}
