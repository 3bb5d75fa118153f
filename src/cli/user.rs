//! `tagalong user`.

use std::path::Path;
use std::path::PathBuf;

use text::Secret;

use crate::api;
use crate::cli::client::Client;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::cli::typed;
use crate::clock;
use crate::http::auth::password;
use crate::model::Scope;
use crate::model::UserName;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Add a user, or change what a user may do; without a password, `user code` lets the user in
    Add {
        /// The name
        name: UserName,
        /// What the user may do: deploy:SERVICE, rollback:SERVICE, approve:SERVICE, reload:DATASET, read:SERVICE or read, with * for all;
        /// may be given several times
        #[arg(long, value_name = "SCOPE", default_value = "read")]
        scope: Vec<String>,
    },
    /// List the users
    List,
    /// Remove a user and log them out everywhere
    Remove {
        /// The name
        name: UserName,
    },
    /// Set a user's password, asked for on the terminal, and log the user out everywhere
    Password {
        /// The name
        name: UserName,
        /// Read the password from this file, or from standard input (-), instead of asking for it
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Print a code that logs a user in once, within 15 minutes
    Code {
        /// The name
        name: UserName,
    },
    /// Log a user out everywhere, also one who came by a forge (NAME@FORGE)
    Logout {
        /// The name
        name: UserName,
    },
    /// Log a user out everywhere and let them in no more, until `user enable`
    Disable {
        /// The name
        name: UserName,
    },
    /// Let a user in again
    Enable {
        /// The name
        name: UserName,
    },
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let client = Client::new(global)?;
    let done: api::Done = match args {
        Args::List => return list(&client, output).await,
        Args::Code { name } => return code(&client, output, name).await,
        Args::Add { name, scope } => {
            for text in scope {
                Scope::parse(text)?;
            }
            let done = client.post("/api/v1/users", &api::NewUser { name: name.clone(), scopes: scope.clone() }).await?;
            output.notice(&format!(
                "`tagalong user code {name}` prints a code to log in with, `tagalong user password {name}` sets a password."
            ));
            done
        }
        Args::Remove { name } => client.act(&format!("/api/v1/users/{name}/remove")).await?,
        Args::Password { name, password_file } => {
            let password_hash = Some(new_hash(name, password_file.as_deref()).await?);
            change(&client, name, &api::UserChange { password_hash, ..Default::default() }).await?
        }
        Args::Logout { name } => change(&client, name, &api::UserChange { end_sessions: true, ..Default::default() }).await?,
        Args::Disable { name } => change(&client, name, &api::UserChange { disabled: Some(true), ..Default::default() }).await?,
        Args::Enable { name } => change(&client, name, &api::UserChange { disabled: Some(false), ..Default::default() }).await?,
    };
    output.done(&done);
    Ok(0)
}

async fn change(client: &Client, name: &UserName, body: &api::UserChange) -> anyhow::Result<api::Done> {
    client.post(&format!("/api/v1/users/{name}"), body).await
}

async fn code(client: &Client, output: &Output, name: &UserName) -> anyhow::Result<u8> {
    let code: api::LoginCode = client.act(&format!("/api/v1/users/{name}/code")).await?;
    if output.is_json() {
        output.json(&code);
        return Ok(0);
    }
    output.say(&code.code);
    let place = code.address.unwrap_or_else(|| "the page /login of this server".to_owned());
    output
        .notice(&format!("It logs {name} in once, before {}, at {place} (\"Log in with a one-time code\").", clock::local(code.until_ms)));
    Ok(0)
}

async fn list(client: &Client, output: &Output) -> anyhow::Result<u8> {
    let all: api::Users = client.get("/api/v1/users").await?;
    if output.is_json() {
        output.json(&all);
        return Ok(0);
    }
    if all.users.is_empty() {
        output.say("There are no users; `tagalong user add NAME` adds one, and `tagalong user code NAME` prints a code to log in with.");
    }
    for user in &all.users {
        let name = output.paint(Tone::Strong, user.name.as_str());
        let state = if user.disabled { " (disabled)" } else { "" };
        output.say(&format!("{name}{state}: {}", user.scopes.join(", ")));
        let seen = user.seen_ms.map_or_else(|| "never logged in".to_owned(), |at_ms| format!("logged in {}", clock::local(at_ms)));
        let password = if user.has_password { "has a password" } else { "has no password" };
        output.say(&format!("  {password}, {seen}, sessions: {}", user.sessions));
    }
    Ok(0)
}

/// The hash of the password in `file`, or of the one that is typed twice. The password itself never leaves this process.
async fn new_hash(name: &UserName, file: Option<&Path>) -> anyhow::Result<String> {
    let password = match file {
        Some(file) => Secret::new(typed::read(file)?.trim_end_matches(['\r', '\n']).to_owned()),
        None => ask_twice(name).await?,
    };
    password::check(&password, name).map_err(anyhow::Error::msg)?;
    password::new_hash(&password).map_err(anyhow::Error::msg)
}

async fn ask_twice(name: &UserName) -> anyhow::Result<Secret> {
    let none = "There is no terminal to ask for the password; give it in a file with --password-file FILE, or on standard input with --password-file -";
    let stopped = "The password was not changed.";
    let mut both = Vec::new();
    for question in [format!("New password of {name}: "), "Once more: ".to_owned()] {
        both.push(typed::ask(&question, none, stopped).await?.trim_end_matches(['\r', '\n']).to_owned());
    }
    both.dedup();
    anyhow::ensure!(both.len() == 1, "The two passwords differ; nothing was changed.");
    Ok(Secret::new(both.remove(0)))
}
