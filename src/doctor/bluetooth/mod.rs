//! The radios: the bus, `bluetoothd`, the adapters, their advertisement monitors, and what is heard.

pub mod hearing;
pub mod probe;

use super::finding::{Check, Finding, Remedy};
use crate::config::AdapterConfig;
use crate::source::ble::assign::{Present, address_text, assign};
use probe::{Adapter, Block, Daemon, Facts, System};

/// The checks of this family.
pub const CHECKS: [Check; 5] = [Check::Dbus, Check::Bluetoothd, Check::Adapter, Check::Monitors, Check::Hearing];

/// The adapter of each entry of gateway.toml, where there is one.
pub fn assigned<'a>(entries: &[AdapterConfig], adapters: &'a [Adapter]) -> Vec<Option<&'a Adapter>> {
    let present: Vec<Present> =
        adapters.iter().map(|adapter| Present { name: adapter.name.clone(), address: adapter.address }).collect();
    assign(entries, &present, &[]).into_iter().map(|at| at.map(|at| &adapters[at])).collect()
}

/// What all of that means, but for what is heard.
pub fn judge(facts: &Facts, entries: &[AdapterConfig]) -> Vec<Finding> {
    let (daemon, adapters) = match &facts.system {
        System::There(daemon, adapters) => (daemon, adapters),
        other => return unreachable(other, facts),
    };
    let mut findings = vec![
        Finding::ok(Check::Dbus, format!("{} may talk to bluetoothd", facts.user)),
        running(daemon, facts.installed.as_ref()),
    ];
    let assigned = assigned(entries, adapters);
    for (entry, adapter) in entries.iter().zip(&assigned) {
        let finding = match adapter {
            Some(adapter) => judge_adapter(adapter),
            None => missing(entry, adapters, &facts.kernel),
        };
        findings.push(finding.of(entry.receiver.to_string()));
    }
    findings.extend(judge_monitors(&assigned, daemon, facts.installed.as_ref()));
    findings
}

/// Where nothing further can be asked: why, and that the rest was not tried.
fn unreachable(system: &System, facts: &Facts) -> Vec<Finding> {
    let user = &facts.user;
    let (findings, cause, why) = match system {
        System::NoBus(error) => {
            let words = "Start the message bus; in a container, mount /run/dbus/system_bus_socket of the host";
            let message = format!("the system's D-Bus cannot be reached: {error}");
            let remedy = Remedy::new(words).command("systemctl status dbus");
            (
                vec![Finding::failed(Check::Dbus, "no-dbus", message, remedy)],
                "no-dbus",
                "the system's D-Bus cannot be reached",
            )
        }
        System::Denied(words) => {
            let message = format!("the D-Bus does not let the user {user} talk to bluetoothd (org.bluez)");
            let remedy = Remedy::new(format!(
                "Make {user} a member of the group bluetooth and start the gateway anew, or allow it \
                 send_destination=\"org.bluez\" in a policy file in /etc/dbus-1/system.d"
            ))
            .command(format!("sudo usermod -aG bluetooth {user}"));
            let finding = Finding::failed(Check::Dbus, "no-rights", message, remedy).fact("dbus_error", words.as_str());
            (vec![finding], "no-rights", "the D-Bus does not let this user talk to bluetoothd")
        }
        System::NoService => {
            let dbus = Finding::ok(Check::Dbus, "reached");
            let (message, remedy) = match &facts.installed {
                Some((_, version)) => (
                    format!("bluetoothd {version} is installed and does not run"),
                    Remedy::new("Start it").command("sudo systemctl enable --now bluetooth"),
                ),
                None => (
                    "bluetoothd does not run, and does not seem to be installed".to_owned(),
                    Remedy::new("Install BlueZ").command("sudo apt install bluez"),
                ),
            };
            let daemon = Finding::failed(Check::Bluetoothd, "not-running", message, remedy);
            (vec![dbus, daemon], "not-running", "bluetoothd does not run")
        }
        System::NoAnswer(error) => {
            let message = format!("bluetoothd does not answer: {error}");
            let remedy = Remedy::new("Start it anew").command("sudo systemctl restart bluetooth");
            let daemon = Finding::failed(Check::Bluetoothd, "no-answer", message, remedy);
            (vec![Finding::ok(Check::Dbus, "reached"), daemon], "no-answer", "bluetoothd does not answer")
        }
        System::There(..) => return Vec::new(),
    };
    let told: Vec<Check> = findings.iter().map(|finding| finding.check).collect();
    let rest = CHECKS.into_iter().filter(|check| !told.contains(check));
    let rest: Vec<Finding> = rest.map(|check| Finding::not_tried(check, cause, why)).collect();
    findings.into_iter().chain(rest).collect()
}

fn running(daemon: &Daemon, installed: Option<&(String, String)>) -> Finding {
    let experimental = daemon.is_experimental();
    let version = installed.filter(|(path, _)| daemon.command.first() == Some(path)).map(|(_, version)| version);
    let with = if experimental { ", with -E (experimental)" } else { "" };
    let message = match (version, daemon.command.first()) {
        (Some(version), _) => format!("runs: version {version}{with}"),
        (None, Some(program)) if !program.contains("bluetoothd") => {
            format!("answers, and is {program}, whose version is not known")
        }
        (None, _) => format!("runs{with}; its version is not known"),
    };
    let finding = Finding::ok(Check::Bluetoothd, message).fact("experimental", experimental);
    match version {
        Some(version) => finding.fact("version", version.as_str()),
        None => finding,
    }
}

fn named(adapter: &Adapter) -> String {
    match adapter.address {
        Some(address) => format!("{} ({})", adapter.name, address_text(address)),
        None => adapter.name.clone(),
    }
}

fn missing(entry: &AdapterConfig, adapters: &[Adapter], kernel: &[String]) -> Finding {
    use crate::config::AdapterName;
    const CHECK: Check = Check::Adapter;
    let wanted = match &entry.name {
        AdapterName::Name(name) => format!("there is no Bluetooth adapter {name}"),
        AdapterName::Address(address) => {
            format!("there is no Bluetooth adapter with the address {}", address_text(*address))
        }
        AdapterName::Any if adapters.is_empty() => "there is no Bluetooth adapter".to_owned(),
        AdapterName::Any => "there is no further Bluetooth adapter".to_owned(),
    };
    let finding = if !adapters.is_empty() {
        let there: Vec<String> = adapters.iter().map(named).collect();
        let words = "Plug it in, or write one that is there into [[adapter]] of gateway.toml";
        let message = format!("{wanted}; the system has {}", there.join(", "));
        Finding::failed(CHECK, "no-adapter", message, Remedy::new(words).command("bluetoothctl list"))
    } else if kernel.is_empty() {
        let words = "Plug one in; where one is in, the kernel's log says what it lacks, mostly firmware";
        let remedy = Remedy::new(words).command("sudo dmesg | grep -i -e bluetooth -e btusb -e firmware");
        Finding::failed(CHECK, "no-adapter", format!("{wanted}: the system has none"), remedy)
    } else {
        let message = format!("{wanted}: the kernel has {}, and bluetoothd does not know it", kernel.join(", "));
        let remedy = Remedy::new("Start bluetoothd anew; its log says why it did not take it")
            .command("sudo systemctl restart bluetooth; journalctl -u bluetooth -b | tail");
        Finding::failed(CHECK, "no-adapter", message, remedy)
    };
    finding.fact("present", adapters.iter().map(|adapter| adapter.name.clone()).collect::<Vec<_>>())
}

fn judge_adapter(adapter: &Adapter) -> Finding {
    const CHECK: Check = Check::Adapter;
    let name = named(adapter);
    let finding = if !adapter.powered {
        let (cause, message, remedy) = match adapter.block {
            Block::Hard => (
                "blocked",
                format!("{name} is powered off by a switch of the machine"),
                Remedy::new("Switch Bluetooth on at the machine, or in its firmware").command("rfkill list bluetooth"),
            ),
            Block::Soft => (
                "blocked",
                format!("{name} is powered off: rfkill blocks it"),
                Remedy::new("Unblock it").command("sudo rfkill unblock bluetooth"),
            ),
            Block::No => (
                "powered-off",
                format!("{name} is powered off"),
                Remedy::new("Power it on, as the gateway does when it starts").command("bluetoothctl power on"),
            ),
        };
        Finding::failed(CHECK, cause, message, remedy)
    } else if !adapter.roles.is_empty() && !adapter.roles.iter().any(|role| role.starts_with("central")) {
        let message =
            format!("{name} is powered, and cannot listen to Bluetooth LE (its roles: {})", adapter.roles.join(", "));
        let words =
            "Use an adapter of Bluetooth 4.0 or later; ControllerMode in /etc/bluetooth/main.conf may be dual or le";
        Finding::failed(CHECK, "no-le", message, Remedy::new(words))
    } else {
        let able = if adapter.roles.is_empty() { String::new() } else { format!("; LE {}", adapter.roles.join(", ")) };
        Finding::ok(CHECK, format!("{name} is there and powered{able}"))
    };
    let finding = finding
        .fact("adapter", adapter.name.as_str())
        .fact("powered", adapter.powered)
        .fact("roles", adapter.roles.clone());
    match adapter.address {
        Some(address) => finding.fact("address", address_text(address)),
        None => finding,
    }
}

fn judge_monitors(
    assigned: &[Option<&Adapter>],
    daemon: &Daemon,
    installed: Option<&(String, String)>,
) -> Vec<Finding> {
    const CHECK: Check = Check::Monitors;
    let adapters: Vec<&Adapter> = assigned.iter().copied().flatten().collect();
    if adapters.is_empty() {
        return vec![Finding::not_tried(CHECK, "no-adapter", "there is no adapter to have them on")];
    }
    let is_good = |adapter: &Adapter| {
        adapter
            .monitors
            .as_ref()
            .is_some_and(|types| types.is_empty() || types.iter().any(|kind| kind == "or_patterns"))
    };
    let names = |good: bool| -> Vec<&str> {
        adapters.iter().filter(|adapter| is_good(adapter) == good).map(|adapter| adapter.name.as_str()).collect()
    };
    let (with, without) = (names(true).join(", "), names(false).join(", "));
    let mut findings = Vec::new();
    if !with.is_empty() {
        let message = format!("to be had on {with}: every advertisement is heard");
        let offloads = adapters.iter().any(|adapter| adapter.offloads);
        findings.push(Finding::ok(CHECK, message).fact("adapters", with).fact("controller_patterns", offloads));
    }
    if !without.is_empty() {
        let message = format!(
            "bluetoothd offers no advertisement monitors on {without}: the scan is restarted every second, and each \
             beacon is heard about once a second"
        );
        let path = installed.map_or("/usr/libexec/bluetooth/bluetoothd", |(path, _)| path.as_str());
        let remedy = if daemon.is_experimental() {
            Remedy::new("It runs with -E already: install BlueZ 5.66 or later, and a kernel of the same age or newer")
        } else {
            Remedy::new(format!(
                "Start bluetoothd with -E (experimental): write, below [Service], the lines \"ExecStart=\" and \
                 \"ExecStart={path} -E\", as firmware-config/bluetooth.service.d has them"
            ))
            .command("sudo systemctl edit bluetooth && sudo systemctl restart bluetooth")
        };
        findings.push(Finding::warning(CHECK, "no-monitors", message, remedy).fact("adapters", without));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AdapterName;
    use crate::doctor::finding::Outcome;

    fn adapter(name: &str) -> Adapter {
        Adapter {
            name: name.to_owned(),
            address: Some([0, 1, 2, 3, 4, 5]),
            powered: true,
            roles: vec!["central".to_owned(), "peripheral".to_owned()],
            monitors: Some(vec!["or_patterns".to_owned()]),
            ..Adapter::default()
        }
    }

    fn facts(system: System) -> Facts {
        let installed = Some(("/usr/libexec/bluetooth/bluetoothd".to_owned(), "5.66".to_owned()));
        Facts { system, kernel: Vec::new(), installed, user: "bf".to_owned() }
    }

    fn there(adapters: Vec<Adapter>) -> Facts {
        facts(System::There(Daemon::default(), adapters))
    }

    fn entries() -> [AdapterConfig; 1] {
        [AdapterConfig { name: AdapterName::Name("hci0".to_owned()), receiver: "r1".parse().unwrap() }]
    }

    /// Of each check, what came of it.
    fn outcomes(facts: &Facts) -> Vec<(&'static str, Outcome, Option<&'static str>)> {
        judge(facts, &entries()).iter().map(|f| (f.check.as_str(), f.outcome, f.cause)).collect()
    }

    #[test]
    fn a_radio_in_good_order_has_nothing_to_say() {
        let found = outcomes(&there(vec![adapter("hci0")]));
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|(_, outcome, _)| *outcome == Outcome::Ok), "{found:?}");
    }

    #[test]
    fn without_rights_nothing_further_is_tried_and_the_reason_is_the_rights() {
        let found = outcomes(&facts(System::Denied("Rejected send message".to_owned())));
        assert_eq!(found[0], ("dbus", Outcome::Failed, Some("no-rights")));
        assert_eq!(found.len(), CHECKS.len());
        assert!(
            found[1..].iter().all(|(_, outcome, cause)| (*outcome, *cause) == (Outcome::NotTried, Some("no-rights")))
        );
        let first = judge(&facts(System::Denied(String::new())), &entries())[0].sentence();
        assert!(first.contains("the user bf") && first.contains("usermod -aG bluetooth bf"), "{first}");
    }

    #[test]
    fn a_daemon_that_does_not_run_is_told_from_one_that_hangs_and_from_no_bus() {
        let second = |system| outcomes(&facts(system))[1];
        assert_eq!(second(System::NoService), ("bluetoothd", Outcome::Failed, Some("not-running")));
        assert_eq!(second(System::NoAnswer("late".into())), ("bluetoothd", Outcome::Failed, Some("no-answer")));
        assert_eq!(second(System::NoBus("none".into())), ("bluetoothd", Outcome::NotTried, Some("no-dbus")));
    }

    #[test]
    fn a_missing_adapter_is_told_with_what_is_there_instead() {
        let none = judge(&there(Vec::new()), &entries());
        assert_eq!((none[2].outcome, none[2].cause), (Outcome::Failed, Some("no-adapter")));
        assert!(none[2].message.ends_with("hci0: the system has none"), "{}", none[2].message);
        assert_eq!(none[3].outcome, Outcome::NotTried);
        let other = judge(&there(vec![adapter("hci1")]), &entries());
        assert!(other[2].message.contains("the system has hci1 (00:01:02:03:04:05)"), "{}", other[2].message);
        let kernel = Facts { kernel: vec!["hci0".to_owned()], ..there(Vec::new()) };
        assert!(judge(&kernel, &entries())[2].message.contains("bluetoothd does not know it"));
    }

    #[test]
    fn an_adapter_that_is_off_says_who_switched_it_off() {
        let off = |block| Adapter { powered: false, block, ..adapter("hci0") };
        let of = |block| judge(&there(vec![off(block)]), &entries())[2].clone();
        assert_eq!((of(Block::No).outcome, of(Block::No).cause), (Outcome::Failed, Some("powered-off")));
        assert!(of(Block::No).sentence().ends_with("bluetoothctl power on"));
        assert!(of(Block::Soft).sentence().ends_with("rfkill unblock bluetooth"));
        assert_eq!(of(Block::Hard).cause, Some("blocked"));
        let classic = Adapter { roles: vec!["peripheral".to_owned()], ..adapter("hci0") };
        assert_eq!(judge(&there(vec![classic]), &entries())[2].cause, Some("no-le"));
    }

    #[test]
    fn without_monitors_the_gateway_works_and_says_what_is_lost() {
        let without = Adapter { monitors: None, ..adapter("hci0") };
        let finding = judge(&there(vec![without.clone()]), &entries()).pop().unwrap();
        assert_eq!((finding.outcome, finding.cause), (Outcome::Warning, Some("no-monitors")));
        let sentence = finding.sentence();
        assert!(sentence.contains("once a second") && sentence.contains("bluetoothd -E"), "{sentence}");
        let daemon = Daemon { command: vec!["bluetoothd".to_owned(), "-E".to_owned()] };
        let facts = facts(System::There(daemon, vec![without]));
        let sentence = judge(&facts, &entries()).pop().unwrap().sentence();
        assert!(sentence.contains("-E already"), "{sentence}");
    }

    #[test]
    fn the_version_is_that_of_the_program_that_runs() {
        let running = |program: &str| {
            let daemon = Daemon { command: vec![program.to_owned()] };
            judge(&facts(System::There(daemon, vec![adapter("hci0")])), &entries())[1].clone()
        };
        assert_eq!(running("/usr/libexec/bluetooth/bluetoothd").facts["version"], "5.66");
        assert!(running("/usr/bin/python3").message.contains("whose version is not known"));
    }
}
