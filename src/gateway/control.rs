//! What a running gateway tells the commands beside it: Unix sockets in its data directory, for its user only.
//! Whoever connects to one gets a JSON document about the outbox, to the other a copy of the database, and the
//! connection is closed.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use crate::store::Store;
use crate::store::copy;

/// The name of the socket that tells of the outbox, in the data directory.
pub const SOCKET: &str = "gateway.sock";
/// The name of the socket that gives a copy of the database.
pub const COPIES: &str = "backup.sock";
/// A reader that takes longer is left.
const PATIENCE: Duration = Duration::from_secs(5);
/// A reader that takes nothing of a copy for so long is left: while there is one, what is deleted takes its room on
/// disk.
const COPY_PATIENCE: Duration = Duration::from_secs(30);

/// Ends, and takes its sockets away, when it is dropped.
#[derive(Debug)]
pub struct Control(Vec<(PathBuf, JoinHandle<()>)>);

impl Drop for Control {
    fn drop(&mut self) {
        for (path, task) in &self.0 {
            task.abort();
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Control {
    /// Listens in a data directory that is this process's alone. `report` makes the document; copies are of `store`.
    ///
    /// # Errors
    /// Where a socket cannot be made; the gateway can do without.
    pub fn start(
        data_dir: &Path,
        report: impl Fn() -> Vec<u8> + Send + Sync + 'static,
        store: Store,
    ) -> io::Result<Self> {
        let mut control = Self(Vec::new());
        let (path, listener) = listen(data_dir, SOCKET)?;
        let report = Arc::new(report);
        control.0.push((path, tokio::spawn(accept(listener, move |stream| tell(stream, Arc::clone(&report))))));
        let (path, listener) = listen(data_dir, COPIES)?;
        let busy = Arc::new(AtomicBool::new(false));
        let give = move |stream| {
            give(stream, store.clone(), &busy);
            std::future::ready(())
        };
        control.0.push((path, tokio::spawn(accept(listener, give))));
        Ok(control)
    }
}

fn listen(data_dir: &Path, name: &str) -> io::Result<(PathBuf, UnixListener)> {
    let path = data_dir.join(name);
    // Left by a process that was killed: the database's lock says that nobody else is here.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok((path, listener))
}

/// Answers one after the other: nobody can make it do more than one at a time.
async fn accept<F: Future<Output = ()>>(listener: UnixListener, answer: impl Fn(UnixStream) -> F) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = tokio::time::timeout(PATIENCE, answer(stream)).await;
            }
            Err(error) => {
                warn!("the gateway's socket takes no connection: {error}");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn tell(mut stream: UnixStream, report: Arc<impl Fn() -> Vec<u8> + Send + Sync + 'static>) {
    // It may read from disk.
    if let Ok(document) = tokio::task::spawn_blocking(move || report()).await {
        let _ = stream.write_all(&document).await;
        let _ = stream.shutdown().await;
    }
}

/// Gives a copy, by a thread of its own: it lasts as long as the reader takes, and nobody waits for it when the gateway
/// stops.
fn give(stream: UnixStream, store: Store, busy: &Arc<AtomicBool>) {
    let stream = stream.into_std().and_then(|stream| {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(COPY_PATIENCE))?;
        Ok(stream)
    });
    let Ok(stream) = stream else { return };
    if busy.swap(true, Ordering::SeqCst) {
        let _ = copy::refuse(stream, "another backup is being made; wait until it is done");
        return;
    }
    let busy = Busy(Arc::clone(busy));
    let run = move || {
        // Held until the end, and given back whatever happens.
        let _busy = busy;
        let begun = Instant::now();
        match write(&store, stream) {
            Ok(()) => info!(seconds = begun.elapsed().as_secs_f64(), "gave a copy of the database for a backup"),
            Err(error) => warn!("a backup could not be given a copy of the database: {error}"),
        }
    };
    if let Err(error) = std::thread::Builder::new().name("backup".to_owned()).spawn(run) {
        debug!("no thread for a backup: {error}");
    }
}

fn write(store: &Store, mut stream: impl Write) -> Result<(), copy::CopyError> {
    match store.snapshot() {
        Ok(snapshot) => snapshot.write_to(stream),
        Err(error) => {
            copy::refuse(&mut stream, &error.to_string())?;
            Err(copy::CopyError::Source(error.to_string()))
        }
    }
}

/// One copy at a time.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
