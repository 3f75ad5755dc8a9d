//! The routes.

mod collections;
mod health;
mod records;
mod site;

use utoipa_axum::router::OpenApiRouter;

use super::app::App;

/// All of them.
pub fn all() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(site::routes()).merge(collections::routes()).merge(health::routes())
}
