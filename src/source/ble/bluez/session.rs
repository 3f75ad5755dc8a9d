//! One connection to the bus, from its opening to its loss.

use std::collections::{BTreeMap, HashMap};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zbus::message::{Flags, Type};
use zbus::{Connection, Message, MessageStream};

use super::monitor::{self, Called};
use super::radio::Radio;
use super::signal::{self, AdapterProperties, DeviceProperties, Told};
use crate::source::ble::Shutdown;
use crate::source::ble::assign::{Present, assign, missing};
use crate::source::ble::control::{Control, ControlError};
use crate::source::ble::freshness::Freshness;
use crate::source::ble::watchdog::{self, Adapter};

/// Messages that may wait for us. While more are there the bus keeps them, and the lag shows.
const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// Time to put a message onto the socket.
const SEND: Duration = Duration::from_secs(5);

/// Time for the calls at shutdown, all together.
const FAREWELL: Duration = Duration::from_millis(1500);

/// What we asked and are not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    /// To be told of signals, or to lose a monitor: the answer does not matter unless it is an error.
    Request,
    /// Who `bluetoothd` is.
    Owner,
    /// Which adapters and devices there are.
    Objects,
    /// Whether it answers.
    Ping,
    /// To use our monitor on the adapter at that path.
    Monitor(String),
}

/// What a message was.
enum Received {
    Advertisement,
    News,
}

/// Why a session ended.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to.
    Shutdown,
    /// The connection was lost.
    Lost(String),
}

/// A connection, and what is known through it.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    stream: MessageStream,
    asked: HashMap<NonZeroU32, Question>,
    /// Who `bluetoothd` is on the bus.
    owner: Option<String>,
    adapters: BTreeMap<String, AdapterProperties>,
    freshness: Freshness,
    /// Adapters that no entry names and that were mentioned already.
    ignored: Vec<String>,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// Where the bus cannot be reached.
    pub async fn open() -> zbus::Result<Self> {
        let connection = zbus::connection::Builder::system().max_queued(QUEUE).build().await?;
        let stream = MessageStream::from(&connection);
        let mut session = Self {
            connection,
            stream,
            asked: HashMap::new(),
            owner: None,
            adapters: BTreeMap::new(),
            freshness: Freshness::new(Instant::now()),
            ignored: Vec::new(),
        };
        for rule in signal::MATCHES {
            let add = bus_call("AddMatch").build(&rule)?;
            session.ask(&add, Question::Request).await?;
        }
        let who = bus_call("GetNameOwner").build(&signal::SERVICE)?;
        session.ask(&who, Question::Owner).await?;
        Ok(session)
    }

    /// Runs until shutdown, or until the connection is lost.
    pub async fn run(mut self, radios: &mut [Radio], control: &Arc<Control>, shutdown: &mut Shutdown) -> Ended {
        let mut actions = JoinSet::new();
        let mut tick = tokio::time::interval(watchdog::TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let now = Instant::now();
        for radio in radios.iter_mut() {
            radio.station.watchdog.bus(now, Ok(()));
            radio.path = None;
        }
        let ended = loop {
            let received = tokio::select! {
                () = shutdown.requested() => break Ended::Shutdown,
                message = self.stream.next() => match message {
                    Some(Ok(message)) => match self.receive(&message, radios).await {
                        // Nothing else follows from an advertisement, and there are many.
                        Ok(Received::Advertisement) => continue,
                        Ok(Received::News) => Ok(()),
                        Err(error) => Err(error),
                    },
                    Some(Err(error)) => Err(error),
                    None => break Ended::Lost("the connection was closed".to_owned()),
                },
                Some(done) = actions.join_next() => {
                    if let Ok((index, result)) = done {
                        finish(&mut radios[index], result);
                    }
                    Ok(())
                }
                _ = tick.tick() => Ok(()),
            };
            let result = match received {
                Ok(()) => self.drive(radios, control, &mut actions).await,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                break Ended::Lost(error.to_string());
            }
        };
        actions.abort_all();
        for radio in radios.iter_mut() {
            radio.station.unfiltered(false);
        }
        if matches!(ended, Ended::Shutdown) {
            let _ = timeout(FAREWELL, self.farewell(radios, control)).await;
        }
        super::close(self.connection).await;
        ended
    }

    async fn receive(&mut self, message: &Message, radios: &mut [Radio]) -> zbus::Result<Received> {
        let now = Instant::now();
        match message.message_type() {
            Type::Signal => match signal::signal(message, self.owner.as_deref()) {
                Some(Told::Device(device)) => {
                    self.device(device, true, now, radios);
                    return Ok(Received::Advertisement);
                }
                Some(told) => self.take(told, true, now, radios).await?,
                None => {}
            },
            Type::MethodReturn | Type::Error => {
                let question = message.header().reply_serial().and_then(|serial| self.asked.remove(&serial));
                if let Some(question) = question {
                    self.answered(question, message, now, radios).await?;
                }
            }
            Type::MethodCall => {
                if let Some((called, answer)) = monitor::answer(message) {
                    match called {
                        Called::Activated(name) => {
                            for_adapter(radios, &name, |radio| radio.monitor.activated());
                        }
                        Called::Released(name) => {
                            for_adapter(radios, &name, |radio| radio.monitor.released(now));
                        }
                        Called::Other => {}
                    }
                    if !message.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED) {
                        self.send(&answer?).await?;
                    }
                }
            }
        }
        Ok(Received::News)
    }

    async fn answered(
        &mut self,
        question: Question,
        message: &Message,
        now: Instant,
        radios: &mut [Radio],
    ) -> zbus::Result<()> {
        let refused = message.message_type() == Type::Error;
        match question {
            Question::Request if refused => return Err(message.clone().into()),
            Question::Request => {}
            Question::Owner => {
                // An error says that there is none.
                let owner = message.body().deserialize::<&str>().ok().filter(|_| !refused).map(str::to_owned);
                self.take(Told::Owner(owner), false, now, radios).await?;
            }
            Question::Objects => {
                for told in signal::objects(message).unwrap_or_default() {
                    self.take(told, false, now, radios).await?;
                }
                self.assign(radios, now);
            }
            Question::Ping => self.freshness.answered(now),
            Question::Monitor(path) => {
                if refused {
                    let name = message.header().error_name().map(ToString::to_string).unwrap_or_default();
                    tracing::debug!(path, name, "the advertisement monitor was refused");
                    for_adapter(radios, signal::adapter_name(&path), |radio| radio.monitor.refused(now));
                }
            }
        }
        Ok(())
    }

    /// Takes note of what was told: `live` where it happened now, else it was so when we asked.
    async fn take(&mut self, told: Told, live: bool, now: Instant, radios: &mut [Radio]) -> zbus::Result<()> {
        match told {
            Told::Owner(owner) => {
                self.adapters.clear();
                self.owner = owner;
                for radio in radios.iter_mut() {
                    radio.path = None;
                    radio.station.watchdog.service(now, self.owner.is_some());
                    radio.monitor.released(now);
                }
                if self.owner.is_some() {
                    let objects =
                        service_call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects").build(&())?;
                    self.ask(&objects, Question::Objects).await?;
                }
            }
            Told::Adapter(path, changed) => {
                let adapter = self.adapters.entry(path).or_default();
                adapter.address = changed.address.or(adapter.address);
                adapter.powered = changed.powered.or(adapter.powered);
                adapter.discovering = changed.discovering.or(adapter.discovering);
                if live {
                    self.assign(radios, now);
                }
            }
            Told::AdapterGone(path) => {
                self.adapters.remove(&path);
                self.assign(radios, now);
            }
            Told::Device(device) => self.device(device, live, now, radios),
        }
        Ok(())
    }

    fn device(&self, device: DeviceProperties, live: bool, now: Instant, radios: &mut [Radio]) {
        let Some(radio) = radios.iter_mut().find(|radio| radio.path.as_ref() == Some(&device.adapter)) else {
            return;
        };
        if live && device.rssi.is_some() {
            radio.hear(device, self.freshness.is_stale(now), now);
        } else {
            radio.known.learn(device.address, device.random, &device.data);
        }
    }

    /// Matches the adapters with the entries, and tells the watchdogs.
    fn assign(&mut self, radios: &mut [Radio], now: Instant) {
        let present: Vec<(&String, Present)> = self
            .adapters
            .iter()
            .map(|(path, adapter)| {
                (path, Present { name: signal::adapter_name(path).to_owned(), address: adapter.address })
            })
            .collect();
        let (paths, present): (Vec<&String>, Vec<Present>) = present.into_iter().unzip();
        let entries: Vec<_> = radios.iter().map(|radio| radio.station.config.clone()).collect();
        let had: Vec<_> = radios.iter().map(|radio| radio.name().map(str::to_owned)).collect();
        let assigned = assign(&entries, &present, &had);
        for (radio, index) in radios.iter_mut().zip(&assigned) {
            let path = index.map(|index| paths[index].clone());
            if radio.path != path {
                if radio.path.is_some() && path.is_some() {
                    radio.station.watchdog.replaced(now);
                }
                radio.monitor.released(now);
                radio.path.clone_from(&path);
            }
            let adapter = path.as_ref().and_then(|path| self.adapters.get(path));
            let known = match adapter {
                Some(adapter) => Ok(Adapter {
                    powered: adapter.powered.unwrap_or(false),
                    discovering: adapter.discovering.unwrap_or(false),
                }),
                None => Err(missing(&radio.station.config, &present)),
            };
            radio.station.watchdog.adapter(now, known);
        }
        for (index, adapter) in present.iter().enumerate() {
            if !assigned.contains(&Some(index)) && !self.ignored.contains(&adapter.name) {
                tracing::info!(
                    adapter = adapter.name,
                    "this adapter is not used: no [[adapter]] of gateway.toml names it"
                );
                self.ignored.push(adapter.name.clone());
            }
        }
    }

    /// Does what is due.
    async fn drive(
        &mut self,
        radios: &mut [Radio],
        control: &Arc<Control>,
        actions: &mut JoinSet<(usize, Result<(), ControlError>)>,
    ) -> zbus::Result<()> {
        let now = Instant::now();
        if self.owner.is_some() && self.freshness.due(now) {
            let ping = service_call("/", "org.freedesktop.DBus.Peer", "Ping").build(&())?;
            self.freshness.asked(now);
            self.ask(&ping, Question::Ping).await?;
        }
        let deaf = self.freshness.is_deaf(now);
        for (index, radio) in radios.iter_mut().enumerate() {
            radio.station.watchdog.answers(!deaf);
            radio.station.lag(self.freshness.lag(now));
            radio.watch_monitor(now);
            if let Some(path) = radio.path.clone() {
                let powered = self.adapters.get(&path).is_some_and(|adapter| adapter.powered == Some(true));
                if powered && radio.monitor.due(now) {
                    radio.monitor.asked(now);
                    let register = monitor::register(&path, true)?;
                    self.ask(&register, Question::Monitor(path.clone())).await?;
                }
                if let Some(action) = radio.station.act(now) {
                    let (control, name) = (control.clone(), signal::adapter_name(&path).to_owned());
                    actions.spawn(async move { (index, control.perform(action, &name).await) });
                }
            }
            radio.station.report(now).await;
        }
        Ok(())
    }

    async fn farewell(&mut self, radios: &[Radio], control: &Control) {
        for radio in radios {
            let Some(path) = &radio.path else { continue };
            control.stop(signal::adapter_name(path)).await;
            if let Ok(unregister) = monitor::register(path, false) {
                let _ = self.connection.send(&unregister).await;
            }
        }
    }

    async fn ask(&mut self, message: &Message, question: Question) -> zbus::Result<()> {
        self.asked.insert(message.primary_header().serial_num(), question);
        self.send(message).await
    }

    async fn send(&self, message: &Message) -> zbus::Result<()> {
        timeout(SEND, self.connection.send(message)).await.map_err(|_| stuck())?
    }
}

fn finish(radio: &mut Radio, result: Result<(), ControlError>) {
    if let Err(error) = &result {
        tracing::debug!(receiver = %radio.station.config.receiver, %error, "the scan was not started");
    }
    radio.station.watchdog.done(Instant::now(), result.map_err(|error| error.to_string()));
}

fn for_adapter(radios: &mut [Radio], name: &str, change: impl Fn(&mut Radio)) {
    radios.iter_mut().filter(|radio| radio.name() == Some(name)).for_each(change);
}

fn bus_call(member: &'static str) -> zbus::message::Builder<'static> {
    let bus = "org.freedesktop.DBus";
    Message::method_call("/org/freedesktop/DBus", member).destination(bus).interface(bus)
}

/// A call to `bluetoothd` that does not start it: who stopped it had a reason.
fn service_call(path: &'static str, interface: &'static str, member: &'static str) -> zbus::message::Builder<'static> {
    Message::method_call(path, member)
        .with_flags(Flags::NO_AUTO_START)
        .destination(signal::SERVICE)
        .interface(interface)
}

fn stuck() -> zbus::Error {
    zbus::Error::Failure("the bus takes no message within 5 s".to_owned())
}
