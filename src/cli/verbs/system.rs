//! `version` and `info`.

use serde_json::{Value, json};

use crate::cli::client::{self, Client};
use crate::cli::error::{CliError, Outcome};
use crate::cli::render::{human, template::Template};
use crate::cli::{complain, print};

/// `version`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Version {
    /// A Go template, or json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Version {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let ours = json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "ApiVersion": "1.50",
            "Os": std::env::consts::OS,
            "Arch": go_arch(std::env::consts::ARCH),
        });
        // The client's own version is worth telling even where there is no daemon.
        let (theirs, code) = match get(client, "/version").await {
            Ok(version) => (version, 0),
            Err(error) => {
                complain(&error);
                (Value::Null, 1)
            }
        };
        let both = json!({"Client": ours, "Server": theirs});
        match self.format.as_deref() {
            Some(format) => print(&formatted(format, &both)?)?,
            None => print(&version(&both))?,
        }
        Ok(code)
    }
}

/// `info`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Info {
    /// A Go template, or json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Info {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let info = get(client, "/info").await?;
        match self.format.as_deref() {
            Some(format) => print(&formatted(format, &info)?)?,
            None => print(&self::info(&info))?,
        }
        for warning in info["Warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            crate::cli::eprint(&format!("{warning}\n"));
        }
        Ok(0)
    }
}

async fn get(client: &Client, path: &str) -> Result<Value, CliError> {
    serde_json::from_slice(&client.get(path, &[]).await?).map_err(client::broken)
}

fn formatted(format: &str, value: &Value) -> Result<String, CliError> {
    if format == "json" {
        return Ok(format!("{value}\n"));
    }
    let text = Template::parse(format).and_then(|template| template.render(value));
    text.map(|text| text + "\n").map_err(|error| CliError::new(error.to_string()))
}

fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn version(both: &Value) -> String {
    let side = |side: &Value| {
        [
            ("Version", text(&side["Version"])),
            ("API version", text(&side["ApiVersion"])),
            ("OS/Arch", format!("{}/{}", text(&side["Os"]), text(&side["Arch"]))),
            ("Kernel version", text(&side["KernelVersion"])),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!(" {:<18} {value}\n", format!("{name}:")))
        .collect::<String>()
    };
    let mut shown = format!("Client:\n{}", side(&both["Client"]));
    if !both["Server"].is_null() {
        shown.push_str(&format!("\nServer:\n{}", side(&both["Server"])));
    }
    shown
}

fn info(info: &Value) -> String {
    const FIELDS: [(&str, &str); 19] = [
        ("Containers", "Containers"),
        (" Running", "ContainersRunning"),
        (" Paused", "ContainersPaused"),
        (" Stopped", "ContainersStopped"),
        ("Images", "Images"),
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
        ("Default Runtime", "DefaultRuntime"),
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
        ("CPUs", "NCPU"),
        ("Name", "Name"),
        ("ID", "ID"),
        ("Docker Root Dir", "DockerRootDir"),
    ];
    let mut shown = String::new();
    for (label, field) in FIELDS {
        let value = text(&info[field]);
        if !value.is_empty() {
            shown.push_str(&format!("{label}: {value}\n"));
        }
    }
    if let Some(bytes) = info["MemTotal"].as_i64() {
        shown.push_str(&format!("Total Memory: {}\n", human::binary_size(bytes)));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_without_a_daemon_is_the_client_s() {
        let ours = json!({"Version": "0.1.0", "ApiVersion": "1.50", "Os": "linux", "Arch": "amd64"});
        let shown = version(&json!({"Client": ours, "Server": null}));
        assert!(shown.starts_with("Client:\n Version:           0.1.0\n") && !shown.contains("Server"), "{shown}");
    }

    #[test]
    fn info_leaves_out_what_the_daemon_does_not_tell() {
        assert_eq!(
            info(&json!({"Containers": 3, "ContainersRunning": 1, "MemTotal": 67_108_864})),
            "Containers: 3\n Running: 1\nTotal Memory: 64MiB\n"
        );
    }
}
