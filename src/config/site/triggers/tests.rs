use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::config::{from_json, read_site_texts, record_from_stored, site_texts, to_json};
use crate::model::{LevelOrdinal, Point};
use crate::registry::{Edit, Kind, Record, fixture};

/// Every `when`, and every other key.
const FULL: &str = r#"
retention = "200d"
caps = ["9 per day", { cap = "3 per week", campaign = "autumn" }]
quiet_hours = ["21:00-08:00"]

[store_hours]
daily = ["09:00-20:00"]
saturday = ["10:00-12:30", "13:30-18:00"]
sunday = []
closed = ["2026-12-25", 2027-01-01]

[attributes]
points = "number"
language = "string"
member = "bool"
likes = "list"

[[trigger]]
id = "welcome"
name = "Welcome"
campaign = "autumn"
when = { entered = "site" }
if = 'attributes.member && device.labels.tier == "gold"'
unless = { caps = ["1 per visit", "2 per 36h"], site_caps = ["500 per day"], cool_down = "2h", quiet_hours = false, store_hours = true, consent = "newsletter", holdout = 2.5 }
then = { priority = 8, expires_after = "10m", channels = ["push", "sms"], deduplication_key = "hello:{{device.id}}", card = true, data = { text = "Hello {{attributes.language}}", points = "{{attributes.points}}", "a b" = [1, 2.5, true, "x"] } }

[[trigger]]
id = "bye"
enabled = false
when = { exited = ["a", "department=wine", "*"] }

[[trigger]]
id = "long"
when = { dwelled = "5m", in = "a", total = true }

[[trigger]]
id = "near"
when = { approach = "near", to_beacon = "f1" }

[[trigger]]
id = "nearer"
when = { approach = "immediate", to_zone = "b" }

[[trigger]]
id = "new"
when = { first_visit = "site" }

[[trigger]]
id = "again"
when = { returned = "site", after = "30d" }

[[trigger]]
id = "away"
when = { absent = "60d", from = "b" }

[[trigger]]
id = "away-long"
when = { absent = "usual", factor = 2.5, min_visits = 5 }

[[trigger]]
id = "round"
when = { sequence = ["a", ["b", "department=wine"]], within = "30m" }

[[trigger]]
id = "unpaid"
when = { missed = "b", was_in = "a" }

[[trigger]]
id = "crowd"
when = { occupancy = "b", above = 40, until = 30 }
unless = { consent = "" }

[[trigger]]
id = "empty"
when = { occupancy = "site", below = 3 }
"#;

fn registry() -> Registry {
    let registry = fixture::registry(&fixture::settings());
    let fixed = registry.beacons().iter().find(|beacon| beacon.id.as_str() == "f1").unwrap();
    let mut fixed = fixed.as_ref().clone();
    fixed.fixed = Some((Point { x: 1.0, y: 1.0 }, LevelOrdinal(0)));
    let mut zone = registry.zones()[1].as_ref().clone();
    zone.labels.insert("department".to_owned(), "wine".to_owned());
    let put = vec![Record::Beacon(Arc::new(fixed)), Record::Zone(Arc::new(zone))];
    registry.edited(&Edit { put, ..Edit::default() }).unwrap()
}

fn read(text: &str) -> (Rules, Vec<String>) {
    let registry = registry();
    let report = FileReport::of_text("t", text.to_owned());
    let rules = load(&report, &Known::of(&registry));
    (rules, report.finish().iter().map(ToString::to_string).collect())
}

fn sound(text: &str) -> Rules {
    let (rules, said) = read(text);
    assert_eq!(said, Vec::<String>::new(), "{text}");
    rules
}

#[test]
fn a_file_with_every_when_is_read() {
    let rules = sound(FULL);
    let whens: Vec<&str> = rules.triggers.iter().map(|rule| rule.when.as_str()).collect();
    for (when, _) in WHENS {
        assert!(whens.contains(&when), "{when}");
    }
    let settings = &rules.settings;
    assert_eq!(settings.retention, Duration::from_secs(200 * 86_400));
    assert_eq!(settings.caps.len(), 2);
    assert_eq!(settings.caps[1].campaign.as_deref(), Some("autumn"));
    let hours = settings.store_hours.as_ref().unwrap();
    assert_eq!(hours.days.each_ref().map(Vec::len), [1, 1, 1, 1, 1, 2, 0]);
    assert_eq!(hours.closed.len(), 2);
    let [welcome, bye, long, ..] = rules.triggers.as_slice() else { unreachable!() };
    assert_eq!((welcome.name.as_str(), welcome.campaign.as_str(), welcome.then.priority), ("Welcome", "autumn", 8));
    assert_eq!(welcome.then.data["a b"], json!([1, 2.5, true, "x"]));
    assert_eq!((bye.name.as_str(), bye.campaign.as_str(), bye.enabled), ("bye", "bye", false));
    assert!(matches!(&long.when, When::Dwelled { total: true, .. }));
    let of = |id: &str| rules.triggers.iter().find(|rule| rule.id.as_str() == id).unwrap();
    assert!(matches!(&of("empty").when, When::Occupancy { bound: Bound::Below(3), until: 4, .. }));
    assert_eq!(of("crowd").unless.consent, "");
    assert_eq!(of("empty").unless, Unless::default());
}

#[test]
fn what_is_written_is_read_back_equal() {
    let rules = sound(FULL);
    let written = text(&rules);
    assert_eq!(sound(&written), rules, "{written}");
    assert_eq!(text(&sound(&written)), written);
    assert!(written.contains("\n[[trigger]]\nid = \"long\"\nname = \"long\"\ncampaign = \"long\"\nwhen = { dwelled = \"5m\", in = \"a\", total = true }\n"), "{written}");
    assert_eq!((text(&Rules::default()), sound("# None yet.\n")), (String::new(), Rules::default()));
    assert_eq!(read("").1, ["t:1: error: the file is empty; the file holds the rules; see docs/triggers.md"]);
}

#[test]
fn the_whole_site_carries_its_rules() {
    let registry = registry().with_rules(Arc::new(sound(FULL))).unwrap();
    let texts = site_texts(&registry);
    let (back, _, said) = read_site_texts(texts, BTreeMap::new()).unwrap();
    assert_eq!(back.rules(), registry.rules());
    assert!(said.iter().all(|said| !said.to_string().contains("triggers.toml")), "{said:?}");
}

#[test]
fn the_json_form_is_read_back_equal() {
    let rules = sound(FULL);
    let settings = Record::TriggerSettings(Arc::clone(&rules.settings));
    let within = registry().edited(&Edit { put: vec![settings.clone()], ..Edit::default() }).unwrap();
    let records = rules.triggers.iter().map(|rule| Record::Trigger(Arc::clone(rule))).chain([settings]);
    for record in records {
        let kind = record.key().kind();
        let form = to_json(&record, within.frame()).to_string();
        let (back, said) = from_json(kind, &form, &within).map_err(|faults| format!("{faults}\n{form}")).unwrap();
        assert_eq!((back, said), (record.clone(), vec![]), "{form}");
        assert_eq!(record_from_stored(kind, form.as_bytes(), within.frame()), Ok(record), "{form}");
    }
}

#[test]
fn what_a_rule_leaves_out_has_its_default() {
    let (record, _) =
        from_json(Kind::Trigger, r#"{"id": "t", "when": {"entered": "a"}, "if": null}"#, &registry()).unwrap();
    let Record::Trigger(rule) = record else { unreachable!() };
    assert!(rule.enabled && rule.condition.is_none());
    assert_eq!((&rule.unless, &rule.then), (&Unless::default(), &Then::default()));
}

#[test]
fn faults_have_the_lines_of_the_body() {
    let body = "{\"id\": \"t\",\n\"when\": {\"entered\": \"aa\"},\n\"unless\": {\"caps\": [\"often\"]}}";
    let faults = from_json(Kind::Trigger, body, &registry()).unwrap_err().into_diagnostics();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "line 2: error: trigger \"t\": there is no zone \"aa\"; did you mean \"a\"?",
            "line 3: error: trigger \"t\": \"caps\": \"often\" is no cap; write such as \"1 per visit\", \"2 per day\", \"3 per week\", \"5 per month\", \"4 per 36h\" or \"1 ever\"",
        ]
    );
}

/// A rule whose `when` is on line 3, and what follows on line 4.
fn rule(when: &str, more: &str) -> String {
    format!("[[trigger]]\nid = \"t\"\nwhen = {when}\n{more}\n")
}

/// One slip is one fault: its line, and what is said; `T` stands for the rule.
#[test]
#[allow(clippy::too_many_lines)] // It is a table.
fn every_fault_says_where_it_is_and_what_to_do() {
    let entered = |more: &str| rule("{ entered = \"a\" }", more);
    let cases = [
        (rule("{ entered = \"aa\" }", ""), "3: error: T: there is no zone \"aa\"; did you mean \"a\"?"),
        (
            rule("{ entered = \"tills\" }", ""),
            "3: error: T: there is no zone \"tills\"; draw the zone first, or correct the id",
        ),
        (rule("{ enterd = \"a\" }", ""), "3: error: T: unknown key \"enterd\"; did you mean \"entered\"?"),
        (
            rule("{ entered = \"a\", exited = \"a\" }", ""),
            "3: error: T: \"when\" says entered and exited at once; write one rule for each",
        ),
        (
            rule("{ }", ""),
            "3: error: T: \"when\" says nothing; it has one of entered, exited, dwelled, approach, first_visit, returned, absent, sequence, missed, occupancy",
        ),
        (
            rule("{ entered = [] }", ""),
            "3: error: T: \"entered\" must be a place, or a list of up to 32; write a zone's id, a label as \"key=value\", \"site\", \"*\", or a list of these",
        ),
        (rule("{ entered = [5] }", ""), "3: error: T: \"entered\" must hold places in quotes"),
        (
            rule("{ entered = \"my zone\" }", ""),
            "3: error: T: \"entered\": \"my zone\" is no place; write the id of a zone, a label as \"key=value\", \"site\", or \"*\" for every zone",
        ),
        (
            rule("{ entered = \"department=beer\" }", ""),
            "3: warning: T: no zone has the label department=beer: it never fires for it",
        ),
        (
            rule("{ entered = \"a\", within = \"5m\" }", ""),
            "3: error: T: \"within\" does not go with \"entered\"; leave it out",
        ),
        (
            rule("{ dwelled = \"5 minutes\" }", ""),
            "3: error: T: \"dwelled\": \"5 minutes\" is not a duration; write a number and a unit (ms, s, m, h, d), such as \"90s\" or \"1h30m\"",
        ),
        (
            rule("{ dwelled = \"0s\" }", ""),
            "3: error: T: \"dwelled\" must be longer than nothing; write such as \"90s\", \"30m\", \"2d\"",
        ),
        (
            rule("{ approach = \"near\" }", ""),
            "3: error: T: it needs either \"to_beacon\" or \"to_zone\"; write to_beacon = \"BEACON\" or to_zone = \"ZONE\"",
        ),
        (
            rule("{ approach = \"close\", to_zone = \"a\" }", ""),
            "3: error: T: \"approach\": \"close\" is none of immediate, near, far",
        ),
        (
            rule("{ approach = \"near\", to_zone = \"site\" }", ""),
            "3: error: T: the whole site has no heart; name a zone",
        ),
        (
            rule("{ approach = \"near\", to_beacon = \"f2\" }", ""),
            "3: error: T: there is no beacon \"f2\"; did you mean \"f1\"?",
        ),
        (
            rule("{ approach = \"near\", to_beacon = \"b1\" }", ""),
            "3: error: T: beacon \"b1\" is not a fixed one with a place; give it x, y and level, or name a zone in to_zone",
        ),
        (rule("{ returned = \"site\" }", ""), "3: error: T: \"after\" is missing; write after = \"30d\""),
        (
            rule("{ returned = \"site\", after = \"900d\" }", ""),
            "3: warning: T: visits are forgotten after 400d: it never fires; make \"retention\" longer",
        ),
        (
            rule("{ absent = \"60d\", factor = 2 }", ""),
            "3: error: T: \"factor\" goes with absent = \"usual\" only; leave it out",
        ),
        (
            rule("{ absent = \"usual\", factor = 1 }", ""),
            "3: error: T: \"factor\" is 1; it must lie between 1.1 and 100",
        ),
        (
            rule("{ absent = \"usual\", min_visits = 2 }", ""),
            "3: error: T: \"min_visits\" is 2; it must lie between 3 and 16",
        ),
        (rule("{ sequence = [\"a\"], within = \"5m\" }", ""), "3: error: T: a sequence has 2 to 32 places, not 1"),
        (
            rule("{ sequence = \"a\", within = \"5m\" }", ""),
            "3: error: T: \"sequence\" must be a list of places such as [\"entrance\", \"department=wine\"], not text in quotes",
        ),
        (rule("{ sequence = [\"a\", \"b\"] }", ""), "3: error: T: \"within\" is missing; write within = \"30m\""),
        (
            rule("{ missed = \"a\" }", ""),
            "3: error: T: \"was_in\" is missing; write was_in = \"ZONE\", where the device must have been",
        ),
        (
            rule("{ occupancy = \"a\" }", ""),
            "3: error: T: it needs either \"above\" or \"below\"; write such as above = 40",
        ),
        (
            rule("{ occupancy = \"a\", above = 40, until = 50 }", ""),
            "3: error: T: \"until\" is 50; it must be at most 40, above which it fires; it fires again only after there were so many",
        ),
        (
            rule("{ occupancy = \"a\", below = 4, until = 3 }", ""),
            "3: error: T: \"until\" is 3; it must be at least 4, below which it fires; it fires again only after there were so many",
        ),
        (
            rule("{ occupancy = \"a\", above = -4 }", ""),
            "3: error: T: \"above\" is -4; it must lie between 0 and 1000000 devices",
        ),
        (rule("{ occupancy = \"a\", above = 1.5 }", ""), "3: error: T: \"above\" must be a whole number, not a number"),
        (
            "[[trigger]]\nid = \"t\"\n".to_owned(),
            "1: error: T: \"when\" is missing; write when = { entered = \"ZONE\" }",
        ),
        (
            "[[trigger]]\nwhen = { entered = \"a\" }\n".to_owned(),
            "1: error: [[trigger]] 1: \"id\" is missing; write id = \"welcome\"",
        ),
        ("[[triggers]]\nid = \"t\"\n".to_owned(), "1: error: unknown key \"triggers\"; did you mean \"trigger\"?"),
        (
            format!("{}{}", entered(""), entered("")),
            "6: error: T: the id \"t\" is taken by the rule on line 2; give each rule its own",
        ),
        (
            entered("name = \"\""),
            "4: error: T: \"name\" must have 1 to 128 characters, none of them a control character",
        ),
        (entered("then = { prioritty = 5 }"), "4: error: T: unknown key \"prioritty\"; did you mean \"priority\"?"),
        (
            entered("if = \"tier == 'gold'\""),
            "4: error: T: the condition `tier == 'gold'`: \"tier\" is not declared; there are device, zone, visit, site_visit, local, event, site, trigger, attributes; see docs/triggers.md for what it may say",
        ),
        (
            entered("if = \"attributes.tier == 'gold'\""),
            "4: error: T: the condition `attributes.tier == 'gold'`: \"attributes.tier\" is not declared; declare it under [attributes]; see docs/triggers.md for what it may say",
        ),
        (
            entered("if = \"device.tier == 'gold'\""),
            "4: error: T: the condition `device.tier == 'gold'`: \"device.tier\" is not declared; device has id, kind, labels, consent; see docs/triggers.md for what it may say",
        ),
        (
            entered("unless = { caps = [\"twice per day\"] }"),
            "4: error: T: \"caps\": \"twice per day\" is no cap; write such as \"1 per visit\", \"2 per day\", \"3 per week\", \"5 per month\", \"4 per 36h\" or \"1 ever\"",
        ),
        (
            entered("unless = { caps = \"1 per day\" }"),
            "4: error: T: \"caps\" must be a list of caps such as [\"1 per visit\", \"2 per week\"], not text in quotes",
        ),
        (
            entered("unless = { consent = \"marketing:push\" }"),
            "4: error: T: \"marketing:push\" is no purpose; write a purpose such as \"marketing\"; who agreed to a channel only has marketing:push",
        ),
        (
            entered("unless = { holdout = 100 }"),
            "4: error: T: \"holdout\" is 100; it must lie between 0 and 99 percent",
        ),
        (
            entered("unless = { store_hours = true }"),
            "4: warning: T: it fires in store hours only, and none are set: it fires at any time; write store_hours = [\"09:00-20:00\"] at the top of the file",
        ),
        (entered("then = { priority = 10 }"), "4: error: T: \"priority\" is 10; it must lie between 0 and 9"),
        (
            entered("then = { expires_after = \"0s\" }"),
            "4: error: T: \"expires_after\" must be longer than nothing; write such as \"90s\", \"30m\", \"2d\"",
        ),
        (
            entered("then = { channels = [\"push\", \"push\"] }"),
            "4: error: T: \"channels\" must hold different words such as \"push\"",
        ),
        (entered("then = { deduplication_key = \"{{device.id\" }"), "4: error: T: `{{device.id`: \"{{\" has no \"}}\""),
        (
            entered("then = { data = { title = { text = \"Hello {{device.nam}}\" } } }"),
            "4: error: T: \"data.title.text\": \"device.nam\" is not declared; device has id, kind, labels, consent; see docs/triggers.md for what it may say",
        ),
        (entered("then = { data = { x = nan } }"), "4: error: T: \"data\" holds a number that JSON does not have"),
        (format!("caps = [{}]\n", "\"1 ever\", ".repeat(33)), "1: error: \"caps\" has 33 values, more than 32"),
        (
            "caps = [{ cap = \"often\" }]\n".to_owned(),
            "1: error: caps 1: \"cap\": \"often\" is no cap; write such as \"1 per visit\", \"2 per day\", \"3 per week\", \"5 per month\", \"4 per 36h\" or \"1 ever\"",
        ),
        (
            "store_hours = [\"9-20\"]\n".to_owned(),
            "1: error: \"store_hours\": \"9-20\" is not a span of hours such as 09:00-20:00 (22:00-08:00 goes past midnight)",
        ),
        (
            "store_hours = \"09:00-20:00\"\n".to_owned(),
            "1: error: \"store_hours\" must be a list of spans such as [\"09:00-20:00\"], not text in quotes",
        ),
        (
            "[quiet_hours]\nmondays = [\"09:00-20:00\"]\n".to_owned(),
            "2: error: [quiet_hours]: unknown key \"mondays\"; did you mean \"monday\"?",
        ),
        (
            "[quiet_hours]\nclosed = [\"Christmas\"]\n".to_owned(),
            "2: error: [quiet_hours]: \"closed\" must hold days such as \"2026-12-25\"",
        ),
        (
            "[attributes]\ntier = \"text\"\n".to_owned(),
            "2: error: attribute \"tier\" must be said to be one of number, string, bool, list; write tier = \"number\"",
        ),
        (
            "[attributes]\n\"my tier\" = \"string\"\n".to_owned(),
            "2: error: \"my tier\" is no name of an attribute; use letters A-Z, a-z, digits and _, and begin with a letter",
        ),
        ("retention = \"1h\"\n".to_owned(), "1: error: \"retention\" must lie between 1d and 1830d"),
        (
            rule("{ entered = \"a\"", ""),
            "3: error: unclosed inline table, expected `}`; look for a missing or surplus bracket, brace or comma",
        ),
    ];
    for (text, wanted) in cases {
        let (_, said) = read(&text);
        let wanted = format!("t:{wanted}").replace(": T: ", ": trigger \"t\": ");
        assert_eq!(said, [wanted], "{text}");
    }
}

#[test]
fn rules_are_found_unusable_with_other_attributes() {
    let rules = sound(FULL);
    let welcome = &rules.triggers[0];
    assert_eq!(unusable(welcome, &rules.settings), None);
    let mut settings = rules.settings.as_ref().clone();
    settings.attributes.remove("language");
    let found = unusable(welcome, &settings).unwrap();
    assert_eq!(found, "its data.text: \"attributes.language\" is not declared; declare it under [attributes]");
    settings.attributes.clear();
    assert!(unusable(welcome, &settings).unwrap().starts_with("its condition: \"attributes.member\" is not declared"));
}
