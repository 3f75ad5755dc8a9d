use std::sync::Mutex as Plain;

use super::*;
use crate::model::{DeviceId, ZoneId};
use crate::registry::{Device, Labels, Shape, Zone, fixture};

fn now() -> Timestamp {
    Timestamp::from_millis(1_767_261_600_000)
}

/// A registrar over memory, without an engine, and what it told.
struct Office {
    registrar: Registrar,
    keep: Arc<Memory>,
    told: Arc<Plain<Vec<u64>>>,
}

impl Office {
    fn new() -> Self {
        let keep = Arc::new(Memory::default());
        let (view, rows) = load::first(&fixture::registry(&fixture::settings()), "test", now()).unwrap();
        keep.write(rows, Box::new(|| ()));
        Self::on(keep, view)
    }

    fn on(keep: Arc<Memory>, view: View) -> Self {
        let told = Arc::<Plain<Vec<u64>>>::default();
        let tell = Arc::clone(&told);
        let parts = Parts {
            view,
            keep: Arc::clone(&keep) as Arc<dyn Keep>,
            engine: None,
            now: Box::new(now),
            told: Box::new(move |change| tell.lock().unwrap().push(change.revision)),
        };
        Self { registrar: Registrar::new(parts).unwrap(), keep, told }
    }

    /// As after a restart.
    fn again(&self) -> Self {
        let view = load::load(&*self.keep).unwrap().unwrap();
        Self::on(Arc::clone(&self.keep), view)
    }

    async fn put(&self, record: Record, expect: Option<Expect>) -> Result<Applied, EditError> {
        let expected = expect.map(|expect| (record.key(), expect)).into_iter().collect();
        let edit = Edit { put: vec![record], ..Edit::default() };
        self.registrar.edit(edit, expected, &Author("anna".to_owned()), Action::Edit).await
    }

    async fn remove(&self, key: Key) -> Result<Applied, EditError> {
        let edit = Edit { remove: vec![key], ..Edit::default() };
        self.registrar.edit(edit, Vec::new(), &Author("anna".to_owned()), Action::Edit).await
    }

    fn zone(&self, id: &str) -> Zone {
        let Some(Record::Zone(zone)) = self.registrar.view().registry.record(&zone_key(id)) else { panic!("{id}") };
        zone.as_ref().clone()
    }
}

fn zone_key(id: &str) -> Key {
    Key::Zone(ZoneId::new(id).unwrap())
}

fn device(id: &str, label: &str) -> Record {
    Record::Device(Arc::new(Device {
        id: DeviceId::new(id).unwrap(),
        kind: crate::registry::DeviceKind::Staff,
        consent: crate::registry::Consent::default(),
        labels: Labels::from([("l".to_owned(), label.to_owned())]),
    }))
}

fn named(zone: &Zone, name: &str) -> Record {
    Record::Zone(Arc::new(Zone { name: name.to_owned(), ..zone.clone() }))
}

#[tokio::test]
async fn what_was_changed_is_there_after_a_restart_in_the_same_order() {
    let office = Office::new();
    office.put(device("zz", "1"), None).await.unwrap();
    office.put(device("aa", "1"), None).await.unwrap();
    office.put(named(&office.zone("b"), "Bee"), None).await.unwrap();
    office.remove(Key::Beacon(crate::model::BeaconId::new("f1").unwrap())).await.unwrap();
    office.put(device("zz", "2"), None).await.unwrap();
    let (before, after) = (office.registrar.view(), office.again().registrar.view());
    assert_eq!(after.revision, 6);
    assert!(before.registry.difference(&after.registry).is_empty());
    let ids = |view: &View| -> Vec<String> { records(&view.registry).map(|record| record.key().to_string()).collect() };
    assert_eq!(ids(&before), ids(&after));
    assert_eq!(*office.told.lock().unwrap(), [2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn what_came_together_is_listed_in_the_order_in_which_it_came_before_and_after_a_restart() {
    let office = Office::new();
    let author = Author("anna".to_owned());
    for names in [["zz", "mm", "d1"], ["yy", "d2", "aa"], ["kk", "bb", "zz"]] {
        let put = names.map(|name| device(name, "x")).to_vec();
        let edit = Edit { put, ..Edit::default() };
        office.registrar.edit(edit, Vec::new(), &author, Action::Import).await.unwrap();
    }
    let ids = |office: &Office| -> Vec<String> {
        let registry = office.registrar.view().registry;
        registry.devices().iter().map(|device| device.id.to_string()).collect()
    };
    assert_eq!(ids(&office), ["d1", "d2", "d3", "zz", "mm", "yy", "aa", "kk", "bb"]);
    assert_eq!(ids(&office.again()), ids(&office));
}

#[tokio::test]
async fn two_editors_do_not_overwrite_each_other() {
    let office = Office::new();
    let tag = office.registrar.view().etag(&zone_key("a")).unwrap();
    let zone = office.zone("a");
    office.put(named(&zone, "Mine"), Some(Expect::Tagged(tag.clone()))).await.unwrap();
    let refused = office.put(named(&zone, "Theirs"), Some(Expect::Tagged(tag))).await.unwrap_err();
    let now = office.registrar.view().etag(&zone_key("a"));
    assert_eq!(refused, EditError::Changed { key: zone_key("a"), etag: now });
    assert_eq!(office.zone("a").name, "Mine");
    let exists = office.put(named(&zone, "New"), Some(Expect::Absent)).await.unwrap_err();
    assert_eq!(exists, EditError::Exists(zone_key("a")));
    assert_eq!(office.registrar.view().revision, 2);
}

#[tokio::test]
async fn a_change_that_changes_nothing_makes_no_revision() {
    let office = Office::new();
    let done = office.put(named(&office.zone("a"), "A"), None).await.unwrap();
    assert_eq!((done.revision, done.change), (1, None));
}

#[tokio::test]
async fn what_others_need_is_not_removed_and_they_are_named() {
    let office = Office::new();
    let key = Key::Device(DeviceId::new("d1").unwrap());
    let refused = office.remove(key.clone()).await.unwrap_err();
    assert_eq!(refused, EditError::InUse { key, by: vec!["beacon \"b1\"".to_owned()] });
}

#[tokio::test]
async fn a_change_is_remembered_and_undone_unless_it_was_changed_again() {
    let office = Office::new();
    let zone = office.zone("a");
    office.put(named(&zone, "One"), None).await.unwrap();
    office.put(device("new", "x"), None).await.unwrap();
    let author = Author("bert".to_owned());
    office.registrar.undo(2, &author).await.unwrap();
    assert_eq!(office.zone("a"), zone);
    // The undoing is a change, and can be undone.
    office.registrar.undo(4, &author).await.unwrap();
    assert_eq!(office.zone("a").name, "One");
    office.put(named(&zone, "Two"), None).await.unwrap();
    let refused = office.registrar.undo(2, &author).await.unwrap_err();
    assert_eq!(refused, EditError::ChangedSince { revision: 2, keys: vec![zone_key("a")] });
    office.registrar.undo(3, &author).await.unwrap();
    assert!(office.registrar.view().registry.device(&DeviceId::new("new").unwrap()).is_none());

    let history = office.registrar.history(None, 100).unwrap();
    let told: Vec<_> = history.iter().map(|change| (change.revision, change.by.as_str(), change.undoes)).collect();
    let wanted = [
        (7, "bert", Some(3)),
        (6, "anna", None),
        (5, "bert", Some(4)),
        (4, "bert", Some(2)),
        (3, "anna", None),
        (2, "anna", None),
        (1, "test", None),
    ];
    assert_eq!(told, wanted);
    let page = office.registrar.history(Some(3), 1).unwrap();
    assert_eq!(page[0].revision, 2);
    let whole = office.again().registrar.change_of(2).unwrap();
    let name = |value: &Option<Value>| value.as_ref().unwrap()["properties"]["name"].clone();
    assert_eq!((name(&whole.items[0].before), name(&whole.items[0].after)), ("A".into(), "One".into()));
    assert_eq!(office.registrar.change_of(99).unwrap_err(), EditError::UnknownRevision(99));
}

#[tokio::test]
async fn when_the_origin_moves_everything_moves_along() {
    let office = Office::new();
    let before = office.zone("a");
    let Some(Record::Site(mut site)) = office.registrar.view().registry.record(&Key::Site) else { panic!() };
    site.frame = crate::model::Frame::new(crate::model::LatLon { latitude: 52.1, longitude: 5.2 }, 30.0).unwrap();
    office.put(Record::Site(site), None).await.unwrap();
    let (Shape::Polygons(was), Shape::Polygons(is)) = (&before.shape, &office.zone("a").shape) else { panic!() };
    for (was, is) in was[0].0.iter().zip(&is[0].0) {
        assert!(was.distance(*is) < 0.002, "{was:?} {is:?}");
    }
    let again = office.again().registrar.view();
    assert!(again.registry.difference(&office.registrar.view().registry).is_empty());
    office.registrar.undo(2, &Author("anna".to_owned())).await.unwrap();
    let again = office.again().registrar.view();
    assert!(again.registry.difference(&office.registrar.view().registry).is_empty());
}

#[tokio::test]
async fn tokens_are_kept_as_hashes_and_are_no_good_once_revoked() {
    let office = Office::new();
    let author = Author("local:0".to_owned());
    let tokens = office.registrar.tokens();
    let token = tokens.add("till", Role::Viewer, &author, now()).await.unwrap();
    assert!(token.starts_with("bf_") && token.len() == 46, "{token}");
    let rows = office.keep.rows(&["token/"]).unwrap();
    assert!(!String::from_utf8_lossy(&rows[0].1).contains(&token[3..]));
    let again = office.again();
    let found = again.registrar.tokens().verify(&token).unwrap();
    assert_eq!((found.name.as_str(), found.role), ("till", Role::Viewer));
    assert!(tokens.verify(&token.to_lowercase()).is_none() && tokens.verify("bf_").is_none());
    assert_eq!(tokens.add("till", Role::Admin, &author, now()).await, Err(TokenError::Exists("till".to_owned())));
    assert_eq!(tokens.add("a b", Role::Admin, &author, now()).await, Err(TokenError::Name));
    tokens.revoke("till").await.unwrap();
    assert!(tokens.verify(&token).is_none() && office.again().registrar.tokens().verify(&token).is_none());
    assert_eq!(tokens.revoke("till").await, Err(TokenError::NotFound("till".to_owned())));
}

#[tokio::test]
async fn an_import_that_was_overtaken_by_a_change_is_not_made() {
    let office = Office::new();
    let base = office.registrar.view().revision;
    office.put(named(&office.zone("a"), "Mine"), None).await.unwrap();
    let edit = Edit { put: vec![named(&office.zone("b"), "Theirs")], ..Edit::default() };
    let author = Author("bert".to_owned());
    let apply = |base| office.registrar.apply(edit.clone(), Vec::new(), Some(base), &author, Action::Import);
    assert_eq!(apply(base).await.unwrap_err(), EditError::Overtaken);
    assert_eq!(office.zone("b").name, "B");
    assert_eq!(apply(base + 1).await.unwrap().revision, base + 2);
}
