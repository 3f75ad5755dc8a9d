//! The brokers: whether they can be reached, are trusted and let the gateway in, and what they let it do.

pub mod probe;

use std::path::PathBuf;

use super::finding::{Check, Finding, Remedy};
use crate::config::{MqttConfig, MqttVersion};
use crate::mqtt::Failure;
use crate::mqtt::probe::Answer;

/// The checks of this family.
pub const CHECKS: [Check; 3] = [Check::Broker, Check::Publish, Check::Subscribe];

/// What came of connecting to one broker.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its address, as in gateway.toml.
    pub broker: String,
    /// Host and port.
    pub host: String,
    /// Whether TLS was spoken.
    pub tls: bool,
    /// How long it took, in milliseconds, or why it could not be done.
    pub outcome: Result<u64, Failure>,
}

/// How this gateway says who it is.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// User name.
    pub username: Option<String>,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
    /// Own authorities.
    pub ca_file: Option<PathBuf>,
    /// The client id of the trial, and that of the gateway.
    pub client_ids: (String, String),
}

impl Account {
    /// That of a configuration.
    pub fn new(config: &MqttConfig, client_ids: (String, String)) -> Self {
        Self {
            username: config.username.clone(),
            password_file: config.password_file.clone(),
            ca_file: config.ca_file.clone(),
            client_ids,
        }
    }

    fn name(&self) -> String {
        self.username.as_ref().map_or_else(|| "a client without a user name".to_owned(), |name| format!("\"{name}\""))
    }
}

/// One finding a broker. Where another one is there, one that is not is only warned of.
pub fn judge_connections(connections: &[Connection], account: &Account) -> Vec<Finding> {
    let one_is_there = connections.iter().any(|connection| connection.outcome.is_ok());
    let judged = |connection: &Connection| {
        let finding = match &connection.outcome {
            Ok(ms) => {
                let trusted = if connection.tls { ", its certificate is trusted" } else { ", without TLS" };
                let message = format!("reached in {ms} ms{trusted}; lets {} in", account.name());
                Finding::ok(Check::Broker, message).fact("ms", *ms)
            }
            Err(failure) => {
                let (cause, message, remedy) = explained(failure, connection, account);
                if one_is_there {
                    let message = format!("{message}; the gateway would use another one");
                    Finding::warning(Check::Broker, cause, message, remedy)
                } else {
                    Finding::failed(Check::Broker, cause, message, remedy)
                }
            }
        };
        finding.of(connection.broker.as_str()).fact("tls", connection.tls)
    };
    connections.iter().map(judged).collect()
}

/// The cause, what is wrong, and what to do.
fn explained(failure: &Failure, connection: &Connection, account: &Account) -> (&'static str, String, Remedy) {
    let Connection { host, tls, .. } = connection;
    let show = format!("openssl s_client -connect {host} -showcerts </dev/null");
    let said = failure.to_string();
    match failure {
        Failure::Dns { host, .. } => {
            let words = "Write the name into brokers as your DNS knows it, or look at the resolver (/etc/resolv.conf)";
            ("name-unknown", said, Remedy::new(words).command(format!("getent hosts {host}")))
        }
        Failure::Refused { .. } => {
            let words =
                "Start the broker, have it listen for others than its own machine, or write its port into brokers";
            ("refused", "the connection is refused: no broker listens there".to_owned(), Remedy::new(words))
        }
        Failure::Unreachable { .. } | Failure::TimedOut => {
            let words = "Look at the network between here and the broker: cable, routes, firewalls";
            ("unreachable", said, Remedy::new(words).command(format!("nc -vz -w 3 {}", host.replace(':', " "))))
        }
        Failure::Certificate(why) if why.contains("authority") => {
            let remedy = match &account.ca_file {
                Some(file) => format!(
                    "Put the certificate of the authority that signed the broker's into {}, which ca_file in [mqtt] \
                     names; the last of the chain that this shows says who that is",
                    file.display()
                ),
                None => "Name the file with the authority that signed the broker's certificate as ca_file in [mqtt]"
                    .to_owned(),
            };
            let whose = account.ca_file.as_ref().map_or_else(
                || "no authority that this system trusts".to_owned(),
                |file| format!("none of the authorities in {}", file.display()),
            );
            let message = format!("the broker's certificate is not trusted: {whose} has signed it");
            ("untrusted-certificate", message, Remedy::new(remedy).command(show))
        }
        Failure::Certificate(why) if why.contains("another name") => {
            let words = "Write the name that the certificate was made for into brokers, or have one made for this name";
            ("certificate-name", said, Remedy::new(words).command(show))
        }
        Failure::Certificate(_) => {
            let words = "Renew the broker's certificate; if it should be good, look at the clock of this machine";
            ("certificate", said, Remedy::new(words).command(show))
        }
        Failure::ClockNotSet { .. } => {
            ("clock-not-set", said, Remedy::new("Set the clock of this machine").command("timedatectl"))
        }
        Failure::TlsRefused(_) => {
            let words = "Name a client certificate that the broker accepts as certificate_file and key_file in [mqtt]";
            ("client-certificate", said, Remedy::new(words))
        }
        Failure::Tls(_) => {
            let words = "Write the port at which the broker speaks TLS (mostly 8883), or mqtt:// if it speaks none";
            ("tls", said, Remedy::new(words).command(show))
        }
        Failure::BadCredentials | Failure::NotAuthorised => refused(account),
        Failure::Version(version) => {
            let other = if *version == "5" { "3.1.1" } else { "5" };
            let words = format!("Write version = \"{other}\" into [mqtt] of gateway.toml");
            ("version", format!("the broker does not speak MQTT {version}"), Remedy::new(words))
        }
        Failure::Closed | Failure::ClosedAgain { .. } if !tls => {
            let message = "the broker closes the connection without a word: it may expect TLS on this port".to_owned();
            let words = "Write mqtts:// in place of mqtt://, or the port without TLS (mostly 1883); this shows whether \
                         it speaks TLS";
            ("closed", message, Remedy::new(words).command(show))
        }
        Failure::Protocol(_) if !tls => {
            let words = "Write the address of an MQTT broker; if it speaks TLS there, mqtts:// in place of mqtt://";
            ("protocol", said, Remedy::new(words).command(show))
        }
        _ => {
            ("refused-by-broker", said, Remedy::new("Look into the broker's log: it says why it ended the connection"))
        }
    }
}

/// The broker does not let this client in. Most brokers do not say whether it is the name or the password.
fn refused(account: &Account) -> (&'static str, String, Remedy) {
    let Some(username) = &account.username else {
        let words = "Write username into [mqtt], and the password into a file that password_file names";
        let message = "the broker lets nobody in without a user name and a password".to_owned();
        return ("no-credentials", message, Remedy::new(words));
    };
    let message = format!("the broker does not let \"{username}\" in: the password or the user name is wrong");
    let file = account.password_file.as_ref();
    let file =
        file.map_or_else(|| "a file that password_file in [mqtt] names".to_owned(), |file| file.display().to_string());
    let (trial, own) = &account.client_ids;
    let words = format!(
        "Put the password that the broker has for \"{username}\" into {file}. If it is right, the broker may bind \
         accounts to client ids: this trial connected as {trial}, the gateway does as {own}"
    );
    ("bad-password", message, Remedy::new(words))
}

/// What the broker says of one topic.
#[derive(Debug, Clone)]
pub struct Right {
    /// What the gateway needs, as an access rule says it, in full: `beaconfence/v1/store-1/events/#`.
    pub rule: String,
    /// What was answered.
    pub answer: Answer,
}

/// All that the broker says.
#[derive(Debug, Clone)]
pub struct Rights {
    /// What all of its topics begin with, such as `beaconfence/v1/store-1/`.
    pub root: String,
    /// At which broker.
    pub broker: String,
    /// In which version it was asked.
    pub asked_in: MqttVersion,
    /// What the gateway publishes.
    pub publish: Vec<Right>,
    /// What it subscribes to.
    pub subscribe: Vec<Right>,
}

/// One finding for what is published, and one for what is subscribed to.
pub fn judge_rights(rights: &Rights, account: &Account) -> [Finding; 2] {
    [
        judge_all(Check::Publish, rights, &rights.publish, account).of(rights.broker.as_str()),
        judge_all(Check::Subscribe, rights, &rights.subscribe, account).of(rights.broker.as_str()),
    ]
}

fn judge_all(check: Check, rights: &Rights, all: &[Right], account: &Account) -> Finding {
    let writes = check == Check::Publish;
    let (verb, access) = if writes { ("publish", "write") } else { ("subscribe", "read") };
    let short = |right: &Right| right.rule.strip_prefix(&rights.root).unwrap_or(&right.rule).to_owned();
    let list = |rules: &[&Right]| rules.iter().map(|right| short(right)).collect::<Vec<_>>().join(", ");
    let root = rights.root.as_str();
    let is_refused = |right: &&Right| matches!(right.answer, Answer::Refused(_) | Answer::Ended(_));
    let refused: Vec<&Right> = all.iter().filter(is_refused).collect();
    let silent: Vec<&Right> = all.iter().filter(|right| right.answer == Answer::Silent).collect();
    let who = account.name();
    let topics: Vec<serde_json::Value> = all.iter().map(fact).collect();
    let finding = if let Some(first) = refused.first() {
        let why = match &first.answer {
            Answer::Refused(words) => words.clone(),
            Answer::Ended(_) => "it ends the connection".to_owned(),
            _ => String::new(),
        };
        let message = format!("the broker does not let {who} {verb} below {root} to {} ({why})", list(&refused));
        let lines: Vec<String> = refused.iter().map(|right| format!("topic {access} {}", right.rule)).collect();
        let words = "Allow it in the broker's access rules; in an acl_file of Mosquitto, below the line of the account";
        Finding::failed(check, "refused", message, Remedy::new(words).command(lines.join("\n")))
    } else if !silent.is_empty() {
        let message =
            format!("the broker gives no answer where {who} wants to {verb} below {root} to {}", list(&silent));
        let words = "Look into the broker's log, whether it is overloaded or drops what it forbids";
        Finding::warning(check, "no-answer", message, Remedy::new(words))
    } else if writes && rights.asked_in == MqttVersion::V3 {
        let message = format!(
            "acknowledged, which says nothing in MQTT 3.1.1: it has no word for \"refused\", and this broker speaks no \
             other version. {who} needs the right to write {}",
            list(&all.iter().collect::<Vec<_>>())
        );
        Finding::not_tried(check, "cannot-tell", message)
    } else {
        let number = all.len();
        Finding::ok(check, format!("{who} may {verb} to all {number} that the gateway needs"))
    };
    finding.fact("topics", topics)
}

fn fact(right: &Right) -> serde_json::Value {
    let (outcome, words) = match &right.answer {
        Answer::Allowed => ("allowed", None),
        Answer::Refused(words) => ("refused", Some(words.clone())),
        Answer::Ended(failure) => ("ended", Some(failure.to_string())),
        Answer::Silent => ("silent", None),
    };
    let mut fact = serde_json::json!({"topic": right.rule, "answer": outcome});
    if let Some(words) = words {
        fact["words"] = words.into();
    }
    fact
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Outcome;

    fn account() -> Account {
        Account {
            username: Some("gw".to_owned()),
            password_file: Some("/etc/beaconfence/mqtt-password".into()),
            ca_file: None,
            client_ids: ("a-doctor".to_owned(), "a".to_owned()),
        }
    }

    fn connection(outcome: Result<u64, Failure>) -> Connection {
        Connection { broker: "mqtts://b".to_owned(), host: "b:8883".to_owned(), tls: true, outcome }
    }

    fn judged(failure: Failure) -> Finding {
        judge_connections(&[connection(Err(failure))], &account()).remove(0)
    }

    #[test]
    fn each_failure_names_its_cause_and_what_to_do() {
        let untrusted = Failure::Certificate("no authority that is trusted here has signed it".to_owned());
        for (failure, cause, words) in [
            (Failure::NotAuthorised, "bad-password", "mqtt-password"),
            (Failure::BadCredentials, "bad-password", "a-doctor"),
            (untrusted, "untrusted-certificate", "ca_file"),
            (Failure::Certificate("it is made out to another name (x)".into()), "certificate-name", "brokers"),
            (Failure::Certificate("it has expired (or the clock is wrong)".into()), "certificate", "Renew"),
            (Failure::Refused { address: "b:8883".into() }, "refused", "Start the broker"),
            (Failure::TimedOut, "unreachable", "nc -vz -w 3 b 8883"),
            (Failure::Version("5"), "version", "version = \"3.1.1\""),
        ] {
            let finding = judged(failure);
            assert_eq!((finding.outcome, finding.cause), (Outcome::Failed, Some(cause)));
            assert!(finding.sentence().contains(words), "{}", finding.sentence());
        }
        let nobody = judge_connections(&[connection(Err(Failure::NotAuthorised))], &Account::default()).remove(0);
        assert_eq!(nobody.cause, Some("no-credentials"));
    }

    #[test]
    fn a_broker_that_is_away_is_only_warned_of_while_another_is_there() {
        let both = [connection(Ok(3)), connection(Err(Failure::TimedOut))];
        let outcomes: Vec<Outcome> = judge_connections(&both, &account()).iter().map(|f| f.outcome).collect();
        assert_eq!(outcomes, [Outcome::Ok, Outcome::Warning]);
    }

    fn rights(asked_in: MqttVersion, answer: Answer) -> [Finding; 2] {
        let right = |rule: &str, answer| Right { rule: rule.to_owned(), answer };
        let publish = vec![right("p/s/events/#", answer), right("p/s/triggers/#", Answer::Allowed)];
        let subscribe = vec![right("p/s/positions/+", Answer::Allowed)];
        judge_rights(
            &Rights { root: "p/s/".to_owned(), broker: "mqtt://b".to_owned(), asked_in, publish, subscribe },
            &account(),
        )
    }

    #[test]
    fn a_topic_that_is_refused_is_named_with_the_rule_that_allows_it() {
        let [publish, subscribe] = rights(MqttVersion::V5, Answer::Refused("not authorized".to_owned()));
        assert_eq!((publish.outcome, publish.cause), (Outcome::Failed, Some("refused")));
        assert_eq!(publish.message, "the broker does not let \"gw\" publish below p/s/ to events/# (not authorized)");
        assert!(publish.sentence().ends_with("topic write p/s/events/#"), "{}", publish.sentence());
        assert_eq!(subscribe.outcome, Outcome::Ok);
        let [publish, _] = rights(MqttVersion::V3, Answer::Ended(Failure::Closed));
        assert!(publish.message.ends_with("(it ends the connection)"), "{}", publish.message);
    }

    #[test]
    fn an_acknowledgement_proves_nothing_where_refusals_are_silent() {
        let [publish, subscribe] = rights(MqttVersion::V3, Answer::Allowed);
        assert_eq!((publish.outcome, publish.cause), (Outcome::NotTried, Some("cannot-tell")));
        assert_eq!(subscribe.outcome, Outcome::Ok);
        assert_eq!(rights(MqttVersion::V5, Answer::Allowed)[0].outcome, Outcome::Ok);
        assert_eq!(rights(MqttVersion::V5, Answer::Silent)[0].cause, Some("no-answer"));
    }
}
