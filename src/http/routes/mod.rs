//! The routes.

mod access;
mod advice;
mod beacon_health;
mod collections;
mod health;
mod history;
mod imports;
mod live;
mod nearby;
mod plans;
mod playback;
mod records;
mod site;
mod stream;

use utoipa_axum::router::OpenApiRouter;

use super::app::App;

/// All of them.
pub fn all() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(site::routes())
        .merge(plans::routes())
        .merge(collections::routes())
        .merge(advice::routes())
        .merge(beacon_health::routes())
        .merge(imports::routes())
        .merge(history::routes())
        .merge(live::routes())
        .merge(stream::routes())
        .merge(nearby::routes())
        .merge(playback::routes())
        .merge(access::routes())
        .merge(health::routes())
}
