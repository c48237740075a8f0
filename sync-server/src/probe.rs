//! Asking a server whether it is ready: what a health check in a container needs, where there is no curl.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Less than health checks wait themselves, and more than `/readyz` takes at most.
const PROBE_MAX: Duration = Duration::from_secs(4);
/// Of an answer's first line; nobody says more in it.
const STATUS_BYTES_MAX: u64 = 256;

/// Why a server is not ready, as far as could be seen.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Another scheme, or no host.
    #[error("{0} is not the URL of a server, such as http://127.0.0.1:8787")]
    Url(String),
    /// It does not answer.
    #[error("{url} does not answer: {error}")]
    Unreachable {
        /// Who.
        url: String,
        /// Why not.
        error: io::Error,
    },
    /// It answers that it is not.
    #[error("{url} is not ready: {status}")]
    NotReady {
        /// Who.
        url: String,
        /// The first line of its answer.
        status: String,
    },
}

/// Asks `GET /readyz` below that URL, and waits a few seconds at most for each step of it.
pub fn is_ready(url: &str) -> Result<(), ProbeError> {
    let wrong = || ProbeError::Url(url.to_owned());
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() || url.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Err(wrong());
    }
    let unreachable = |error| ProbeError::Unreachable { url: url.to_owned(), error };
    let path = [path.trim_end_matches('/'), "readyz"].join(if path.is_empty() { "" } else { "/" });
    let status = ask(host, &path).map_err(unreachable)?;
    if status.split_whitespace().nth(1) == Some("200") {
        return Ok(());
    }
    Err(ProbeError::NotReady { url: url.to_owned(), status })
}

fn ask(host: &str, path: &str) -> io::Result<String> {
    // An IPv6 address without a port ends with its bracket.
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let address = if has_port { host.to_owned() } else { format!("{host}:80") };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PROBE_MAX) {
            Ok(stream) => return exchange(stream, host, path),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn exchange(mut stream: TcpStream, host: &str, path: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(PROBE_MAX))?;
    stream.set_write_timeout(Some(PROBE_MAX))?;
    stream.write_all(format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut status = String::new();
    BufReader::new(stream.take(STATUS_BYTES_MAX)).read_line(&mut status)?;
    if status.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(status.trim_end().to_owned())
}
