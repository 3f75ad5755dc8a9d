//! Lists, a page at a time: in the order of their ids, so that a page stays what it was whatever is added elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::Known;
use super::problem::Problem;
use crate::registry::{Kind, Registry};

/// Items of a page that does not say how many.
const USUAL: usize = 100;
/// Items of the largest page.
const MOST: usize = 1_000;
/// Characters that are looked for.
const LONGEST_WORDS: usize = 200;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Items on the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<usize>,
    /// Where the page begins: `next` of the page before.
    #[param(max_length = 256, pattern = "^([0-9a-f]{2})*$")]
    pub cursor: Option<String>,
    /// Only those whose id, name, identity or device holds this text, in any case.
    #[param(max_length = 200)]
    pub q: Option<String>,
}

impl Known for PageQuery {
    const NAMES: &'static [&'static str] = &["limit", "cursor", "q"];
}

/// Which page of a list of things that are on levels.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LevelPageQuery {
    /// Items on the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<usize>,
    /// Where the page begins: `next` of the page before.
    #[param(max_length = 256, pattern = "^([0-9a-f]{2})*$")]
    pub cursor: Option<String>,
    /// Only those whose id, name, identity or device holds this text, in any case.
    #[param(max_length = 200)]
    pub q: Option<String>,
    /// Only those on that level.
    #[param(minimum = -32768, maximum = 32767)]
    pub level: Option<i16>,
}

impl Known for LevelPageQuery {
    const NAMES: &'static [&'static str] = &["limit", "cursor", "q", "level"];
}

/// Which page, once it is read.
#[derive(Debug, Clone, Default)]
pub struct Page {
    limit: usize,
    /// The last id of the page before.
    after: Option<Vec<u8>>,
    /// In lower case; none where everything is meant.
    words: Option<String>,
}

/// What is on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// The items.
    pub items: Vec<T>,
    /// How many there are on all pages.
    pub total: usize,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

impl Page {
    /// Reads which page is meant.
    ///
    /// # Errors
    /// 400 where there is no such page.
    pub fn new(limit: Option<usize>, cursor: Option<&str>, words: Option<&str>) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::malformed(format!("limit is {limit}, but must lie between 1 and {MOST}")));
        }
        let after = match cursor.filter(|cursor| !cursor.is_empty()) {
            None => None,
            Some(cursor) => {
                let after = hex::decode(cursor);
                Some(after.map_err(|_| Problem::malformed("cursor is none that was given out; begin anew"))?)
            }
        };
        if words.is_some_and(|words| words.chars().count() > LONGEST_WORDS) {
            return Err(Problem::malformed(format!("q is longer than {LONGEST_WORDS} characters")));
        }
        let words = words.map(str::trim).filter(|words| !words.is_empty()).map(str::to_lowercase);
        Ok(Self { limit, after, words })
    }

    /// Items of the page.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Whether everything is asked for.
    pub const fn is_whole(&self) -> bool {
        self.words.is_none()
    }

    /// Whether one of these texts has what is looked for.
    pub fn matches(&self, texts: &[&str]) -> bool {
        self.words.as_ref().is_none_or(|words| texts.iter().any(|text| text.to_lowercase().contains(words.as_str())))
    }

    /// The page of a list that is in the order of its ids. What `keeps` refuses is not counted; `None` keeps everything, which spares
    /// the walk through the list.
    pub fn of<'a, T: Copy + 'a>(
        &self,
        sorted: &'a [T],
        id: impl Fn(T) -> &'a str,
        keeps: Option<&dyn Fn(T) -> bool>,
    ) -> Found<T> {
        let start = self
            .after
            .as_ref()
            .map_or(0, |after| sorted.partition_point(|item| id(*item).as_bytes() <= after.as_slice()));
        let (items, total, more): (Vec<T>, usize, bool) = match keeps {
            None => {
                let items: Vec<T> = sorted[start..].iter().copied().take(self.limit).collect();
                let more = start + items.len() < sorted.len();
                (items, sorted.len(), more)
            }
            Some(keeps) => {
                let before = sorted[..start].iter().filter(|item| keeps(**item)).count();
                let mut kept = sorted[start..].iter().copied().filter(|item| keeps(*item));
                let items: Vec<T> = kept.by_ref().take(self.limit).collect();
                let rest = kept.count();
                let total = before + items.len() + rest;
                (items, total, rest > 0)
            }
        };
        let next = items.last().filter(|_| more).map(|last| hex::encode(id(*last)));
        Found { items, total, next }
    }
}

/// Places in a registry, by kind, in the order of ids.
type ByKind = BTreeMap<Kind, Arc<[u32]>>;

/// The places of a registry's things in the order of their ids; worked out once for each revision, from the order of the one before.
#[derive(Debug, Default)]
pub struct Orders(Mutex<Option<Latest>>);

/// Of the revision that was asked for last, and of those before.
#[derive(Debug)]
struct Latest {
    revision: u64,
    orders: ByKind,
    earlier: ByKind,
}

impl Orders {
    /// The order of one kind of thing.
    pub fn of(&self, revision: u64, registry: &Registry, kind: Kind) -> Arc<[u32]> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = cached.get_or_insert_with(|| Latest { revision, orders: ByKind::new(), earlier: ByKind::new() });
        if latest.revision != revision {
            latest.revision = revision;
            latest.earlier.append(&mut latest.orders);
        }
        if let Some(order) = latest.orders.get(&kind) {
            return Arc::clone(order);
        }
        let order = order(registry, kind, latest.earlier.get(&kind).map_or(&[], AsRef::as_ref));
        latest.orders.insert(kind, Arc::clone(&order));
        order
    }
}

/// The order of one kind of thing. It is found soon where it is much like an earlier one.
fn order(registry: &Registry, kind: Kind, earlier: &[u32]) -> Arc<[u32]> {
    let ids: Vec<&str> = match kind {
        Kind::Site | Kind::Level | Kind::TriggerSettings => Vec::new(),
        Kind::Receiver => registry.receivers().iter().map(|one| one.id.as_str()).collect(),
        Kind::Zone => registry.zones().iter().map(|one| one.id.as_str()).collect(),
        Kind::Device => registry.devices().iter().map(|one| one.id.as_str()).collect(),
        Kind::Beacon => registry.beacons().iter().map(|one| one.id.as_str()).collect(),
        Kind::Trigger => registry.rules().triggers.iter().map(|one| one.id.as_str()).collect(),
    };
    let all = ids.len() as u32;
    let mut order: Vec<u32> = earlier.iter().copied().filter(|at| *at < all).collect();
    order.extend(earlier.len().min(ids.len()) as u32..all);
    // What is in order already is not compared with everything.
    order.sort_by_key(|at| ids[*at as usize]);
    order.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(limit: usize, words: Option<&str>, list: &[&str]) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut cursor = None;
        loop {
            let page = Page::new(Some(limit), cursor.as_deref(), words).unwrap();
            let keeps = |item: &str| page.matches(&[item]);
            let keeps: Option<&dyn Fn(&str) -> bool> = if page.is_whole() { None } else { Some(&keeps) };
            let found = page.of(list, |item| item, keeps);
            let all = list.iter().filter(|item| page.matches(&[item])).count();
            assert_eq!(found.total, all);
            pages.push(found.items.iter().map(|item| (*item).to_owned()).collect());
            cursor = found.next;
            if cursor.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_and_end() {
        let list = ["Zed", "a", "ab", "b", "c"];
        assert_eq!(pages(2, None, &list), [vec!["Zed", "a"], vec!["ab", "b"], vec!["c"]]);
        assert_eq!(pages(5, None, &list).len(), 1);
        assert_eq!(pages(1, Some("A"), &list), [vec!["a"], vec!["ab"]]);
        assert_eq!(pages(1, Some("z"), &list), [vec!["Zed"]]);
        assert_eq!(pages(1, None, &[]), [Vec::<String>::new()]);
    }

    #[test]
    fn a_page_goes_on_where_the_last_ended_though_its_last_item_is_gone() {
        let page = Page::new(Some(2), Some(&hex::encode("ab")), None).unwrap();
        assert_eq!(page.of(&["a", "b", "c"], |item| item, None).items, ["b", "c"]);
    }

    #[test]
    fn a_page_that_cannot_be_is_refused() {
        assert!(Page::new(Some(0), None, None).is_err());
        assert!(Page::new(Some(1_001), None, None).is_err());
        assert!(Page::new(None, Some("xyz"), None).is_err());
        assert!(Page::new(None, None, Some(&"é".repeat(201))).is_err());
        assert!(Page::new(None, Some("ff"), Some(&"é".repeat(200))).is_ok());
        assert!(Page::new(None, Some(""), Some(" ")).is_ok_and(|page| page.is_whole()));
    }

    #[test]
    fn an_order_is_the_same_whatever_the_one_before_was() {
        use crate::registry::{Edit, Key, Record, fixture};
        let first = fixture::registry(&fixture::settings());
        let put = ["m", "a", "z", "d2b"].map(|id| {
            let device = crate::registry::Device {
                id: crate::model::DeviceId::new(id).unwrap(),
                ..first.devices()[0].as_ref().clone()
            };
            Record::Device(Arc::new(device))
        });
        let more = first.edited(&Edit { put: put.to_vec(), ..Edit::default() }).unwrap();
        let gone = crate::model::DeviceId::new("m").unwrap();
        let fewer = more.edited(&Edit { remove: vec![Key::Device(gone)], ..Edit::default() }).unwrap();
        let ids = |order: &[u32], registry: &Registry| -> Vec<String> {
            order.iter().map(|at| registry.devices()[*at as usize].id.to_string()).collect()
        };
        let orders = Orders::default();
        for (revision, registry) in [&first, &more, &fewer, &more, &first].into_iter().enumerate() {
            let found = ids(&orders.of(revision as u64, registry, Kind::Device), registry);
            let mut wanted: Vec<String> = registry.devices().iter().map(|device| device.id.to_string()).collect();
            wanted.sort();
            assert_eq!(found, wanted);
        }
    }
}
