//! What a client can do wrong before its request reaches the handler.

use std::error::Error;
use std::io;

use http::StatusCode;

use crate::wire::Flaw;

/// Declares the faults with the text, the status and the explanation of each.
macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:ident, $about:literal;)+) => {
        /// Why a request was refused before the handler saw it, or why its body broke off.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
        pub enum Fault {
            $($(#[$doc])* #[error($about)] $variant,)+
        }

        impl Fault {
            /// Every fault, in declaration order: `ALL[x as usize] == x`.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The text used in headers, logs and labels.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The status that answers it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }
        }
    };
}

faults! {
    /// RFC 9112 section 2.2: a line ended with LF alone.
    BareLineFeed = "bare-line-feed", BAD_REQUEST, "the client ended a line with LF alone; send CR LF";
    /// RFC 9112 section 2.2: CR without LF.
    BareCarriageReturn = "bare-carriage-return", BAD_REQUEST, "the client sent CR without LF";
    /// RFC 9110 section 5.5: NUL or another control character.
    ControlCharacter = "control-character", BAD_REQUEST, "the client sent a control character in a header field";
    /// RFC 9112 section 5.2: a field continued on the next line.
    FoldedField = "folded-field", BAD_REQUEST, "the client folded a header field over two lines";
    /// Not `method SP target SP version`, or HTTP/0.9.
    RequestLine = "request-line", BAD_REQUEST, "the client's request line is not `method target HTTP/1.1`";
    /// The method is not a token, or longer than any real one.
    Method = "method", BAD_REQUEST, "the client's method is not a token";
    /// Neither origin-form nor absolute-form, or a byte that no target may hold.
    Target = "target", BAD_REQUEST, "the client's request target is not a path or an http URL";
    /// CONNECT: this is not a tunnel.
    Connect = "connect", BAD_REQUEST, "the client asked for a tunnel; this proxy opens none";
    /// RFC 9110 section 5.1: a field name that is no token.
    FieldName = "field-name", BAD_REQUEST, "the client sent a header field whose name is not a token";
    /// RFC 9112 section 5.1: white space between name and colon.
    SpaceBeforeColon = "space-before-colon", BAD_REQUEST, "the client put a space before the colon of a field";
    /// RFC 9112 section 3.2: HTTP/1.1 without `Host`.
    HostMissing = "host-missing", BAD_REQUEST, "the client sent no Host field";
    /// RFC 9112 section 3.2: more than one `Host`.
    HostRepeated = "host-repeated", BAD_REQUEST, "the client sent more than one Host field";
    /// User information, an odd port, or bytes that no host name has.
    HostInvalid = "host-invalid", BAD_REQUEST, "the client's host is not a host name or address with a port";
    /// An absolute-form target names another host than `Host`.
    HostMismatch = "host-mismatch", BAD_REQUEST, "the client's request target and Host field name different hosts";
    /// RFC 9110 section 8.6: not decimal digits, or too large to count.
    ContentLength = "content-length", BAD_REQUEST, "the client's Content-Length is not a number";
    /// RFC 9112 section 6.3: several, even if they agree.
    ContentLengthRepeated = "content-length-repeated", BAD_REQUEST, "the client sent more than one Content-Length";
    /// RFC 9112 section 6.1: anything but one `chunked`, or on HTTP/1.0.
    TransferEncoding = "transfer-encoding", BAD_REQUEST, "the client's Transfer-Encoding is not exactly `chunked`";
    /// RFC 9112 section 6.1: both ways of framing at once.
    FramingConflict = "framing-conflict", BAD_REQUEST, "the client sent Content-Length and Transfer-Encoding";
    /// `Connection` names a field that frames or routes the message.
    Connection = "connection", BAD_REQUEST, "the client's Connection field names a framing or routing field";
    /// RFC 9110 section 7.8: not a list of protocols.
    Upgrade = "upgrade", BAD_REQUEST, "the client's Upgrade field is not a list of protocols";
    /// RFC 9112 section 7.1: a chunk size that is no hexadecimal number, or too large to count.
    ChunkSize = "chunk-size", BAD_REQUEST, "the client sent a chunk whose size is not a hexadecimal number";
    /// RFC 9112 section 7.1.1: control characters, or longer than any use of it.
    ChunkExtension = "chunk-extension", BAD_REQUEST, "the client sent an invalid or overlong chunk extension";
    /// RFC 9112 section 7.1: chunk data not followed by CR LF.
    ChunkEnd = "chunk-end", BAD_REQUEST, "the client sent a chunk that is longer than its size";
    /// RFC 9110 section 6.5.1: an invalid trailer field, or one that frames or routes.
    Trailer = "trailer", BAD_REQUEST, "the client sent an invalid trailer field";
    /// Trailer fields beyond the bound on bytes or number.
    TrailersTooLarge = "trailers-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "the client's trailers exceed the limit";
    /// The head was not complete in time.
    HeadTimeout = "head-timeout", REQUEST_TIMEOUT, "the client did not complete its request head in time";
    /// The body stopped arriving.
    BodyTimeout = "body-timeout", REQUEST_TIMEOUT, "the client stopped sending its request body";
    /// The body is larger than the limit.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "the client's request body exceeds the limit";
    /// The target is longer than the limit.
    TargetTooLong = "target-too-long", URI_TOO_LONG, "the client's request target exceeds the limit";
    /// The head is larger than the limit.
    HeadTooLarge = "head-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "the client's request head exceeds the limit";
    /// More fields than the limit.
    TooManyFields = "too-many-fields", REQUEST_HEADER_FIELDS_TOO_LARGE, "the client sent too many header fields";
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version = "version", HTTP_VERSION_NOT_SUPPORTED, "the client speaks an HTTP version that this listener does not";
}

impl Fault {
    /// The fault behind an error of a request body, if the client caused it: the handler answers
    /// such a request with [`status`](Self::status).
    pub fn behind(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(fault) = error.downcast_ref::<Self>() {
                return Some(*fault);
            }
            // `io::Error::source` skips the error it wraps, so that one is looked at here.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(fault) = wrapped.and_then(|w| w.downcast_ref::<Self>()) {
                return Some(*fault);
            }
            next = error.source();
        }
        None
    }
}

impl From<Flaw> for Fault {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::BareLineFeed => Self::BareLineFeed,
            Flaw::BareCarriageReturn => Self::BareCarriageReturn,
            Flaw::ControlCharacter => Self::ControlCharacter,
            Flaw::FoldedField => Self::FoldedField,
            Flaw::FieldName => Self::FieldName,
            Flaw::SpaceBeforeColon => Self::SpaceBeforeColon,
            Flaw::ChunkSize => Self::ChunkSize,
            Flaw::ChunkExtension => Self::ChunkExtension,
            Flaw::ChunkEnd => Self::ChunkEnd,
            Flaw::BodyTooLarge => Self::BodyTooLarge,
            Flaw::Trailer => Self::Trailer,
            Flaw::TrailersTooLarge => Self::TrailersTooLarge,
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        let kind = match fault {
            Fault::BodyTimeout | Fault::HeadTimeout => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_own_text_and_an_error_status() {
        let mut texts: Vec<_> = Fault::ALL.iter().map(|f| f.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Fault::ALL.len());
        for (index, fault) in Fault::ALL.iter().enumerate() {
            assert_eq!(*fault as usize, index);
            assert!(fault.status().is_client_error() || fault.status() == StatusCode::HTTP_VERSION_NOT_SUPPORTED);
        }
    }

    #[test]
    fn a_fault_is_found_behind_an_io_error() {
        let error = io::Error::from(Fault::ChunkSize);
        assert_eq!(Fault::behind(&error), Some(Fault::ChunkSize));
        assert_eq!(Fault::behind(&io::Error::other("something else")), None);
    }
}
