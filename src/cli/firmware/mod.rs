//! `beaconfence firmware`.

mod plan;
mod render;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::client::Connect;
use crate::firmware::power::Battery;
use crate::firmware::{Interval, Settings, Target};
use crate::registry::Registry;

/// Makes what beacons and radios run, and chooses interval and power
///
/// The files are those of firmware-config/, filled in from the registry.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Render(render::Args),
    Plan(plan::Args),
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Render(args) => render::run(&args),
        Action::Plan(args) => plan::run(&args),
    }
}

/// Where the registry is.
#[derive(Debug, clap::Args)]
struct Source {
    /// A site directory, in place of a gateway
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "data_dir", "url"])]
    site: Option<PathBuf>,
    #[command(flatten)]
    connect: Connect,
}

impl Source {
    fn registry(&self) -> anyhow::Result<Arc<Registry>> {
        match &self.site {
            Some(dir) => {
                let (registry, warnings) = crate::config::load_site(dir)?;
                warnings.iter().for_each(|warning| tell!("{warning}"));
                Ok(Arc::new(registry))
            }
            None => Ok(super::export::read(&self.connect)?.0),
        }
    }
}

/// What is chosen.
#[derive(Debug, clap::Args)]
struct Choice {
    /// How often a beacon sends, from 20 to 10240 ms [default: 500]
    #[arg(long, value_name = "MS")]
    interval: Option<u32>,
    /// How strongly it sends; each radio has steps of its own
    #[arg(long, value_name = "DBM", allow_negative_numbers = true, default_value_t = Settings::USUAL_POWER)]
    tx_power: i8,
    /// What feeds it; aa are two of them [default: usb for esphome and linux, cr2032 otherwise]
    #[arg(long, value_parser = battery_parser())]
    battery: Option<Battery>,
}

impl Choice {
    fn settings(&self, target: Target) -> anyhow::Result<Settings> {
        let interval = self.interval.map_or(Ok(Interval::USUAL), Interval::new)?;
        Ok(Settings::new(target, interval, self.tx_power, self.battery)?)
    }
}

fn battery_parser() -> impl clap::builder::TypedValueParser<Value = Battery> {
    use clap::builder::TypedValueParser as _;
    let words = Battery::ALL.map(Battery::as_str);
    clap::builder::PossibleValuesParser::new(words)
        .try_map(|word| Battery::ALL.into_iter().find(|battery| battery.as_str() == word).ok_or("unknown"))
}

fn target_parser<const N: usize>(targets: [Target; N]) -> impl clap::builder::TypedValueParser<Value = Target> {
    use clap::builder::TypedValueParser as _;
    let words = targets.map(|target| clap::builder::PossibleValue::new(target.as_str()).help(target.description()));
    clap::builder::PossibleValuesParser::new(words)
        .try_map(|word| Target::ALL.into_iter().find(|target| target.as_str() == word).ok_or("unknown"))
}
