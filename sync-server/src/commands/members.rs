//! `sync-server members`: who may enter which space, for development.

use clap::{Subcommand, ValueEnum};
use sync_core::id::SpaceId;
use sync_core::ledger::Role;
use sync_server::auth::keys::Keys;
use sync_server::bus::{Access, BusMessage, redis};
use sync_server::{Clock, Deed, Storage, done_by_operator};

use super::place::{Between, Place};
use super::{Done, kept};

#[derive(Subcommand)]
pub enum Members {
    /// Set what a user may do in a space; the space is created where it does not exist
    ///
    /// With Redis, live connections hear of it at once, else within half a minute.
    Set {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        between: Between,
        /// Id of the space (a UUID)
        #[arg(long, value_name = "UUID")]
        space: SpaceId,
        /// Name of the user
        #[arg(long)]
        user: String,
        /// What the user may do; `none` ends the membership
        #[arg(long)]
        role: RoleChoice,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum RoleChoice {
    Reader,
    Writer,
    Owner,
    None,
}

impl RoleChoice {
    fn role(self) -> Option<Role> {
        match self {
            Self::Reader => Some(Role::Reader),
            Self::Writer => Some(Role::Writer),
            Self::Owner => Some(Role::Owner),
            Self::None => None,
        }
    }
}

pub fn members(command: Members) -> Done {
    let Members::Set { place, between, space, user, role } = command;
    set(&place, between, Access { space, user }, role.role())
}

#[tokio::main(flavor = "current_thread")]
async fn set(place: &Place, between: Between, access: Access, role: Option<Role>) -> Done {
    let mut config = place.config()?;
    between.configure(&mut config);
    let Storage { store, registry, .. } =
        sync_server::open_storage(&config, &Keys::open(config.keys_folder())?).await?;
    store.set_role(access.space, &access.user, role).await?;
    let deed = Deed::RoleSet(access.space, role);
    kept(done_by_operator(&*registry, Clock::default().now_ms(), &access.user, deed).await);
    store.close().await?;
    let Some(url) = &config.redis.url else { return Ok(()) };
    if let Err(error) = redis::announce(url, &config.redis, &BusMessage::Access(access)).await {
        // It is done, and nodes find out by themselves.
        eprintln!("sync-server: set, but live connections hear of it within half a minute only: {error}");
    }
    Ok(())
}
