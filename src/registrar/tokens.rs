//! Tokens: who may do what. Only their hashes are kept.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::Author;
use super::keep::Keep;
use crate::model::Timestamp;
use crate::store::Row;

pub(crate) const TOKEN: &str = "token/";
/// How tokens begin, so that a leaked one is recognised.
const PREFIX: &str = "bf_";
/// More than a site has people and programs.
const MOST: usize = 1_000;
const LONGEST_NAME: usize = 64;
const COMMIT: Duration = Duration::from_secs(10);

/// What somebody may do; each may do what the ones before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Change the registry.
    Editor,
    /// Make tokens.
    Admin,
}

impl Role {
    /// All of them, least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Editor, Self::Admin];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or_else(|| format!("\"{text}\" is no role; write viewer, editor or admin"))
    }
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Its name: whose it is.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// SHA-256 of the token, in hexadecimal. A token is 256 random bits: there is nothing to guess that salt or stretching would
    /// make harder.
    hash: String,
}

/// Why a token cannot be made or revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The name is taken.
    #[error("there is a token \"{0}\" already; revoke it first, or choose another name")]
    Exists(String),
    /// The name is none.
    #[error("a token's name has 1 to 64 letters A-Z, a-z, digits, '.', '_', '-' or '@'")]
    Name,
    /// There is none of that name.
    #[error("there is no token \"{0}\"")]
    NotFound(String),
    /// There are too many.
    #[error("there are {MOST} tokens already; revoke some")]
    TooMany,
    /// The disk has not taken it.
    #[error("the disk has not taken it yet; see the gateway's status")]
    NotDurable,
}

/// The tokens of a site. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    known: Arc<RwLock<BTreeMap<String, TokenInfo>>>,
    keep: Arc<dyn Keep>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    pub(super) fn load(keep: Arc<dyn Keep>) -> Result<Self, String> {
        let rows = keep.rows(&[TOKEN])?;
        let known = rows.iter().filter_map(|(key, row)| match serde_json::from_slice::<TokenInfo>(row) {
            Ok(token) => Some((token.name.clone(), token)),
            Err(error) => {
                tracing::warn!("{key} cannot be read, and allows nothing: {error}");
                None
            }
        });
        Ok(Self { known: Arc::new(RwLock::new(known.collect())), keep })
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<TokenInfo> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whose token that is.
    pub fn verify(&self, token: &str) -> Option<TokenInfo> {
        let hash = hash(token.strip_prefix(PREFIX)?);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // All are compared, each to its end: the time tells nothing of how much was right.
        known
            .values()
            .fold(None, |found, token| if is_equal(&token.hash, &hash) { Some(token) } else { found })
            .cloned()
    }

    /// Whether a token of that name, made then, is still good, and what it allows.
    pub fn role_of(&self, name: &str, created_at: Timestamp) -> Option<Role> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).filter(|token| token.created_at == created_at).map(|token| token.role)
    }

    /// Makes a token, which is told only this once.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn add(&self, name: &str, role: Role, author: &Author, now: Timestamp) -> Result<String, TokenError> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(good) {
            return Err(TokenError::Name);
        }
        let secret = random();
        let token = TokenInfo {
            name: name.to_owned(),
            role,
            created_at: now,
            created_by: author.to_string(),
            hash: hash(&secret),
        };
        let row = Row { key: format!("{TOKEN}{name}"), value: serde_json::to_vec(&token).ok(), place: 0 };
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if known.contains_key(name) {
                return Err(TokenError::Exists(name.to_owned()));
            }
            if known.len() >= MOST {
                return Err(TokenError::TooMany);
            }
            known.insert(name.to_owned(), token);
        }
        self.commit(row).await?;
        Ok(format!("{PREFIX}{secret}"))
    }

    /// Revokes a token: it allows nothing any more, from now on.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn revoke(&self, name: &str) -> Result<(), TokenError> {
        let gone = self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        gone.ok_or_else(|| TokenError::NotFound(name.to_owned()))?;
        self.commit(Row { key: format!("{TOKEN}{name}"), value: None, place: 0 }).await
    }

    async fn commit(&self, row: Row) -> Result<(), TokenError> {
        let (done, committed) = oneshot::channel();
        let then = Box::new(move || {
            // Who asked may be gone.
            let _ = done.send(());
        });
        self.keep.write(vec![row], then);
        match tokio::time::timeout(COMMIT, committed).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(TokenError::NotDurable),
        }
    }
}

/// 256 random bits, in base64url without padding (RFC 4648, section 5).
fn random() -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0_u8; 33];
    rand::rng().fill_bytes(&mut bytes[..32]);
    let text: String = bytes
        .chunks(3)
        .flat_map(|three| {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            [18, 12, 6, 0].map(|shift| char::from(DIGITS[(bits >> shift) as usize & 63]))
        })
        .collect();
    text[..43].to_owned()
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

fn is_equal(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}
