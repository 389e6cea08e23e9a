//! `docker import`, `docker load` and (not yet) `docker pull`. Archives stream into the image store; nothing is kept in
//! memory, and a client that goes away ends the work.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::json;

use super::reference;
use crate::api::Api;
use crate::api::body::{self, Response, json_line, upload};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::images::ImportOptions;

/// `POST /images/create`: an import with `fromSrc`, a pull with `fromImage`.
pub(in crate::api) async fn create(api: &Api, query: &Query, request: Request<Incoming>) -> Result<Response, ApiError> {
    match (query.get("fromSrc"), query.get("fromImage")) {
        (Some("-"), _) => import(api, query, request).await,
        (Some(url), _) => {
            Err(ApiError::not_served(format!("pontoon does not fetch {url:?}: download it and import the file")))
        }
        (None, Some(image)) => {
            let image = query.get("tag").map_or_else(|| image.to_owned(), |tag| format!("{image}:{tag}"));
            Err(ApiError::not_served(format!(
                "cannot pull {image}: pontoon has no registry client yet: load or import the image"
            )))
        }
        (None, None) => Err(ApiError::bad_request("one of fromSrc and fromImage is needed")),
    }
}

async fn import(api: &Api, query: &Query, request: Request<Incoming>) -> Result<Response, ApiError> {
    let options = import_options(query)?;
    let name = options.reference.as_ref().map(|reference| reference.as_str().to_owned());
    let images = api.engine.images().clone();
    let image = upload(request.into_body(), move |archive| images.import(archive, &options)).await??;
    api.engine.image_event("import", image.id.as_str(), name.as_deref().unwrap_or(image.id.as_str()));
    let line = json_line(&json!({ "status": image.id.as_str() }));
    Ok(body::full(StatusCode::OK, "application/json", line))
}

fn import_options(query: &Query) -> Result<ImportOptions, ApiError> {
    let reference = query.get("repo").map(|repo| reference(repo, query.get("tag"))).transpose()?;
    if reference.as_ref().is_some_and(|reference| reference.as_str().contains('@')) {
        return Err(ApiError::bad_request("cannot import digest reference"));
    }
    Ok(ImportOptions {
        reference,
        changes: query.all("changes").filter(|change| !change.is_empty()).map(str::to_owned).collect(),
        message: query.get("message").unwrap_or_default().to_owned(),
        platform: query.get("platform").unwrap_or_default().to_owned(),
    })
}

/// `POST /images/load`.
pub(in crate::api) async fn load(api: &Api, query: &Query, request: Request<Incoming>) -> Result<Response, ApiError> {
    if query.get("platform").is_some() {
        return Err(ApiError::not_served("pontoon does not choose a platform on load: it loads all of an archive"));
    }
    let images = api.engine.images().clone();
    let loaded = upload(request.into_body(), move |archive| images.load(archive)).await??;
    let mut lines = Vec::new();
    for image in loaded {
        for name in &image.references {
            api.engine.image_event("load", image.id.as_str(), name);
            lines.extend_from_slice(&json_line(&json!({ "stream": format!("Loaded image: {name}\n") })));
        }
        if image.references.is_empty() {
            api.engine.image_event("load", image.id.as_str(), image.id.as_str());
            lines.extend_from_slice(&json_line(&json!({ "stream": format!("Loaded image ID: {}\n", image.id) })));
        }
    }
    Ok(body::full(StatusCode::OK, "application/json", lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_as_the_docker_cli_asks_for_it() {
        let query = "fromSrc=-&message=hello&repo=box%3A1&changes=CMD+%5B%22sh%22%5D&changes=ENV+A%3D1&platform=";
        let options = import_options(&Query::parse(Some(query)).expect("query")).expect("valid");
        assert_eq!(options.reference.map(|reference| reference.as_str().to_owned()).as_deref(), Some("box:1"));
        assert_eq!(options.changes, ["CMD [\"sh\"]", "ENV A=1"]);
        assert_eq!(options.message, "hello");
    }

    #[test]
    fn an_import_needs_no_name() {
        let options = import_options(&Query::parse(Some("fromSrc=-")).expect("query")).expect("valid");
        assert_eq!(options.reference, None);
    }
}
