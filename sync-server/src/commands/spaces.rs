//! `sync-server spaces`: deleting a space for good, and what became of deletions.

use clap::Subcommand;
use sync_core::id::{DocId, SpaceId};
use sync_server::auth::keys::Keys;
use sync_server::bus::{Access, BusMessage, redis};
use sync_server::store::lifecycle::Place as Reader;
use sync_server::{Clock, Config, Deed, Storage, done_by_operator};

use super::place::{Between, Place};
use super::{Done, kept, print};

#[derive(Subcommand)]
pub enum Spaces {
    /// Delete a space for good: nobody may enter it any more, and its id is never used again
    ///
    /// A running server purges what there is of it, when its configuration says (`[compaction]`). Prints how many members it had.
    Delete {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        between: Between,
        /// Id of the space (a UUID)
        #[arg(long, value_name = "UUID")]
        space: SpaceId,
    },
    /// Say what became of a space's deletion, or of a document's: what is left of it, and which devices have applied it
    ///
    /// A line each for when it was deleted and when it was purged, then one a device: its id, whether it has the deletion, and
    /// when it said so, in milliseconds since 1970.
    Deletion {
        #[command(flatten)]
        place: Place,
        /// Id of the space (a UUID)
        #[arg(long, value_name = "UUID")]
        space: SpaceId,
        /// Id of the document (a UUID) [default: the space itself]
        #[arg(long, value_name = "UUID")]
        doc: Option<DocId>,
    },
}

pub fn spaces(command: Spaces) -> Done {
    match command {
        Spaces::Delete { place, between, space } => {
            let mut config = place.config()?;
            between.configure(&mut config);
            delete(&config, space)
        }
        Spaces::Deletion { place, space, doc } => deletion(&place.config()?, space, doc),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn delete(config: &Config, space: SpaceId) -> Done {
    let Storage { store, registry, .. } = sync_server::open_storage(config, &Keys::open(config.keys_folder())?).await?;
    let now_ms = Clock::default().now_ms();
    let former = registry.delete_space(space, None, now_ms).await?;
    let former = former.map_err(|_| format!("there is no space {space}, or it was deleted before"))?;
    for user in &former {
        kept(done_by_operator(&*registry, now_ms, user, Deed::SpaceDeleted(space)).await);
    }
    store.close().await?;
    print(&format!("{space} is deleted; it had {} members\n", former.len()))?;
    announce(config, space, &former).await;
    Ok(())
}

/// Tells running nodes whose access ended.
pub async fn announce(config: &Config, space: SpaceId, former: &[String]) {
    let Some(url) = &config.redis.url else { return };
    for user in former {
        let access = BusMessage::Access(Access { space, user: user.clone() });
        if let Err(error) = redis::announce(url, &config.redis, &access).await {
            // It is done, and nodes find out by themselves.
            eprintln!("sync-server: done, but live connections hear of it within half a minute only: {error}");
            return;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn deletion(config: &Config, space: SpaceId, doc: Option<DocId>) -> Done {
    let Storage { store, registry, .. } = sync_server::open_storage(config, &Keys::open(config.keys_folder())?).await?;
    let purged = |at: Option<u64>| at.map_or("not purged\n".to_owned(), |at| format!("purged {at}\n"));
    let told = match doc {
        None => registry
            .deleted_space(space)
            .await?
            .map(|of| format!("deleted {}\n{}", of.deleted_ms, purged(of.purged_ms))),
        Some(doc) => registry.deletion(space, doc).await?.map(|of| {
            let device = |Reader { device, seq, seen_ms }: &Reader| {
                format!("{device}  {}  {seen_ms}\n", if *seq >= of.seq { "applied" } else { "not yet" })
            };
            // From before that was noted.
            let since = if of.purged && of.purged_ms.is_none() { "purged\n".to_owned() } else { purged(of.purged_ms) };
            let devices: String = of.readers.iter().map(device).collect();
            format!("deleted {} by entry {}\n{since}{devices}", of.deleted_ms, of.seq)
        }),
    };
    store.close().await?;
    print(&told.ok_or("it was not deleted, or there never was one")?)
}
