//! What a running gateway tells the commands beside it: a Unix socket in its data directory, readable for its user only.
//! Whoever connects gets one JSON document, and the connection is closed.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tracing::warn;

/// The socket's name in the data directory.
pub const SOCKET: &str = "gateway.sock";
/// A reader that takes longer is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends, and takes its socket away, when it is dropped.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Control {
    /// Listens in a data directory that is this process's alone. `report` makes the document.
    ///
    /// # Errors
    /// Where the socket cannot be made; the gateway can do without.
    pub fn start(data_dir: &Path, report: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> io::Result<Self> {
        let path = data_dir.join(SOCKET);
        // Left by a process that was killed: the database's lock says that nobody else is here.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let report = Arc::new(report);
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((mut stream, _)) => {
                        let report = Arc::clone(&report);
                        let answer = async move {
                            // It may read from disk.
                            if let Ok(document) = tokio::task::spawn_blocking(move || report()).await {
                                let _ = stream.write_all(&document).await;
                                let _ = stream.shutdown().await;
                            }
                        };
                        // One after the other: nobody can make it do more than one at a time.
                        let _ = tokio::time::timeout(PATIENCE, answer).await;
                    }
                    Err(error) => {
                        warn!("the gateway's socket takes no connection: {error}");
                        tokio::time::sleep(PATIENCE).await;
                    }
                }
            }
        });
        Ok(Self { path, task })
    }
}
