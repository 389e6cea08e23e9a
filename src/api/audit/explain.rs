//! `explain`: one packet's way.

use hyper::StatusCode;
use serde_json::json;

use crate::api::Api;
use crate::api::body::{Response, json};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::firewall::audit::listing::Listing;
use crate::firewall::audit::question;

/// `GET /pontoon/v1/audit/explain?packet=…`: one packet's way through the rules that are in the kernel now.
pub(in crate::api) async fn explain(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let words = query.get("packet").unwrap_or_default().to_owned();
    let bridge = api.engine.network().map(|options| options.bridge.clone()).unwrap_or_default();
    let attached = api.engine.list().into_iter().filter_map(|container| container.attached.clone());
    let hosts: Vec<_> = attached.map(|at| (at.address.into(), at.mac.0, at.port)).collect();
    let answer = tokio::task::spawn_blocking(move || {
        let hosts = hosts.iter().map(|(address, mac, port)| (*address, *mac, port.as_str()));
        let kernel =
            crate::audit::read_kernel().map_err(|error| ApiError::internal(error.to_string()))?.knowing(&bridge, hosts);
        let packet = question::parse(&words, kernel.network());
        let packet = packet.map_err(|error| ApiError::bad_request(error.to_string()))?;
        // Without nft's words there are the handles.
        let listing = Listing::read().unwrap_or_default();
        let (explanation, from) = kernel.explain_usual(&packet);
        let explanation = explanation.in_words(&listing);
        // Nobody said from which port: it is from one of those that programs get.
        let assumed = from.map(|(first, last)| format!("sport={first}-{last}"));
        Ok::<_, ApiError>(json!({
            "version": 1,
            "packet": words,
            "assumed": assumed,
            "generation": kernel.ruleset().generation,
            "unmodelled": kernel.network().unmodelled,
            "explanation": explanation.described(kernel.network()),
        }))
    });
    let answer = answer.await.map_err(|error| ApiError::internal(error.to_string()))??;
    Ok(json(StatusCode::OK, &answer))
}
