//! What the loop is asked: why a device is where it is said to be, as the engine knows it now, and to keep what is said of it.

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::rounded;
use crate::engine::{Engine, Input};
use crate::gateway::keeper::Then;
use crate::model::{DeviceId, Timestamp};
use crate::presence::ZonePhase;

/// What the loop is asked.
#[derive(Debug)]
pub enum Question {
    /// Why a device is where it is.
    Why {
        /// Of whom.
        device: DeviceId,
        /// Where the answer goes; none where the device is not registered.
        reply: oneshot::Sender<Option<Value>>,
    },
    /// To keep what the back end says of a device.
    Attributes {
        /// Of whom.
        device: DeviceId,
        /// What.
        said: Map<String, Value>,
        /// Told when it is committed.
        done: oneshot::Sender<()>,
    },
}

/// Answers a question. `wall` puts the engine's times on the wall clock. Gives what is to be done when what it changed is committed.
pub fn answer(
    engine: &mut Engine,
    question: Question,
    now: Timestamp,
    wall: impl Fn(Timestamp) -> Timestamp,
) -> Option<Then> {
    match question {
        Question::Why { device, reply } => {
            // Who asked may be gone, here and below.
            let _ = reply.send(why(engine, &device, wall));
            None
        }
        Question::Attributes { device, said, done } => {
            engine.handle(Input::Attributes(device, said), now);
            Some(Box::new(move || {
                let _ = done.send(());
            }))
        }
    }
}

fn why(engine: &Engine, device: &DeviceId, wall: impl Fn(Timestamp) -> Timestamp) -> Option<Value> {
    let known = engine.registry().device(device);
    known.map(|device| {
        let why = engine.explain(device);
        let zones = why.zones.iter().map(|zone| {
            let since = match zone.phase {
                ZonePhase::Outside => None,
                ZonePhase::Entering { since, .. } | ZonePhase::Inside { since, .. } | ZonePhase::Leaving { since, .. } => {
                    Some(wall(since))
                }
            };
            json!({
                "zone": zone.zone.id, "name": zone.zone.name, "phase": zone.phase_word(),
                "probability": zone.probability.map(|p| rounded(p.get())),
                "enter_probability": rounded(zone.threshold.get()),
                "exit_probability": rounded(zone.zone.presence.exit_probability.get()),
                "since": since, "lost_at": zone.lost_at.map(&wall), "held": zone.held.is_some(),
                "words": zone.words(why.at),
            })
        });
        let history = engine.history(device);
        let decisions = history.into_iter().flat_map(|history| history.decisions().rev()).map(|decision| {
            json!({
                "trigger": decision.trigger, "at": wall(decision.at), "outcome": decision.outcome.as_str(),
                "detail": decision.detail, "times": decision.times, "words": decision.words(),
            })
        });
        let obstacles = why.obstacles();
        json!({
            "device": why.device.id, "at": wall(why.at), "tracked": why.device.may_be_tracked(),
            "because": (!obstacles.is_empty()).then(|| obstacles.join("; ")),
            "last_seen": why.last_seen.map(&wall),
            "position": why.position.map(|at| json!({
                "x": rounded(at.point.x), "y": rounded(at.point.y), "level": at.level.0, "accuracy": rounded(at.accuracy),
            })),
            "heard": why.heard.iter().map(|(receiver, at)| json!({"receiver": receiver, "time": wall(*at)})).collect::<Vec<_>>(),
            "zones": zones.collect::<Vec<_>>(),
            "triggers": decisions.collect::<Vec<_>>(),
            "attributes": history.map_or_else(|| json!({}), |history| json!(history.attributes())),
        })
    })
}
