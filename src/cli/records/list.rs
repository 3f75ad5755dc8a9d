//! Listings: page by page, for people or for programs.

use std::io::{BufWriter, Write as _};
use std::process::ExitCode;

use serde_json::Value;

use super::Kind;
use crate::cli::client::{Client, Connect, Request, encoded};
use crate::cli::quiet_when_nobody_reads;
use crate::cli::table::{self, counted, thousands};

/// Most records that the API gives in one page.
const PAGE: u64 = 1_000;
/// A listing that goes on for longer is no listing.
const MOST_RECORDS: u64 = 2_000_000;

/// `list`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ListArgs {
    /// Only those with this text in an id, a name, an identity or a device
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Not more than so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print JSON Lines: one record a line, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

/// One page of a listing.
#[derive(Debug, serde::Deserialize)]
struct Page {
    #[serde(alias = "features")]
    items: Vec<Value>,
    total: Option<u64>,
    next: Option<String>,
}

/// Lists records.
pub(in crate::cli) fn list(kind: &Kind, args: &ListArgs, level: Option<i32>) -> anyhow::Result<ExitCode> {
    let mut query = String::new();
    if let Some(text) = &args.q {
        query.extend(["&q=", &encoded(text)]);
    }
    if let Some(level) = level {
        query.extend(["&level=", &level.to_string()]);
    }
    let limit = args.limit.unwrap_or(MOST_RECORDS);
    let mut client = args.connect.client()?;
    if args.json {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let listed = each_page(&mut client, kind.path, &query, limit, |items| {
            for item in items {
                writeln!(out, "{item}")?;
            }
            Ok(out.flush()?)
        });
        quiet_when_nobody_reads(listed.map(|_| ()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Vec::new();
    let total = each_page(&mut client, kind.path, &query, limit, |items| {
        rows.extend(items.iter().map(kind.row));
        Ok(())
    })?;
    let shown = rows.len() as u64;
    if rows.is_empty() {
        tell!("there is no {}{}", kind.word, if query.is_empty() { "" } else { " of that sort" });
        return Ok(ExitCode::SUCCESS);
    }
    table::print(&table::lines(kind.columns, rows))?;
    if total > shown {
        tell!("{} of {}; --limit shows more", thousands(shown), counted(total, kind.word));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists records that come all at once.
pub(in crate::cli) fn list_all(kind: &Kind, json: bool, connect: &Connect) -> anyhow::Result<ExitCode> {
    let Page { items, .. } = connect.client()?.send(&Request::get(kind.path))?.json()?;
    let out = if json {
        items.iter().map(|item| format!("{item}\n")).collect::<Vec<_>>().concat()
    } else {
        table::lines(kind.columns, items.iter().map(kind.row).collect())
    };
    table::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Gives each page of a listing, up to `limit` records in all; returns how many there are.
pub(in crate::cli) fn each_page(
    client: &mut Client,
    path: &str,
    query: &str,
    limit: u64,
    mut page: impl FnMut(&[Value]) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let (mut seen, mut cursor) = (0, None::<String>);
    loop {
        let most = PAGE.min(limit - seen);
        let from = cursor.as_ref().map_or_else(String::new, |cursor| format!("&cursor={}", encoded(cursor)));
        let Page { mut items, total, next } =
            client.send(&Request::get(format!("{path}?limit={most}{query}{from}")))?.json()?;
        items.truncate(most as usize);
        seen += items.len() as u64;
        page(&items)?;
        let total = total.unwrap_or(seen);
        match next {
            Some(next) if seen < limit => {
                anyhow::ensure!(
                    !items.is_empty() && cursor.as_ref() != Some(&next),
                    "the gateway's listing does not go on; it may be of another version than this command"
                );
                cursor = Some(next);
            }
            Some(_) => return Ok(total.max(seen + u64::from(seen == total))),
            None => return Ok(total.max(seen)),
        }
    }
}
