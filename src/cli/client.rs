//! The small HTTP client of the command line: one request on one connection.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Exit;

/// The environment variable that holds the token.
pub const TOKEN_VARIABLE: &str = "MILLPOND_ADMIN_TOKEN";

/// Time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for an answer, beyond what the request itself asks to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer; more cannot come from an admin listener.
const MAX_ANSWER: usize = 1024 * 1024;

/// Bytes of a token file; more cannot be a token.
const MAX_TOKEN_FILE: u64 = 4096;

/// Which instance to talk to, and how to show that one may.
#[derive(Args, Clone, Debug)]
pub struct AdminArgs {
    /// Address of the admin listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub admin: String,
    /// File whose first line is the admin token [default: the variable MILLPOND_ADMIN_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `--admin` is not an address.
    #[error("--admin {given:?} is not an address: write it as in http://127.0.0.1:9090")]
    Address {
        /// What was given.
        given: String,
    },
    /// `--admin` asks for TLS.
    #[error("--admin {given:?}: the admin listener speaks plain HTTP; use http://, on loopback or through a tunnel")]
    Tls {
        /// What was given.
        given: String,
    },
    /// The token file is missing or unreadable.
    #[error("--token-file {}: {fault}", path.display())]
    TokenFile {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        fault: io::Error,
    },
    /// The token has characters that no header field takes, or none at all.
    #[error("the token from {0} is empty or contains control characters: it is the first line, in visible characters")]
    Token(String),
    /// Nobody listens there.
    #[error(
        "{address} cannot be reached: {fault}. Is the instance running, and is [admin] listen set to this address?"
    )]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        fault: io::Error,
    },
    /// Somebody listens and says nothing.
    #[error("{0} did not answer in time")]
    Silent(String),
    /// The answer is not HTTP, broke off, or is too large.
    #[error("{address} gave no proper answer: {fault}. Is this the admin listener of Millpond?")]
    Answer {
        /// Host and port.
        address: String,
        /// What went wrong.
        fault: String,
    },
}

impl ClientError {
    /// The exit code for it.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Address { .. } | Self::Tls { .. } | Self::TokenFile { .. } | Self::Token(_) => Exit::Usage,
            Self::Unreachable { .. } | Self::Silent(_) | Self::Answer { .. } => Exit::Unreachable,
        }
    }
}

/// An admin listener to talk to.
pub struct Client {
    authority: Authority,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// Checks the address and reads the token: from the file if one is given, else
    /// `environment`, the value of [`TOKEN_VARIABLE`].
    pub fn new(args: &AdminArgs, environment: Option<String>) -> Result<Self, ClientError> {
        let authority = authority(&args.admin)?;
        let token = match &args.token_file {
            Some(path) => {
                let fault = |fault| ClientError::TokenFile { path: path.clone(), fault };
                Some((first_line(path).map_err(fault)?, path.display().to_string()))
            }
            None => environment.filter(|token| !token.is_empty()).map(|token| (token, TOKEN_VARIABLE.to_owned())),
        };
        let authorization = token.map(|(token, source)| bearer(token.trim()).ok_or(ClientError::Token(source)));
        Ok(Self { authority, authorization: authorization.transpose()? })
    }

    /// Sends one request and returns status and body. `patience` is how long the listener may
    /// take on purpose.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request = self.request(method, path, body)?;
        let stream = self.connect().await?;
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // The connection moves while its answer is awaited, and ends with it.
            let exchange = async {
                let (head, body) = sender.send_request(request).await?.into_parts();
                let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>((head.status, body))
            };
            tokio::pin!(exchange);
            tokio::select! {
                answer = &mut exchange => answer,
                ended = connection => match ended {
                    Ok(()) => exchange.await,
                    Err(fault) => Err(fault.into()),
                },
            }
        };
        match tokio::time::timeout(ANSWER_TIMEOUT.saturating_add(patience), exchange).await {
            Err(_) => Err(ClientError::Silent(self.authority.to_string())),
            Ok(answer) => answer.map_err(|fault| self.bad_answer(fault.to_string())),
        }
    }

    /// An answer that an admin listener would not give.
    pub fn bad_answer(&self, fault: String) -> ClientError {
        ClientError::Answer { address: self.authority.to_string(), fault }
    }

    fn request(&self, method: Method, path: &str, body: String) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.authority.as_str());
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::from(body)).map_err(|fault| self.bad_answer(fault.to_string()))
    }

    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let host = self.authority.host();
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let connecting = TcpStream::connect((bare, self.authority.port_u16().unwrap_or(80)));
        let unreachable = |fault| ClientError::Unreachable { address: self.authority.to_string(), fault };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(outcome) => outcome.map_err(unreachable),
            Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Host and port of `http://host:port`, `http://host:port/` or `host:port`.
fn authority(given: &str) -> Result<Authority, ClientError> {
    let wrong = || ClientError::Address { given: given.to_owned() };
    let uri: Uri = given.parse().map_err(|_| wrong())?;
    if uri.scheme_str() == Some("https") {
        return Err(ClientError::Tls { given: given.to_owned() });
    }
    let plain =
        matches!(uri.scheme_str(), None | Some("http")) && matches!(uri.path(), "" | "/") && uri.query().is_none();
    // Neither user information, which would come before the host, nor a port out of range, which
    // `Authority` takes for none.
    let clean = |authority: &&Authority| {
        let port = authority.as_str().strip_prefix(authority.host());
        port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some()) && !authority.host().is_empty()
    };
    uri.authority().filter(|_| plain).filter(clean).cloned().ok_or_else(wrong)
}

fn first_line(path: &PathBuf) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_TOKEN_FILE).read_to_string(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn bearer(token: &str) -> Option<HeaderValue> {
    if token.is_empty() {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(admin: &str, token_file: Option<PathBuf>) -> AdminArgs {
        AdminArgs { admin: admin.into(), token_file }
    }

    #[test]
    fn addresses_are_taken_with_and_without_scheme() {
        for given in ["http://127.0.0.1:9090", "http://127.0.0.1:9090/", "127.0.0.1:9090"] {
            assert_eq!(authority(given).unwrap().as_str(), "127.0.0.1:9090", "{given}");
        }
        assert_eq!(authority("http://[::1]:9090").unwrap().host(), "[::1]");
    }

    #[test]
    fn a_wrong_address_is_a_usage_error_that_shows_the_right_form() {
        for given in
            ["", "/purge", "ftp://h:1", "http://h:1/purge", "http://u:p@h:1", "http://h:1/?q", "http://h:99999"]
        {
            let fault = authority(given).unwrap_err();
            assert!(fault.to_string().contains("write it as in http://127.0.0.1:9090"), "{given}: {fault}");
            assert_eq!(fault.exit(), Exit::Usage);
        }
        assert!(authority("https://h:1").unwrap_err().to_string().contains("plain HTTP"));
    }

    #[test]
    fn the_token_file_wins_over_the_environment_and_only_its_first_line_counts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from-file \nmore\n").unwrap();
        let client = |file, variable: Option<&str>| Client::new(&args("h:1", file), variable.map(str::to_owned));
        let shown = |client: Client| client.authorization.map(|value| value.to_str().unwrap().to_owned());
        let path = || Some(file.path().to_owned());
        assert_eq!(shown(client(path(), Some("from-env")).unwrap()).as_deref(), Some("Bearer from-file"));
        assert_eq!(shown(client(None, Some("from-env")).unwrap()).as_deref(), Some("Bearer from-env"));
        assert_eq!(shown(client(None, Some("")).unwrap()), None);
        assert_eq!(shown(client(None, None).unwrap()), None);
        std::fs::write(file.path(), "\nsecond line\n").unwrap();
        assert!(matches!(client(path(), None), Err(ClientError::Token(_))));
        let missing = client(Some("/nonexistent/token".into()), None).err().unwrap();
        assert!(missing.to_string().starts_with("--token-file /nonexistent/token: "), "{missing}");
        assert_eq!(missing.exit(), Exit::Usage);
    }
}
