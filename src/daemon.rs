//! The composition root: config → store → reconcile → serve → drain.
//!
//! Containers outlive the daemon: it may be stopped, killed or replaced at any moment, and the next one takes over what
//! runs.

use std::fs::File;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::audit::drift::Before;
use crate::bridge::{self, Bridge, ipam};
use crate::config::{BridgeChoice, Config, LogLevel};
use crate::containers::Engine;
use crate::containers::engine::{Network, Parts, now};
use crate::containers::history::History;
use crate::containers::sandbox::PINS;
use crate::containers::strangers::{self, Grounds};
use crate::containers::{restore, runtimes};
use crate::dns::{NameServer, Sockets};
use crate::firewall::Firewall;
use crate::images::Images;
use crate::model::{Intent, NetworkOptions};
use crate::runner::Runner;
use crate::store::{LAST_LEASE, Store};

/// They hear of what others change.
type Watches = (crate::firewall::Watch, bridge::Watch);

/// How long requests under way may take after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);
/// How often SQLite's log is folded into the database.
const CHECKPOINT: Duration = Duration::from_secs(60);
/// The `meta` key of the gateway's port where names are answered.
const DNS_PORT: &str = "dns_port";
/// Names the servers that are asked about what is not ours.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The group that may use the socket, if it exists.
const GROUP: &str = "pontoon";

/// Runs the daemon until SIGTERM or SIGINT.
pub fn run(config: Config) -> anyhow::Result<()> {
    log_to_stderr(config.log_level);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(serve(config))
}

fn log_to_stderr(level: LogLevel) {
    let filter = match level {
        LogLevel::Debug => "info,pontoon=debug",
        LogLevel::Info => "warn,pontoon=info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    // Has a line for each message that it cannot make sense of, which any container could send by the million.
    let filter = format!("{filter},hickory_proto=off,hickory_net=off,hickory_server=off");
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let report = crate::check::run();
    if !report.can_run() {
        bail!(report.complaint());
    }
    let network_options = resolve_network(&config).await?;
    let _claim = network_options.as_ref().map(|options| claim(&options.bridge)).transpose()?;
    runtimes::resolve(&config.runtime).context("invalid --default-runtime")?;

    let group = socket_group(config.group.as_deref())?;
    let database = config.data_root.join("pontoon.db");
    if !database.exists() {
        // Nobody is known: this can be told before anything is made.
        strangers::refuse(grounds(&config, network_options.as_ref()), None).await?;
    }

    let metrics = listen_for_metrics(config.metrics_addr).await?;

    make_roots(&config)?;
    let _data = lock(&config.data_root, "--data-root")?;
    // It would take the other's running containers for leftovers.
    let _exec = lock(&config.exec_root, "--exec-root")?;
    crate::netns::make_directory(&config.exec_root.join(PINS))?;
    raise_file_limit();
    // Before anything is changed: a socket that cannot be had ends the start here.
    let mut announced = Announced::default();
    let mut listeners = Vec::new();
    for path in &config.hosts {
        listeners.push(listen(path, group)?);
        announced.0.push(path.clone());
    }
    write_pidfile(&config.pidfile)?;
    announced.0.push(config.pidfile.clone());

    let store = Arc::new(Store::open(&database)?);
    strangers::refuse(grounds(&config, network_options.as_ref()), Some(&store)).await?;
    let images = open_images(&config, store.clone()).await?;
    let mut before = Before::default();
    let (network, watches, intent) = match network_options {
        Some(options) => {
            let (network, watches, intent) = bring_up_network(&config, options, &store, &mut before).await?;
            (Some(network), Some(watches), Some(intent))
        }
        None => (None, None, None),
    };
    let history = History::open(store.clone(), intent.as_ref(), config.history_entries)?;
    tell_head(&history, "the history begins here");
    let mut warnings = config.warnings.clone();
    if let Some(network) = &network {
        warnings.extend(obstacles(&network.options).await);
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let (sockets, repairs) = (config.hosts.clone(), config.repair);
    let engine = Engine::new(Parts {
        id: once(&store, "id", || hex::encode(rand::random::<[u8; 16]>()))?,
        created: once(&store, "created", now)?,
        runner: Runner::new(&config.exec_root),
        config,
        store,
        images,
        network,
        history: history.clone(),
        warnings,
    });
    engine.restore().await.context("cannot take over what the last daemon left")?;
    if engine.network().is_some_and(|options| before.may_differ_in_icc(options)) {
        engine.ask_anew().await;
    }
    if let Some((firewall, bridge)) = watches {
        crate::audit::drift::begin(&engine, &before).await;
        engine.guard(firewall, bridge);
        tokio::spawn(crate::audit::drift::follow(engine.clone()));
        if repairs {
            tokio::spawn(crate::audit::drift::keep(engine.clone()));
        }
    }
    announce(&engine, &sockets);

    let stop = CancellationToken::new();
    let servers: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(crate::api::serve(listener, engine.clone(), stop.clone())))
        .collect();
    if let Some(listener) = metrics {
        tokio::spawn(crate::api::metrics::serve(listener, engine.clone(), stop.clone()));
    }
    let checkpoints = tokio::spawn(checkpoint(database.clone()));
    wait_for_the_end().await?;
    stop.cancel();
    let drained = tokio::time::timeout(DRAIN, futures_util::future::join_all(servers)).await;
    if drained.is_err() {
        tracing::warn!("requests under way were cut off after {} s", DRAIN.as_secs());
    }
    history.flush().await;
    tell_head(&history, "the history ends here");
    checkpoints.abort();
    if let Err(error) = Store::checkpoint(&database) {
        tracing::warn!(%error, "the last checkpoint failed; the next daemon makes it");
    }
    tracing::info!("stopped; containers run on");
    Ok(())
}

/// What tells others of this daemon, its sockets and its pidfile: gone when it ends, also when it ends before it serves.
#[derive(Default)]
struct Announced(Vec<PathBuf>);

impl Drop for Announced {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn grounds<'a>(config: &'a Config, network: Option<&'a NetworkOptions>) -> Grounds<'a> {
    let bridge = network.map(|options| options.bridge.as_str());
    Grounds { data_root: &config.data_root, exec_root: &config.exec_root, bridge }
}

/// What of other programs' tables is in containers' way.
async fn obstacles(options: &NetworkOptions) -> Vec<String> {
    let options = options.clone();
    let looked = tokio::task::spawn_blocking(move || crate::firewall::obstacles(&options)).await;
    looked.unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// The network options, complete, before anything is created. `None`: no default network.
async fn resolve_network(config: &Config) -> anyhow::Result<Option<NetworkOptions>> {
    let (name, bip) = match &config.bridge {
        BridgeChoice::Disabled => return Ok(None),
        BridgeChoice::Existing(name) => (name, bridge::standing_address(name).await?),
        BridgeChoice::Own(name) => match config.bip {
            Some(bip) => (name, bip),
            None => (name, choose_subnet(config, name).await?),
        },
    };
    ipam::validate(bip, config.fixed_cidr).context("invalid --fixed-cidr")?;
    Ok(Some(NetworkOptions {
        bridge: name.clone(),
        own_bridge: !matches!(config.bridge, BridgeChoice::Existing(_)),
        bip,
        fixed_cidr: config.fixed_cidr,
        mtu: config.mtu,
        icc: config.icc,
        ip_forward: config.ip_forward,
        ip_masq: config.ip_masq,
        default_ip: config.default_ip,
        host_access: config.host_access,
        dns_port: None,
    }))
}

/// The subnet of a bridge that stands; else the first of the pools, or of Docker's candidates, that no host route covers.
async fn choose_subnet(config: &Config, bridge: &str) -> anyhow::Result<ipnetwork::Ipv4Network> {
    if config.address_pools.is_empty() || bridge::standing_address(bridge).await.is_ok() {
        return Ok(bridge::choose_bip(bridge).await?);
    }
    let routes = bridge::routes().await?;
    let mut subnets = config.address_pools.iter().flat_map(|pool| pool.subnets());
    subnets
        .find(|subnet| !routes.iter().any(|route| route.prefix() > 0 && route.overlaps(*subnet)))
        .context("every subnet of --default-address-pool is covered by a route of this host: give --bip")
}

/// The firewall first: the bridge is safe only behind it. And before that the port for names, since the firewall leads
/// there what containers ask.
async fn bring_up_network(
    config: &Config,
    mut options: NetworkOptions,
    store: &Store,
    before: &mut Before,
) -> anyhow::Result<(Network, Watches, Intent)> {
    let sockets = listen_for_names(&options, store)?;
    options.dns_port = Some(sockets.port());
    let intent = restore::stored_intent(store, &options)?;
    let firewall = Firewall::new(&intent, Some(&config.exec_root));
    *before = Before::look(store, &intent).await?;
    let names = NameServer::serve(sockets, &intent, Path::new(RESOLV_CONF)).context("cannot serve names")?;
    // Before anything is in force: what is changed from now on is heard of, and put right once all is.
    let firewall_watch = firewall.watch(&options, config.repair)?;
    firewall.reconcile(&intent).await?;
    // On a bridge of the operator's, addresses may be others'.
    let ours = match config.bridge {
        BridgeChoice::Existing(_) => options.fixed_cidr,
        BridgeChoice::Own(_) | BridgeChoice::Disabled => Some(options.bip),
    };
    if let Some(range) = ours {
        firewall.vacate(range, &intent).await;
    }
    let bridge = match config.bridge {
        BridgeChoice::Existing(_) => Bridge::existing(&options).await?,
        BridgeChoice::Own(_) | BridgeChoice::Disabled => Bridge::ensure(&options).await?,
    };
    let mut pool = ipam::Pool::new(options.bip, options.fixed_cidr);
    pool.resume(store.meta(LAST_LEASE)?.and_then(|address| address.parse().ok()));
    let watches = (firewall_watch, bridge.watch(config.repair)?);
    Ok((Network { firewall, names, bridge, options, pool: std::sync::Mutex::new(pool) }, watches, intent))
}

/// A head of the history in the log: who keeps the log elsewhere can tell later whether the history still holds it
/// (`pontoon audit history --verify HASH`).
fn tell_head(history: &History, where_it_is: &'static str) {
    if let Some(head) = history.head() {
        tracing::info!(entry = head.entry, hash = %head.hash, "{where_it_is}");
    }
}

/// The port of the last daemon, if it can be had: rules in force lead there.
fn listen_for_names(options: &NetworkOptions, store: &Store) -> anyhow::Result<Sockets> {
    let last = store.meta(DNS_PORT)?.and_then(|port| port.parse().ok());
    let sockets = Sockets::bind(options.gateway(), last)?;
    let port = sockets.port();
    if let Some(last) = last.filter(|last| *last != port) {
        tracing::warn!(last, port, "another program has taken the port for names: containers are led to a new one");
    }
    store.put_meta(DNS_PORT, &port.to_string())?;
    Ok(sockets)
}

async fn open_images(config: &Config, store: Arc<Store>) -> anyhow::Result<Images> {
    let root = config.data_root.join("images");
    Ok(tokio::task::spawn_blocking(move || Images::open(&root, store)).await??)
}

/// Below the data root lie the environments of containers, and files of theirs that are set-uid root: other users of the
/// host must not reach them, even where they know the paths. The socket may lie below the exec root, and has a mode of
/// its own.
fn make_roots(config: &Config) -> anyhow::Result<()> {
    let containers = |root: &Path| root.join("containers");
    for (dir, mode) in [
        (config.data_root.clone(), 0o700),
        (containers(&config.data_root), 0o700),
        (config.exec_root.clone(), 0o711),
        (containers(&config.exec_root), 0o700),
    ] {
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {}", dir.display()))?;
    }
    Ok(())
}

/// One daemon a root: a lock that the kernel releases when the process ends, however it ends.
fn lock(root: &Path, option: &str) -> anyhow::Result<File> {
    let path = root.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => bail!("another pontoon daemon uses {}: stop it, or choose another {option}", root.display()),
    }
}

/// One daemon a bridge: two would each take the other's ports and rules for leftovers.
///
/// A socket of an abstract name belongs to the network namespace, as the bridge does, and ends with the process.
fn claim(bridge: &str) -> anyhow::Result<UnixDatagram> {
    let name = SocketAddr::from_abstract_name(format!("pontoon/bridge/{bridge}"))?;
    match UnixDatagram::bind_addr(&name) {
        Ok(socket) => Ok(socket),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!(
                "another pontoon daemon uses the bridge {bridge}: stop it, or give this one roots and a --bridge of its own"
            )
        }
        Err(error) => Err(error).with_context(|| format!("cannot claim the bridge {bridge}")),
    }
}

fn write_pidfile(path: &Path) -> anyhow::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    std::fs::write(path, std::process::id().to_string()).with_context(|| format!("cannot write {}", path.display()))
}

/// A socket of mode 0660. One that nobody serves any more is replaced.
fn listen(path: &Path, group: Option<nix::unistd::Gid>) -> anyhow::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            bail!("another daemon serves {}: stop it, or choose another --host", path.display());
        }
        std::fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
    }
    // Nobody may connect between the bind and the chmod.
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    nix::sys::stat::umask(before);
    let listener = bound.with_context(|| format!("cannot listen on {}", path.display()))?;
    if let Some(gid) = group {
        nix::unistd::chown(path, None, Some(gid))
            .with_context(|| format!("cannot give {} its group", path.display()))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    Ok(listener)
}

async fn listen_for_metrics(address: Option<std::net::SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    Ok(Some(listener.with_context(|| format!("cannot serve metrics at {address} (--metrics-addr)"))?))
}

fn socket_group(asked: Option<&str>) -> anyhow::Result<Option<nix::unistd::Gid>> {
    use nix::errno::Errno;
    let found = match nix::unistd::Group::from_name(asked.unwrap_or(GROUP)) {
        // "Not found" of a machine without /etc/group (getgrnam(3)).
        Err(Errno::ENOENT | Errno::ESRCH) => None,
        found => found.context("cannot read the groups")?,
    };
    match (found, asked) {
        (Some(group), _) => Ok(Some(group.gid)),
        (None, None) => Ok(None),
        (None, Some(name)) => bail!("invalid --group: there is no group {name:?}; make it with `groupadd {name}`"),
    }
}

/// Reserved ports and attached clients are descriptors: as many as this process may have.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Keeping the old limit is no reason not to run.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// What a data root is given once, and keeps.
fn once(store: &Store, key: &str, make: impl FnOnce() -> String) -> anyhow::Result<String> {
    if let Some(value) = store.meta(key)? {
        return Ok(value);
    }
    let value = make();
    store.put_meta(key, &value)?;
    Ok(value)
}

fn announce(engine: &Engine, sockets: &[PathBuf]) {
    let info = engine.info();
    let bridge = engine.network().map_or("none".to_owned(), |n| format!("{} {}", n.bridge, n.bip));
    let names = engine.network().and_then(|n| Some(format!("{}:{}", n.gateway(), n.dns_port?)));
    let names = names.as_deref().unwrap_or("none");
    let sockets: Vec<_> = sockets.iter().map(|path| format!("unix://{}", path.display())).collect();
    tracing::info!(%bridge, %names, running = info.running, listening = %sockets.join(" "), "ready");
}

async fn checkpoint(database: PathBuf) {
    let mut clock = tokio::time::interval(CHECKPOINT);
    loop {
        clock.tick().await;
        let database = database.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || Store::checkpoint(&database)).await {
            tracing::warn!(%error, "checkpoint failed");
        }
    }
}

async fn wait_for_the_end() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
