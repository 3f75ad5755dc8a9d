//! The data directory of a gateway that does not run.

use std::sync::Arc;

use anyhow::Context as _;

use super::client::Connect;
use super::plan::Plan;
use crate::config::{self, GatewayConfig, PlanImage, Plans};
use crate::registrar::offline::Offline;
use crate::registrar::{Action, Applied, Author, Registrar};
use crate::registry::{Edit, Registry};
use crate::store;

/// A registry that is to be put into a data directory.
pub(super) struct Target {
    runtime: tokio::runtime::Runtime,
    config: GatewayConfig,
    registry: Registry,
    pictures: Plans,
    /// The database, and what is to be changed in it; none where there is none yet.
    known: Option<(Offline, Edit)>,
}

impl Target {
    /// Opens the data directory, and works out what is to be changed in it. One that is not there is only made when it is
    /// changed.
    pub(super) fn open(connect: &Connect, target: Registry, pictures: Plans) -> anyhow::Result<Self> {
        let (runtime, config) = (runtime()?, settings(connect)?);
        let known = if store::is_there(&config.data_dir) {
            let offline = runtime.block_on(Offline::open(&config, None, &author().0))?;
            let known = offline.registrar().view().registry;
            anyhow::ensure!(
                known.site().id == target.site().id,
                "{} holds the site \"{}\", and this is \"{}\": one data directory, one site",
                config.data_dir.display(),
                known.site().id,
                target.site().id
            );
            let edit = known.difference(&target);
            Some((offline, edit))
        } else {
            None
        };
        Ok(Self { runtime, config, registry: target, pictures, known })
    }

    /// What is to be changed.
    pub(super) fn plan(&self) -> anyhow::Result<Plan> {
        let records = crate::registrar::records(&self.registry);
        let Some((offline, edit)) = &self.known else {
            return Ok(Plan::of_first(records.map(|record| record.key())));
        };
        let registrar = offline.registrar();
        let change = registrar.plan(edit)?;
        Ok(Plan::of_change(&change, false, registrar.view().revision, records.count() as u64))
    }

    /// Changes it.
    pub(super) fn apply(&mut self) -> anyhow::Result<Plan> {
        let author = author();
        let mut plan = self.plan()?;
        plan.applied = true;
        let (offline, edit) = match self.known.take() {
            Some(known) => known,
            // As the first registry of a gateway, its records keep their order.
            None => {
                (self.runtime.block_on(Offline::open(&self.config, Some(&self.registry), &author.0))?, Edit::default())
            }
        };
        let pictures = std::mem::take(&mut self.pictures).into_iter();
        let pictures = pictures.map(|(ordinal, picture)| (ordinal, picture.bytes.into())).collect();
        let applied = offline.registrar().apply(edit, pictures, None, &author, Action::Apply);
        let Applied { revision, .. } = self.runtime.block_on(applied)?;
        // The first registry cannot be taken back.
        plan.revision = plan.revision.map(|_| revision);
        self.known = Some((offline, Edit::default()));
        Ok(plan)
    }

    /// Closes it: from then on a gateway can run on it.
    pub(super) fn close(self) -> anyhow::Result<()> {
        tell!("note: no gateway runs on {}; this is about its database", self.config.data_dir.display());
        let _in_runtime = self.runtime.enter();
        Ok(self.known.map_or(Ok(()), |(offline, _)| offline.close())?)
    }
}

/// The registry in a data directory, with the pictures of its levels.
pub(super) fn read(connect: &Connect) -> anyhow::Result<(Arc<Registry>, Plans)> {
    let config = settings(connect)?;
    anyhow::ensure!(
        store::is_there(&config.data_dir),
        "nothing is registered in {} yet; start the gateway, or apply a site directory",
        config.data_dir.display()
    );
    let runtime = runtime()?;
    let offline = runtime.block_on(Offline::open(&config, None, &author().0))?;
    let registry = offline.registrar().view().registry;
    let pictures = pictures(offline.registrar(), &registry)?;
    let _in_runtime = runtime.enter();
    offline.close()?;
    Ok((registry, pictures))
}

fn pictures(registrar: &Registrar, registry: &Registry) -> anyhow::Result<Plans> {
    let mut pictures = Plans::new();
    for level in registry.site().levels.iter().filter(|level| level.plan.is_some()) {
        if let Some(stored) = registrar.floor_plan(level.ordinal) {
            let picture = PlanImage::read(stored.bytes.to_vec());
            let picture = picture.with_context(|| format!("the floor plan of level {} is damaged", level.ordinal))?;
            pictures.insert(level.ordinal, picture);
        }
    }
    Ok(pictures)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().context("cannot start")
}

/// The settings of the gateway: without them its database is not known.
fn settings(connect: &Connect) -> anyhow::Result<GatewayConfig> {
    let file = match (&connect.config, &connect.data_dir) {
        (Some(file), _) => file.clone(),
        (None, None) => super::usual_settings(),
        (None, Some(dir)) => anyhow::bail!(
            "no gateway runs on {}; to work on the directory itself, name its gateway.toml with --config",
            dir.display()
        ),
    };
    Ok(config::load_gateway(&file)?.0)
}

/// Whoever runs the command, as the gateway calls them who come through its socket.
fn author() -> Author {
    use std::os::unix::fs::MetadataExt as _;
    let user = std::fs::metadata("/proc/self").map_or_else(|_| "?".to_owned(), |own| own.uid().to_string());
    Author(format!("local:{user}"))
}
