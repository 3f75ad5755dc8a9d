//! `beaconfence events`.

use beaconfence::config::MqttVersion;
use beaconfence::mqtt::PublisherStatus;

use crate::helpers::{publish, publisher};
use crate::mqtt_support::mosquitto::{Mosquitto, call, eventually, free_port};

fn events_command(broker: &Mosquitto, more: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_beaconfence"));
    command.args(["events", "--broker", &format!("mqtt://{}:{}", broker.host, broker.port)]).args(more);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_command_prints_what_comes() {
    let broker = Mosquitto::open();
    let publisher = publisher(&broker.config(MqttVersion::V5));
    for (more, version) in [(["--json", "--site", "store-1"], "5"), (["--json", "--prefix", "beaconfence/v1"], "3.1.1")]
    {
        let mut command = events_command(&broker, &more);
        let child = command.args(["--follow", "--count", "2", "--mqtt-version", version]).spawn().unwrap();
        // Events that come before it is subscribed are not kept for it: publish until somebody hears them.
        let before = publisher.status();
        let heard = |status: &PublisherStatus| status.acknowledged - status.unheard;
        let mut message = publish(&publisher, 0, 1);
        eventually("two events are heard", || {
            if heard(&publisher.status()) >= heard(&before) + 2 {
                return Some(());
            }
            message = publish(&publisher, 0, 1);
            None
        });
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines, [std::str::from_utf8(&message.payload).unwrap(); 2]);
    }
}

#[test]
fn the_events_command_ends_by_itself_and_on_a_signal_and_names_trouble() {
    let broker = Mosquitto::open();
    let output = events_command(&broker, &[]).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--follow"), "{output:?}");

    for signal in ["-TERM", "-INT"] {
        let child = events_command(&broker, &["--follow"]).spawn().unwrap();
        let before = broker.log().matches("bf-events-").count();
        eventually("it connects", || (broker.log().matches("bf-events-").count() > before).then_some(()));
        call("kill", "procps", &[signal, &child.id().to_string()]);
        assert!(child.wait_with_output().unwrap().status.success(), "{signal}");
    }

    let output = std::process::Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .args(["events", "--broker", &format!("mqtt://127.0.0.1:{}", free_port())])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("refuses connections"), "{output:?}");
}
