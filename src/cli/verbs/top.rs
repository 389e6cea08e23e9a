//! `top`.

use bollard::query_parameters::TopOptionsBuilder;

use crate::cli::client::{self, Client};
use crate::cli::error::Outcome;
use crate::cli::print;
use crate::cli::render::table;

/// `top`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Top {
    /// Name or id
    container: String,
    /// Options of ps
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PS OPTIONS")]
    options: Vec<String>,
}

impl Top {
    pub(in crate::cli) async fn run(self, client: &Client) -> Outcome {
        let mut options = TopOptionsBuilder::default();
        let words = self.options.join(" ");
        if !words.is_empty() {
            options = options.ps_args(&words);
        }
        let answer = client.docker().top_processes(&client::container(&self.container)?, Some(options.build())).await?;
        let titles = answer.titles.unwrap_or_default();
        let rows: Vec<String> =
            std::iter::once(&titles).chain(answer.processes.iter().flatten()).map(|row| row.join("\t")).collect();
        print(&table::align(&rows))?;
        Ok(0)
    }
}
