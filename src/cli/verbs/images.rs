//! `images`, `history`, `tag`, `rmi`.

use bollard::models::{ImageHistoryResponseItem, ImageSummary};
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{each, filters, time};
use crate::cli::client::{self, Client};
use crate::cli::error::{CliError, Outcome};
use crate::cli::print;
use crate::cli::render::list::{self, Headings};
use crate::cli::render::{human, table};

/// `images`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Fields of --format: .Repository .Tag .Digest .ID .CreatedSince .CreatedAt .Size")]
pub(in crate::cli) struct Images {
    /// Intermediate images too
    #[arg(short, long)]
    all: bool,
    /// Digests too
    #[arg(long)]
    digests: bool,
    /// Only those that match: reference=, dangling=, label=, …; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// A Go template, `table` and a template, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not cut anything off
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Only images of this name, REPOSITORY[:TAG]
    repository: Option<String>,
}

const HEADINGS: Headings = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const TABLE_WITH_DIGESTS: &str = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

impl Images {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let mut filters = filters(&self.filter)?;
        if let Some(repository) = &self.repository {
            filters.entry("reference".to_owned()).or_default().push(repository.clone());
        }
        let options = ListImagesOptionsBuilder::default().all(self.all).digests(self.digests).filters(&filters);
        let images = client.docker().list_images(Some(options.build())).await?;
        let format = match (self.quiet, self.format.as_deref()) {
            (true, None) => "{{.ID}}",
            (_, None | Some("table")) if self.digests => TABLE_WITH_DIGESTS,
            (_, None | Some("table")) => TABLE,
            (_, Some(format)) => format,
        };
        let now = Timestamp::now();
        let rows: Vec<Value> = images.iter().flat_map(|image| rows(image, self.no_trunc, now)).collect();
        print(&list::show(&rows, HEADINGS, format).map_err(|error| CliError::new(error.to_string()))?)?;
        Ok(0)
    }
}

/// One row a name; an image without a name has one row too.
fn rows(image: &ImageSummary, no_trunc: bool, now: Timestamp) -> Vec<Value> {
    let named: Vec<&str> = image.repo_tags.iter().map(String::as_str).filter(|name| *name != "<none>:<none>").collect();
    let names = if named.is_empty() { vec!["<none>:<none>"] } else { named };
    let row = |name: &str| {
        // The tag's colon is behind the last slash; before it may be a registry's port.
        let split = name.rfind(':').filter(|at| !name[*at..].contains('/'));
        let (repository, tag) = split.map_or((name, "<none>"), |at| (&name[..at], &name[at + 1..]));
        let digest = image.repo_digests.iter().filter_map(|digest| digest.split_once('@'));
        let digest = digest.filter(|(of, _)| *of == repository).map(|(_, digest)| digest).next();
        json!({
            "Repository": repository,
            "Tag": tag,
            "Digest": digest.unwrap_or("<none>"),
            "ID": image_id(&image.id, no_trunc),
            "CreatedSince": format!("{} ago", human::duration(time::seconds_ago(image.created, now))),
            "CreatedAt": time::date_time(image.created),
            "Size": human::size(image.size),
            "Containers": "N/A",
            "SharedSize": "N/A",
            "UniqueSize": "N/A",
        })
    };
    names.into_iter().map(row).collect()
}

fn image_id(id: &str, no_trunc: bool) -> &str {
    match id.strip_prefix("sha256:") {
        Some(hex) if !no_trunc => hex.get(..12).unwrap_or(hex),
        _ => id,
    }
}

/// `history`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct History {
    /// A Go template, `table` and a template, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Sizes and times for people, or exact
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", value_parser = crate::cli::grammar::go_bool, action = clap::ArgAction::Set,
          hide_default_value = true)]
    human: bool,
    /// Do not cut anything off
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Name or id
    image: String,
}

const HISTORY_HEADINGS: Headings = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

impl History {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let steps = client.docker().image_history(&client::image(&self.image)?).await?;
        let format = match (self.quiet, self.format.as_deref()) {
            (true, None) => "{{.ID}}",
            (_, None | Some("table")) if self.human => {
                "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
            }
            (_, None | Some("table")) => "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
            (_, Some(format)) => format,
        };
        let now = Timestamp::now();
        let rows: Vec<Value> = steps.iter().map(|step| self.row(step, now)).collect();
        print(&list::show(&rows, HISTORY_HEADINGS, format).map_err(|error| CliError::new(error.to_string()))?)?;
        Ok(0)
    }

    fn row(&self, step: &ImageHistoryResponseItem, now: Timestamp) -> Value {
        let by = step.created_by.replace('\t', " ");
        json!({
            "ID": image_id(&step.id, self.no_trunc),
            "CreatedSince": format!("{} ago", human::duration(time::seconds_ago(step.created, now))),
            "CreatedAt": time::date_time(step.created),
            "CreatedBy": if self.no_trunc { by } else { table::ellipsis(&by, 45) },
            "Size": if self.human { human::size(step.size) } else { step.size.to_string() },
            "Comment": step.comment,
        })
    }
}

/// `tag`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Tag {
    /// Name or id
    image: String,
    /// The further name, REPOSITORY[:TAG]
    name: String,
}

impl Tag {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let (repository, tag) = split_tag(&self.name);
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag);
        client.docker().tag_image(&client::image(&self.image)?, Some(options.build())).await?;
        Ok(0)
    }
}

/// `name[:tag]`; no tag is `latest`.
pub(super) fn split_tag(name: &str) -> (&str, &str) {
    match name.rfind(':').filter(|at| !name[*at..].contains('/')) {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => (name, "latest"),
    }
}

/// `rmi`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rmi {
    /// Even if containers that do not run use it
    #[arg(short, long)]
    force: bool,
    /// Keep untagged parents
    #[arg(long)]
    no_prune: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Rmi {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let options = RemoveImageOptionsBuilder::default().force(self.force).noprune(self.no_prune).build();
        let act = |name: String| {
            let options = options.clone();
            async move {
                let removed = client.docker().remove_image(&client::image(&name)?, Some(options), None).await?;
                let lines = removed.into_iter().filter_map(|item| {
                    let untagged = item.untagged.map(|name| format!("Untagged: {name}"));
                    untagged.or_else(|| item.deleted.map(|id| format!("Deleted: {id}")))
                });
                let lines: Vec<String> = lines.collect();
                Ok((!lines.is_empty()).then(|| lines.join("\n")))
            }
        };
        each(&self.images, act).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_behind_the_last_slash() {
        assert_eq!(split_tag("busybox"), ("busybox", "latest"));
        assert_eq!(split_tag("reg:5000/a"), ("reg:5000/a", "latest"));
        assert_eq!(split_tag("reg:5000/a:1"), ("reg:5000/a", "1"));
    }

    #[test]
    fn the_table_is_docker_s() {
        let image = ImageSummary {
            id: format!("sha256:{}", "ab".repeat(32)),
            repo_tags: vec!["busybox:latest".into(), "reg:5000/b:1".into()],
            created: 1_000_000,
            size: 1_234_567,
            ..ImageSummary::default()
        };
        let now = Timestamp::from_second(1_000_000 + 3 * 86400).expect("a time");
        insta::assert_snapshot!(list::show(&rows(&image, false, now), HEADINGS, TABLE).expect("a table"), @r"
        REPOSITORY   TAG       IMAGE ID       CREATED      SIZE
        busybox      latest    abababababab   3 days ago   1.23MB
        reg:5000/b   1         abababababab   3 days ago   1.23MB
        ");
        let nameless = ImageSummary { repo_tags: vec![], ..image };
        assert_eq!(rows(&nameless, false, now)[0]["Repository"], "<none>");
    }
}
