//! `sync-server accounts`: deleting a user's account, for who asks to be forgotten and cannot do it in the app.

use clap::Subcommand;
use sync_server::auth::erase::erase_user;
use sync_server::auth::keys::Keys;
use sync_server::bus::{BusMessage, Cut, redis};
use sync_server::{Clock, Config, Deed, Storage, done_by_operator};

use super::place::{Between, Place};
use super::spaces::announce;
use super::{Done, kept, print};

#[derive(Subcommand)]
pub enum Accounts {
    /// Delete a user's account for good, of this server or of another issuer, with what is the user's alone
    ///
    /// The personal space and the spaces that nobody else is in are deleted, memberships end, devices are revoked. Refused where
    /// others are in a space that nobody else owns. Prints what was done.
    Delete {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        between: Between,
        /// Name of the user
        #[arg(long)]
        user: String,
    },
}

pub fn accounts(command: Accounts) -> Done {
    let Accounts::Delete { place, between, user } = command;
    let mut config = place.config()?;
    between.configure(&mut config);
    delete(&config, &user)
}

#[tokio::main(flavor = "current_thread")]
async fn delete(config: &Config, user: &str) -> Done {
    let Storage { store, registry, .. } = sync_server::open_storage(config, &Keys::open(config.keys_folder())?).await?;
    let now_ms = Clock::default().now_ms();
    let erased = erase_user(&*registry, user, now_ms).await?;
    kept(done_by_operator(&*registry, now_ms, user, Deed::AccountDeleted).await);
    store.close().await?;
    let (deleted, left, revoked) = (erased.deleted.len(), erased.left.len(), erased.revoked.len());
    print(&format!("{deleted} spaces deleted, {left} left, {revoked} devices revoked\n"))?;
    for (space, former) in &erased.deleted {
        announce(config, *space, former).await;
    }
    let Some(url) = &config.redis.url else { return Ok(()) };
    let cut = BusMessage::Cut(Cut { user: user.to_owned(), device: None });
    if let Err(error) = redis::announce(url, &config.redis, &cut).await {
        eprintln!("sync-server: done; nodes find out from the database, since they cannot be told: {error}");
    }
    Ok(())
}
