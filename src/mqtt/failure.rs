//! Why there is no connection, in words for people.

use std::io;

use rumqttc_v4 as v4;
use rumqttc_v5 as v5;
use rustls::{AlertDescription, CertificateError};

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
    #[error("the broker says that this client is not authorised")]
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
            return Self::from_tls(tls);
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

    fn from_tls(error: &rustls::Error) -> Self {
        use rustls::Error;
        match error {
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

    pub(super) fn from_v5(error: v5::ConnectionError) -> Self {
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
            v5::TlsError::TLS(error) => Self::from_tls(&error),
            other => Self::Tls(other.to_string()),
        }
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
