//! Which host a request is for, and which page it comes from.
//!
//! A foreign page can have a name of its own point at this gateway (DNS rebinding), and can make the browser send requests with
//! the session's cookie. The first is known by the name in `Host`, the second by `Origin`.

use std::net::IpAddr;

use axum::http::Uri;
use axum::http::header::{HOST, HeaderMap, ORIGIN};

use super::extract::header;
use super::peer::Peer;
use super::problem::{Kind, Problem};

/// Which host the request names, with its port; none where it names none, or more than one.
pub fn named(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    if headers.get_all(HOST).iter().count() > 1 {
        return None;
    }
    let host = header(headers, HOST).map(str::to_owned);
    let host = uri.authority().map(|authority| authority.as_str().to_owned()).or(host)?;
    (!host.contains('@')).then(|| host.to_ascii_lowercase())
}

/// Whether the request is for this gateway.
///
/// # Errors
/// 421 where it is for somebody else.
pub fn check(headers: &HeaderMap, uri: &Uri, peer: &Peer, names: &[String]) -> Result<(), Problem> {
    let Peer::Tcp { local, .. } = peer else { return Ok(()) };
    let detail = match named(headers, uri) {
        Some(host) if is_ours(without_port(&host), local.ip(), names) => return Ok(()),
        Some(host) => {
            let host: String = host.chars().take(100).collect();
            format!("\"{host}\" is not known as a name of this gateway; add it to names in [http] of gateway.toml")
        }
        None => "the request names no host".to_owned(),
    };
    Err(Problem::new(Kind::WrongHost, detail))
}

fn is_ours(host: &str, local: IpAddr, names: &[String]) -> bool {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return address.to_canonical() == local.to_canonical() || address.to_canonical().is_loopback();
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost") || names.iter().any(|name| name == host)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            // What follows the last colon of a bare IPv6 address is no port.
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

/// Whether the request comes from a page of this gateway. A proxy in front may speak TLS where this gateway does not.
///
/// # Errors
/// 403 where it comes from elsewhere, or does not say so and `must_say`.
pub fn check_origin(headers: &HeaderMap, uri: &Uri, peer: &Peer, must_say: bool) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else {
        let detail = "a change with the session's cookie needs an Origin; programs use a token";
        return if must_say { Err(Problem::new(Kind::Forbidden, detail)) } else { Ok(()) };
    };
    let host = named(headers, uri).unwrap_or_default();
    let origin = origin.to_str().unwrap_or("").to_ascii_lowercase();
    let is_own = origin == format!("https://{host}") || (!peer.is_tls() && origin == format!("http://{host}"));
    if is_own && headers.get_all(ORIGIN).iter().count() == 1 {
        return Ok(());
    }
    Err(Problem::new(Kind::Forbidden, "the request comes from a page that is not this gateway's"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn peer(local: &str, tls: bool) -> Peer {
        Peer::Tcp { remote: "10.0.0.9:1".parse().unwrap(), local: local.parse().unwrap(), tls }
    }

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        headers
    }

    #[test]
    fn only_its_own_names_and_addresses_are_answered() {
        let names = ["gateway.example".to_owned()];
        let uri = Uri::from_static("/");
        let ours = |host: &str| check(&headers(host, None), &uri, &peer("10.0.0.1:8090", true), &names).is_ok();
        for host in [
            "localhost",
            "LOCALHOST:8090",
            "127.0.0.1:8090",
            "[::1]:8090",
            "10.0.0.1",
            "10.0.0.1:443",
            "gateway.example",
            "Gateway.Example.:8090",
            "gateway.localhost",
        ] {
            assert!(ours(host), "{host}");
        }
        for host in [
            "evil.example",
            "10.0.0.2",
            "",
            "gateway.example.evil.example",
            "a@localhost",
            "localhost.evil.example",
            "[fe80::1]:8090",
            "::1:8090x",
        ] {
            assert!(!ours(host), "{host}");
        }
        assert!(check(&HeaderMap::new(), &uri, &peer("10.0.0.1:1", true), &names).is_err());
        assert!(check(&HeaderMap::new(), &uri, &Peer::Local { uid: 0 }, &[]).is_ok());
    }

    #[test]
    fn a_page_of_another_origin_may_change_nothing() {
        let uri = Uri::from_static("/");
        let own = |host: &str, origin: Option<&str>, tls: bool| {
            check_origin(&headers(host, origin), &uri, &peer("127.0.0.1:8090", tls), true).is_ok()
        };
        assert!(own("localhost:8090", Some("http://localhost:8090"), false));
        assert!(own("localhost:8090", Some("https://localhost:8090"), true));
        assert!(!own("localhost:8090", Some("http://localhost:8090"), true));
        assert!(!own("localhost:8090", Some("http://localhost:8091"), false));
        assert!(!own("localhost:8090", Some("null"), false));
        assert!(!own("localhost:8090", Some("http://evil.example"), false));
        assert!(!own("localhost:8090", None, false));
        assert!(check_origin(&headers("localhost", None), &uri, &peer("127.0.0.1:1", false), false).is_ok());
    }
}
