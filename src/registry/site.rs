//! The things that a registry holds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{
    BeaconId, DeviceId, Frame, LevelOrdinal, MeasuredPower, Metres, Point, Probability, ReceiverId, SiteId, ZoneId,
};

use super::Identity;

/// Labels: `key=value`, in the order of their keys.
pub type Labels = BTreeMap<String, String>;

/// One store.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// Its name for people.
    pub name: String,
    /// IANA time zone, such as `Europe/Paris`.
    pub time_zone: String,
    /// Origin and bearing.
    pub frame: Frame,
    /// Its levels, lowest first; at least one.
    pub levels: Vec<Level>,
    /// What to assume of radios that say nothing else.
    pub radio: RadioDefaults,
    /// How far the borders of zones are moved for each kind of device.
    pub margins: KindMargins,
}

/// A floor of the site.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// Its ordinal; 0 is ground.
    pub ordinal: LevelOrdinal,
    /// Its name for people.
    pub name: String,
    /// Height of its floor in metres, over the same zero for all levels.
    pub elevation: Metres,
    /// Its outline in the site frame, where known.
    pub outline: Option<Ring>,
    /// Its floor plan, where there is one: a picture for people, of no effect on positions.
    pub plan: Option<FloorPlan>,
}

/// A picture of a level, and where it lies. The picture itself is kept beside the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct FloorPlan {
    /// The name of its file in a site directory, such as `floor-0.svg`.
    pub file: String,
    /// The format of the picture.
    pub media_type: PlanFormat,
    /// Width in pixels (for SVG, in user units).
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Where its top-left corner lies, in the site frame.
    pub corner: Point,
    /// Metres to a pixel, along both sides; positive.
    pub metres_per_pixel: f64,
    /// By how many degrees the picture's upward direction is turned clockwise from the y axis.
    pub bearing: f64,
}

/// A format of floor plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanFormat {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// SVG, made safe.
    Svg,
}

impl PlanFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Png, Self::Jpeg, Self::Svg];

    /// The media type (RFC 6838).
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Svg => "image/svg+xml",
        }
    }

    /// How names of such files end.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Svg => "svg",
        }
    }
}

/// What to assume of radios that say nothing else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RadioDefaults {
    /// Exponent n of the log-distance law; 2 in free space.
    pub path_loss_exponent: f64,
    /// RSSI at 1 m.
    pub measured_power: MeasuredPower,
}

impl Default for RadioDefaults {
    fn default() -> Self {
        // Surveys of halls and flats give 1.5 to 2.2; what positions them best without a survey is steeper.
        Self { path_loss_exponent: 2.5, measured_power: MeasuredPower::USUAL }
    }
}

/// How far the borders of zones are moved outwards for each kind of device, in metres; negative moves them inwards.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct KindMargins {
    /// For customers.
    pub customer: Metres,
    /// For staff.
    pub staff: Metres,
    /// For things.
    pub asset: Metres,
}

impl KindMargins {
    /// The margin of a kind.
    pub const fn of(&self, kind: DeviceKind) -> Metres {
        match kind {
            DeviceKind::Customer => self.customer,
            DeviceKind::Staff => self.staff,
            DeviceKind::Asset => self.asset,
        }
    }
}

/// A radio at a known place.
#[derive(Debug, Clone, PartialEq)]
pub struct Receiver {
    /// Its id.
    pub id: ReceiverId,
    /// Where it is.
    pub point: Point,
    /// Height above its level's floor, in metres.
    pub z: Metres,
    /// Its level.
    pub level: LevelOrdinal,
    /// What to subtract from its readings, in dB.
    pub rssi_offset: f64,
}

/// A closed ring in the site frame: at least three different corners, the first not repeated at the end.
pub type Ring = Vec<Point>;

/// The shape of a zone in the site frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// The whole site, on every level.
    Site,
    /// A circle.
    Circle {
        /// Its centre.
        centre: Point,
        /// Its radius in metres; positive.
        radius: Metres,
    },
    /// One or more polygons, each an outer ring and its holes. Valid: no ring crosses itself, parts do not overlap.
    Polygons(Vec<(Ring, Vec<Ring>)>),
}

/// A named area.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// Its id.
    pub id: ZoneId,
    /// Its name for people.
    pub name: String,
    /// Its level; none for the whole site.
    pub level: Option<LevelOrdinal>,
    /// Its geofence.
    pub shape: Shape,
    /// Labels.
    pub labels: Labels,
    /// Free data for the back end, passed on as it is.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// When presence changes.
    pub presence: PresenceSettings,
}

impl Zone {
    /// The reserved zone of the whole site, with the defaults.
    pub fn whole_site(site: &Site) -> Self {
        Self {
            id: ZoneId::site(),
            name: site.name.clone(),
            level: None,
            shape: Shape::Site,
            labels: Labels::new(),
            metadata: serde_json::Map::new(),
            presence: PresenceSettings::default(),
        }
    }
}

/// When the presence of a device in a zone changes.
#[derive(Debug, Clone, PartialEq)]
pub struct PresenceSettings {
    /// Probability from which the device may be inside.
    pub enter_probability: Probability,
    /// How long that must hold.
    pub enter_after: Duration,
    /// Probability below which the device may be outside; not above `enter_probability`.
    pub exit_probability: Probability,
    /// How long that must hold.
    pub exit_after: Duration,
    /// Silence after which the device is lost.
    pub lost_after: Duration,
    /// Thresholds at which `dwelled` fires, ascending, none twice.
    pub dwell: Vec<Duration>,
    /// How long presence is held while a receiver is down.
    pub max_hold: Duration,
    /// How far the zone's border is moved outwards for presence, in metres; negative moves it inwards.
    pub margin: Metres,
}

impl Default for PresenceSettings {
    fn default() -> Self {
        Self {
            enter_probability: Probability::saturating(0.5),
            enter_after: Duration::from_secs(1),
            exit_probability: Probability::saturating(0.2),
            exit_after: Duration::from_secs(5),
            lost_after: Duration::from_secs(60),
            dwell: Vec::new(),
            max_hold: Duration::from_secs(30 * 60),
            margin: 0.0,
        }
    }
}

/// A registered transmitter.
#[derive(Debug, Clone, PartialEq)]
pub struct Beacon {
    /// Its id.
    pub id: BeaconId,
    /// How it is recognised on the air.
    pub identity: Identity,
    /// The device that carries it; none for a fixed one.
    pub device: Option<DeviceId>,
    /// Where a fixed one is, where known.
    pub fixed: Option<(Point, LevelOrdinal)>,
    /// RSSI at 1 m, where it differs from the site's default.
    pub measured_power: Option<MeasuredPower>,
}

/// What kind of thing a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A person who shops here: needs consent.
    #[default]
    Customer,
    /// A person who works here.
    Staff,
    /// A thing.
    Asset,
}

impl DeviceKind {
    /// All of them, each at its place.
    pub const ALL: [Self; 3] = [Self::Customer, Self::Staff, Self::Asset];

    /// The word in files and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Staff => "staff",
            Self::Asset => "asset",
        }
    }
}

/// Purposes that the person behind a device has agreed to, in alphabetical order, none twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consent(pub Vec<String>);

impl Consent {
    /// The purpose without which a customer's device is not tracked at all.
    pub const PRESENCE: &'static str = "presence";

    /// Whether that purpose was agreed to.
    pub fn allows(&self, purpose: &str) -> bool {
        self.0.iter().any(|given| given == purpose)
    }
}

/// What is tracked.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Its id: an opaque alias.
    pub id: DeviceId,
    /// What it is.
    pub kind: DeviceKind,
    /// What its person has agreed to.
    pub consent: Consent,
    /// Labels.
    pub labels: Labels,
}

impl Device {
    /// Whether its presence may be worked out at all.
    pub fn may_be_tracked(&self) -> bool {
        self.kind != DeviceKind::Customer || self.consent.allows(Consent::PRESENCE)
    }
}
