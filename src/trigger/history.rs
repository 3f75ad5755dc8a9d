//! What rules remember of a device, and of the site. It is part of what outlives a restart, in the same transaction as presence.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Ledger, Progress};
use crate::model::{Timestamp, TriggerId, ZoneId};

/// Zones of which the visits of one device are remembered.
const MOST_ZONES: usize = 128;
/// Decisions that are kept of one device.
const MOST_DECISIONS: usize = 24;
/// Times between visits that say what is usual.
const MOST_GAPS: usize = 16;

/// What is remembered of one device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceHistory {
    /// Its visits, by zone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) zones: BTreeMap<ZoneId, ZoneHistory>,
    /// When each rule fired for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) fired: BTreeMap<TriggerId, Ledger>,
    /// When any rule of a campaign fired for it, and any at all (no name).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) shared: BTreeMap<String, Ledger>,
    /// How far it has come in sequences.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) progress: BTreeMap<TriggerId, Progress>,
    /// The visit to the site that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stay: Option<Stay>,
    /// Rules that wait for it to stay away.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) away: BTreeMap<TriggerId, Away>,
    /// Attended time between its visits, in seconds, for rules that ask what is usual.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) gaps: BTreeMap<TriggerId, VecDeque<u32>>,
    /// Stays that are long enough at that time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) dwells: Vec<Dwell>,
    /// What it is near to.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) near: BTreeSet<TriggerId>,
    /// What the back end says of it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) attributes: Map<String, Value>,
    /// Its cards.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) cards: BTreeSet<TriggerId>,
    /// What was decided lately, oldest first.
    #[serde(skip_serializing_if = "VecDeque::is_empty")]
    pub(super) decisions: VecDeque<Decision>,
}

/// The visits to a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ZoneHistory {
    pub(super) count: u32,
    /// When the last one began.
    pub(super) entered: Timestamp,
    /// The one that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) open: Option<Uuid>,
    /// When the last one ended that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<Timestamp>,
    /// The same in attended time.
    #[serde(default)]
    pub(super) left_attended: i64,
    /// The time between the last two, in milliseconds, where there were two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since_last: Option<i64>,
}

/// A visit to the site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Stay {
    pub(super) visit: Uuid,
    pub(super) began: Timestamp,
    /// Attended time then.
    pub(super) began_attended: i64,
    /// The zones it was in, and the event that said so.
    #[serde(default)]
    pub(super) been: BTreeMap<ZoneId, Uuid>,
    /// Time in the places of rules that add it up, in milliseconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) totals: BTreeMap<TriggerId, Total>,
}

/// Time in several places.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Total {
    pub(super) ms: i64,
    /// Since when it is in one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Timestamp>,
    #[serde(default)]
    pub(super) done: bool,
}

/// A stay that becomes long enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Dwell {
    pub(super) trigger: TriggerId,
    pub(super) zone: ZoneId,
    pub(super) visit: Uuid,
    /// The event that began it.
    pub(super) event: Uuid,
    pub(super) at: Timestamp,
}

/// An absence that goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Away {
    /// The event that began it, its visit and zone.
    pub(super) event: Uuid,
    pub(super) visit: Uuid,
    pub(super) zone: ZoneId,
    pub(super) left: Timestamp,
    pub(super) left_attended: i64,
    /// How long it must be, in milliseconds of attended time.
    pub(super) need: i64,
    /// Not to be tried before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) not_before: Option<Timestamp>,
}

/// What was decided of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The rule.
    pub trigger: TriggerId,
    /// When, last.
    pub at: Timestamp,
    /// `fired`, or what held it back.
    pub outcome: Outcome,
    /// What exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How often in a row.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u32,
}

const fn once() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The form that serde asks for.
const fn is_once(times: &u32) -> bool {
    *times == 1
}

/// What came of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It fired.
    Fired,
    /// Its condition is not true.
    Condition,
    /// A fact is missing that its condition or its texts ask for.
    Missing,
    /// The person has not agreed to it, or to none of its channels.
    NoConsent,
    /// The device is one of those that never get it.
    Holdout,
    /// The store is closed.
    StoreHours,
    /// The hours are quiet ones.
    QuietHours,
    /// The last one was too short a while ago.
    CoolDown,
    /// A cap of the device is reached.
    Cap,
    /// A cap over all devices is reached.
    SiteCap,
    /// A cap over several rules is reached.
    SharedCap,
    /// The gateway did not look all the time: what is missed may have happened.
    NotObserved,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Fired,
        Self::Condition,
        Self::Missing,
        Self::NoConsent,
        Self::Holdout,
        Self::StoreHours,
        Self::QuietHours,
        Self::CoolDown,
        Self::Cap,
        Self::SiteCap,
        Self::SharedCap,
        Self::NotObserved,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Condition => "condition",
            Self::Missing => "missing",
            Self::NoConsent => "no_consent",
            Self::Holdout => "holdout",
            Self::StoreHours => "store_hours",
            Self::QuietHours => "quiet_hours",
            Self::CoolDown => "cool_down",
            Self::Cap => "cap",
            Self::SiteCap => "site_cap",
            Self::SharedCap => "shared_cap",
            Self::NotObserved => "not_observed",
        }
    }
}

impl Decision {
    /// The same in a sentence.
    pub fn words(&self) -> String {
        let detail = self.detail.as_deref();
        let mut words = match self.outcome {
            Outcome::Fired => "it fired".to_owned(),
            Outcome::Condition => "its condition is not true".to_owned(),
            Outcome::Missing => format!("a fact is missing: {}", detail.unwrap_or("unknown")),
            Outcome::NoConsent => "the person has not agreed to its purpose, or to none of its channels".to_owned(),
            Outcome::Holdout => "the device is in the group that never gets it, for comparison".to_owned(),
            Outcome::StoreHours => "the store is closed".to_owned(),
            Outcome::QuietHours => "these are quiet hours".to_owned(),
            Outcome::CoolDown => "the last one was too short a while ago".to_owned(),
            Outcome::Cap => "its cap for the device is reached".to_owned(),
            Outcome::SiteCap => "its cap over all devices is reached".to_owned(),
            Outcome::SharedCap => match detail {
                Some(campaign) => format!("the cap of campaign {campaign} is reached"),
                None => "the cap over all rules is reached".to_owned(),
            },
            Outcome::NotObserved => "a receiver was down meanwhile: it may have been there unseen".to_owned(),
        };
        if let (Some(detail), Outcome::StoreHours | Outcome::QuietHours) = (detail, self.outcome) {
            words = format!("{words}: it {detail}");
        }
        words
    }
}

impl From<super::HeldBack> for Outcome {
    fn from(held: super::HeldBack) -> Self {
        match held {
            super::HeldBack::StoreHours => Self::StoreHours,
            super::HeldBack::QuietHours => Self::QuietHours,
            super::HeldBack::CoolDown => Self::CoolDown,
            super::HeldBack::Cap => Self::Cap,
        }
    }
}

impl DeviceHistory {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What was decided lately, oldest first.
    pub fn decisions(&self) -> impl DoubleEndedIterator<Item = &Decision> {
        self.decisions.iter()
    }

    /// What the back end says of it.
    pub const fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }

    pub(super) fn decide(&mut self, trigger: &TriggerId, at: Timestamp, outcome: Outcome, detail: Option<String>) {
        let is_same =
            |last: &&mut Decision| last.trigger == *trigger && last.outcome == outcome && last.detail == detail;
        if let Some(known) = self.decisions.iter_mut().rev().find(|last| last.trigger == *trigger).filter(is_same) {
            known.at = at;
            known.times = known.times.saturating_add(1);
            return;
        }
        while self.decisions.len() >= MOST_DECISIONS {
            self.decisions.pop_front();
        }
        self.decisions.push_back(Decision { trigger: trigger.clone(), at, outcome, detail, times: 1 });
    }

    /// A visit begins; gives what was known of the zone before.
    pub(super) fn enter(&mut self, zone: &ZoneId, visit: Uuid, at: Timestamp) -> Option<ZoneHistory> {
        let before = self.zones.get(zone).cloned();
        if before.is_none() && self.zones.len() >= MOST_ZONES {
            let oldest = self.zones.iter().filter(|(id, zone)| zone.open.is_none() && !id.is_site());
            let oldest = oldest.min_by_key(|(_, zone)| zone.entered).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                self.zones.remove(&oldest);
            }
        }
        let left = before.as_ref().and_then(|known| known.left);
        self.zones.insert(
            zone.clone(),
            ZoneHistory {
                count: before.as_ref().map_or(0, |known| known.count).saturating_add(1),
                entered: at,
                open: Some(visit),
                left,
                left_attended: before.as_ref().map_or(0, |known| known.left_attended),
                since_last: left.map(|left| at.since(left).as_millis() as i64),
            },
        );
        before
    }

    /// What goes on in a new epoch, begun from a record that was written at `at`: its visits are taken to have ended then.
    pub fn begin_epoch(&mut self, site: &SiteHistory, at: Timestamp) {
        self.pause(at, at.as_millis() - site.unattended_ms);
    }

    /// Nobody looks at its visits any more: those that go on are taken to end now.
    pub(super) fn pause(&mut self, now: Timestamp, attended: i64) {
        for zone in self.zones.values_mut().filter(|zone| zone.open.is_some()) {
            (zone.open, zone.left, zone.left_attended) = (None, Some(now), attended);
        }
        self.stay = None;
        self.progress.clear();
        self.dwells.clear();
        self.near.clear();
    }

    pub(super) fn gap(&mut self, trigger: &TriggerId, ms: i64) {
        let gaps = self.gaps.entry(trigger.clone()).or_default();
        gaps.push_back(u32::try_from(ms / 1_000).unwrap_or(u32::MAX));
        while gaps.len() > MOST_GAPS {
            gaps.pop_front();
        }
    }

    /// Forgets what is older than `since`, and what belongs to rules that are no more. Whether anything changed.
    pub(super) fn forget(&mut self, since: Timestamp, is_rule: impl Fn(&TriggerId) -> bool) -> bool {
        let before = self.clone();
        self.zones.retain(|_, zone| zone.open.is_some() || zone.left.is_none_or(|left| left >= since));
        self.fired.retain(|trigger, ledger| is_rule(trigger) && !ledger.forget_before(since));
        self.shared.retain(|_, ledger| !ledger.forget_before(since));
        self.progress.retain(|trigger, _| is_rule(trigger));
        self.away.retain(|trigger, away| is_rule(trigger) && away.left >= since);
        self.gaps.retain(|trigger, _| is_rule(trigger));
        self.dwells.retain(|dwell| is_rule(&dwell.trigger));
        self.near.retain(&is_rule);
        self.decisions.retain(|decision| decision.at >= since);
        if self.zones.is_empty() {
            self.gaps.clear();
            self.progress.clear();
        }
        *self != before
    }
}

/// What rules remember of the whole site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SiteHistory {
    /// When each rule fired, for whomever.
    pub(super) fired: BTreeMap<TriggerId, Ledger>,
    /// Rules of occupancy, and whether they may fire.
    pub(super) armed: BTreeMap<TriggerId, bool>,
    /// For how long nobody looked, in milliseconds.
    pub(super) unattended_ms: i64,
    /// What was decided lately of rules that are about no device.
    pub(super) decisions: VecDeque<Decision>,
}
