//! The command line: one file a command. Exit code 0 ok, 1 failure, 2 usage; errors go to stderr.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Writes a line to stderr, whether anybody reads it or not: a closed pipe or a full disk must not end the program.
macro_rules! tell {
    () => { tell!("") };
    ($($what:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($what)*);
    }};
}

mod apply;
mod backup;
mod beacon;
mod calibrate;
mod check;
mod client;
mod completions;
mod decode;
pub mod demo;
mod device;
mod doctor;
mod events;
mod export;
mod faults;
mod firmware;
mod history;
mod import;
mod level;
mod log;
mod man;
mod offline;
mod outbox;
mod plan;
mod progress;
mod receiver;
mod records;
mod reload;
mod replay;
mod restore;
mod run;
mod simulate;
mod site;
mod stop;
mod support_bundle;
mod table;
mod token;
mod trigger;
mod zone;

/// Hears Bluetooth LE beacons and publishes over MQTT who has come near what.
#[derive(Debug, Parser)]
#[command(name = "beaconfence", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(run::Args),
    Check(check::Args),
    Doctor(doctor::Args),
    Decode(decode::Args),
    Replay(replay::Args),
    Calibrate(calibrate::Args),
    Simulate(simulate::Args),
    Events(events::Args),
    Outbox(outbox::Args),
    Apply(apply::Args),
    Export(export::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    SupportBundle(support_bundle::Args),
    Site(site::Args),
    Level(level::Args),
    Receiver(receiver::Args),
    Zone(zone::Args),
    Device(device::Args),
    Beacon(beacon::Args),
    Trigger(trigger::Args),
    Firmware(firmware::Args),
    History(history::Args),
    Undo(history::UndoArgs),
    Token(token::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the program on the process's own arguments.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Decode(args) => decode::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Events(args) => events::run(args),
        Command::Outbox(args) => outbox::run(args),
        Command::Apply(args) => apply::run(args),
        Command::Export(args) => export::run(args),
        Command::Backup(args) => backup::run(args),
        Command::Restore(args) => restore::run(args),
        Command::SupportBundle(args) => support_bundle::run(args),
        Command::Site(args) => site::run(args),
        Command::Level(args) => level::run(args),
        Command::Receiver(args) => receiver::run(args),
        Command::Zone(args) => zone::run(args),
        Command::Device(args) => device::run(args),
        Command::Beacon(args) => beacon::run(args),
        Command::Trigger(args) => trigger::run(args),
        Command::Firmware(args) => firmware::run(args),
        Command::History(args) => history::run(args),
        Command::Undo(args) => history::undo(args),
        Command::Token(args) => token::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Each fault is a line that says where it is.
            if let Some(faults) = error.downcast_ref::<crate::config::Faults>() {
                tell!("{faults}");
            } else if let Some(refused) = error.downcast_ref::<client::Refused>() {
                tell!("{refused}");
            } else {
                tell!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The settings that are meant where none are named: those here, or else those of the installed package.
fn usual_settings() -> std::path::PathBuf {
    const INSTALLED: &str = "/etc/beaconfence/gateway.toml";
    let here = std::path::PathBuf::from("gateway.toml");
    let installed = std::path::PathBuf::from(INSTALLED);
    if !here.exists() && installed.exists() { installed } else { here }
}

/// A reader that has seen enough (`| head`) is no error.
fn quiet_when_nobody_reads(result: anyhow::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error)
            if error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) =>
        {
            Ok(())
        }
        result => result,
    }
}
