//! The routes.

mod health;

use utoipa_axum::router::OpenApiRouter;

use super::app::App;

/// All of them.
pub fn all() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(health::routes())
}
