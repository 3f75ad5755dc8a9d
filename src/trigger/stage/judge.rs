//! Whether a rule whose time has come fires.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Fired, Made, Stage};
use crate::model::{DeviceId, Timestamp, TriggerId, ZoneId};
use crate::registry::{Device, DeviceIndex, DeviceKind, Trigger, Zone};
use crate::trigger::moment::{Happening, Moment};
use crate::trigger::rules::Rule;
use crate::trigger::{DeviceHistory, Facts, Ledger, Missing, Outcome};

/// What a rule is tried for.
pub(super) struct Try<'a> {
    pub(super) rule: &'a Rule,
    pub(super) observed_at: Timestamp,
    pub(super) cause: Vec<Uuid>,
    /// What the usual key ends in.
    pub(super) about: Uuid,
}

impl Stage {
    /// The moment of an event, for all rules that are tried for it.
    pub(super) fn moment(
        &self,
        device: Option<DeviceIndex>,
        zone: Option<Arc<Zone>>,
        happening: Happening,
        now: Timestamp,
    ) -> Moment {
        let site = (Arc::clone(&self.registry), self.calendar.clone(), Arc::clone(&self.alike));
        Moment::new(site, device, zone, happening, now)
    }

    /// Tries a rule whose time has come.
    pub(super) fn attempt(&mut self, history: &mut DeviceHistory, one: Try<'_>, moment: &mut Moment) {
        let now = moment.now;
        let rule = one.rule;
        let id = &rule.def.id;
        let (outcome, detail) = match self.judge(history, one, moment) {
            Ok(fired) => {
                if rule.def.then.card && moment.device.is_some() {
                    history.cards.insert(id.clone());
                }
                self.made.push(Made::Fired(Box::new(fired)));
                (Outcome::Fired, None)
            }
            Err((outcome, detail)) => (outcome, detail),
        };
        history.decide(id, now, outcome, detail);
        self.count(id, outcome);
    }

    pub(super) fn count(&mut self, id: &TriggerId, outcome: Outcome) {
        let counts = match self.counts.get_mut(id) {
            Some(counts) => counts,
            None => self.counts.entry(id.clone()).or_default(),
        };
        *counts.entry(outcome).or_default() += 1;
    }

    pub(super) fn judge(
        &mut self,
        history: &mut DeviceHistory,
        one: Try<'_>,
        moment: &mut Moment,
    ) -> Result<Fired, (Outcome, Option<String>)> {
        let Try { rule, observed_at, cause, about } = one;
        let now = moment.now;
        let def = &rule.def;
        let id = &def.id;
        let device = moment.device().cloned();
        let device = device.as_ref();
        let missing = |Missing(what): Missing| (Outcome::Missing, Some(what));
        let channels = match device {
            Some(device) => channels(def, device).ok_or((Outcome::NoConsent, None))?,
            None => def.then.channels.clone(),
        };
        if let Some(device) = device
            && is_held_out(def, &device.id)
        {
            return Err((Outcome::Holdout, None));
        }
        if let Some(condition) = &rule.condition {
            let seen = moment.seen(device.map(|_| &*history), def);
            if !condition.holds(seen).map_err(missing)? {
                return Err((Outcome::Condition, None));
            }
        }
        // Who is lost has left the site before the zones in it: their ends belong to the visit that is over.
        let visit = history.stay.as_ref().map(|stay| stay.began);
        let visit = visit.or_else(|| history.zones.get(&ZoneId::site()).map(|site| site.entered)).unwrap_or(now);
        let nothing = Ledger::default();
        let fired = if device.is_some() { history.fired.get(id) } else { self.site.fired.get(id) };
        rule.gate.judge(now, visit, fired.unwrap_or(&nothing), &self.calendar).map_err(|held| (held.into(), None))?;
        let site = self.site.fired.get(id).unwrap_or(&nothing);
        rule.site_gate.judge(now, visit, site, &self.calendar).map_err(|_| (Outcome::SiteCap, None))?;
        if device.is_some() {
            for (name, gate) in &rule.shared {
                let ledger = history.shared.get(name).unwrap_or(&nothing);
                let held = |_| (Outcome::SharedCap, (!name.is_empty()).then(|| name.clone()));
                gate.judge(now, visit, ledger, &self.calendar).map_err(held)?;
            }
        }
        let snapshot = device.map(|_| &*history);
        let trigger_id = trigger_id(cause.last(), observed_at, def, device);
        let (data, key) = {
            let mut plain;
            let seen = if rule.is_plain {
                plain = Facts::default().seen();
                &mut plain
            } else {
                moment.seen(snapshot, def)
            };
            let data = rule.data.render(seen).map_err(missing)?;
            let key = rule.key.as_ref().map(|key| key.render(seen)).transpose().map_err(missing)?;
            (data, key)
        };
        let key = key.map(|key| key.as_str().map_or_else(|| key.to_string(), str::to_owned)).map(|mut key| {
            let mut end = key.len().min(256);
            while !key.is_char_boundary(end) {
                end -= 1;
            }
            key.truncate(end);
            key
        });
        let facts = moment.facts(snapshot);
        let about = if about.is_nil() { trigger_id } else { about };
        let zone = moment.zone.clone();
        let who = device.map_or_else(|| zone.as_ref().map(|zone| zone.id.to_string()), |d| Some(d.id.to_string()));
        let usual = || format!("{}:{id}:{}:{about}", self.registry.site().id, who.unwrap_or_default());
        let fired = Fired {
            id: trigger_id,
            sequence: 0,
            rule: Arc::clone(def),
            device: device.cloned(),
            zone,
            observed_at,
            decided_at: now,
            expires_at: now + def.then.expires_after,
            deduplication_key: key.unwrap_or_else(usual),
            channels,
            cause,
            facts,
            data,
            suspect: false,
        };
        let keep = rule.gate.keep();
        if device.is_some() {
            add(&mut history.fired, id, now, keep);
            for (name, _) in &rule.shared {
                let keep = self.compiled.shared_keep.get(name).copied().unwrap_or(1);
                add(&mut history.shared, name, now, keep);
            }
        }
        if device.is_none() || !def.unless.site_caps.is_empty() {
            let keep = keep.max(rule.site_gate.keep());
            add(&mut self.site.fired, id, now, keep);
            self.is_site_changed = true;
        }
        Ok(fired)
    }
}

/// Notes that it fired now.
fn add<K: Ord + Clone>(ledgers: &mut BTreeMap<K, Ledger>, name: &K, now: Timestamp, keep: usize) {
    match ledgers.get_mut(name) {
        Some(ledger) => ledger.add(now, keep),
        None => ledgers.entry(name.clone()).or_default().add(now, keep),
    }
}

/// The id of what fires: the same for the same cause.
fn trigger_id(cause: Option<&Uuid>, observed_at: Timestamp, def: &Trigger, device: Option<&Arc<Device>>) -> Uuid {
    let cause = cause.copied().unwrap_or_default();
    let who = device.map_or("", |device| device.id.as_str());
    Uuid::new_v5(&cause, format!("trigger/{}/{who}/{}", def.id, observed_at.as_millis()).as_bytes())
}

/// The channels that the person behind a device has agreed to; none where there is none.
fn channels(def: &Trigger, device: &Device) -> Option<Vec<String>> {
    let purpose = &def.unless.consent;
    let wanted = &def.then.channels;
    if device.kind != DeviceKind::Customer || purpose.is_empty() || device.consent.allows(purpose) {
        return Some(wanted.clone());
    }
    let given = |channel: &str| device.consent.allows(&format!("{purpose}:{channel}"));
    let allowed: Vec<String> = if wanted.is_empty() {
        let prefix = format!("{purpose}:");
        device.consent.0.iter().filter_map(|given| given.strip_prefix(&prefix)).map(str::to_owned).collect()
    } else {
        wanted.iter().filter(|channel| given(channel)).cloned().collect()
    };
    (!allowed.is_empty()).then_some(allowed)
}

/// Whether a device is one of those that never get this campaign: always the same ones, in every store.
fn is_held_out(def: &Trigger, device: &DeviceId) -> bool {
    let share = def.unless.holdout;
    if share <= 0.0 {
        return false;
    }
    let digest = Sha256::digest(format!("holdout\n{}\n{device}", def.campaign).as_bytes());
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    f64::from(number) / f64::from(u32::MAX) * 100.0 < share
}
