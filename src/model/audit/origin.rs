//! Whose doing a change is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose doing a change is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Origin {
    /// Somebody asked for it.
    Request(Requester),
    /// The container's process ended, and nobody had asked for that.
    Ended,
    /// A container's restart policy.
    Policy,
    /// The daemon was started, with other options than the last one.
    Options,
    /// It had happened without a word here, and was found as the daemon started: the last one was killed in between.
    Found,
    /// The daemon's guard, which puts right what others change.
    Guard,
    /// The daemon itself.
    Daemon,
}

/// A request to the API's socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// Method and path with query, at most 512 bytes: `POST /v1.50/containers/create?name=web`.
    pub request: String,
    /// The client's `User-Agent`, at most 128 bytes: what it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Who connected: what the kernel says.
    pub peer: Peer,
}

/// The process that connected to the API's socket, as the kernel knew it when it did (`SO_PEERCRED`, unix(7)). Who was
/// handed the connection by that process, or speaks through it, is not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its id in the daemon's pid namespace; `None` where it has none there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What the user is called in /etc/passwd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The process's name (/proc/PID/comm), which it may choose itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Who logged in, whoever they have become since by su or sudo (/proc/PID/loginuid).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<u32>,
    /// What that user is called in /etc/passwd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_user: Option<String>,
}

impl Origin {
    /// The peer, if somebody asked.
    pub fn peer_mut(&mut self) -> Option<&mut Peer> {
        if let Self::Request(requester) = self { Some(&mut requester.peer) } else { None }
    }

    /// The request, or what else it was, in words.
    pub fn request(&self) -> &str {
        match self {
            Self::Request(requester) => &requester.request,
            Self::Ended => "its process ended",
            Self::Policy => "the restart policy",
            Self::Options => "the daemon's start with these options",
            Self::Found => "found at the daemon's start",
            Self::Guard => "the daemon's guard",
            Self::Daemon => "the daemon",
        }
    }

    /// The peer of the API's socket, in words; empty if nobody asked.
    pub fn by(&self) -> String {
        if let Self::Request(requester) = self { requester.peer.to_string() } else { String::new() }
    }
}

impl fmt::Display for Peer {
    /// `uid 1000 (alice), pid 4242 (docker)`; control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let called =
            |name: &Option<String>| name.as_ref().map(|name| format!(" ({})", name.escape_debug())).unwrap_or_default();
        write!(f, "uid {}{}", self.uid, called(&self.user))?;
        if let Some(login) = self.login.filter(|login| *login != self.uid) {
            write!(f, ", logged in as {login}{}", called(&self.login_user))?;
        }
        match self.pid {
            Some(pid) => write!(f, ", pid {pid}{}", called(&self.process)),
            None => f.write_str(", of another pid namespace"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_in_words() {
        let peer = Peer {
            uid: 0,
            gid: 0,
            pid: Some(7),
            user: Some("root".into()),
            process: Some("do\x1b[2Jcker".into()),
            login: Some(1000),
            login_user: Some("alice".into()),
        };
        assert_eq!(peer.to_string(), "uid 0 (root), logged in as 1000 (alice), pid 7 (do\\u{1b}[2Jcker)");
        let bare = Peer { pid: None, user: None, process: None, login: Some(0), login_user: None, ..peer };
        assert_eq!(bare.to_string(), "uid 0, of another pid namespace");
        let json = serde_json::to_string(&Origin::Ended).expect("plain data");
        assert_eq!(json, r#"{"kind":"ended"}"#);
    }
}
