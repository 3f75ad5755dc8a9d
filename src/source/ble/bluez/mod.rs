//! Linux: `bluetoothd` over D-Bus.
//!
//! One connection (zbus) receives in one ordered stream all that is to be known: advertisements, adapters that come, go
//! and are powered, `bluetoothd` that comes and goes, the answers to what was asked. btleplug starts and stops the scan
//! in tasks of their own, so that the stream is never kept waiting by a call that hangs.

mod monitor;
mod radio;
mod session;
mod signal;

use std::time::{Duration, Instant};

use tokio::time::timeout;
use zbus::Connection;

use super::control::Control;
use super::{Shutdown, Station};
use radio::Radio;
use session::{Ended, Session};

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// Waits between attempts to connect, the last one repeated.
const BACK_OFF: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];

/// Runs until shutdown.
pub async fn run(stations: Vec<Station>, mut shutdown: Shutdown) {
    let mut radios: Vec<Radio> = stations.into_iter().map(|station| Radio::new(station, Instant::now())).collect();
    let control = std::sync::Arc::new(Control::default());
    let mut failures = 0;
    loop {
        let connecting = timeout(CONNECT, Session::open());
        let opened = tokio::select! {
            opened = connecting => opened,
            () = shutdown.requested() => return,
        };
        let why = match opened {
            Ok(Ok(session)) => {
                failures = 0;
                match session.run(&mut radios, &control, &mut shutdown).await {
                    Ended::Shutdown => return,
                    Ended::Lost(why) => why,
                }
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer within 5 s".to_owned(),
        };
        let now = Instant::now();
        for radio in &mut radios {
            radio.station.watchdog.bus(now, Err(why.clone()));
            radio.station.report(now).await;
        }
        control.forget().await;
        tokio::select! {
            () = tokio::time::sleep(BACK_OFF[failures.min(BACK_OFF.len() - 1)]) => failures += 1,
            () = shutdown.requested() => return,
        }
    }
}

/// Closes a connection without waiting for long.
async fn close(connection: Connection) {
    let _ = timeout(Duration::from_millis(500), connection.close()).await;
}
