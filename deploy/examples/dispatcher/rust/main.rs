//! The reference dispatcher in Rust: takes triggers from the broker and sends messages, each once, none late. It does what the
//! one in Python beside it does, with the same arguments, files of words and metrics; see README.md there.
//!
//! `cargo run --example dispatcher -- --broker mqtt://localhost --channel '*=console'`

mod aside;
mod broker;
mod channel;
mod dispatch;
mod metrics;
mod seen;
mod templates;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use broker::{Broker, Incoming, Settings};
use channel::Channels;
use dispatch::{Dispatcher, Halt};
use metrics::Metrics;

/// Takes triggers from the broker and sends messages: each once, none late.
#[derive(Debug, Parser)]
#[command(name = "dispatcher", args_override_self = true)]
struct Arguments {
    /// Where the broker is: `mqtt://HOST[:PORT]`, or `mqtts://` with TLS
    #[arg(long, default_value = "mqtt://localhost")]
    broker: url::Url,
    /// Name at the broker
    #[arg(long)]
    username: Option<String>,
    /// File with the password at the broker
    #[arg(long, requires = "username")]
    password_file: Option<PathBuf>,
    /// File with the certificates to trust, PEM; without it the system's
    #[arg(long)]
    tls_ca: Option<PathBuf>,
    /// What all topics begin with
    #[arg(long, default_value = "beaconfence/v1")]
    prefix: String,
    /// The store, or + for all of them
    #[arg(long, default_value = "+")]
    site: String,
    /// Seconds for which the broker keeps what is for us while we are away
    #[arg(long, default_value_t = 604_800)]
    session_expiry: u32,
    /// A name of its own for each dispatcher, the same after a restart
    #[arg(long, default_value = "dispatcher-1")]
    client_id: String,
    /// The shared subscription: those of one group share the triggers
    #[arg(long, default_value = "dispatchers")]
    group: String,
    /// Where messages go that name this channel; NAME * takes all others
    #[arg(long = "channel", value_name = "NAME=console|NAME=webhook:URL", default_value = "*=console")]
    channels: Vec<String>,
    /// File that remembers what was delivered; those on one machine may share it
    #[arg(long, default_value = "dispatcher.jsonl")]
    state: PathBuf,
    /// File for what nobody can act on
    #[arg(long, default_value = "aside.jsonl")]
    aside: PathBuf,
    /// Days for which ids and keys are remembered
    #[arg(long, default_value_t = 14)]
    remember_days: u32,
    /// The words, by campaign
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/dispatcher/python/templates.json"))]
    templates: PathBuf,
    /// The schema of triggers
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas/trigger.json"))]
    schema: PathBuf,
    /// Loopback port for Prometheus; 0 takes a free one, -1 none
    #[arg(long, default_value_t = 9464, allow_negative_numbers = true)]
    metrics_port: i32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dispatcher: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let tls = channel::tls(arguments.tls_ca.as_deref())?;
    let channels = Channels::new(&arguments.channels, &tls)?;
    let metrics = Arc::new(Metrics::default());
    if let Ok(port) = u16::try_from(arguments.metrics_port) {
        let port = Arc::clone(&metrics).serve(port).await.context("cannot serve the metrics")?;
        eprintln!("metrics: http://127.0.0.1:{port}/metrics");
    }
    let remember = Duration::from_secs(u64::from(arguments.remember_days) * 86_400);
    let mut dispatcher = Dispatcher {
        validator: dispatch::validator(&arguments.schema)?,
        templates: templates::Templates::read(&arguments.templates)?,
        channels,
        seen: seen::Seen::open(&arguments.state, &arguments.client_id, remember)?,
        aside: aside::Aside::new(arguments.aside),
        metrics: Arc::clone(&metrics),
    };
    let settings = Settings {
        url: arguments.broker,
        client_id: arguments.client_id,
        topic: format!("$share/{}/{}/{}/triggers/#", arguments.group, arguments.prefix, arguments.site),
        session_expiry: arguments.session_expiry,
        login: match (arguments.username, arguments.password_file) {
            (None, _) => None,
            (Some(name), None) => Some((name, String::new())),
            (Some(name), Some(path)) => {
                let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                Some((name, text.trim_end_matches('\n').to_owned()))
            }
        },
        tls,
    };
    let (stopping, stop) = watch::channel(false);
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
        stopping.send_replace(true);
        // Until it has ended.
        stopping.closed().await;
    });
    let mut wait = Duration::from_secs(1);
    while !*stop.borrow() {
        if connection(&settings, &mut dispatcher, stop.clone(), &metrics).await? {
            wait = Duration::from_secs(1);
        }
        metrics.set("dispatcher_connected", 0.0);
        let mut stop = stop.clone();
        let _ = tokio::time::timeout(wait, stop.wait_for(|stop| *stop)).await;
        wait = (2 * wait).min(Duration::from_secs(30));
    }
    Ok(())
}

/// One connection, to its end. Whether there was one.
async fn connection(
    settings: &Settings,
    dispatcher: &mut Dispatcher,
    mut stop: watch::Receiver<bool>,
    metrics: &Metrics,
) -> Result<bool> {
    let mut broker = Broker::connect(settings)?;
    let mut connected = false;
    loop {
        let incoming = tokio::select! {
            incoming = broker.next() => incoming,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match incoming {
            Incoming::Connected { session_present } => {
                connected = true;
                metrics.set("dispatcher_connected", 1.0);
                eprintln!("connected{}", if session_present { "" } else { ", to a new session" });
                broker.subscribe(&settings.topic).await;
            }
            Incoming::Refused(reason) => bail!("the broker refuses the subscription {}: {reason}", settings.topic),
            Incoming::Message(message) => {
                metrics.add("dispatcher_received_total", &[]);
                metrics.set("dispatcher_waiting", broker.waiting() as f64);
                // What came over a connection that is lost comes again over the next one.
                let mut halt = Halt::new(stop.clone(), broker.lost());
                if halt.is_on() && dispatcher.handle(&message.topic, &message.payload, &mut halt).await? {
                    broker.acknowledge(message).await;
                }
            }
            Incoming::Lost(reason) => {
                eprintln!("no connection: {reason}");
                return Ok(connected);
            }
        }
    }
    broker.disconnect().await;
    Ok(connected)
}
