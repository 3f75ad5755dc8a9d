//! The live map of the demo: the API and the web UI over what is simulated. What is registered is kept in memory, and gone at
//! the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::drive::Drive;
use crate::config::{HttpConfig, Plans};
use crate::engine::{Engine, Output};
use crate::gateway::live::{self, Live, Question};
use crate::http::{self, Delivery, Role, Services};
use crate::model::{Timestamp, ZoneId};
use crate::registrar::{Keep as _, Memory, Parts, Reconfigure, Registrar, load};
use crate::registry::Registry;
use crate::source::simulate::What;

/// How often what is collected is told.
const TICK: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Desk {
    live: Live,
    keep: Arc<Memory>,
    url: String,
    now: Arc<AtomicI64>,
    changes: mpsc::Receiver<Reconfigure>,
    questions: mpsc::Receiver<Question>,
    ticked: Option<Instant>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// Something that the loop is to do for those who look.
pub(super) enum Wish {
    /// Go on with another registry.
    Change(Reconfigure),
    /// Say what is known of a device.
    Answer(Question),
}

impl Desk {
    /// Opens it over a drive that has not begun. `delivery` says how the delivery of events fares.
    pub(super) async fn open(
        drive: &mut Drive,
        plans: Plans,
        port: u16,
        epoch: &str,
        delivery: impl Fn() -> Delivery + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let (live, questions) = Live::new(epoch);
        let (changes, made) = mpsc::channel(1);
        let now = Arc::new(AtomicI64::new(drive.now().as_millis()));
        let kept = Arc::new(Memory::default());
        let keep = Arc::clone(&kept);
        let (view, mut rows) = load::first(drive.engine().registry(), "demo", drive.now())?;
        rows.extend(plans.into_iter().map(|(level, plan)| crate::registrar::plan_row(level, Some(plan.bytes))));
        keep.write(rows, Box::new(|| ()));
        let prepared = drive.engine().tables().prepare(Arc::clone(&view.registry));
        let tables = prepared.tables().clone();
        drive.engine_mut().reconfigure(prepared, Timestamp::from_millis(0));
        let (clock, told) = (Arc::clone(&now), live.clone());
        let registrar = Registrar::new(Parts {
            view,
            keep,
            engine: Some((tables, changes)),
            now: Box::new(move || Timestamp::from_millis(clock.load(Ordering::Relaxed))),
            told: Box::new(move |change| told.changed(change)),
        })?;
        let services = Services::new(registrar, live.clone(), delivery);
        let code = services.one_time_code(Role::Admin);
        let config = HttpConfig { listen: vec![SocketAddr::from(([127, 0, 0, 1], port))], ..HttpConfig::default() };
        let bound = http::bind(&config, None).await?;
        let url = bound.url().with_context(|| format!("port {port} is taken; choose another with --http-port"))?;
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(async move { http::serve_on(bound, services, &config, stopped).await });
        let url = format!("{url}/#code={code}");
        Ok(Self { live, keep: kept, url, now, changes: made, questions, ticked: None, stop, serving })
    }

    /// Where the live map is; opens it once.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Who is told.
    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// Waits for a wish.
    pub(super) async fn wish(&mut self) -> Wish {
        tokio::select! {
            Some(change) = self.changes.recv() => Wish::Change(change),
            Some(question) = self.questions.recv() => Wish::Answer(question),
            else => std::future::pending().await,
        }
    }

    /// A wish that waits.
    pub(super) fn try_wish(&mut self) -> Option<Wish> {
        let change = self.changes.try_recv().ok().map(Wish::Change);
        change.or_else(|| self.questions.try_recv().ok().map(Wish::Answer))
    }

    /// Grants a wish. Zones that are gone with it are given back.
    pub(super) fn grant(&self, wish: Wish, drive: &mut Drive, out: &mut impl FnMut(Output, Timestamp)) -> Vec<ZoneId> {
        match wish {
            Wish::Answer(question) => {
                let now = drive.now();
                // Nothing outlives the demo: it is as good as committed.
                live::answer(drive.engine_mut(), question, now, |at| at).into_iter().for_each(|then| then());
                Vec::new()
            }
            Wish::Change(Reconfigure { prepared, rows, done }) => {
                let before = Arc::clone(drive.engine().registry());
                drive.reconfigure(prepared, out);
                self.keep.write(rows, done);
                Engine::zones_gone(&before, drive.engine().registry())
            }
        }
    }

    /// Something was simulated, at that time.
    pub(super) fn see(&mut self, what: Option<&What>, now: Timestamp, registry: &Registry) {
        self.now.store(now.as_millis(), Ordering::Relaxed);
        if let Some(What::Heard(heard)) = what {
            self.live.heard(heard, || now);
        }
        if self.ticked.is_none_or(|last| last.elapsed() >= TICK) {
            self.ticked = Some(Instant::now());
            self.live.tick(now, registry);
        }
    }

    /// Closes it.
    pub(super) async fn close(self) {
        // Nobody serves any more.
        let _ = self.stop.send(true);
        let _ = tokio::time::timeout(Duration::from_secs(3), self.serving).await;
    }
}
