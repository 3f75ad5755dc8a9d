//! Rules made ready: conditions and templates compiled, places looked up, and for each zone the rules that are about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Condition, ConditionError, Data, Gate, Template};
use crate::model::{LevelOrdinal, Point, TriggerId};
use crate::registry::{
    Nearness, Place, Places, Registry, Rules, Shape, Target, Trigger, TriggerSettings, When, ZoneIndex, shape_bounds,
    shape_holds,
};

/// Zones, in the registry's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ZoneSet(Vec<ZoneIndex>);

impl ZoneSet {
    fn of(places: &Places, registry: &Registry) -> Self {
        let zones = registry.zones().iter().enumerate().filter(|(_, zone)| {
            places.0.iter().any(|place| match place {
                Place::Zone(id) => zone.id == *id,
                Place::Label(key, value) => zone.labels.get(key) == Some(value),
                Place::Any => !zone.id.is_site(),
            })
        });
        Self(zones.map(|(at, _)| ZoneIndex(at as u32)).collect())
    }

    pub(super) fn holds(&self, zone: ZoneIndex) -> bool {
        self.0.binary_search(&zone).is_ok()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = ZoneIndex> + '_ {
        self.0.iter().copied()
    }
}

/// What a rule waits for, looked up.
#[derive(Debug, Clone)]
pub(super) enum Waits {
    Entered(ZoneSet),
    Exited(ZoneSet),
    Dwelled(ZoneSet),
    Approach { at: Point, level: LevelOrdinal, within: f64, zone: Option<ZoneIndex> },
    FirstVisit(ZoneSet),
    Returned(ZoneSet),
    Absent(ZoneSet),
    Sequence(Vec<ZoneSet>),
    Missed { places: ZoneSet, was_in: ZoneSet },
    Occupancy(Option<ZoneIndex>),
}

/// A rule made ready.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) def: Arc<Trigger>,
    pub(super) waits: Waits,
    pub(super) condition: Option<Condition>,
    pub(super) key: Option<Template>,
    pub(super) data: Data,
    /// Whether anything in it is worked out by expressions.
    pub(super) is_plain: bool,
    pub(super) gate: Gate,
    /// Caps over all devices.
    pub(super) site_gate: Gate,
    /// Caps over several rules, by the name of what they count: a campaign, or nothing for all.
    pub(super) shared: Vec<(String, Gate)>,
}

/// All rules of a site, made ready.
#[derive(Debug, Default)]
pub struct Compiled {
    pub(super) rules: Vec<Rule>,
    pub(super) by_id: BTreeMap<TriggerId, usize>,
    /// All rules, those that are switched off among them: what is remembered of them stays.
    pub(super) known: BTreeSet<TriggerId>,
    /// For each zone the rules that something entering it may be for.
    pub(super) entered: Vec<Vec<usize>>,
    /// The same for leaving it.
    pub(super) exited: Vec<Vec<usize>>,
    pub(super) missed: Vec<usize>,
    pub(super) approach: Vec<usize>,
    pub(super) occupancy: Vec<Vec<usize>>,
    /// Of what caps over several rules count: how many times are kept.
    pub(super) shared_keep: BTreeMap<String, usize>,
    pub(super) settings: Arc<TriggerSettings>,
    /// Rules that cannot be, and why: readers refuse such, but they may come from a later version.
    pub faults: Vec<(TriggerId, ConditionError)>,
}

impl Compiled {
    /// Makes the rules of a registry ready; those that cannot be are left out.
    pub fn new(registry: &Registry) -> Self {
        let Rules { settings, triggers } = registry.rules().as_ref();
        let zones = registry.zones().len();
        let mut compiled = Self {
            entered: vec![Vec::new(); zones],
            exited: vec![Vec::new(); zones],
            occupancy: vec![Vec::new(); zones],
            known: triggers.iter().map(|rule| rule.id.clone()).collect(),
            settings: Arc::clone(settings),
            ..Self::default()
        };
        for shared in &settings.caps {
            let keep = compiled.shared_keep.entry(shared.campaign.clone().unwrap_or_default()).or_default();
            *keep = (*keep).max(usize::from(shared.cap.most));
        }
        for rule in triggers.iter().filter(|rule| rule.enabled) {
            let at = compiled.rules.len();
            let ready = match Rule::new(rule, settings, registry) {
                Ok(ready) => ready,
                Err(error) => {
                    compiled.faults.push((rule.id.clone(), error));
                    continue;
                }
            };
            compiled.index(at, &ready.waits);
            compiled.by_id.insert(rule.id.clone(), at);
            compiled.rules.push(ready);
        }
        compiled
    }

    fn index(&mut self, at: usize, waits: &Waits) {
        let put = |lists: &mut Vec<Vec<usize>>, zones: &ZoneSet| {
            for zone in zones.iter() {
                let list = &mut lists[zone.get()];
                if list.last() != Some(&at) {
                    list.push(at);
                }
            }
        };
        match waits {
            Waits::Entered(zones) | Waits::FirstVisit(zones) | Waits::Returned(zones) => put(&mut self.entered, zones),
            Waits::Exited(zones) => put(&mut self.exited, zones),
            Waits::Dwelled(zones) | Waits::Absent(zones) => {
                put(&mut self.entered, zones);
                put(&mut self.exited, zones);
            }
            Waits::Sequence(steps) => {
                let all: BTreeSet<ZoneIndex> = steps.iter().flat_map(ZoneSet::iter).collect();
                put(&mut self.entered, &ZoneSet(all.into_iter().collect()));
            }
            Waits::Missed { .. } => self.missed.push(at),
            Waits::Approach { .. } => self.approach.push(at),
            Waits::Occupancy(zone) => {
                if let Some(zone) = zone {
                    self.occupancy[zone.get()].push(at);
                }
            }
        }
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether positions matter.
    pub fn wants_positions(&self) -> bool {
        !self.approach.is_empty()
    }

    pub(super) fn get(&self, id: &TriggerId) -> Option<&Rule> {
        self.by_id.get(id).map(|at| &self.rules[*at])
    }
}

impl Rule {
    fn new(rule: &Arc<Trigger>, settings: &TriggerSettings, registry: &Registry) -> Result<Self, ConditionError> {
        let declared = &settings.attributes;
        let condition = rule.condition.as_deref().map(|text| Condition::compile(text, declared)).transpose()?;
        let key = rule.then.deduplication_key.as_deref().map(|text| Template::compile(text, declared)).transpose()?;
        let data = serde_json::Value::Object(rule.then.data.clone());
        let data = Data::compile(&data, declared).map_err(|(_, error)| error)?;
        let unless = &rule.unless;
        let gate = Gate {
            open: settings.store_hours.clone().filter(|_| unless.store_hours),
            quiet: settings.quiet_hours.clone().filter(|_| unless.quiet_hours),
            cool_down: unless.cool_down,
            caps: unless.caps.clone(),
        };
        let site_gate = Gate { caps: unless.site_caps.clone(), ..Gate::default() };
        let mut shared: BTreeMap<String, Gate> = BTreeMap::new();
        for cap in &settings.caps {
            if cap.campaign.as_ref().is_none_or(|campaign| *campaign == rule.campaign) {
                shared.entry(cap.campaign.clone().unwrap_or_default()).or_default().caps.push(cap.cap);
            }
        }
        let is_plain = condition.is_none() && data.is_plain() && key.as_ref().is_none_or(Template::is_plain);
        Ok(Self {
            waits: Waits::new(&rule.when, registry),
            def: Arc::clone(rule),
            condition,
            key,
            data,
            is_plain,
            gate,
            site_gate,
            shared: shared.into_iter().collect(),
        })
    }
}

impl Waits {
    fn new(when: &When, registry: &Registry) -> Self {
        let set = |places: &Places| ZoneSet::of(places, registry);
        match when {
            When::Entered(places) => Self::Entered(set(places)),
            When::Exited(places) => Self::Exited(set(places)),
            When::Dwelled { places, .. } => Self::Dwelled(set(places)),
            When::Approach { nearness, target } => Self::approach(*nearness, target, registry),
            When::FirstVisit(places) => Self::FirstVisit(set(places)),
            When::Returned { places, .. } => Self::Returned(set(places)),
            When::Absent { places, .. } => Self::Absent(set(places)),
            When::Sequence { steps, .. } => Self::Sequence(steps.iter().map(set).collect()),
            When::Missed { places, was_in } => Self::Missed { places: set(places), was_in: set(was_in) },
            When::Occupancy { zone, .. } => Self::Occupancy(registry.zone(zone)),
        }
    }

    fn approach(nearness: Nearness, target: &Target, registry: &Registry) -> Self {
        let (place, zone) = match target {
            Target::Beacon(id) => (registry.beacon(id).and_then(|at| registry.beacons()[at.get()].fixed), None),
            Target::Zone(id) => {
                let at = registry.zone(id);
                let zone = at.map(|at| &registry.zones()[at.get()]);
                (zone.and_then(|zone| Some((heart(&zone.shape)?, zone.level?))), at)
            }
        };
        match place {
            Some((at, level)) => Self::Approach { at, level, within: nearness.metres(), zone },
            // The registry refuses such.
            None => Self::Occupancy(None),
        }
    }
}

/// The middle of a shape: the centre of its area, or where that is outside, of its widest part at that height.
fn heart(shape: &Shape) -> Option<Point> {
    let parts = match shape {
        Shape::Site => return None,
        Shape::Circle { centre, .. } => return Some(*centre),
        Shape::Polygons(parts) => parts,
    };
    let (mut area, mut x, mut y) = (0.0, 0.0, 0.0);
    for ring in
        parts.iter().flat_map(|(outer, holes)| std::iter::once((outer, 1.0)).chain(holes.iter().map(|h| (h, -1.0))))
    {
        let (corners, sign) = ring;
        let (mut of, mut at_x, mut at_y) = (0.0, 0.0, 0.0);
        for (a, b) in corners.iter().zip(corners.iter().cycle().skip(1)) {
            let cross = a.x * b.y - b.x * a.y;
            of += cross;
            at_x += (a.x + b.x) * cross;
            at_y += (a.y + b.y) * cross;
        }
        let sign: f64 = sign * of.signum();
        area += sign * of / 2.0;
        x += sign * at_x / 6.0;
        y += sign * at_y / 6.0;
    }
    let centre = Point { x: x / area, y: y / area };
    if shape_holds(shape, centre) {
        return Some(centre);
    }
    // Along the line at its height: the middle of the longest stretch that is inside.
    let (low, high) = shape_bounds(shape)?;
    let steps = 400;
    let place = |step: usize| low.x + (high.x - low.x) * (step as f64 + 0.5) / f64::from(steps);
    let (mut best, mut begin): (Option<(usize, usize)>, Option<usize>) = (None, None);
    for step in 0..=steps as usize {
        let inside = step < steps as usize && shape_holds(shape, Point { x: place(step), y: centre.y });
        match (inside, begin) {
            (true, None) => begin = Some(step),
            (false, Some(from)) => {
                if best.is_none_or(|(a, b)| step - from > b - a) {
                    best = Some((from, step));
                }
                begin = None;
            }
            _ => {}
        }
    }
    let (from, to) = best?;
    Some(Point { x: f64::midpoint(place(from), place(to - 1)), y: centre.y })
}
