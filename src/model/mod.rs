//! The vocabulary of the house: types that cannot hold an invalid value. No I/O, no clock, no randomness.

pub mod audit;
pub mod durations;
pub mod id;
pub mod image;
pub mod intent;
pub mod name;
pub mod net;
mod runs;
pub mod size;
pub mod spec;
pub mod tampering;
pub mod ulimit;

pub use durations::{Distribution, Durations, Outcomes};
pub use id::{ContainerId, Digest, ExecId, ImageId, ParseIdError};
pub use intent::{Change, Endpoint, Intent, Link, Names, NetworkOptions, STRANGERS_REQUEST};
pub use name::{ContainerName, Hostname, NameError};
pub use net::{HostBinding, MacAddr, NetworkMode, Port, PortError, PortRange, Protocol, Published};
pub use size::{SizeError, parse_size};
pub use spec::{
    ContainerSpec, EnvVar, LinkSpec, Mount, MountKind, NetworkSpec, ProcessSpec, Resources, RestartPolicy,
    SeccompProfile, Security,
};
pub use tampering::{Place, Process, Tampering};
pub use ulimit::{UlimitError, parse_ulimit};
