//! The commands of registration as a program: against an API that says what it likes, and against a gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fake;
mod gateway;
mod service;

use std::sync::atomic::{AtomicUsize, Ordering};

use fake::{Asked, Fake, json, problem, run, tagged, with};
use serde_json::{Value, json as value};

fn beacon(id: usize) -> Value {
    value!({"id": format!("b{id:05}"), "identity": format!("ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/{id}"),
        "device": format!("d{id}"), "x": null, "y": null, "level": null, "measured_power": null})
}

/// 2,345 beacons, in pages as large as asked for.
fn pages(asked: &Asked) -> fake::Said {
    let url = url::Url::parse("http://x").unwrap().join(&asked.path).unwrap();
    let get = |name: &str| url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    let from: usize = get("cursor").map_or(0, |cursor| cursor.trim_start_matches("after ").parse().unwrap());
    let limit: usize = get("limit").unwrap().parse().unwrap();
    assert!((1..=1_000).contains(&limit), "{limit}");
    let to = (from + limit).min(2_345);
    let items: Vec<Value> = (from..to).map(beacon).collect();
    let next = (to < 2_345).then(|| format!("after {to}"));
    json(200, &value!({"items": items, "total": 2_345, "next": next, "revision": 7}))
}

#[test]
fn a_listing_goes_through_all_pages() {
    let fake = Fake::start(pages);
    let ran = fake.run(&["beacon", "list"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(ran.out.lines().count(), 2_346);
    assert_eq!(
        ran.out.lines().next().unwrap(),
        "id      identity                                             device or place  power"
    );
    assert!(
        ran.out
            .lines()
            .last()
            .unwrap()
            .starts_with("b02344  ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/2344  d2344")
    );
    assert_eq!(
        fake.lines(),
        [
            "GET /beacons?limit=1000",
            "GET /beacons?limit=1000&cursor=after%201000",
            "GET /beacons?limit=1000&cursor=after%202000"
        ]
    );
}

#[test]
fn a_listing_for_programs_is_json_lines_and_as_long_as_wanted() {
    let fake = Fake::start(pages);
    let ran = fake.run(&["beacon", "list", "--json", "--limit", "1500", "--q", "d&1", "--level", "-1"]);
    assert_eq!(ran.code, Some(0));
    let records: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((records.len(), &records[1_499]), (1_500, &beacon(1_499)));
    assert_eq!(fake.lines()[1], "GET /beacons?limit=500&q=d%261&level=-1&cursor=after%201000");
    let ran = fake.run(&["beacon", "list", "--limit", "2"]);
    assert_eq!(ran.err, "2 of 2,345 beacons; --limit shows more\n");
}

#[test]
fn a_listing_that_does_not_go_on_is_left() {
    let fake = Fake::start(|_| json(200, &value!({"items": [], "total": 9, "next": "x", "revision": 1})));
    let ran = fake.run(&["device", "list"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("does not go on"), "{}", ran.err);
    let fake = Fake::start(|_| json(200, &value!({"items": [{"id": "d"}], "total": 9, "next": "x", "revision": 1})));
    assert_eq!(fake.run(&["device", "list"]).code, Some(1));
    assert_eq!(fake.asked().len(), 2);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let fake = Fake::start(pages);
    let program = env!("CARGO_BIN_EXE_beaconfence");
    for command in [
        format!("{program} beacon list --json --data-dir {}", fake.dir.path().display()),
        format!("{program} beacon list --data-dir {}", fake.dir.path().display()),
        format!("{program} completions bash"),
        format!("{program} man"),
    ] {
        let script = format!("set -o pipefail; {command} | head -1 >/dev/null");
        let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
    }
}

#[test]
fn a_record_is_added_as_given_and_says_how_to_take_it_back() {
    let fake = Fake::start(|asked| with(tagged(201, "\"1\"", &asked.json()), "beaconfence-revision", "42"));
    let ran = fake.run(&[
        "beacon",
        "add",
        "b1",
        "--identity",
        "mac:C0:FF:EE:00:00:01",
        "--x",
        "-1.5",
        "--y",
        "3",
        "--level",
        "-1",
    ]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(ran.out, "added beacon \"b1\" in revision 42; to take it back: beaconfence undo 42\n");
    let ran = fake.run(&[
        "zone",
        "add",
        "tills",
        "--level",
        "0",
        "--polygon",
        "0,0 4,0 4,3",
        "--polygon",
        "9,9 10,9 10,10",
        "--label",
        "a=b",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran =
        fake.run(&["device", "add", "d1", "--consent", "presence,ads", "--label", "tier=gold", "--kind", "customer"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let asked = fake.asked();
    assert_eq!(fake.lines(), ["POST /beacons", "POST /zones", "POST /devices"]);
    assert_eq!(asked[0].header("content-type"), Some("application/json"));
    assert_eq!(
        asked[0].json(),
        value!({"id": "b1", "identity": "mac:C0:FF:EE:00:00:01", "x": -1.5, "y": 3.0, "level": -1})
    );
    assert_eq!(
        asked[1].json(),
        value!({"type": "Feature", "properties": {"id": "tills", "level": 0, "labels": {"a": "b"}},
            "shape_m": {"polygons": [[[[0.0, 0.0], [4.0, 0.0], [4.0, 3.0]]], [[[9.0, 9.0], [10.0, 9.0], [10.0, 10.0]]]]}})
    );
    assert_eq!(
        asked[2].json(),
        value!({"id": "d1", "kind": "customer", "consent": ["presence", "ads"], "labels": {"tier": "gold"}})
    );
}

#[test]
fn a_change_is_made_of_what_was_read_and_only_of_that() {
    let before =
        value!({"id": "b1", "identity": "mac:C0:FF:EE:00:00:01", "device": "d1", "x": null, "measured_power": -59});
    let fake = Fake::start(move |asked| match asked.method.as_str() {
        "GET" => tagged(200, "\"abc\"", &before),
        _ => with(tagged(200, "\"def\"", &asked.json()), "beaconfence-revision", "43"),
    });
    let ran = fake.run(&["beacon", "add", "b1", "--device", "d2", "--change"]);
    assert_eq!(
        ran.out,
        "changed beacon \"b1\" in revision 43; to take it back: beaconfence undo 43\n  device: d1 -> d2\n"
    );
    let ran = fake.run(&["beacon", "add", "b1", "--identity", "mac:C0:FF:EE:00:00:01", "--device", "", "--replace"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let asked = fake.asked();
    assert_eq!(fake.lines(), ["GET /beacons/b1", "PUT /beacons/b1", "GET /beacons/b1", "PUT /beacons/b1"]);
    assert_eq!(asked[1].header("if-match"), Some("\"abc\""));
    assert_eq!(asked[1].json()["measured_power"], -59);
    assert_eq!(asked[3].json(), value!({"id": "b1", "identity": "mac:C0:FF:EE:00:00:01", "device": null}));
}

#[test]
fn a_change_of_somebody_else_in_the_meantime_is_not_overwritten() {
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "GET" => tagged(200, "\"abc\"", &value!({"id": "r1", "x": 1.0})),
        _ => problem(412, "changed", "receiver \"r1\" is not what it was when it was read; read it again", value!([])),
    });
    for command in [&["receiver", "add", "r1", "--x", "2", "--change"][..], &["receiver", "remove", "r1"]] {
        let ran = fake.run(command);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
        assert!(
            ran.err.starts_with("error: receiver \"r1\" is not what it was when it was read; read it again; "),
            "{}",
            ran.err
        );
    }
    assert_eq!(fake.asked()[3].header("if-match"), Some("\"abc\""));
}

#[test]
fn faults_are_printed_as_those_of_files() {
    let fake = Fake::start(|_| {
        problem(
            422,
            "invalid",
            "2 faults",
            value!([
                {"file": "beacons.csv", "line": 12, "record": "beacon \"b1\"", "message": "device \"d9\" is not registered", "help": "add it first"},
                {"file": null, "line": null, "record": null, "message": "odd \u{1b}[2J\nname", "help": null},
            ]),
        )
    });
    std::fs::write(fake.dir.path().join("mine.csv"), "id,identity\n").unwrap();
    let ran = fake.run(&["beacon", "import", "mine.csv"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert_eq!(
        ran.err,
        "mine.csv:12: error: beacon \"b1\": device \"d9\" is not registered; add it first\n\
         mine.csv: error: odd \u{fffd}[2J\u{fffd}name\n"
    );
    // Whoever wrote arguments has no lines.
    let ran = fake.run(&["device", "add", "d1"]);
    assert!(
        ran.err.starts_with("error: beacon \"b1\": device \"d9\" is not registered; add it first\n"),
        "{}",
        ran.err
    );
}

#[test]
fn what_is_there_already_and_what_is_not_say_what_to_do() {
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "POST" => problem(409, "exists", "zone \"tills\" is there already", value!([])),
        "DELETE" => problem(409, "in-use", "device \"d1\" is in use by beacon \"b1\"", value!([])),
        _ if asked.path.contains("devices") => tagged(200, "\"1\"", &value!({"id": "d1"})),
        _ => problem(404, "not-found", "zone \"tills\" is not registered", value!([])),
    });
    let err = |arguments: &[&str]| {
        let ran = fake.run(arguments);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        ran.err
    };
    assert_eq!(
        err(&["zone", "add", "tills", "--circle", "1,2 3"]),
        "error: zone \"tills\" is there already; add --change or --replace where that one is meant\n"
    );
    assert_eq!(
        err(&["zone", "show", "tills"]),
        "error: there is no zone \"tills\"; \"beaconfence zone list\" names those that are there\n"
    );
    assert_eq!(
        err(&["device", "remove", "d1"]),
        "error: device \"d1\" is in use by beacon \"b1\"; remove the beacons first, or add --with-beacons\n"
    );
    err(&["device", "remove", "d1", "--with-beacons"]);
    assert!(fake.lines().contains(&"DELETE /devices/d1?beacons=remove".to_owned()), "{:?}", fake.lines());
}

#[test]
fn without_a_gateway_it_is_said_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(&["zone", "list"], dir.path(), b"");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.starts_with("error: there is no gateway.toml here, nor in /etc/beaconfence; say which gateway is meant with --config FILE"),
        "{}",
        ran.err
    );
    let ran = run(&["zone", "list", "--data-dir", "data"], dir.path(), b"");
    assert_eq!(
        ran.err,
        "error: no gateway runs on data; start it with \"beaconfence run\" (with the gateway stopped, only apply and export work)\n"
    );
    // What a killed gateway leaves is nobody who listens.
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("api.sock")).unwrap());
    let ran = run(&["history", "--data-dir", "."], dir.path(), b"");
    assert!(ran.err.starts_with("error: no gateway runs on ."), "{}", ran.err);
    for url in ["http://gateway.example:8090", "ftp://gateway.example", "https://joe:secret@gateway.example"] {
        std::fs::write(dir.path().join("token"), "bf_0123456789\n").unwrap();
        let ran = run(&["zone", "list", "--url", url, "--token-file", "token"], dir.path(), b"");
        assert_eq!(ran.code, Some(1), "{url}");
        assert!(ran.err.contains("in the clear") || ran.err.contains("is no address"), "{}", ran.err);
        assert!(!ran.err.contains("secret"), "{}", ran.err);
    }
    let ran = run(&["zone", "list", "--url", "https://127.0.0.1:1"], dir.path(), b"");
    assert!(ran.err.contains("--token-file or in BEACONFENCE_TOKEN_FILE"), "{}", ran.err);
}

#[test]
fn answers_that_are_none_are_no_panic() {
    for (said, words) in [
        ((200, Vec::new(), b"<html>".to_vec()), "is not understood"),
        ((200, Vec::new(), vec![b'['; 100_000]), "is not understood"),
        ((500, Vec::new(), b"oops".to_vec()), "does not say why"),
        ((422, vec![("content-type", "application/problem+json".to_owned())], b"[]".to_vec()), "does not say why"),
        ((302, vec![("location", "http://elsewhere/".to_owned())], Vec::new()), "does not say why"),
    ] {
        let fake = Fake::start(move |_| said.clone());
        for command in [&["zone", "list"][..], &["token", "list"], &["zone", "show", "x"], &["history"]] {
            let ran = fake.run(command);
            assert!(ran.code == Some(1) || !ran.out.is_empty(), "{command:?} {ran:?}");
            assert!(!ran.err.contains("panicked"), "{}", ran.err);
        }
        let ran = fake.run(&["zone", "list"]);
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let fake = Fake::start(|_| (200, Vec::new(), vec![b' '; 70 << 20]));
    let ran = fake.run(&["zone", "list"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("larger than 64 MiB"), "{}", ran.err);
}

#[test]
fn a_gateway_that_is_busy_is_asked_again() {
    let times = AtomicUsize::new(0);
    let fake = Fake::start(move |asked| match times.fetch_add(1, Ordering::Relaxed) {
        0 => with(problem(429, "too-many-requests", "too many requests", value!([])), "retry-after", "0"),
        _ => pages(asked),
    });
    assert_eq!(fake.run(&["beacon", "list", "--limit", "1"]).code, Some(0));
    assert_eq!(fake.asked().len(), 2);
}

#[test]
fn an_import_shows_its_plan() {
    let fake = Fake::start(|_| {
        json(
            200,
            &value!({"applied": true, "revision": 9, "added": [{"kind": "zone", "id": "tills"}], "changed": [], "removed": [],
            "counts": {"added": 1, "changed": 0, "removed": 0, "unchanged": 3},
            "warnings": [{"file": null, "line": 4, "record": "zone \"tills\"", "message": "is small", "help": null}],
            "accounting": null}),
        )
    });
    std::fs::write(fake.dir.path().join("z.geojson"), "{}").unwrap();
    let ran = fake.run(&["zone", "import", "z.geojson", "--replace"]);
    assert_eq!(ran.err, "z.geojson:4: warning: zone \"tills\": is small\n");
    assert_eq!(
        ran.out,
        "added      1 zone (tills)\nunchanged  3\ndone in revision 9; to take it back: beaconfence undo 9\n"
    );
    assert_eq!(fake.lines(), ["POST /import/zones?dry_run=false&replace=true"]);
    let ran = fake.run(&["zone", "import", "z.geojson", "--json", "--dry-run"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["counts"]["unchanged"], 3);
    std::fs::write(fake.dir.path().join("z.txt"), "{}").unwrap();
    let ran = fake.run(&["zone", "import", "z.txt"]);
    assert_eq!(ran.err, "error: z.txt: zones come from files whose names end in .geojson, .json, .zip, .imdf\n");
}

#[test]
fn a_token_stands_alone_on_standard_output() {
    let fake = Fake::start(|_| json(201, &value!({"name": "anna", "role": "editor", "token": "bf_secret"})));
    let ran = fake.run(&["token", "add", "anna", "--role", "editor"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "bf_secret\n"));
    assert!(ran.err.contains("not shown again") && !ran.err.contains("bf_secret"), "{}", ran.err);
    assert_eq!(fake.run(&["token", "add", "anna", "--role", "king"]).code, Some(2));
}

#[test]
fn over_the_network_a_token_is_sent_and_a_base_path_kept() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            let mut one = [0];
            stream.read_exact(&mut one).unwrap();
            heard.push(one[0]);
        }
        let body = r#"{"items":[],"total":0,"next":null,"revision":1}"#;
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8(heard).unwrap()
    });
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "bf_0123456789\n").unwrap();
    let url = format!("http://{address}/store/");
    let ran = run(&["beacon", "list", "--url", &url, "--token-file", "token"], dir.path(), b"");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), "there is no beacon\n"));
    let heard = heard.join().unwrap();
    assert!(heard.starts_with("GET /store/api/v1/beacons?limit=1000 HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains("authorization: Bearer bf_0123456789\r\n"), "{heard}");
    assert!(heard.contains(&format!("host: {address}\r\n")), "{heard}");
}

#[test]
fn arguments_that_make_no_sense_are_usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["zone", "add", "z", "--circle", "1 2"][..],
        &["zone", "add", "z", "--circle", "1,2 3", "--polygon", "0,0 1,0 1,1"],
        &["zone", "add"],
        &["device", "add", "d", "--label", "tier"],
        &["device", "add", "d", "--file", "x", "--kind", "staff"],
        &["beacon", "add", "b", "--replace", "--change"],
        &["beacon", "list", "--limit", "0"],
        &["history", "--limit", "0"],
        &["undo"],
        &["zone", "list", "--url", "https://x", "--config", "y"],
        &["zone", "list", "--token-file", "x"],
    ] {
        assert_eq!(run(arguments, dir.path(), b"").code, Some(2), "{arguments:?}");
    }
}

#[test]
fn there_is_a_manual_page_and_a_completion_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", "pages"], dir.path(), b"").code, Some(0));
    for page in ["beaconfence", "beaconfence-run", "beaconfence-zone", "beaconfence-zone-add", "beaconfence-undo"] {
        let text = std::fs::read_to_string(dir.path().join(format!("pages/{page}.1"))).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell], dir.path(), b"");
        assert!(ran.code == Some(0) && ran.out.contains("receiver"), "{shell}");
    }
}
