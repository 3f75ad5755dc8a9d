//! Lines of every kind.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn decode(line: impl AsRef<[u8]>) -> Value {
    let mut out = Vec::new();
    LineDecoder::default().decode(line.as_ref(), &mut out);
    assert_eq!(out.iter().position(|&b| b == b'\n'), Some(out.len() - 1));
    serde_json::from_slice(&out).unwrap()
}

fn codes(line: impl AsRef<[u8]>) -> Vec<String> {
    let value = decode(line);
    value["errors"].as_array().unwrap().iter().map(|e| e["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_format_has_its_members() {
    for (line, frame) in [
        (
            r#"{"manufacturer_data":{"0x004C":"02154142434445464748494041424344454600010002f8"}}"#,
            json!({"format":"ibeacon","uuid":"41424344-4546-4748-4940-414243444546","major":1,"minor":2,"measured_power":-8}),
        ),
        (
            r#"{"manufacturer_data":{"0118":"beac2f234454cf6d4a0fadf2f4911ba9ffa600010002c509"}}"#,
            json!({"format":"altbeacon","id":"2f234454cf6d4a0fadf2f4911ba9ffa600010002","company":"0118","manufacturer_reserved":9,"measured_power":-59}),
        ),
        (
            r#"{"service_data":{"feaa":"00e312345678901234678901000000000001"}}"#,
            json!({"format":"eddystone-uid","namespace":"12345678901234678901","instance":"000000000001","measured_power":-70}),
        ),
        (
            r#"{"service_data":{"0000feaa-0000-1000-8000-00805f9b34fb":"10000367657470617265746f07"}}"#,
            json!({"format":"eddystone-url","url":"https://getpareto.com","measured_power":-41}),
        ),
        (
            r#"{"service_data":{"feaa":"100002225c0061"}}"#,
            json!({"format":"eddystone-url","url":"http://\"\\.com/a","measured_power":-41}),
        ),
        (
            r#"{"service_data":{"0000FEAA":"20000b1813800000146700002ac4"}}"#,
            json!({"format":"eddystone-tlm","battery_mv":2840.0,"temperature":19.5,"advertisements":5223,"uptime":1094.8}),
        ),
        (
            r#"{"service_data":{"feaa":"2000000080000000000000000000"}}"#,
            json!({"format":"eddystone-tlm","battery_mv":null,"temperature":null,"advertisements":0,"uptime":0.0}),
        ),
        (
            r#"{"adv":"0201060303aafe0d16aafe30e34549445f74657374"}"#,
            json!({"format":"eddystone-eid","eid":"4549445f74657374","measured_power":-70}),
        ),
    ] {
        let found = decode(line);
        assert_eq!(found["errors"], json!([]), "{line}");
        assert_eq!(numbers(&found["frames"][0]), numbers(&frame), "{line}");
    }
}

/// All numbers as floating point, since 0 and 0.0 are one number in JSON.
fn numbers(value: &Value) -> Value {
    let map = value.as_object().unwrap().iter();
    map.map(|(k, v)| (k.clone(), v.as_f64().map_or_else(|| v.clone(), |v| json!(v)))).collect()
}

#[test]
fn whole_frames_are_reported_beside_errors() {
    let line = r#"{"manufacturer_data":{"004c":"0215"},"service_data":{"feaa":"30fc0011223344556677","xx":"00"}}"#;
    assert_eq!(decode(line)["frames"][0]["format"], "eddystone-eid");
    assert_eq!(codes(line), ["frame-truncated", "service-uuid"]);
    let line = r#"{"adv":"0d16aafe30e34549445f746573741aff4c00"}"#;
    assert_eq!(decode(line)["frames"][0]["format"], "eddystone-eid");
    assert_eq!(codes(line), ["ad-truncated"]);
}

#[test]
fn members_of_the_wrong_type_are_errors_and_cost_nothing_else() {
    for wrong in ["5", "-5", "0.5", "true", "[1,{}]", "\"00\""] {
        let line = format!(r#"{{"manufacturer_data":{wrong},"service_data":{{"feaa":"30fc0011223344556677"}}}}"#);
        assert_eq!(codes(&line), ["wrong-type"], "{line}");
        assert_eq!(decode(&line)["frames"][0]["format"], "eddystone-eid");
    }
    for wrong in ["5", "[]", "{\"a\":[1,2]}", "false"] {
        assert_eq!(codes(format!(r#"{{"adv":{wrong}}}"#)), ["wrong-type"]);
        assert_eq!(codes(format!(r#"{{"service_data":{{"feaa":{wrong}}}}}"#)), ["wrong-type"]);
    }
    assert_eq!(codes(r#"{"manufacturer_data":{"004c":"0g"}}"#), ["hex"]);
    assert_eq!(codes(r#"{"manufacturer_data":{"apple":"00"}}"#), ["company"]);
}

#[test]
fn absent_members_and_null_are_no_errors() {
    for line in ["{}", r#"{"time":"x","rssi":[]}"#, r#"{"adv":null,"service_data":{"feaa":null}}"#, r#"{"adv":""}"#] {
        assert_eq!(decode(line), json!({"frames":[],"errors":[]}), "{line}");
    }
}

#[test]
fn a_line_that_is_no_object_gives_one_error() {
    for (line, code) in [
        (&b""[..], "empty-line"),
        (b" \r\n", "empty-line"),
        (b"{", "not-json"),
        (b"{} {}", "not-json"),
        (b"adv", "not-json"),
        (b"[{}]", "not-an-object"),
        (b"null", "not-an-object"),
        (b"\"00\"", "not-an-object"),
        (b"1", "not-an-object"),
        (b"{\"adv\":\"\xff\"}", "not-utf-8"),
        (b"\x00\xff\xfe", "not-utf-8"),
    ] {
        assert_eq!(codes(line), [code], "{line:?}");
    }
    // The frames of a line that breaks off are not reported.
    let line = r#"{"service_data":{"feaa":"30fc0011223344556677"}"#;
    assert_eq!(decode(line)["frames"], json!([]));
    assert_eq!(codes(line), ["not-json"]);
    assert_eq!(codes("[".repeat(10_000)), ["not-json"]);
}

#[test]
fn data_and_lines_that_are_too_long_are_errors() {
    assert_eq!(codes(format!(r#"{{"adv":"{}"}}"#, "00".repeat(MAX_LENGTH + 1))), ["adv-too-long"]);
    assert_eq!(codes(format!(r#"{{"adv":"{}"}}"#, "00".repeat(MAX_LENGTH))), [""; 0]);
    assert_eq!(codes(" ".repeat(MAX_LINE + 1)), ["line-too-long"]);
}

proptest! {
    #[test]
    fn any_line_gives_one_line(line in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(line);
    }

    #[test]
    fn any_text_gives_one_line(line in "\\{\"(manufacturer_data|service_data|adv)\":\\{?\"(004c|feaa|[0-9a-f]*)\"?:?\"?[0-9a-fg\\\\\"u]{0,60}\"?\\}{0,2}") {
        decode(line);
    }
}
