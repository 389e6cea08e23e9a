//! Errors of the engine: a kind, that the API turns into a status, and docker's words.

/// What sort of error: the API alone knows which status code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request cannot be meant (400).
    Invalid,
    /// No such thing (404).
    NotFound,
    /// Not in this state (409).
    Conflict,
    /// Not served (501).
    Unsupported,
    /// Something failed (500).
    Internal,
}

/// An error of the engine, in the words that docker's users know.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    /// Sort.
    pub kind: ErrorKind,
    /// One line for the user.
    pub message: String,
    /// What lies behind it, for the log.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl EngineError {
    /// An error without a cause behind it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// 400.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// 500, with what lies behind it.
    pub fn internal(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { kind: ErrorKind::Internal, message: source.to_string(), source: Some(Box::new(source)) }
    }
}

macro_rules! internal {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for EngineError {
            fn from(error: $error) -> Self {
                Self::internal(error)
            }
        })*
    };
}

internal!(
    crate::bridge::BridgeError,
    crate::firewall::FirewallError,
    crate::netns::NetNsError,
    crate::store::StoreError,
    std::io::Error,
);

impl From<crate::images::ImageError> for EngineError {
    fn from(error: crate::images::ImageError) -> Self {
        use crate::images::ImageError as E;
        let kind = match &error {
            E::NotFound(_) => ErrorKind::NotFound,
            E::Conflict(_) => ErrorKind::Conflict,
            E::Io { .. } | E::Store(_) => ErrorKind::Internal,
            E::Ambiguous(_) | E::Reference(_) | E::Change(_) | E::Entry { .. } | E::Archive(_) => ErrorKind::Invalid,
        };
        Self { kind, message: error.to_string(), source: Some(Box::new(error)) }
    }
}

impl From<crate::runner::RunnerError> for EngineError {
    fn from(error: crate::runner::RunnerError) -> Self {
        use crate::runner::RunnerError as E;
        // Docker answers 400 to a command that cannot be run and 500 to everything else.
        let kind = match &error {
            E::Runtime { exit_code: 126 | 127, .. } => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        };
        Self { kind, message: error.to_string(), source: Some(Box::new(error)) }
    }
}

impl From<crate::runner::oci::OciError> for EngineError {
    fn from(error: crate::runner::oci::OciError) -> Self {
        Self::invalid(error.to_string())
    }
}
