//! `import` and `load`: archives from a file or stdin.

use std::path::Path;

use futures_util::StreamExt;
use hyper::Method;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use super::{images, progress};
use crate::cli::client::{Client, Payload};
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;
use crate::cli::streams::terminal;

/// Bytes read at a time: large enough that an archive is not sent in crumbs.
const CHUNK: usize = 256 * 1024;

/// `import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pontoon import rootfs.tar busybox:latest
  tar -C rootfs -c . | pontoon import --change 'CMD [\"sh\"]' - busybox

--change takes CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR, as in a Dockerfile.")]
pub(in crate::cli) struct Import {
    /// An instruction of a Dockerfile to apply; may be repeated
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A comment for the image's history
    #[arg(short, long)]
    message: Option<String>,
    /// Platform of the image, such as linux/amd64
    #[arg(long)]
    platform: Option<String>,
    /// A tar archive of a root file system; - is stdin
    file: String,
    /// The image's name, REPOSITORY[:TAG]
    name: Option<String>,
}

impl Import {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let mut query = vec![("fromSrc", "-")];
        if let Some(name) = &self.name {
            let (repository, tag) = images::split_tag(name);
            query.extend([("repo", repository), ("tag", tag)]);
        }
        query.extend(self.message.as_deref().map(|message| ("message", message)));
        query.extend(self.platform.as_deref().map(|platform| ("platform", platform)));
        query.extend(self.change.iter().map(|change| ("changes", change.as_str())));
        let tar = match self.file.as_str() {
            "-" => stdin()?,
            url if url.contains("://") => {
                return Err(CliError::new(format!("{url:?}: give a file, or - and the archive on stdin")));
            }
            path => file(Path::new(path)).await?,
        };
        let response = client.open(Method::POST, "/images/create", &query, tar).await?;
        progress::follow(response, print).await?;
        Ok(0)
    }
}

/// `load`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pontoon load -i busybox.tar
  docker save busybox | pontoon load")]
pub(in crate::cli) struct Load {
    /// The archive, of docker or in the OCI layout [default: stdin]
    #[arg(short, long, value_name = "FILE")]
    input: Option<String>,
    /// Platform to load, such as linux/amd64
    #[arg(long)]
    platform: Option<String>,
    /// Say nothing but the names loaded
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let tar = match &self.input {
            Some(path) => file(Path::new(path)).await?,
            None if terminal::stdin_is_terminal() => {
                return Err(CliError::new("requested load from stdin, but stdin is empty"));
            }
            None => stdin()?,
        };
        let platform = self.platform.as_deref().map(|platform| ("platform", platform));
        let query: Vec<(&str, &str)> = std::iter::once(("quiet", "1")).chain(platform).collect();
        let response = client.open(Method::POST, "/images/load", &query, tar).await?;
        progress::follow(response, print).await?;
        Ok(0)
    }
}

async fn file(path: &Path) -> Result<Payload<'static>, CliError> {
    let wrong = |error: std::io::Error| CliError::new(format!("cannot open {}: {error}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(wrong)?;
    if file.metadata().await.map_err(wrong)?.is_dir() {
        return Err(CliError::new(format!("{} is a directory: give a tar archive of it", path.display())));
    }
    Ok(tar(file))
}

fn stdin() -> Result<Payload<'static>, CliError> {
    if terminal::stdin_is_terminal() {
        return Err(CliError::new("an archive is expected on stdin, which is a terminal"));
    }
    Ok(tar(tokio::io::stdin()))
}

fn tar(reader: impl AsyncRead + Send + 'static) -> Payload<'static> {
    Payload::Tar(ReaderStream::with_capacity(reader, CHUNK).boxed())
}
