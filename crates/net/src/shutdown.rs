//! One token tells every part of a process to end: cancelled by Ctrl-C or SIGTERM, or by a test.

pub use tokio_util::sync::CancellationToken;

/// A token that the first SIGINT or SIGTERM cancels. A second signal ends the process at once, for an
/// operator who will not wait for the orderly end.
pub fn on_signals() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("interrupted, shutting down"),
            _ = terminate.recv() => tracing::info!("terminated, shutting down"),
        }
        cancel.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::warn!("second signal, ending at once");
        std::process::exit(130);
    });
    Ok(token)
}
