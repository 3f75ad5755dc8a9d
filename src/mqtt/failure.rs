//! Why there is no connection, in words for people.

use std::io;
use std::time::Duration;

use rumqttc_v4 as v4;
use rumqttc_v5 as v5;
use rustls::{AlertDescription, CertificateError};

use crate::clock::wall_clock;
use crate::model::Timestamp;

/// 2026-01-01T00:00:00Z, before this program was made: a clock that is behind it was never set.
const CLOCK_SET: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Connections in a row that were closed without a word within [`SHORT`], after which another client is suspected.
const CLOSINGS: u32 = 3;
const SHORT: Duration = Duration::from_secs(10);

/// Why a connection could not be made, or was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The name has no address.
    #[error("the name {host} cannot be resolved: {detail}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver says.
        detail: String,
    },
    /// Nobody listens there.
    #[error("{address} refuses connections: does a broker run there?")]
    Refused {
        /// Host and port.
        address: String,
    },
    /// The host does not answer, or no way leads there.
    #[error("{address} cannot be reached: {detail}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system says.
        detail: String,
    },
    /// The broker did not answer in time.
    #[error("the broker did not answer in time")]
    TimedOut,
    /// The broker's certificate is not acceptable.
    #[error("the broker's certificate is not accepted: {0}")]
    Certificate(String),
    /// The broker's certificate cannot be judged, because this machine does not know the time.
    #[error(
        "the broker's certificate cannot be checked yet: the clock of this machine is not set ({clock}); it is tried again \
         until it is"
    )]
    ClockNotSet {
        /// What it says.
        clock: Timestamp,
    },
    /// The broker does not accept this client's certificate, or misses one.
    #[error("the broker refuses the TLS connection: {0}")]
    TlsRefused(String),
    /// TLS failed in another way.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The broker knows no such user, or another password.
    #[error("the broker does not accept the user name and password")]
    BadCredentials,
    /// The broker knows who this is, and says no.
    #[error(
        "the broker says that this client is not authorised; look at `username` and `password_file`, and at its accounts"
    )]
    NotAuthorised,
    /// The broker refuses the connection for another reason.
    #[error("the broker refuses the connection: {0}")]
    RefusedByBroker(String),
    /// The broker speaks another version of the protocol.
    #[error("the broker does not speak MQTT {0}; set `version` in [mqtt] to the other one")]
    Version(&'static str),
    /// The broker ended the connection and said why.
    #[error("the broker ended the connection: {0}")]
    Ended(String),
    /// Another client has the same client id.
    #[error(
        "another client connected with the client id {client_id}, so the broker ended this connection; give each gateway an \
         `id` of its own, or a `client_id` in [mqtt]"
    )]
    TakenOver {
        /// The client id.
        client_id: String,
    },
    /// The broker closes every connection soon after it was made.
    #[error(
        "the broker closes the connection again and again, without a word: likely another client connects with the client id \
         {client_id} as well (give each gateway an `id` of its own, or a `client_id` in [mqtt]), or the broker forbids a topic"
    )]
    ClosedAgain {
        /// The client id.
        client_id: String,
    },
    /// The broker closed the connection without a word.
    #[error(
        "the broker closed the connection without a word (another client with this client id, a topic that it forbids, \
         or TLS expected on this port)"
    )]
    Closed,
    /// The broker broke the protocol, or this client did.
    #[error("the broker and this client misunderstood each other: {0}")]
    Protocol(String),
    /// The configuration cannot work.
    #[error("{0}")]
    Configuration(String),
}

impl Failure {
    /// From what went wrong on a socket.
    pub(super) fn from_io(error: io::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(failure) => return failure,
            Err(error) => error,
        };
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::from_tls(tls, wall_clock());
        }
        match error.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Ended(error.to_string()),
        }
    }

    fn from_tls(error: &rustls::Error, clock: Timestamp) -> Self {
        use rustls::Error;
        match error {
            Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) if clock < CLOCK_SET => Self::ClockNotSet { clock },
            Error::InvalidCertificate(reason) => Self::Certificate(match reason {
                CertificateError::UnknownIssuer => {
                    "no authority that is trusted here has signed it (name your own in `ca_file`)".to_owned()
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "it has expired (or the clock is wrong)".to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "it is not valid yet (or the clock is wrong)".to_owned()
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!("it is made out to another name ({reason})")
                }
                CertificateError::Revoked => "it is revoked".to_owned(),
                other => other.to_string(),
            }),
            Error::AlertReceived(alert) => Self::TlsRefused(match alert {
                AlertDescription::CertificateRequired => {
                    "it asks for a client certificate (`certificate_file` and `key_file`)".to_owned()
                }
                AlertDescription::UnknownCA => "it does not trust who signed the client certificate".to_owned(),
                AlertDescription::CertificateExpired => "the client certificate has expired".to_owned(),
                AlertDescription::HandshakeFailure => {
                    "no common settings, or it asks for a client certificate (`certificate_file` and `key_file`)"
                        .to_owned()
                }
                other => format!("{other:?}"),
            }),
            Error::InvalidMessage(_) => {
                Self::Tls("what answers does not speak TLS (mqtt:// in place of mqtts://?)".into())
            }
            other => Self::Tls(other.to_string()),
        }
    }

    pub(super) fn from_v3(error: v4::ConnectionError) -> Self {
        use v4::{ConnectReturnCode as Code, ConnectionError as Error, StateError as State};
        match error {
            Error::Io(error)
            | Error::MqttState(State::Io(error) | State::Deserialization(v4::mqttbytes::Error::Io(error))) => {
                Self::from_io(error)
            }
            Error::Tls(error) => Self::from_client_tls(error),
            Error::NetworkTimeout
            | Error::FlushTimeout
            | Error::DisconnectTimeout
            | Error::MqttState(State::AwaitPingResp) => Self::TimedOut,
            Error::ConnectionRefused(Code::BadUserNamePassword) => Self::BadCredentials,
            Error::ConnectionRefused(Code::NotAuthorized) => Self::NotAuthorised,
            Error::ConnectionRefused(Code::RefusedProtocolVersion) => Self::Version("3.1.1"),
            Error::ConnectionRefused(code) => Self::RefusedByBroker(words(&code)),
            Error::MqttState(State::ConnectionAborted) => Self::Closed,
            Error::RequestsDone => Self::Ended("as asked".to_owned()),
            other => Self::Protocol(other.to_string()),
        }
    }

    pub(super) fn from_v5(error: v5::ConnectionError, client_id: &str) -> Self {
        use v5::mqttbytes::v5::DisconnectReasonCode as Reason;
        use v5::{ConnectReturnCode as Code, ConnectionError as Error, StateError as State};
        match error {
            Error::Io(error)
            | Error::MqttState(State::Io(error) | State::Deserialization(v5::mqttbytes::Error::Io(error))) => {
                Self::from_io(error)
            }
            Error::Tls(error) => Self::from_client_tls(error),
            Error::Timeout(_) | Error::DisconnectTimeout | Error::MqttState(State::AwaitPingResp) => Self::TimedOut,
            Error::ConnectionRefused(code) | Error::MqttState(State::ConnFail { reason: code }) => match code {
                Code::BadUserNamePassword => Self::BadCredentials,
                Code::NotAuthorized => Self::NotAuthorised,
                Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => Self::Version("5"),
                code => Self::RefusedByBroker(words(&code)),
            },
            Error::MqttState(State::ServerDisconnect { reason_code: Reason::SessionTakenOver, .. }) => {
                Self::TakenOver { client_id: client_id.to_owned() }
            }
            Error::MqttState(State::ServerDisconnect { reason_code, reason_string }) => {
                Self::Ended(reason_string.unwrap_or_else(|| words(&reason_code)))
            }
            Error::MqttState(State::ConnectionAborted) => Self::Closed,
            Error::RequestsDone => Self::Ended("as asked".to_owned()),
            other => Self::Protocol(other.to_string()),
        }
    }

    fn from_client_tls(error: v5::TlsError) -> Self {
        match error {
            v5::TlsError::Io(error) => Self::from_io(error),
            v5::TlsError::TLS(error) => Self::from_tls(&error, wall_clock()),
            other => Self::Tls(other.to_string()),
        }
    }
}

/// Tells a quarrel over a client id, where brokers only close (MQTT 3.1.1 has no word for it), from a single loss.
#[derive(Debug, Default)]
pub(super) struct Closings {
    in_a_row: u32,
}

impl Closings {
    /// The failure in better words, where what came before allows it. `lasted`: how long the connection did, if it was made.
    pub(super) fn judge(&mut self, failure: Failure, lasted: Option<Duration>, client_id: &str) -> Failure {
        if failure != Failure::Closed || lasted.is_none_or(|lasted| lasted >= SHORT) {
            self.in_a_row = 0;
            return failure;
        }
        self.in_a_row += 1;
        if self.in_a_row < CLOSINGS { failure } else { Failure::ClosedAgain { client_id: client_id.to_owned() } }
    }
}

/// `NotAuthorized` as `not authorized`.
pub(super) fn words(code: &impl std::fmt::Debug) -> String {
    let mut out = String::new();
    for (at, character) in format!("{code:?}").chars().enumerate() {
        if character.is_uppercase() && at > 0 {
            out.push(' ');
        }
        out.extend(character.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_valid_yet_is_the_fault_of_a_clock_that_was_never_set() {
        for error in [CertificateError::NotValidYet, CertificateError::Expired] {
            let error = rustls::Error::InvalidCertificate(error);
            let unset = Failure::from_tls(&error, Timestamp::from_millis(60_000)).to_string();
            assert!(
                unset.contains("is not set (1970-01-01T00:01:00.000Z)") && unset.contains("tried again"),
                "{unset}"
            );
            let set = Failure::from_tls(&error, CLOCK_SET).to_string();
            assert!(set.contains("or the clock is wrong"), "{set}");
        }
        let other = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(matches!(Failure::from_tls(&other, Timestamp::from_millis(0)), Failure::Certificate(_)));
    }

    #[test]
    fn a_client_that_is_thrown_out_names_its_client_id() {
        let reason_code = v5::mqttbytes::v5::DisconnectReasonCode::SessionTakenOver;
        let error = v5::StateError::ServerDisconnect { reason_code, reason_string: Some("taken".to_owned()) };
        let failure = Failure::from_v5(v5::ConnectionError::MqttState(error), "gw-7");
        assert_eq!(failure, Failure::TakenOver { client_id: "gw-7".to_owned() });
        let words = failure.to_string();
        assert!(words.contains("gw-7") && words.contains("each gateway"), "{words}");
    }

    #[test]
    fn repeated_closings_of_short_connections_are_likely_a_quarrel_over_the_client_id() {
        let mut closings = Closings::default();
        let mut judge =
            |failure, seconds: Option<u64>| closings.judge(failure, seconds.map(Duration::from_secs), "gw-7");
        assert_eq!(judge(Failure::Closed, Some(1)), Failure::Closed);
        assert_eq!(judge(Failure::Closed, Some(1)), Failure::Closed);
        let again = judge(Failure::Closed, Some(1)).to_string();
        assert!(again.contains("likely") && again.contains("gw-7"), "{again}");
        assert_eq!(judge(Failure::Closed, Some(3_600)), Failure::Closed);
        assert_eq!(judge(Failure::Closed, Some(1)), Failure::Closed);
        assert_eq!(judge(Failure::TimedOut, None), Failure::TimedOut);
    }
}
