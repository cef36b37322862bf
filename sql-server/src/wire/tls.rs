//! TLS offered to clients.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use net::grpc::TlsConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::connection::ClientStream;

/// Makes TLS sessions.
pub type TlsAcceptor = tokio_rustls::TlsAcceptor;

/// Why TLS can't be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One file without the other.
    #[error("client-tls needs both cert-path and key-path")]
    Incomplete,
    /// `ca-path` would mean client certificates.
    #[error("client-tls: ca-path (client certificates) is not supported")]
    ClientCertificates,
    /// A file can't be read.
    #[error("client-tls: {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// Certificate and key don't go together, or the like.
    #[error("client-tls: {0}")]
    Refused(#[from] tokio_rustls::rustls::Error),
}

/// The acceptor that the settings ask for.
pub fn acceptor(config: &TlsConfig) -> Result<Option<TlsAcceptor>, TlsError> {
    if !config.is_set() {
        return Ok(None);
    }
    if config.ca_path.is_some() {
        return Err(TlsError::ClientCertificates);
    }
    let (Some(cert_path), Some(key_path)) = (&config.cert_path, &config.key_path) else {
        return Err(TlsError::Incomplete);
    };
    let file = |path: &std::path::Path, reason: String| TlsError::File { path: path.display().to_string(), reason };
    let chain = CertificateDer::pem_file_iter(cert_path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|e| file(cert_path, e.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(key_path).map_err(|e| file(key_path, e.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Takes a connection over to TLS. `early` are bytes that were read already.
pub async fn accept(
    acceptor: TlsAcceptor,
    stream: Box<dyn ClientStream>,
    early: Bytes,
) -> io::Result<Box<dyn ClientStream>> {
    Ok(Box::new(acceptor.accept(Prefixed { early, stream }).await?))
}

/// A stream with bytes in front.
struct Prefixed {
    early: Bytes,
    stream: Box<dyn ClientStream>,
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let n = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..n]);
        self.early.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
