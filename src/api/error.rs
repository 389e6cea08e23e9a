//! Errors of the API: a status and docker's `{"message": …}`. The only place that turns kinds of errors into HTTP.

use hyper::StatusCode;
use serde_json::json;

use super::body::{self, Response};
use crate::containers::{EngineError, ErrorKind};
use crate::images::ImageError;

/// What a client is told when its request fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// One line.
    pub(super) message: String,
}

impl ApiError {
    /// 400: the request cannot be meant.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    /// 404: no such thing.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.into() }
    }

    /// 501: docker knows it, pontoon does not; the message says what.
    pub(super) fn not_served(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_IMPLEMENTED, message: message.into() }
    }

    /// 500: something failed here.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, message: message.into() }
    }

    /// The answer that carries it.
    pub(super) fn into_response(self) -> Response {
        body::json(self.status, &json!({ "message": self.message }))
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let status = match error.kind {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, message: error.message }
    }
}

impl From<ImageError> for ApiError {
    fn from(error: ImageError) -> Self {
        let status = match error {
            ImageError::NotFound(_) => StatusCode::NOT_FOUND,
            ImageError::Conflict(_) => StatusCode::CONFLICT,
            ImageError::Io { .. } | ImageError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_become_statuses() {
        let status = |kind| ApiError::from(EngineError::new(kind, "x")).status.as_u16();
        let kinds =
            [ErrorKind::Invalid, ErrorKind::NotFound, ErrorKind::Conflict, ErrorKind::Unsupported, ErrorKind::Internal];
        assert_eq!(kinds.map(status), [400, 404, 409, 501, 500]);
    }

    #[test]
    fn a_missing_image_is_a_404_so_that_clients_pull() {
        let error = ApiError::from(ImageError::NotFound("x:latest".into()));
        assert_eq!((error.status.as_u16(), error.message.as_str()), (404, "No such image: x:latest"));
    }
}
