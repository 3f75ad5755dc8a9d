//! Other systems than Linux, for trying things out: btleplug alone.
//!
//! Neither duplicate filters nor restarts of system services are dealt with beyond the watchdog's ladder.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use btleplug::api::{Central, CentralEvent, CentralState};
use btleplug::platform::{Adapter, PeripheralId};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::Shutdown;
use super::assign::{Present, assign, missing};
use super::control::{Control, ControlError};
use super::join::Join;
use super::known::CAPACITY;
use super::station::Station;
use super::watchdog::{self, Action};
use crate::advert::{Advertisement, AdvertisingData};
use crate::model::Rssi;

/// How often the state of the adapters is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Time for one call, and for the calls at shutdown.
const CALL: Duration = Duration::from_millis(1500);

/// Events that may wait for us; more are dropped and counted.
const QUEUE: usize = 1024;

struct Radio {
    station: Station,
    name: Option<String>,
    adapter: Option<Adapter>,
    join: Join<PeripheralId>,
    /// Devices discovered since btleplug, which keeps them all, was told to forget them.
    strangers: usize,
    listener: Option<JoinHandle<()>>,
}

type Events = mpsc::Sender<(usize, CentralEvent)>;

/// Runs until shutdown.
pub async fn run(stations: Vec<Station>, mut shutdown: Shutdown) {
    let radio =
        |station| Radio { station, name: None, adapter: None, join: Join::new(CAPACITY), strangers: 0, listener: None };
    let mut radios: Vec<Radio> = stations.into_iter().map(radio).collect();
    let control = Arc::new(Control::default());
    let (sender, mut events) = mpsc::channel(QUEUE);
    let mut actions: JoinSet<(usize, Action, Result<(), ControlError>)> = JoinSet::new();
    let mut tick = tokio::time::interval(watchdog::TICK);
    let mut looked: Option<Instant> = None;
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            // We hold a sender ourselves: there is always a next.
            Some((index, event)) = events.recv() => {
                take(&mut radios[index], event).await;
                continue;
            }
            Some(Ok((index, action, result))) = actions.join_next() => {
                if result.is_ok() && action != Action::Cycle {
                    listen(&mut radios[index], index, &control, &sender).await;
                }
                radios[index].station.watchdog.done(Instant::now(), result.map_err(|error| error.to_string()));
            }
            _ = tick.tick() => {}
        }
        let now = Instant::now();
        if looked.is_none_or(|looked| now.duration_since(looked) >= LOOK) {
            looked = Some(now);
            look(&mut radios, &control).await;
        }
        for (index, radio) in radios.iter_mut().enumerate() {
            if let (Some(name), Some(action)) = (radio.name.clone(), radio.station.act(Instant::now())) {
                let control = control.clone();
                actions.spawn(async move { (index, action, control.perform(action, &name).await) });
            }
            radio.station.report(Instant::now()).await;
        }
    }
    actions.abort_all();
    for radio in &radios {
        if let Some(name) = &radio.name {
            let _ = timeout(CALL, control.stop(name)).await;
        }
    }
}

/// Looks which adapters there are and how they are.
async fn look(radios: &mut [Radio], control: &Control) {
    let names = match timeout(CALL, control.names()).await {
        Ok(Ok(names)) => names,
        Ok(Err(error)) => return unreachable(radios, &error.to_string()),
        Err(_) => return unreachable(radios, "no answer"),
    };
    let present: Vec<Present> = names.into_iter().map(|(name, address)| Present { name, address }).collect();
    let entries: Vec<_> = radios.iter().map(|radio| radio.station.config.clone()).collect();
    let had: Vec<_> = radios.iter().map(|radio| radio.name.clone()).collect();
    for (radio, index) in radios.iter_mut().zip(assign(&entries, &present, &had)) {
        radio.name = index.map(|index| present[index].name.clone());
        let now = Instant::now();
        let known = if radio.name.is_none() {
            Err(missing(&radio.station.config, &present))
        } else {
            let powered = match &radio.adapter {
                Some(adapter) => {
                    !matches!(timeout(CALL, adapter.adapter_state()).await, Ok(Ok(CentralState::PoweredOff)))
                }
                None => true,
            };
            // Nothing tells whether it is discovering: a scan that was started is believed to run.
            Ok(watchdog::Adapter { powered, discovering: powered })
        };
        radio.station.watchdog.adapter(now, known);
    }
}

fn unreachable(radios: &mut [Radio], why: &str) {
    for radio in radios {
        radio.station.watchdog.adapter(Instant::now(), Err(format!("no Bluetooth: {why}")));
    }
}

/// Subscribes to an adapter's events.
async fn listen(radio: &mut Radio, index: usize, control: &Control, sender: &Events) {
    let Some(name) = &radio.name else { return };
    let Ok(Ok(adapter)) = timeout(CALL, control.adapter(name)).await else { return };
    let Ok(Ok(mut stream)) = timeout(CALL, adapter.events()).await else { return };
    if let Some(old) = radio.listener.take() {
        old.abort();
    }
    radio.adapter = Some(adapter);
    let (sender, counters) = (sender.clone(), Arc::clone(radio.station.sink.counters()));
    let receiver = radio.station.config.receiver.clone();
    radio.listener = Some(tokio::spawn(async move {
        while let Some(event) = stream.next().await {
            if sender.try_send((index, event)).is_err()
                && let Some(counters) = counters.get(&receiver)
            {
                counters.shed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }));
}

async fn take(radio: &mut Radio, event: CentralEvent) {
    match event {
        CentralEvent::ManufacturerDataAdvertisement { id, manufacturer_data } => {
            let mut manufacturer_data: Vec<_> = manufacturer_data.into_iter().collect();
            manufacturer_data.sort();
            radio.join.data(&id, AdvertisingData { manufacturer_data, service_data: Vec::new() });
        }
        CentralEvent::ServiceDataAdvertisement { id, service_data } => {
            let mut service_data: Vec<_> = service_data.into_iter().collect();
            service_data.sort();
            radio.join.data(&id, AdvertisingData { manufacturer_data: Vec::new(), service_data });
        }
        CentralEvent::RssiUpdate { id, rssi } => {
            let data = radio.join.rssi(&id);
            let Ok(rssi) = Rssi::new(f64::from(rssi)) else { return };
            let receiver = radio.station.config.receiver.clone();
            // Only Windows has the address, and says it in the id.
            let address = address(&id.to_string());
            let time = radio.station.sink.clock().now();
            radio.station.hear(Advertisement { time, receiver, address, rssi, data }, false, Instant::now());
        }
        CentralEvent::DeviceDiscovered(_) => {
            radio.strangers += 1;
            if radio.strangers >= CAPACITY
                && let Some(adapter) = &radio.adapter
            {
                radio.strangers = 0;
                let _ = timeout(CALL, adapter.clear_peripherals()).await;
            }
        }
        _ => {}
    }
}

fn address(id: &str) -> Option<crate::advert::Address> {
    let address: btleplug::api::BDAddr = id.parse().ok()?;
    Some(crate::advert::Address { bytes: address.into_inner(), random: None })
}
