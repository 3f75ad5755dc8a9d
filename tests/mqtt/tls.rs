//! TLS and who may connect.

use beaconfence::config::MqttConfig;
use beaconfence::mqtt::{Limits, Publisher, Settings, client_id};

use crate::helpers::{BOTH, offline, publish, publisher, wait};
use crate::mqtt_support::context;
use crate::mqtt_support::mosquitto::{Mosquitto, call, config};

/// Makes two authorities, and certificates for a broker on loopback and for a client, with openssl.
fn certificates(dir: &std::path::Path) {
    let openssl = |line: &str| {
        let text = line.replace("{dir}", &dir.display().to_string());
        call("openssl", "openssl", &text.split(' ').collect::<Vec<_>>());
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    for name in ["ca", "other"] {
        openssl(&format!("req -x509 {key} -keyout {{dir}}/{name}.key -out {{dir}}/{name}.pem -subj /CN={name}"));
    }
    std::fs::write(dir.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    std::fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    // A certificate of no days has expired a second later.
    for (name, kind, days) in [("server", "server", 2), ("client", "client", 2), ("expired", "server", 0)] {
        openssl(&format!("req {key} -keyout {{dir}}/{name}.key -out {{dir}}/{name}.csr -subj /CN={name}"));
        openssl(&format!(
            "x509 -req -in {{dir}}/{name}.csr -CA {{dir}}/ca.pem -CAkey {{dir}}/ca.key -CAcreateserial -days {days} \
             -extfile {{dir}}/{kind}.ext -out {{dir}}/{name}.pem"
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_an_own_authority_a_client_certificate_and_a_password_works_and_its_troubles_are_named() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let at = |name: &str| dir.path().join(name);
    let (ca, other, certificate, key) = (at("ca.pem"), at("other.pem"), at("client.pem"), at("client.key"));
    let (password, wrong) = (at("password"), at("wrong"));
    std::fs::write(&password, "correct horse\n").unwrap();
    std::fs::write(&wrong, "battery staple\n").unwrap();
    let users = at("users").display().to_string();
    call("mosquitto_passwd", "mosquitto", &["-b", "-c", &users, "gateway", "correct horse"]);
    let broker = Mosquitto::prepared(
        "127.0.0.1",
        dir,
        "allow_anonymous false\npassword_file {dir}/users\ncafile {dir}/ca.pem\ncertfile {dir}/server.pem\n\
         keyfile {dir}/server.key\nrequire_certificate true\n",
    );
    let url = format!("mqtts://127.0.0.1:{}", broker.port);
    for version in BOTH {
        let good = MqttConfig {
            username: Some("gateway".to_owned()),
            password_file: Some(password.clone()),
            ca_file: Some(ca.clone()),
            certificate_file: Some(certificate.clone()),
            key_file: Some(key.clone()),
            ..config(&url, version)
        };
        let publisher = publisher(&good);
        publish(&publisher, 0, 1);
        wait(&publisher, "the acknowledgement", |status| status.acknowledged == 1);

        for (bad, words) in [
            (MqttConfig { ca_file: Some(other.clone()), ..good.clone() }, "no authority that is trusted here"),
            (MqttConfig { ca_file: None, ..good.clone() }, "no authority that is trusted here"),
            (MqttConfig { certificate_file: None, key_file: None, ..good.clone() }, "asks for a client certificate"),
            (
                MqttConfig { brokers: vec![url.replace("127.0.0.1", "localhost").parse().unwrap()], ..good.clone() },
                "made out to another name",
            ),
            (
                MqttConfig { brokers: vec![url.replace("mqtts", "mqtt").parse().unwrap()], ..good.clone() },
                "TLS expected on this port",
            ),
            (MqttConfig { password_file: Some(wrong.clone()), ..good.clone() }, "not authorised"),
        ] {
            let context = context();
            let settings = Settings::new(&bad, client_id(&context.site, &context.gateway) + "-bad");
            let publisher = Publisher::start(settings.unwrap(), offline(), Limits::default(), None);
            let status = wait(&publisher, words, |status| status.last_error.is_some());
            assert!(status.last_error.as_ref().unwrap().contains(words), "{words}: {status:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_named() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let ca = dir.path().join("ca.pem");
    let broker = Mosquitto::prepared(
        "127.0.0.1",
        dir,
        "allow_anonymous true\ncertfile {dir}/expired.pem\nkeyfile {dir}/expired.key\n",
    );
    let url = format!("mqtts://127.0.0.1:{}", broker.port);
    // It is valid to the end of the second in which it was made.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    for version in BOTH {
        let publisher = publisher(&MqttConfig { ca_file: Some(ca.clone()), ..config(&url, version) });
        wait(&publisher, "the certificate has expired", |status| {
            status.last_error.as_ref().is_some_and(|error| error.contains("it has expired"))
        });
    }
}
