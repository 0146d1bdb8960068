//! What can be wrong with lines, fields and chunks.

/// Why bytes are not the HTTP/1.1 that they should be. Each side has a name of its own for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    /// RFC 9112 section 2.2: a line ended with LF alone.
    BareLineFeed,
    /// RFC 9112 section 2.2: CR without LF.
    BareCarriageReturn,
    /// RFC 9110 section 5.5: NUL or another control character.
    ControlCharacter,
    /// RFC 9112 section 5.2: a field continued on the next line.
    FoldedField,
    /// RFC 9110 section 5.1: a field name that is no token.
    FieldName,
    /// RFC 9112 section 5.1: white space between name and colon.
    SpaceBeforeColon,
    /// RFC 9112 section 7.1: a chunk size that is no hexadecimal number, or too large to count.
    ChunkSize,
    /// RFC 9112 section 7.1.1: control characters, or longer than any use of it.
    ChunkExtension,
    /// RFC 9112 section 7.1: chunk data not followed by CR LF.
    ChunkEnd,
    /// The chunks add up to more than the limit.
    BodyTooLarge,
    /// RFC 9110 section 6.5.1: a trailer field that frames or routes.
    Trailer,
    /// Trailer fields beyond the bound on bytes or number.
    TrailersTooLarge,
}
