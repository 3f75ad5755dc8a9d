//! `beaconfence token`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{Connect, Request, encoded};
use super::records::{second, text_of, with_help};
use super::table::{self, print, text};

const JSON: &str = "application/json";
const ROLES: [&str; 3] = ["viewer", "editor", "admin"];

/// Makes and revokes tokens, with which people and programs use the API and the browser
///
/// A viewer sees, an editor changes the registry, an admin makes tokens, too.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Makes a token, and prints it: it is shown this once
    Add {
        /// Whose it is; the name stands in the history
        #[arg(value_name = "NAME")]
        name: String,
        /// What may be done with it
        #[arg(long, value_name = "ROLE", value_parser = ROLES)]
        role: String,
        #[command(flatten)]
        connect: Connect,
    },
    /// Lists the tokens by name and role
    List {
        /// Print JSON Lines: one token a line, as the API gives it
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connect: Connect,
    },
    /// Revokes a token: whoever uses it is refused from now on
    Revoke {
        /// Whose
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        connect: Connect,
    },
    /// Prints a link that signs a browser in, once, within some minutes
    Link {
        /// What may be done with it
        #[arg(long, value_name = "ROLE", default_value = "admin", value_parser = ROLES)]
        role: String,
        /// How long the link can be opened
        #[arg(long, value_name = "N", default_value_t = 10)]
        minutes: u32,
        #[command(flatten)]
        connect: Connect,
    },
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add { name, role, connect } => {
            let body = json!({ "name": name, "role": role }).to_string();
            let made = connect.client()?.send(&Request::post("/tokens", JSON, body));
            let made: Value = made
                .map_err(|error| with_help(error, "exists", "revoke it first, or give this one another name"))?
                .json()?;
            // Alone on standard output, so that it goes into a file by itself.
            print(&format!("{}\n", text_of(&made["token"])))?;
            tell!(
                "This is the token of \"{name}\" ({role}). It is not shown again: keep it in a file that only its owner reads."
            );
        }
        Action::List { json, connect } => list(json, &connect)?,
        Action::Revoke { name, connect } => {
            let revoked = connect.client()?.send(&Request::delete(format!("/tokens/{}", encoded(&name))).if_match("*"));
            revoked.map_err(|error| {
                with_help(error, "not-found", "\"beaconfence token list\" names those that are there")
            })?;
            print(&format!("revoked the token of \"{name}\"\n"))?;
        }
        Action::Link { role, minutes, connect } => {
            let body = json!({ "role": role, "minutes": minutes }).to_string();
            let made: Value = connect.client()?.send(&Request::post("/session/links", JSON, body))?.json()?;
            print(&format!("{}\n", text_of(&made["url"])))?;
            let until = second(&text_of(&made["expires_at"]));
            tell!("Open it in a browser until {} UTC. It works once.", table::printable(&until));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool, connect: &Connect) -> anyhow::Result<()> {
    let listed: Value = connect.client()?.send(&Request::get("/tokens"))?.json()?;
    let items = listed["items"].as_array().or_else(|| listed.as_array()).map_or(&[][..], Vec::as_slice);
    if json {
        return print(&items.iter().map(|item| format!("{item}\n")).collect::<Vec<_>>().concat());
    }
    if items.is_empty() {
        tell!("there is no token; \"beaconfence token add NAME --role ROLE\" makes one");
        return Ok(());
    }
    let rows =
        items.iter().map(|item| ["name", "role", "created_at"].map(|name| text_of(&item[name])).to_vec()).collect();
    print(&table::lines(&[text("name"), text("role"), text("made")], rows))
}
