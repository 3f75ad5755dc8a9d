//! Receivers, beacons, devices, zones and rules: list, make, read, replace, remove.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::records;
use crate::http::app::App;
use crate::http::extract::{BODY, Body, Known, NoQuery, Path, Query};
use crate::http::page::{LevelPageQuery, Page, PageQuery};
use crate::http::problem::Problem;
use crate::http::reply::Who;
use crate::http::schema;
use crate::registry::{Key, Kind};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(receivers::routes())
        .merge(beacons::routes())
        .merge(zones::routes())
        .merge(devices::routes())
        .merge(triggers::routes())
        .routes(routes!(read_device, replace_device, remove_device))
}

/// What DELETE of a device may say.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RemoveQuery {
    /// Remove the beacons that it carries as well.
    #[param(inline, value_type = Option<schema::RemoveWord>)]
    beacons: Option<RemoveWord>,
}

/// The word.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RemoveWord {
    Remove,
}

impl Known for RemoveQuery {
    const NAMES: &'static [&'static str] = &["beacons"];
}

/// List and make: the same for all kinds.
macro_rules! list_and_make {
    ($kind:expr, $path:literal, $list:ident, $make:ident, $query:ident, $level:expr, $one:ty, $many:ty, $media:literal) => {
        /// All of them, a page at a time
        ///
        /// In the order of their ids.
        #[utoipa::path(get, path = $path, tag = "registry", params($query),
                            responses((status = 200, description = "A page", body = $many)))]
        pub(super) async fn $list(State(app): State<App>, Query(query): Query<$query>) -> Result<Response, Problem> {
            let page = Page::new(query.limit, query.cursor.as_deref(), query.q.as_deref())?;
            let level: fn(&$query) -> Option<i16> = $level;
            crate::http::reply::blocking(move || Ok(records::list(&app, $kind, &page, level(&query)))).await
        }

        /// Makes one
        #[utoipa::path(post, path = $path, tag = "registry",
                            request_body(content = $one, content_type = $media),
                            responses(
                                (status = 201, description = "It is registered, and in effect", body = $one, headers(
                                    ("ETag" = String, description = "Its entity tag"),
                                    ("Location" = String, description = "Where it is"),
                                    ("Beaconfence-Revision" = u64, description = "The revision that this made"))),
                                (status = 409),
                            ))]
        pub(super) async fn $make(
            State(app): State<App>,
            who: Who,
            _query: NoQuery,
            body: Body<BODY>,
        ) -> Result<Response, Problem> {
            records::create(&app, &who, $kind, body, $path).await
        }
    };
}

/// Read, replace and remove.
macro_rules! one {
    ($kind:expr, $path:literal, $read:ident, $replace:ident, $remove:ident, $one:ty, $media:literal) => {
        read_and_replace!($kind, $path, $read, $replace, $one, $media);

        /// Removes it
        #[utoipa::path(delete, path = $path, tag = "registry",
            params(("id" = schema::Id, Path, description = "Its id"),
                ("If-Match" = Option<String>, Header, description = "The ETag that it had when it was read, or *")),
            responses(
                (status = 204, description = "It is gone",
                    headers(("Beaconfence-Revision" = u64, description = "The revision that this made"))),
                (status = 404), (status = 409), (status = 412), (status = 428),
            ))]
        pub(super) async fn $remove(
            State(app): State<App>,
            who: Who,
            Path(id): Path<String>,
            _query: NoQuery,
            headers: HeaderMap,
        ) -> Result<Response, Problem> {
            records::remove(&app, &who, records::key($kind, &id)?, &headers, Vec::new()).await
        }
    };
}

macro_rules! read_and_replace {
    ($kind:expr, $path:literal, $read:ident, $replace:ident, $one:ty, $media:literal) => {
        /// Reads it
        #[utoipa::path(get, path = $path, tag = "registry",
            params(("id" = schema::Id, Path, description = "Its id")),
            responses(
                (status = 200, description = "It", body = $one,
                    headers(("ETag" = String, description = "Its entity tag"))),
                (status = 404),
            ))]
        pub(super) async fn $read(
            State(app): State<App>,
            Path(id): Path<String>,
            _query: NoQuery,
        ) -> Result<Response, Problem> {
            records::read(&app, &records::key($kind, &id)?)
        }

        /// Puts it there, or another in its place
        ///
        /// What is left out has its default.
        #[utoipa::path(put, path = $path, tag = "registry",
            params(("id" = schema::Id, Path, description = "Its id"),
                ("If-Match" = Option<String>, Header, description = "Replace it, if it has this ETag, or with * whatever it is"),
                ("If-None-Match" = Option<String>, Header, description = "With *: make it, if it is not there")),
            request_body(content = $one, content_type = $media),
            responses(
                (status = 200, description = "It was replaced", body = $one, headers(
                    ("ETag" = String, description = "Its entity tag"),
                    ("Beaconfence-Revision" = u64, description = "The revision that this made"))),
                (status = 201, description = "It was made", body = $one, headers(
                    ("ETag" = String, description = "Its entity tag"),
                    ("Beaconfence-Revision" = u64, description = "The revision that this made"))),
                (status = 404), (status = 409), (status = 412), (status = 428),
            ))]
        pub(super) async fn $replace(
            State(app): State<App>,
            who: Who,
            Path(id): Path<String>,
            _query: NoQuery,
            headers: HeaderMap,
            body: Body<BODY>,
        ) -> Result<Response, Problem> {
            records::replace(&app, &who, &records::key($kind, &id)?, &headers, body).await
        }
    };
}

mod receivers {
    use utoipa_axum::routes;

    use super::{
        App, BODY, Body, HeaderMap, Kind, LevelPageQuery, NoQuery, OpenApiRouter, Page, Path, Problem, Query, Response,
        State, Who, records, schema,
    };

    list_and_make!(
        Kind::Receiver,
        "/api/v1/receivers",
        list_receivers,
        make_receiver,
        LevelPageQuery,
        |query| query.level,
        schema::Receiver,
        schema::ReceiverList,
        "application/json"
    );
    one!(
        Kind::Receiver,
        "/api/v1/receivers/{id}",
        read_receiver,
        replace_receiver,
        remove_receiver,
        schema::Receiver,
        "application/json"
    );

    pub(super) fn routes() -> OpenApiRouter<App> {
        OpenApiRouter::new().routes(routes!(list_receivers, make_receiver)).routes(routes!(
            read_receiver,
            replace_receiver,
            remove_receiver
        ))
    }
}

mod beacons {
    use utoipa_axum::routes;

    use super::{
        App, BODY, Body, HeaderMap, Kind, LevelPageQuery, NoQuery, OpenApiRouter, Page, Path, Problem, Query, Response,
        State, Who, records, schema,
    };

    list_and_make!(
        Kind::Beacon,
        "/api/v1/beacons",
        list_beacons,
        make_beacon,
        LevelPageQuery,
        |query| query.level,
        schema::Beacon,
        schema::BeaconList,
        "application/json"
    );
    one!(
        Kind::Beacon,
        "/api/v1/beacons/{id}",
        read_beacon,
        replace_beacon,
        remove_beacon,
        schema::Beacon,
        "application/json"
    );

    pub(super) fn routes() -> OpenApiRouter<App> {
        OpenApiRouter::new().routes(routes!(list_beacons, make_beacon)).routes(routes!(
            read_beacon,
            replace_beacon,
            remove_beacon
        ))
    }
}

mod zones {
    use utoipa_axum::routes;

    use super::{
        App, BODY, Body, HeaderMap, Kind, LevelPageQuery, NoQuery, OpenApiRouter, Page, Path, Problem, Query, Response,
        State, Who, records, schema,
    };

    list_and_make!(
        Kind::Zone,
        "/api/v1/zones",
        list_zones,
        make_zone,
        LevelPageQuery,
        |query| query.level,
        schema::Zone,
        schema::ZoneList,
        "application/json"
    );
    one!(Kind::Zone, "/api/v1/zones/{id}", read_zone, replace_zone, remove_zone, schema::Zone, "application/json");

    pub(super) fn routes() -> OpenApiRouter<App> {
        OpenApiRouter::new().routes(routes!(list_zones, make_zone)).routes(routes!(
            read_zone,
            replace_zone,
            remove_zone
        ))
    }
}

mod devices {
    use utoipa_axum::routes;

    use super::{
        App, BODY, Body, Kind, NoQuery, OpenApiRouter, Page, PageQuery, Problem, Query, Response, State, Who, records,
        schema,
    };

    list_and_make!(
        Kind::Device,
        "/api/v1/devices",
        list_devices,
        make_device,
        PageQuery,
        |_| None,
        schema::Device,
        schema::DeviceList,
        "application/json"
    );

    pub(super) fn routes() -> OpenApiRouter<App> {
        OpenApiRouter::new().routes(routes!(list_devices, make_device))
    }
}

mod triggers {
    use utoipa_axum::routes;

    use super::{
        App, BODY, Body, HeaderMap, Kind, NoQuery, OpenApiRouter, Page, PageQuery, Path, Problem, Query, Response,
        State, Who, records, schema,
    };

    list_and_make!(
        Kind::Trigger,
        "/api/v1/triggers",
        list_triggers,
        make_trigger,
        PageQuery,
        |_| None,
        schema::Trigger,
        schema::TriggerList,
        "application/json"
    );
    one!(
        Kind::Trigger,
        "/api/v1/triggers/{id}",
        read_trigger,
        replace_trigger,
        remove_trigger,
        schema::Trigger,
        "application/json"
    );

    pub(super) fn routes() -> OpenApiRouter<App> {
        OpenApiRouter::new().routes(routes!(list_triggers, make_trigger)).routes(routes!(
            read_trigger,
            replace_trigger,
            remove_trigger
        ))
    }
}

read_and_replace!(
    Kind::Device,
    "/api/v1/devices/{id}",
    read_device,
    replace_device,
    schema::Device,
    "application/json"
);

/// Forgets it
///
/// Its visits end. While beacons belong to it, it stays, unless they are to be removed with it.
#[utoipa::path(delete, path = "/api/v1/devices/{id}", tag = "registry",
    params(("id" = schema::Id, Path, description = "Its id"), RemoveQuery,
        ("If-Match" = Option<String>, Header, description = "The ETag that it had when it was read, or *")),
    responses(
        (status = 204, description = "It is gone",
            headers(("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 404), (status = 409), (status = 412), (status = 428),
    ))]
async fn remove_device(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    Query(query): Query<RemoveQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = records::key(Kind::Device, &id)?;
    let mut also = Vec::new();
    if query.beacons.is_some() {
        let view = app.services.registrar.view();
        let carried =
            view.registry.beacons().iter().filter(|beacon| beacon.device.as_ref().is_some_and(|d| d.as_str() == id));
        also.extend(carried.map(|beacon| Key::Beacon(beacon.id.clone())));
    }
    records::remove(&app, &who, key, &headers, also).await
}
