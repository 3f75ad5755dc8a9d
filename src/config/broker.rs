//! A broker's address.

use url::{Host, Url};

use super::text::short;

/// A broker's address, or what is wrong and what to do. Never quotes credentials.
pub(super) fn broker(text: &str) -> Result<Url, (String, String)> {
    let form = || "write mqtt://HOST:1883, or mqtts://HOST:8883 for TLS".to_owned();
    if text.contains('@') {
        return Err((
            "a broker's address holds credentials".to_owned(),
            "write username, and put the password into a file named by password_file".to_owned(),
        ));
    }
    let shown = short(text);
    let Some((scheme, _)) = text.split_once("://") else {
        return Err((format!("\"{shown}\" is no broker address"), form()));
    };
    if !matches!(scheme, "mqtt" | "mqtts") {
        return Err((format!("\"{shown}\" has the scheme \"{}\", which is not supported", short(scheme)), form()));
    }
    let url = Url::parse(text).map_err(|error| (format!("\"{shown}\" is no broker address: {error}"), form()))?;
    let host_is_good = match url.host() {
        Some(Host::Domain(name)) => {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
        Some(_) => true,
        None => false,
    };
    if !host_is_good {
        return Err((format!("\"{shown}\" names no host"), form()));
    }
    if url.port() == Some(0) {
        return Err((format!("\"{shown}\" has port 0"), form()));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err((format!("\"{shown}\" has something after host and port"), form()));
    }
    Ok(url)
}

/// Whether the broker is on this machine.
pub(super) fn is_local(broker: &Url) -> bool {
    match broker.host() {
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_addresses_are_hosts_with_ports_and_nothing_else() {
        for good in ["mqtt://h", "mqtt://h:1883", "mqtts://[::1]:8883", "mqtt://127.0.0.1", "mqtts://a-b.example"] {
            assert!(broker(good).is_ok(), "{good}");
        }
        for (bad, part) in [
            ("h:1883", "is no broker address"),
            ("http://h", "scheme \"http\""),
            ("mqtt://", "names no host"),
            ("mqtt://h:0", "port 0"),
            ("mqtt://h:70000", "invalid port"),
            ("mqtt://h/topic", "after host and port"),
            ("mqtt://h?x", "after host and port"),
            ("mqtt://[::1", "invalid IPv6"),
            ("mqtt://a b", "is no broker address"),
        ] {
            let (message, _) = broker(bad).unwrap_err();
            assert!(message.contains(part), "{bad}: {message}");
        }
    }

    #[test]
    fn credentials_in_an_address_are_refused_and_not_repeated() {
        let (message, help) = broker("mqtt://me:hunter2@h").unwrap_err();
        assert!(!message.contains("hunter2") && !help.contains("hunter2"));
    }
}
