//! Looks at everything that a gateway needs, and says what is wrong and what to do about it.
//!
//! Each family of checks has two halves: `probe` finds out facts, and `judge` says what they mean, without a machine. A
//! fault is named once: what cannot be looked at because of it is "not tried", with the same cause.
//!
//! Nothing is changed, and a gateway that runs is not disturbed: the lock of its data directory is not taken, its
//! client ids are not used, what it hears is asked of it. Two things are written, and taken away again: a small file in
//! the data directory, and messages on trial at the broker ([`broker::probe`]).

pub mod bluetooth;
pub mod broker;
pub mod clock;
pub mod config;
pub mod disk;
pub mod finding;
pub mod http;
pub mod memory;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::config::{AdapterConfig, Checked, GatewayConfig, check_to_run};
use crate::model::SiteId;
use crate::mqtt::{Settings, client_id};
use bluetooth::hearing;
use bluetooth::probe::System;
use broker::Account;
use broker::probe::OwnStatus;
use finding::{Check, Finding, Report};

/// How long anybody may take to answer one question.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is added to the gateway's client id.
const SUFFIX: &str = "-doctor";
/// A gateway that has just begun powers its adapters on, and starts its scans: it is looked at after that.
const AFTER_START: Duration = Duration::from_secs(5);

/// Asks the gateway that runs on a data directory for its status; none where none runs there.
pub type Ask = Arc<dyn Fn(&Path) -> Result<Option<Value>, String> + Send + Sync>;

/// What is to be looked at.
#[derive(Clone)]
pub struct Request {
    /// gateway.toml.
    pub config: PathBuf,
    /// Only these; all of them where this is empty.
    pub only: BTreeSet<Check>,
    /// How long to listen; not at all where it is zero.
    pub listen: Duration,
    /// How to ask the gateway that runs.
    pub ask: Ask,
}

impl Request {
    /// Whether it will be listened for a while.
    pub fn listens(&self) -> bool {
        self.wants(&[Check::Hearing]) && !self.listen.is_zero()
    }

    fn wants(&self, checks: &[Check]) -> bool {
        self.only.is_empty() || checks.iter().any(|check| self.only.contains(check))
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("config", &self.config).field("only", &self.only).finish_non_exhaustive()
    }
}

/// The gateway that runs on the data directory.
#[derive(Debug, Clone, Default)]
struct Running {
    /// Its process, where one runs.
    process: Option<u32>,
    /// Its status, where it could be asked.
    status: Option<Value>,
    /// This user may not see whether one runs.
    is_hidden: bool,
}

impl Running {
    fn own_status(&self, broker: &str) -> OwnStatus {
        let Some(status) = &self.status else {
            let may_run = self.process.is_some() || self.is_hidden;
            return if may_run { OwnStatus::Unknown } else { OwnStatus::Free };
        };
        let is_there = status["delivery"]["connected"] == true && status["delivery"]["broker"] == broker;
        if is_there {
            OwnStatus::Published(status["counters"]["states_refused"].as_u64().unwrap_or(0))
        } else {
            OwnStatus::Unknown
        }
    }
}

/// Looks at everything.
pub async fn examine(request: &Request) -> Report {
    let file = request.config.clone();
    let checked = tokio::task::spawn_blocking(move || check_to_run(&file)).await;
    let Ok(checked) = checked else { return Report::default() };
    let running = match &checked.gateway {
        Some(config) => running(&config.data_dir, &request.ask).await,
        None => Running::default(),
    };
    let (radios, brokers, machine, http) = tokio::join!(
        radios(request, checked.gateway.as_ref(), &running),
        brokers(request, &checked, &running),
        machine(request, checked.gateway.as_ref()),
        http(request, checked.gateway.as_ref(), &running),
    );
    let mut findings = config::judge(&request.config, &checked);
    findings.extend([radios, brokers, machine, http].into_iter().flatten());
    findings.retain(|finding| request.wants(&[finding.check]));
    Report::new(findings)
}

/// What can be said at once of a gateway that has just begun: what its own log does not say better. Nothing is
/// published, and nothing is listened for.
pub async fn at_start(config: GatewayConfig) {
    tokio::time::sleep(AFTER_START).await;
    let nobody: Ask = Arc::new(|_| Ok(None));
    let only = [
        Check::Dbus,
        Check::Bluetoothd,
        Check::Adapter,
        Check::Monitors,
        Check::Clock,
        Check::Disk,
        Check::DataDir,
        Check::Memory,
    ];
    let request = Request { config: PathBuf::new(), only: only.into(), listen: Duration::ZERO, ask: nobody };
    let running = Running::default();
    let (radios, machine) = tokio::join!(radios(&request, Some(&config), &running), machine(&request, Some(&config)));
    let found = Report::new(radios.into_iter().chain(machine).collect());
    for finding in found.findings().iter().filter(|finding| finding.is_trouble()) {
        let check = finding.check.as_str();
        tracing::warn!(check, "{}", finding.sentence());
    }
}

fn none_tried(checks: &[Check], cause: &'static str, why: &str) -> Vec<Finding> {
    checks.iter().map(|check| Finding::not_tried(*check, cause, why)).collect()
}

const NO_CONFIG: (&str, &str) = ("no-config", "gateway.toml cannot be used as it is");

async fn running(data_dir: &Path, ask: &Ask) -> Running {
    let mut running = Running::default();
    for socket in [crate::http::SOCKET, crate::gateway::control::SOCKET] {
        match tokio::net::UnixStream::connect(data_dir.join(socket)).await {
            Ok(stream) => {
                let pid = || u32::try_from(stream.peer_cred().ok()?.pid()?).ok();
                running.process = running.process.or_else(pid);
            }
            Err(error) => running.is_hidden |= error.kind() == std::io::ErrorKind::PermissionDenied,
        }
    }
    running.status = status(data_dir, ask).await;
    running
}

async fn status(data_dir: &Path, ask: &Ask) -> Option<Value> {
    let (data_dir, ask) = (data_dir.to_owned(), Arc::clone(ask));
    tokio::task::spawn_blocking(move || ask(&data_dir).ok().flatten()).await.ok().flatten()
}

async fn radios(request: &Request, config: Option<&GatewayConfig>, running: &Running) -> Vec<Finding> {
    if !request.wants(&bluetooth::CHECKS) {
        return Vec::new();
    }
    let entries = config.map(|config| config.adapters.as_slice()).unwrap_or_default();
    if config.is_some() && entries.is_empty() {
        let why = "gateway.toml names no [[adapter]]: this gateway hears nothing itself";
        return none_tried(&bluetooth::CHECKS, "no-adapter-named", why);
    }
    let facts = bluetooth::probe::probe().await;
    let mut findings = bluetooth::judge(&facts, entries);
    if config.is_none() {
        let of_system = [Check::Dbus, Check::Bluetoothd];
        findings.retain(|finding| of_system.contains(&finding.check));
        findings.extend(none_tried(&[Check::Adapter, Check::Monitors, Check::Hearing], NO_CONFIG.0, NO_CONFIG.1));
        return findings;
    }
    if let System::There(_, adapters) = &facts.system
        && request.wants(&[Check::Hearing])
    {
        findings.extend(hear(request, config, entries, adapters, running).await);
    }
    findings
}

async fn hear(
    request: &Request,
    config: Option<&GatewayConfig>,
    entries: &[AdapterConfig],
    adapters: &[bluetooth::probe::Adapter],
    running: &Running,
) -> Vec<Finding> {
    const CHECK: Check = Check::Hearing;
    if !request.listens() {
        return none_tried(&[CHECK], "not-asked", "it was not listened (--listen)");
    }
    let assigned = bluetooth::assigned(entries, adapters);
    let mut findings = Vec::new();
    let mut able = Vec::new();
    for (entry, adapter) in entries.iter().zip(assigned) {
        match adapter {
            Some(adapter) if adapter.powered => able.push((entry.receiver.clone(), adapter)),
            Some(_) => findings.push(
                Finding::not_tried(CHECK, "powered-off", "its adapter is powered off").of(entry.receiver.to_string()),
            ),
            None => findings
                .push(Finding::not_tried(CHECK, "no-adapter", "it has no adapter").of(entry.receiver.to_string())),
        }
    }
    let heard = match (&running.status, config) {
        (Some(before), Some(config)) => {
            tokio::time::sleep(request.listen).await;
            let after = status(&config.data_dir, &request.ask).await;
            let told = hearing::told(before, after.as_ref().unwrap_or(before));
            told.into_iter()
                .filter(|told| able.iter().any(|(receiver, _)| receiver.as_str() == told.receiver))
                .collect()
        }
        _ if able.is_empty() => Vec::new(),
        _ => hearing::listen(&able, request.listen).await,
    };
    findings.extend(heard.iter().map(hearing::judge));
    findings
}

async fn brokers(request: &Request, checked: &Checked, running: &Running) -> Vec<Finding> {
    if !request.wants(&broker::CHECKS) {
        return Vec::new();
    }
    let Some(config) = &checked.gateway else { return none_tried(&broker::CHECKS, NO_CONFIG.0, NO_CONFIG.1) };
    let site = site(checked, config, running).await;
    let own_id = match (&config.mqtt.client_id, &site) {
        (Some(id), _) => id.clone(),
        (None, Some(site)) => client_id(site, &config.id),
        // As near as it gets.
        (None, None) => format!("beaconfence-{}", config.id),
    };
    let settings = match Settings::new(&config.mqtt, own_id.clone()) {
        Ok(settings) => settings.with_suffix(SUFFIX),
        Err(error) => return none_tried(&broker::CHECKS, "no-settings", &error.to_string()),
    };
    let account = Account::new(&config.mqtt, (format!("{own_id}{SUFFIX}"), own_id));
    let connections = broker::probe::connections(&settings, &config.mqtt.brokers).await;
    let mut findings = broker::judge_connections(&connections, &account);
    let rights = [Check::Publish, Check::Subscribe];
    if !request.wants(&rights) {
        return findings;
    }
    let there = connections.iter().zip(settings.endpoints()).find(|(connection, _)| connection.outcome.is_ok());
    let Some((connection, endpoint)) = there else {
        findings.extend(none_tried(&rights, "no-broker", "no broker lets the gateway in"));
        return findings;
    };
    let Some(site) = site else {
        let why = if crate::store::is_there(&config.data_dir) {
            "the site's id, which stands in the topics, cannot be read in the data directory"
        } else {
            "the site's id, which stands in the topics, is not known until its files are mended"
        };
        findings.extend(none_tried(&rights, "no-site", why));
        return findings;
    };
    let own_status = running.own_status(&connection.host);
    let ids = (&site, &config.id);
    let tried = broker::probe::rights(&settings, endpoint, &connection.broker, ids, own_status).await;
    match tried {
        Ok(rights) => findings.extend(broker::judge_rights(&rights, &account)),
        Err(failure) => {
            let why = format!("the broker no longer lets the trial in: {failure}");
            findings.extend(none_tried(&rights, "no-broker", &why));
        }
    }
    findings
}

/// The site that the gateway serves, or will serve when it starts.
async fn site(checked: &Checked, config: &GatewayConfig, running: &Running) -> Option<SiteId> {
    if let Some(site) = running.status.as_ref().and_then(|status| status["site"].as_str()) {
        return site.parse().ok();
    }
    if let Some(registry) = &checked.registry {
        return Some(registry.site().id.clone());
    }
    if !crate::store::is_there(&config.data_dir) {
        return config.site.is_none().then(|| SiteId::new(config.id.as_str()).ok()).flatten();
    }
    // The copy beside the database can be read without its lock.
    let data_dir = config.data_dir.clone();
    let read = tokio::task::spawn_blocking(move || crate::registrar::copy::read(&data_dir).ok().flatten()).await;
    read.ok().flatten().map(|(view, _)| view.registry.site().id.clone())
}

async fn machine(request: &Request, config: Option<&GatewayConfig>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if request.wants(&[Check::Clock]) {
        let facts = clock::probe(config.map(|config| config.data_dir.as_path())).await;
        findings.push(clock::judge(&facts));
    }
    if request.wants(&[Check::Memory]) {
        findings.push(memory::judge(memory::probe()));
    }
    let of_disk = [Check::Disk, Check::DataDir];
    if !request.wants(&of_disk) {
        return findings;
    }
    let Some(config) = config else {
        findings.extend(none_tried(&of_disk, NO_CONFIG.0, NO_CONFIG.1));
        return findings;
    };
    let wanted = config.clone();
    // A disk that hangs must not hang this.
    let looked = tokio::time::timeout(PATIENCE * 2, tokio::task::spawn_blocking(move || disk::probe(&wanted))).await;
    match looked {
        Ok(Ok(Ok(facts))) => findings.extend([disk::judge_room(&facts), disk::judge_directory(&facts)]),
        Ok(Ok(Err(error))) => {
            let why = format!("{} cannot be looked at: {error}", config.data_dir.display());
            findings.extend(none_tried(&of_disk, "unknown", &why));
        }
        Ok(Err(_)) | Err(_) => {
            findings.extend([
                Finding::not_tried(Check::Disk, "no-answer", "the disk does not answer"),
                disk::hangs(config),
            ]);
        }
    }
    findings
}

async fn http(request: &Request, config: Option<&GatewayConfig>, running: &Running) -> Vec<Finding> {
    const CHECK: &[Check] = &[Check::Http];
    if !request.wants(CHECK) {
        return Vec::new();
    }
    let Some(config) = config else { return none_tried(CHECK, NO_CONFIG.0, NO_CONFIG.1) };
    if config.http.listen.is_empty() {
        return none_tried(CHECK, "switched-off", "listen in [http] is empty: there is to be no API and no web UI");
    }
    let (addresses, process) = (config.http.listen.clone(), running.process);
    let looked = tokio::task::spawn_blocking(move || {
        addresses.into_iter().map(|address| http::judge(&http::probe(address, process))).collect()
    });
    looked.await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_status_of_a_gateway_that_may_run_is_left_alone() {
        let nobody = Running::default();
        assert_eq!(nobody.own_status("b:1"), OwnStatus::Free);
        assert_eq!(Running { is_hidden: true, ..nobody.clone() }.own_status("b:1"), OwnStatus::Unknown);
        assert_eq!(Running { process: Some(7), ..nobody.clone() }.own_status("b:1"), OwnStatus::Unknown);
        let status = json!({"delivery": {"connected": true, "broker": "b:1"}, "counters": {"states_refused": 2}});
        let running = Running { process: Some(7), status: Some(status), is_hidden: false };
        assert_eq!(running.own_status("b:1"), OwnStatus::Published(2));
        assert_eq!(running.own_status("c:1"), OwnStatus::Unknown, "it is connected to another broker");
    }
}
