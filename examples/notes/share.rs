//! `notes share`: spaces for notes with others.

use std::error::Error;
use std::path::Path;

use clap::{Subcommand, ValueEnum};
use sync_client_ffi::SpaceId;
use sync_client_ffi::account::{Account, AccountError, Member, Role, SpaceOfCaller};

use crate::login::Login;
use crate::{Access, Done, spaces};

/// How an invitation's token begins, in a link or alone.
const TOKEN_PREFIX: &str = "rji_";

/// What can be done with shared spaces.
#[derive(Subcommand)]
pub enum ShareCommand {
    /// Make a space
    Create {
        /// What its members call it
        name: String,
    },
    /// Print an invitation that one person can accept
    Invite {
        /// The space
        space: String,
        /// What that person may do
        #[arg(long, value_enum, default_value = "writer")]
        role: RoleName,
        /// How many days it holds
        #[arg(long, default_value_t = 7)]
        days: u64,
    },
    /// List the invitations that can still be accepted
    Invites {
        /// The space
        space: String,
    },
    /// Take an invitation back
    Uninvite {
        /// The space
        space: String,
        /// The invitation's id
        invite: String,
    },
    /// Join the space that an invitation is for
    Join {
        /// The invitation, or a link with it
        invitation: String,
    },
    /// List who is in a space
    Members {
        /// The space
        space: String,
    },
    /// Give a member another role
    Role {
        /// The space
        space: String,
        /// The member's name or id
        member: String,
        /// What it may do from now on
        role: RoleName,
    },
    /// Take a member out of a space
    Remove {
        /// The space
        space: String,
        /// The member's name or id
        member: String,
    },
    /// Leave a space
    Leave {
        /// The space
        space: String,
    },
}

/// What a member may do.
#[derive(Clone, Copy, ValueEnum)]
pub enum RoleName {
    /// Read
    Reader,
    /// Read and write
    Writer,
    /// That, and decide who else may
    Owner,
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Reader => Self::Reader,
            RoleName::Writer => Self::Writer,
            RoleName::Owner => Self::Owner,
        }
    }
}

/// Does what the command says; without one, lists the spaces.
pub fn run(folder: &Path, access: &Access, command: Option<&ShareCommand>) -> Done {
    let login = Login::find(folder, access)?;
    let account = login.account()?;
    let find = |named: &str| spaces::find(folder, Ok(account.clone()), named);
    match command {
        None => list(folder, &account),
        Some(ShareCommand::Create { name }) => {
            let space = account.create_space(name)?;
            enter(folder, &login, &space)?;
            println!("{name} is there. Write into it: notes --space {} add \"Groceries\" --text milk", quoted(name));
            println!("Ask somebody in: notes share invite {}", quoted(name));
            Ok(())
        }
        Some(ShareCommand::Invite { space, role, days }) => {
            let space = find(space)?;
            let invite = account.invite(space.space, (*role).into(), Some(days.saturating_mul(86_400)))?;
            let text = invite.link.as_ref().unwrap_or(&invite.token);
            println!("{}", text.0);
            eprintln!(
                "For one person, for {days} days, shown this once. Whoever has it joins with: notes share join {TOKEN_PREFIX}…"
            );
            Ok(())
        }
        Some(ShareCommand::Invites { space }) => {
            let space = find(space)?;
            for open in account.invites(space.space)? {
                println!("{}  {}  by {}", open.invite, role_name(open.role), open.by);
            }
            Ok(())
        }
        Some(ShareCommand::Uninvite { space, invite }) => {
            account.revoke_invite(find(space)?.space, invite)?;
            println!("that invitation is good for nothing any more");
            Ok(())
        }
        Some(ShareCommand::Join { invitation }) => {
            let joined = account.accept(token_in(invitation)?).map_err(|error| match error {
                AccountError::NotFound => {
                    "the invitation is not good (any more): it may be used, taken back, or too old; \
                                           ask for a new one"
                        .to_owned()
                }
                other => other.to_string(),
            })?;
            enter(folder, &login, &joined)?;
            let name = joined.name.unwrap_or_else(|| joined.space.to_string());
            println!("you are a {} of {name}. See it: notes --space {} list", role_name(joined.role), quoted(&name));
            Ok(())
        }
        Some(ShareCommand::Members { space }) => {
            for member in account.members(find(space)?.space)? {
                println!("{}  {}  {}", role_name(member.role), called(&member), member.user);
            }
            Ok(())
        }
        Some(ShareCommand::Role { space, member, role }) => {
            let space = find(space)?;
            let member = member_called(&account, space.space, member)?;
            account.set_role(space.space, &member.user, (*role).into())?;
            println!("{} is a {} of {} now", called(&member), role_name((*role).into()), space.name);
            Ok(())
        }
        Some(ShareCommand::Remove { space, member }) => {
            let space = find(space)?;
            let member = member_called(&account, space.space, member)?;
            account.remove_member(space.space, &member.user)?;
            println!("{} is out of {}", called(&member), space.name);
            Ok(())
        }
        Some(ShareCommand::Leave { space }) => {
            let space = find(space)?;
            let user = login.client(folder).open()?.user();
            account.remove_member(space.space, &user).map_err(|error| match error {
                AccountError::LastOwner => format!(
                    "you are the last owner of {0}: make somebody else one first, `notes share role {1} MEMBER owner`",
                    space.name,
                    quoted(&space.name)
                ),
                other => other.to_string(),
            })?;
            println!("you have left {}; what you had of it stays here to be read", space.name);
            Ok(())
        }
    }
}

fn list(folder: &Path, account: &Account) -> Done {
    let shared: Vec<SpaceOfCaller> = account.spaces()?.into_iter().filter(|space| space.name.is_some()).collect();
    spaces::remember(folder, &shared)?;
    for space in &shared {
        let id = space.space.to_string();
        println!("{}  {}  {}", &id[id.len() - 8..], role_name(space.role), space.name.as_deref().unwrap_or_default());
    }
    if shared.is_empty() {
        println!("you share nothing yet: `notes share create NAME`, or `notes share join` with an invitation");
    }
    Ok(())
}

/// Takes part in a space on this device from now on.
fn enter(folder: &Path, login: &Login, space: &SpaceOfCaller) -> Done {
    spaces::remember(folder, std::slice::from_ref(space))?;
    login.client(folder).open()?.add_space(space.space)?;
    Ok(())
}

fn token_in(invitation: &str) -> Result<&str, Box<dyn Error>> {
    let begin = invitation.find(TOKEN_PREFIX).ok_or_else(|| {
        format!("that is no invitation: it begins with {TOKEN_PREFIX}, or is a link with such a thing in it")
    })?;
    let token = &invitation[begin..];
    let end = token.find(|end: char| !end.is_ascii_alphanumeric() && !matches!(end, '_' | '-')).unwrap_or(token.len());
    Ok(&token[..end])
}

fn member_called(account: &Account, space: SpaceId, named: &str) -> Result<Member, Box<dyn Error>> {
    let mut found = account.members(space)?;
    found.retain(|member| member.user == named || member.display_name.as_deref() == Some(named));
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(format!("there is no member {named}: `notes share members` lists them").into()),
        count => {
            Err(format!("{count} members are called {named}: give the id that `notes share members` shows").into())
        }
    }
}

fn called(member: &Member) -> &str {
    member.display_name.as_deref().unwrap_or(&member.user)
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Writer => "writer",
        Role::Owner => "owner",
    }
}

/// As a shell wants it.
fn quoted(name: &str) -> String {
    let plain = name.chars().all(|char| char.is_alphanumeric() || matches!(char, '-' | '_' | '.'));
    if plain { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}
