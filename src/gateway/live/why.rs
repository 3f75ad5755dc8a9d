//! Why a device is where it is said to be, as the engine knows it now.

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::rounded;
use crate::engine::Engine;
use crate::model::{DeviceId, Timestamp};
use crate::presence::ZonePhase;

/// What the loop is asked.
#[derive(Debug)]
pub struct Question {
    /// Of whom.
    pub device: DeviceId,
    /// Where the answer goes; none where the device is not registered.
    pub reply: oneshot::Sender<Option<Value>>,
}

/// Answers a question. `wall` puts the engine's times on the wall clock.
pub fn answer(engine: &Engine, question: Question, wall: impl Fn(Timestamp) -> Timestamp) {
    let known = engine.registry().device(&question.device);
    let answer = known.map(|device| {
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
    });
    // Who asked may be gone.
    let _ = question.reply.send(answer);
}
