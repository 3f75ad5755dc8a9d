//! The addresses of the API and the web UI: free, the gateway's own, or somebody else's.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::finding::{Check, Finding, Remedy};

/// What is known of one address.
#[derive(Debug)]
pub struct Facts {
    /// The address.
    pub address: SocketAddr,
    /// What came of listening there for a moment.
    pub listened: io::Result<()>,
    /// Who listens there, where that can be seen.
    pub owner: Option<Owner>,
    /// The process of the gateway that runs on the data directory, where one does.
    pub gateway: Option<u32>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// Listens there for a moment; where somebody else does, finds out who.
pub fn probe(address: SocketAddr, gateway: Option<u32>) -> Facts {
    let listened = std::net::TcpListener::bind(address).map(drop);
    let taken = listened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    Facts { address, owner: taken.then(|| owner(address)).flatten(), listened, gateway }
}

/// Linux says which socket listens where, and which process has which socket, as far as this user may know.
fn owner(address: SocketAddr) -> Option<Owner> {
    let inodes: BTreeSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .flat_map(|text| listening(&text, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.filter_map(Result::ok).find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut files = std::fs::read_dir(process.path().join("fd")).ok()?.filter_map(Result::ok);
        let has = |file: std::fs::DirEntry| {
            std::fs::read_link(file.path()).is_ok_and(|to| to.to_str().is_some_and(|to| inodes.contains(to)))
        };
        if !files.any(has) {
            return None;
        }
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default().trim().to_owned();
        Some(Owner { pid, name })
    })
}

/// The inodes of the sockets in a table of `/proc/net` that listen on this address, or on all with its port.
fn listening(table: &str, address: SocketAddr) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (ip, port) = fields.get(1)?.split_once(':')?;
        let ip = ip_of(ip)?;
        let same = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
        let port = u16::from_str_radix(port, 16).ok()?;
        (*fields.get(3)? == LISTEN && same && port == address.port()).then(|| fields.get(9)?.parse().ok()).flatten()
    };
    table.lines().filter_map(line).collect()
}

/// An address as the kernel prints it: words in the order of the machine's bytes.
fn ip_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).to_canonical())
        }
        _ => None,
    }
}

/// What that means.
pub fn judge(facts: &Facts) -> Finding {
    const CHECK: Check = Check::Http;
    let (address, port) = (facts.address, facts.address.port());
    let finding = match (&facts.listened, &facts.owner, facts.gateway) {
        (Ok(()), _, None) => Finding::ok(CHECK, "free"),
        (Ok(()), _, Some(pid)) => Finding::warning(
            CHECK,
            "not-served",
            format!("free, but a gateway runs (process {pid}) and does not listen there"),
            Remedy::new(
                "Restart it, if gateway.toml was changed since it began; where an address becomes free, it listens \
                 there within 10 s by itself",
            ),
        ),
        (Err(error), owner, gateway) if error.kind() == io::ErrorKind::AddrInUse => match (owner, gateway) {
            (Some(owner), Some(pid)) if owner.pid == pid => {
                return Finding::ok(CHECK, format!("the gateway that runs (process {pid}) listens there"))
                    .of(address.to_string())
                    .fact("pid", owner.pid);
            }
            (owner, _) => {
                let who = match owner {
                    Some(Owner { pid, name }) if name == "beaconfence" => {
                        format!("another gateway or demo, beaconfence (process {pid})")
                    }
                    Some(Owner { pid, name }) => format!("another program, {name} (process {pid})"),
                    None if gateway.is_some() => "a program of another user, or the gateway that runs".to_owned(),
                    None => "another program, or by a gateway that another user runs".to_owned(),
                };
                let words = "End that program, or give the gateway another port with listen in [http] of gateway.toml";
                let command = format!("sudo ss -ltnp 'sport = :{port}'");
                let finding = Finding::failed(
                    CHECK,
                    "port-taken",
                    format!("the port is taken by {who}: no API and no web UI there"),
                    Remedy::new(words).command(command),
                );
                match owner {
                    Some(owner) => finding.fact("pid", owner.pid).fact("program", owner.name.as_str()),
                    None => finding,
                }
            }
        },
        (Err(error), ..) if error.kind() == io::ErrorKind::AddrNotAvailable => Finding::failed(
            CHECK,
            "no-such-address",
            format!("this machine does not have the address {}", address.ip()),
            Remedy::new("Write one that it has into listen in [http] of gateway.toml").command("ip -br address"),
        ),
        (Err(error), ..) if error.kind() == io::ErrorKind::PermissionDenied => Finding::failed(
            CHECK,
            "port-forbidden",
            format!("this user may not listen on port {port}"),
            Remedy::new(
                "Write a port from 1024 on into listen in [http], or give the gateway's unit \
                 AmbientCapabilities=CAP_NET_BIND_SERVICE",
            ),
        ),
        (Err(error), ..) => {
            let words = "Write another address into listen in [http] of gateway.toml";
            Finding::failed(CHECK, "no-listener", format!("it cannot be listened there: {error}"), Remedy::new(words))
        }
    };
    finding.of(address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Outcome;

    fn facts(listened: io::Result<()>, owner: Option<(u32, &str)>, gateway: Option<u32>) -> Facts {
        let owner = owner.map(|(pid, name)| Owner { pid, name: name.to_owned() });
        Facts { address: "127.0.0.1:8090".parse().unwrap(), listened, owner, gateway }
    }

    fn taken() -> io::Result<()> {
        Err(io::ErrorKind::AddrInUse.into())
    }

    #[test]
    fn a_port_is_free_or_the_gateways_own_or_somebody_elses() {
        let judged = |facts: Facts| (judge(&facts).outcome, judge(&facts).cause);
        assert_eq!(judged(facts(Ok(()), None, None)), (Outcome::Ok, None));
        assert_eq!(judged(facts(taken(), Some((7, "beaconfence")), Some(7))), (Outcome::Ok, None));
        for other in [Some((8, "beaconfence")), Some((8, "nginx")), None] {
            assert_eq!(judged(facts(taken(), other, None)), (Outcome::Failed, Some("port-taken")));
            assert_eq!(judged(facts(taken(), other, Some(7))), (Outcome::Failed, Some("port-taken")));
        }
        assert_eq!(judged(facts(Ok(()), None, Some(7))), (Outcome::Warning, Some("not-served")));
        let denied = facts(Err(io::ErrorKind::PermissionDenied.into()), None, None);
        assert_eq!(judged(denied), (Outcome::Failed, Some("port-forbidden")));
    }

    #[test]
    fn who_has_the_port_is_named() {
        let sentence = judge(&facts(taken(), Some((8, "nginx")), None)).sentence();
        assert!(sentence.contains("another program, nginx (process 8)"), "{sentence}");
        assert!(sentence.contains("listen in [http]") && sentence.contains(":8090'"), "{sentence}");
    }

    #[test]
    fn the_listener_of_this_very_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let facts = probe(listener.local_addr().unwrap(), None);
        assert!(facts.listened.is_err());
        assert_eq!(facts.owner.unwrap().pid, std::process::id());
    }

    #[test]
    fn addresses_are_read_as_the_kernel_prints_them() {
        let native = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let v4 = native([127, 0, 0, 1]);
        assert_eq!(ip_of(&v4), Some(Ipv4Addr::LOCALHOST.into()));
        let v6 = format!("{0}{0}{0}{1}", native([0; 4]), native([0, 0, 0, 1]));
        assert_eq!(ip_of(&v6), Some(Ipv6Addr::LOCALHOST.into()));
        let table = format!(
            "sl local\n 0: {v4}:1F9A 00000000:0000 0A 0:0 0:0 0 0 0 4711 1\n 1: {v4}:1F9A 0:0 01 0:0 0:0 0 0 0 5 1"
        );
        assert_eq!(listening(&table, "127.0.0.1:8090".parse().unwrap()), [4711]);
    }
}
