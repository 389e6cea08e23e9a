//! Flags → the body of `POST /containers/create`.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig, NetworkingConfig,
};

use super::env::Lookup;
use super::{ContainerFlags, env, hosts, invalid, limits, mounts, ports};
use crate::cli::error::CliError;

/// Which streams a client attaches to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Streams {
    pub(in crate::cli) stdin: bool,
    pub(in crate::cli) stdout: bool,
    pub(in crate::cli) stderr: bool,
}

impl ContainerFlags {
    /// The streams of a foreground container: those of `-a`, else stdout, stderr and (`-i`) stdin.
    pub(in crate::cli) fn streams(&self) -> Result<Streams, CliError> {
        if self.attach.is_empty() {
            return Ok(Streams { stdin: self.interactive, stdout: true, stderr: true });
        }
        let mut streams = Streams::default();
        for name in &self.attach {
            match name.to_ascii_lowercase().as_str() {
                "stdin" => streams.stdin = true,
                "stdout" => streams.stdout = true,
                "stderr" => streams.stderr = true,
                _ => {
                    return Err(invalid(format!(
                        "invalid argument {name:?} for --attach: valid streams are STDIN, STDOUT and STDERR"
                    )));
                }
            }
        }
        Ok(streams)
    }

    /// The request's body. `here` is the working directory, `ours` our environment, `size` the terminal's rows and
    /// columns. Reads the files that flags name.
    pub(in crate::cli) fn body(
        &self,
        streams: Streams,
        here: &Path,
        ours: Lookup<'_>,
        size: Option<(u16, u16)>,
    ) -> Result<ContainerCreateBody, CliError> {
        let bindings = ports::bindings(&self.publish)?;
        let mut exposed = ports::exposed(&self.expose)?;
        exposed.extend(bindings.keys().cloned());
        let (binds, anonymous) = mounts::volumes(&self.volume, here)?;
        let open_stdin = self.interactive || streams.stdin;
        let mut host = self.host_config(here)?;
        host.port_bindings = some(bindings.into_iter().map(|(port, hosts)| (port, Some(hosts))).collect());
        host.binds = some(binds);
        host.console_size = size.filter(|_| self.tty).map(|(rows, columns)| vec![rows.into(), columns.into()]);
        Ok(ContainerCreateBody {
            image: Some(self.image().to_owned()),
            cmd: some(self.words[1..].to_vec()),
            entrypoint: self.entrypoint.clone().map(|program| vec![program]),
            env: some(env::variables(&self.env_file, &self.env, ours)?),
            labels: some(env::labels(&self.label_file, &self.label)?),
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            hostname: self.hostname.clone(),
            domainname: self.domainname.clone(),
            tty: Some(self.tty),
            open_stdin: Some(open_stdin),
            stdin_once: Some(open_stdin && streams.stdin),
            attach_stdin: Some(streams.stdin),
            attach_stdout: Some(streams.stdout),
            attach_stderr: Some(streams.stderr),
            exposed_ports: some(exposed.into_iter().collect()),
            volumes: some(anonymous),
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout,
            networking_config: self.networking(),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        })
    }

    fn host_config(&self, here: &Path) -> Result<HostConfig, CliError> {
        let restart = self.restart.as_deref().map(limits::restart).transpose()?;
        if self.rm && self.restart.as_deref().is_some_and(|policy| policy != "no") {
            return Err(invalid("conflicting options: cannot specify both --restart and --rm"));
        }
        Ok(HostConfig {
            auto_remove: Some(self.rm),
            restart_policy: restart,
            container_id_file: self.cidfile.as_ref().map(|path| path.display().to_string()),
            init: self.init.then_some(true),
            log_config: (self.log_driver.is_some() || !self.log_opt.is_empty()).then(|| HostConfigLogConfig {
                typ: Some(self.log_driver.clone().unwrap_or_default()),
                config: Some(env::pairs(&self.log_opt)),
            }),
            runtime: self.runtime.clone(),
            network_mode: Some(self.network().to_owned()),
            publish_all_ports: Some(self.publish_all),
            links: some(self.link.iter().map(|text| hosts::link(text)).collect::<Result<_, _>>()?),
            dns: some(self.dns.clone()),
            dns_search: some(self.dns_search.clone()),
            dns_options: some(self.dns_option.clone()),
            extra_hosts: some(self.add_host.iter().map(|text| hosts::extra_host(text)).collect::<Result<_, _>>()?),
            mounts: some(self.mount.iter().map(|text| mounts::mount(text, here)).collect::<Result<_, _>>()?),
            tmpfs: some(mounts::tmpfs(&self.tmpfs)),
            readonly_rootfs: Some(self.read_only),
            shm_size: limits::size("shm-size", &self.shm_size)?,
            devices: some(self.device.iter().map(|text| limits::device(text)).collect::<Result<_, _>>()?),
            memory: limits::size("memory", &self.memory)?,
            memory_swap: limits::size_or_unlimited("memory-swap", &self.memory_swap)?,
            memory_reservation: limits::size("memory-reservation", &self.memory_reservation)?,
            cpu_shares: self.cpu_shares,
            nano_cpus: self.cpus.as_deref().map(limits::nano_cpus).transpose()?,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpuset_cpus: self.cpuset_cpus.clone(),
            pids_limit: self.pids_limit,
            ulimits: some(self.ulimit.iter().map(|text| limits::ulimit(text)).collect::<Result<_, _>>()?),
            oom_score_adj: self.oom_score_adj,
            cgroup_parent: self.cgroup_parent.clone(),
            cap_add: some(self.cap_add.clone()),
            cap_drop: some(self.cap_drop.clone()),
            privileged: Some(self.privileged),
            security_opt: some(self.security_opt.iter().map(|text| security_opt(text)).collect::<Result<_, _>>()?),
            sysctls: some(env::pairs(&self.sysctl)),
            pid_mode: self.pid.clone(),
            ipc_mode: self.ipc.clone(),
            uts_mode: self.uts.clone(),
            group_add: some(self.group_add.clone()),
            ..HostConfig::default()
        })
    }

    fn network(&self) -> &str {
        self.network.first().map_or("default", String::as_str)
    }

    /// Addresses are asked for per network.
    fn networking(&self) -> Option<NetworkingConfig> {
        if self.ip.is_none() && self.mac_address.is_none() {
            return None;
        }
        let endpoint = EndpointSettings {
            ipam_config: self
                .ip
                .clone()
                .map(|address| EndpointIpamConfig { ipv4_address: Some(address), ..EndpointIpamConfig::default() }),
            mac_address: self.mac_address.clone(),
            ..EndpointSettings::default()
        };
        let endpoints = HashMap::from([(self.network().to_owned(), endpoint)]);
        Some(NetworkingConfig { endpoints_config: Some(endpoints) })
    }
}

/// A seccomp profile is a file here and its content in the API.
fn security_opt(text: &str) -> Result<String, CliError> {
    let Some(path) = text.strip_prefix("seccomp=").or_else(|| text.strip_prefix("seccomp:")) else {
        return Ok(text.to_owned());
    };
    if matches!(path, "unconfined" | "builtin") {
        return Ok(format!("seccomp={path}"));
    }
    let profile = std::fs::read_to_string(path)
        .map_err(|error| invalid(format!("opening seccomp profile ({path}) failed: {error}")))?;
    let profile: serde_json::Value = serde_json::from_str(&profile)
        .map_err(|error| invalid(format!("compacting json for seccomp profile ({path}) failed: {error}")))?;
    Ok(format!("seccomp={profile}"))
}

/// Empty collections are left out of the request.
fn some<C: IntoIterator + Default + PartialEq>(collection: C) -> Option<C> {
    (collection != C::default()).then_some(collection)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Run {
        #[command(flatten)]
        flags: ContainerFlags,
    }

    fn body(line: &str) -> Result<serde_json::Value, String> {
        let words = std::iter::once("run").chain(line.split_whitespace());
        let flags = Run::try_parse_from(words).map_err(|error| error.to_string())?.flags;
        let streams = flags.streams().map_err(|error| error.to_string())?;
        let body = flags.body(streams, Path::new("/here"), &|_| None, Some((24, 80)));
        Ok(serde_json::to_value(body.map_err(|error| error.to_string())?).expect("JSON"))
    }

    #[test]
    fn flags_end_at_the_image() {
        let body = body("--rm -it busybox sh -c --rm -x -- y").expect("a body");
        assert_eq!(body["Image"], "busybox");
        assert_eq!(body["Cmd"], serde_json::json!(["sh", "-c", "--rm", "-x", "--", "y"]));
        assert_eq!((&body["Tty"], &body["OpenStdin"], &body["StdinOnce"]), (&true.into(), &true.into(), &true.into()));
        assert_eq!(body["HostConfig"]["AutoRemove"], true);
        assert_eq!(body["HostConfig"]["ConsoleSize"], serde_json::json!([24, 80]));
    }

    #[test]
    fn an_unknown_flag_before_the_image_is_no_image() {
        assert!(body("--nope busybox").expect_err("an error").contains("--nope"));
    }

    #[test]
    fn a_plain_run_asks_for_little() {
        insta::assert_snapshot!("plain_run", format!("{:#}", body("busybox").expect("a body")));
    }

    #[test]
    fn everything_arrives_under_the_api_s_names() {
        let body = body(
            "--name web -e A=1 -p 127.0.0.1:8080:80 --expose 53/udp --net bridge -h h --domainname d -u 1:2 -w /w \
                 --entrypoint /e -v /a:/b:ro -v /anon --tmpfs /t:size=1m -m 64m --memory-swap -1 -c 512 --cpus 1.5 \
                 --cpuset-cpus 0-1 --pids-limit -1 --read-only --cap-add NET_ADMIN --cap-drop ALL --privileged \
                 --security-opt no-new-privileges --dns 1.1.1.1 --dns-search . --dns-option ndots:1 \
                 --add-host gw:host-gateway --link db:DB --ip 10.0.0.9 --mac-address 02:42:ac:11:00:09 --label l=1 \
                 --restart on-failure:3 --stop-signal INT --stop-timeout 3 --log-driver none --ulimit nofile=1:-1 \
                 --sysctl net.ipv4.ip_forward=1 --device /dev/null --group-add 5 --shm-size 1m --init --pid host \
                 --ipc host --oom-score-adj -500 -a stdout busybox",
        )
        .expect("a body");
        insta::assert_snapshot!("every_flag", format!("{body:#}"));
    }

    #[test]
    fn contradictions() {
        assert!(body("--rm --restart always busybox").expect_err("an error").contains("--restart and --rm"));
        assert!(body("-a nothing busybox").expect_err("an error").contains("valid streams"));
    }
}
