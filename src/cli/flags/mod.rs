//! The flags of `run` and `create`: docker's names, and what they say to the API.

mod body;
mod env;
mod hosts;
mod limits;
mod mounts;
mod ports;

use std::path::PathBuf;

pub(super) use body::Streams;
pub(super) use env::variables;

use super::error::CliError;

/// What `run` and `create` have in common.
#[derive(Debug, clap::Args)]
pub(super) struct ContainerFlags {
    /// The image, then the command and its arguments: flags end at the image's name
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND", "ARG"])]
    pub(super) words: Vec<String>,

    /// Name of the container; one is made up otherwise
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Keep stdin open
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Attach to stdin, stdout or stderr only; may be repeated
    #[arg(short, long, value_name = "STREAM")]
    pub(super) attach: Vec<String>,
    /// Remove the container when it ends
    #[arg(long)]
    pub(super) rm: bool,
    /// When to start it again: no, always, unless-stopped, on-failure[:TIMES]
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Signal that stops it [default: SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds to wait after that signal before it is killed [default: 10]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    stop_timeout: Option<i64>,
    /// Write the container's id to this file
    #[arg(long, value_name = "FILE")]
    pub(super) cidfile: Option<PathBuf>,
    /// When to fetch the image: always, missing, never
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(super) pull: String,
    /// Platform of the image, such as linux/amd64
    #[arg(long)]
    pub(super) platform: Option<String>,

    /// Program to run instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM", help_heading = "Process")]
    entrypoint: Option<String>,
    /// Environment variable, NAME=VALUE, or NAME with the value it has here
    #[arg(short, long, value_name = "VARIABLE", help_heading = "Process")]
    env: Vec<String>,
    /// File of environment variables, one a line
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    env_file: Vec<PathBuf>,
    /// User, by name or number, and group: USER[:GROUP]
    #[arg(short, long, help_heading = "Process")]
    user: Option<String>,
    /// Further group of the user; may be repeated
    #[arg(long, value_name = "GROUP", help_heading = "Process")]
    group_add: Vec<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR", help_heading = "Process")]
    workdir: Option<String>,
    /// Docker's flag for an init that reaps processes; the daemon refuses it
    #[arg(long, hide = true, help_heading = "Process")]
    init: bool,
    /// Label, NAME=VALUE; may be repeated
    #[arg(short, long, help_heading = "Process")]
    label: Vec<String>,
    /// File of labels, one a line
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    label_file: Vec<PathBuf>,
    /// Where output is logged: json-file or none
    #[arg(long, value_name = "DRIVER", help_heading = "Process")]
    log_driver: Option<String>,
    /// Option of the log driver, NAME=VALUE; may be repeated
    #[arg(long, value_name = "OPTION", help_heading = "Process")]
    log_opt: Vec<String>,
    /// Runtime: integrated, or an OCI command such as runc
    #[arg(long, help_heading = "Process")]
    runtime: Option<String>,

    /// bridge, none, host, or container:NAME
    #[arg(long, visible_alias = "net", value_name = "NETWORK", help_heading = "Network")]
    network: Vec<String>,
    /// Publish a port: [[IP:]HOSTPORT:]PORT[/tcp|udp|sctp]; ranges and repetition are fine
    #[arg(short, long, value_name = "PORT", help_heading = "Network")]
    publish: Vec<String>,
    /// Publish all exposed ports
    #[arg(short = 'P', long, help_heading = "Network")]
    publish_all: bool,
    /// Expose a port or a range of ports, for --publish-all
    #[arg(long, value_name = "PORT", help_heading = "Network")]
    expose: Vec<String>,
    /// Let it reach another container's exposed ports, and by name: NAME[:ALIAS]; may be repeated
    #[arg(long, value_name = "CONTAINER", help_heading = "Network")]
    link: Vec<String>,
    /// Host name [default: the container's short id]
    #[arg(short = 'h', long, value_name = "NAME", help_heading = "Network")]
    hostname: Option<String>,
    /// Domain name
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    domainname: Option<String>,
    /// DNS server; may be repeated
    #[arg(long, value_name = "ADDRESS", help_heading = "Network")]
    dns: Vec<String>,
    /// DNS search domain; may be repeated
    #[arg(long, value_name = "DOMAIN", help_heading = "Network")]
    dns_search: Vec<String>,
    /// DNS option; may be repeated
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION", help_heading = "Network")]
    dns_option: Vec<String>,
    /// Line of /etc/hosts, NAME:ADDRESS; the address may be host-gateway
    #[arg(long, value_name = "HOST", help_heading = "Network")]
    add_host: Vec<String>,
    /// Docker's flag for networks of one's own; the daemon refuses it
    #[arg(long, hide = true, value_name = "ADDRESS", help_heading = "Network")]
    ip: Option<String>,
    /// MAC address of its interface
    #[arg(long, value_name = "MAC", help_heading = "Network")]
    mac_address: Option<String>,

    /// Mount a host path or a volume: SOURCE:TARGET[:ro]
    #[arg(short, long, value_name = "VOLUME", help_heading = "Files")]
    volume: Vec<String>,
    /// Mount: type=bind|volume|tmpfs,source=…,target=…[,readonly]
    #[arg(long, help_heading = "Files")]
    mount: Vec<String>,
    /// Mount memory: TARGET[:OPTIONS]
    #[arg(long, value_name = "TARGET", help_heading = "Files")]
    tmpfs: Vec<String>,
    /// Read-only root file system
    #[arg(long, help_heading = "Files")]
    read_only: bool,
    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE", help_heading = "Files")]
    shm_size: Option<String>,
    /// Device of the host: HOST[:CONTAINER[:rwm]]
    #[arg(long, help_heading = "Files")]
    device: Vec<String>,

    /// Memory limit, such as 64m
    #[arg(short, long, value_name = "SIZE", help_heading = "Limits")]
    memory: Option<String>,
    /// Limit of memory and swap together; -1 is no limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = "Limits")]
    memory_swap: Option<String>,
    /// Soft memory limit
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    memory_reservation: Option<String>,
    /// CPU weight, relative to 1024
    #[arg(short, long, value_name = "WEIGHT", help_heading = "Limits")]
    cpu_shares: Option<i64>,
    /// How many CPUs it may use, such as 1.5
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    cpus: Option<String>,
    /// Microseconds of a CPU period
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits")]
    cpu_period: Option<i64>,
    /// Microseconds of CPU time a period
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true, help_heading = "Limits")]
    cpu_quota: Option<i64>,
    /// Which CPUs it may use, such as 0-1,3
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    cpuset_cpus: Option<String>,
    /// How many processes it may have; -1 is no limit
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, help_heading = "Limits")]
    pids_limit: Option<i64>,
    /// Process limit, NAME=SOFT[:HARD]; may be repeated
    #[arg(long, value_name = "LIMIT", help_heading = "Limits")]
    ulimit: Vec<String>,
    /// Added to the OOM killer's score, -1000 to 1000
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, help_heading = "Limits")]
    oom_score_adj: Option<i64>,
    /// Parent cgroup: not served, and hidden, until it is; the daemon says so
    #[arg(long, value_name = "NAME", hide = true)]
    cgroup_parent: Option<String>,

    /// Add a capability; may be repeated
    #[arg(long, value_name = "CAPABILITY", help_heading = "Security")]
    cap_add: Vec<String>,
    /// Drop a capability; may be repeated
    #[arg(long, value_name = "CAPABILITY", help_heading = "Security")]
    cap_drop: Vec<String>,
    /// Every capability and device, and no seccomp filter
    #[arg(long, help_heading = "Security")]
    privileged: bool,
    /// seccomp=unconfined, seccomp=FILE, no-new-privileges; may be repeated
    #[arg(long, value_name = "OPTION", help_heading = "Security")]
    security_opt: Vec<String>,
    /// Kernel parameter of its namespaces, NAME=VALUE; may be repeated
    #[arg(long, value_name = "PARAMETER", help_heading = "Security")]
    sysctl: Vec<String>,
    /// PID namespace: host
    #[arg(long, value_name = "MODE", help_heading = "Security")]
    pid: Option<String>,
    /// IPC namespace: private, host
    #[arg(long, value_name = "MODE", help_heading = "Security")]
    ipc: Option<String>,
    /// UTS namespace: not served, and hidden, until it is; the daemon says so
    #[arg(long, value_name = "MODE", hide = true)]
    uts: Option<String>,
}

impl ContainerFlags {
    /// The image, as written.
    pub(super) fn image(&self) -> &str {
        // clap requires at least one word.
        self.words.first().map_or("", String::as_str)
    }
}

fn invalid(message: impl Into<String>) -> CliError {
    CliError::new(message)
}
