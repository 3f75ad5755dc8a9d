//! Lists, and what changes answer.

use serde_json::Value;
use utoipa::ToSchema;

use super::{Beacon, Device, Level, Receiver, Trigger, Zone};
use crate::http::problem::Fault;

/// What somebody may do; each may do what the ones before may.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Change what is registered.
    Editor,
    /// Make tokens.
    Admin,
}

macro_rules! list {
    ($(#[$doc:meta])* $name:ident, $item:ty) => {
        $(#[$doc])*
        #[derive(ToSchema)]
        pub struct $name {
            /// The items of this page.
            items: Vec<$item>,
            /// How many there are on all pages.
            total: usize,
            /// `cursor` of the next page; none after the last.
            #[schema(required = true)]
            next: Option<String>,
            /// The revision of the registry.
            revision: u64,
        }
    };
}

list! {
    /// A page of beacons.
    BeaconList, Beacon
}
list! {
    /// A page of devices.
    DeviceList, Device
}
list! {
    /// A page of receivers.
    ReceiverList, Receiver
}

list! {
    /// A page of rules.
    TriggerList, Trigger
}

/// The word `FeatureCollection`.
#[derive(ToSchema)]
pub enum CollectionWord {
    /// The word.
    FeatureCollection,
}

/// A page of zones, as a `FeatureCollection` of RFC 7946.
#[derive(ToSchema)]
pub struct ZoneList {
    /// `FeatureCollection`.
    #[schema(value_type = CollectionWord)]
    r#type: String,
    /// The zones of this page.
    features: Vec<Zone>,
    /// How many there are on all pages.
    total: usize,
    /// `cursor` of the next page; none after the last.
    #[schema(required = true)]
    next: Option<String>,
    /// The revision of the registry.
    revision: u64,
}

/// All levels.
#[derive(ToSchema)]
pub struct LevelList {
    /// They, lowest first.
    items: Vec<Level>,
}

/// What was changed, or would be.
#[derive(ToSchema)]
pub struct Named {
    /// `site`, `level`, `receiver`, `zone`, `device`, `beacon`, `trigger-settings` or `trigger`.
    kind: String,
    /// Its id; the ordinal of a level.
    id: String,
}

/// How many were changed, or would be.
#[derive(ToSchema)]
pub struct Counts {
    /// Those that were not there.
    added: usize,
    /// Those that were otherwise.
    changed: usize,
    /// Those that are there no more.
    removed: usize,
    /// Those that were there already.
    #[schema(required = false)]
    unchanged: Option<usize>,
}

/// What an import changed, or would change.
#[derive(ToSchema)]
pub struct Imported {
    /// Whether it was changed; otherwise this is a plan.
    applied: bool,
    /// The revision of the registry.
    revision: u64,
    /// The first 1,000 that were not there.
    added: Vec<Named>,
    /// The first 1,000 that were otherwise.
    changed: Vec<Named>,
    /// The first 1,000 that are there no more.
    removed: Vec<Named>,
    /// How many of each.
    counts: Counts,
    /// What is allowed, but probably not meant.
    warnings: Vec<Fault>,
    /// Of an IMDF archive: what became of every feature.
    #[schema(required = true)]
    accounting: Option<Accounting>,
}

/// What became of every feature of an IMDF archive.
#[derive(ToSchema)]
pub struct Accounting {
    /// By feature type.
    features: std::collections::BTreeMap<String, Account>,
}

/// What became of the features of one type: each was used or skipped.
#[derive(ToSchema)]
pub struct Account {
    /// How many there are.
    read: usize,
    /// How many of them gave a zone, a level, a name or metadata.
    used: usize,
    /// The zones that were made of them.
    zones: usize,
    /// The others.
    skipped: Vec<Skipped>,
}

/// A feature that is of no use.
#[derive(ToSchema)]
pub struct Skipped {
    /// Its IMDF id; empty where it has none.
    id: String,
    /// Why it was skipped.
    why: String,
}

/// A zip archive.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Archive(String);

/// A registry as the files of a site directory.
#[derive(ToSchema)]
#[schema(example = json!({"files": {"devices.csv": "id,consent,labels,kind\nd1,presence,,customer\n"}, "plans": {}}))]
pub struct SiteFiles {
    /// Texts by file name: `site.toml`, `zones.geojson`, `beacons.csv`, `devices.csv`, `calibration.json`.
    files: std::collections::BTreeMap<String, String>,
    /// Floor plans by file name, in base64.
    plans: Option<std::collections::BTreeMap<String, String>>,
}

/// Something that is allowed, but unwise.
#[derive(ToSchema)]
pub struct Advice {
    /// What it is about, such as `zone "tills"`.
    #[schema(required = true)]
    record: Option<String>,
    /// What is unwise.
    message: String,
    /// What to do about it.
    #[schema(required = true)]
    help: Option<String>,
}

/// What is unwise.
#[derive(ToSchema)]
pub struct AdviceList {
    /// All of it.
    items: Vec<Advice>,
}

/// One thing that a change touched.
#[derive(ToSchema)]
pub struct Touched {
    /// `site`, `level`, `receiver`, `zone`, `device`, `beacon`, `trigger-settings` or `trigger`.
    kind: String,
    /// Its id; the ordinal of a level.
    id: String,
    /// `added`, `changed` or `removed`.
    action: String,
    /// Of a single change: what it was.
    #[schema(required = false)]
    before: Option<Value>,
    /// Of a single change: what it became.
    #[schema(required = false)]
    after: Option<Value>,
}

/// One change of the registry.
#[derive(ToSchema)]
pub struct Change {
    /// The revision that it made.
    revision: u64,
    /// When.
    at: String,
    /// Who.
    by: String,
    /// `edit`, `import`, `apply`, `undo` or `start`.
    action: String,
    /// How many things it touched.
    counts: Counts,
    /// The first of them.
    items: Vec<Touched>,
    /// The revision that it took back.
    #[schema(required = true)]
    undoes: Option<u64>,
}

/// A page of changes, newest first.
#[derive(ToSchema)]
pub struct ChangeList {
    /// The changes of this page.
    items: Vec<Change>,
    /// `cursor` of the next page; none after the last.
    #[schema(required = true)]
    next: Option<String>,
}

/// The name of a token.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Za-z0-9._@-]{1,64}$", example = "dashboard")]
pub struct TokenName(String);

/// A token, without its secret.
#[derive(ToSchema)]
pub struct Token {
    /// Its name.
    name: TokenName,
    /// What it may do.
    role: Role,
    /// When it was made.
    created_at: String,
    /// By whom.
    created_by: String,
}

/// A token that is to be made.
#[derive(ToSchema)]
#[schema(example = json!({"name": "dashboard", "role": "viewer"}))]
pub struct NewToken {
    /// Its name.
    name: TokenName,
    /// What it may do.
    role: Role,
}

/// A token that was made: its secret is shown this once.
#[derive(ToSchema)]
pub struct MadeToken {
    /// Its name.
    name: String,
    /// What it may do.
    role: Role,
    /// The secret: `bf_` and 43 characters.
    token: String,
}

/// Who may come in.
#[derive(ToSchema)]
pub struct TokenList {
    /// All of them, by name.
    items: Vec<Token>,
}
