//! Realistic data for trying out and for load tests: users, shared spaces, and documents that several devices wrote.
//!
//! Everything follows from the amounts and the seed. So the same again is what a device's second attempt is: the store
//! knows every item, and adds nothing. One that was stopped half-way is completed, and another seed or other amounts add
//! more spaces to the same users.

use std::collections::BTreeMap;
use std::fmt;

use sync_core::check::Push;
use sync_core::document::{DocumentError, EditError};
use sync_core::feed::{FeedHead, Run};
use sync_core::id::{DeviceId, SpaceId};
use sync_core::ledger::Role;
use sync_core::limits::{DOCUMENT_ACTORS_MAX, SPACE_DOCUMENTS_MAX};
use sync_core::wire::PushAnswer;

use crate::store::{Store, StoreError};

mod draw;
mod story;

use draw::Draw;
use story::Story;

/// Names that most people can tell apart; when there are more users, they get numbers.
const NAMES: [&str; 16] = [
    "ann", "ben", "chloe", "dan", "emma", "finn", "grace", "hugo", "ida", "jon", "kim", "leo", "mia", "noah", "olga",
    "paul",
];
/// Devices of a user that write: a phone and a laptop.
const DEVICES_OF_USER: usize = 2;
/// Members that a space has at most: a team.
const MEMBERS_MAX: usize = 8;
/// Users and spaces at most: each is a transaction or more, and more of them are better made with several seeds.
const USERS_MAX: u32 = 100_000;
/// Changes of a document at most: it is loaded while it is written.
const CHANGES_MAX: u32 = 100_000;

// Each device has one actor in a document.
const _: () = assert!(MEMBERS_MAX * DEVICES_OF_USER <= DOCUMENT_ACTORS_MAX as usize);

/// How much is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amounts {
    /// Users, each with a personal space.
    pub users: u32,
    /// Shared spaces.
    pub spaces: u32,
    /// Documents of each shared space.
    pub documents: u32,
    /// Changes of each document.
    pub changes: u32,
    /// What everything that looks like chance follows from.
    pub seed: u64,
}

/// What was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seeded {
    /// Users, in the order of their making.
    pub users: Vec<String>,
    /// Shared spaces.
    pub spaces: Vec<SeededSpace>,
    /// Items that the store took.
    pub applied: u64,
    /// Items that it had already.
    pub duplicates: u64,
}

/// A shared space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeededSpace {
    /// Its id.
    pub id: SpaceId,
    /// Who may do what; the owner is the first.
    pub members: Vec<(String, Role)>,
    /// Documents that were created in it.
    pub documents: u32,
    /// Documents of these that were deleted again.
    pub deleted: u32,
}

/// What was made and how to get in, for people.
impl fmt::Display for Seeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for space in &self.spaces {
            writeln!(f, "space {}: {} documents, {} of them deleted", space.id, space.documents, space.deleted)?;
            for (user, role) in &space.members {
                writeln!(f, "  {user}, {}", format!("{role:?}").to_lowercase())?;
            }
        }
        match self.users.as_slice() {
            [] => {}
            [one] => writeln!(f, "user: {one}")?,
            [first, .., last] if self.users.len() > NAMES.len() => {
                writeln!(f, "users: {} from {first} to {last}", self.users.len())?;
            }
            users => writeln!(f, "users: {}", users.join(", "))?,
        }
        writeln!(f, "items: {} added, {} were there already", self.applied, self.duplicates)?;
        writeln!(f, "a token: sync-server token --user {} --device new", NAMES[0])
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which space, from 1.
    pub space: u32,
    /// Its documents that are done.
    pub documents: u32,
}

/// Why data was not made. What was committed before stays, and the same again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// An amount is out of range.
    #[error("{what} must be {must}")]
    Amount {
        /// Which amount.
        what: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A document could not be edited.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A document could not be merged.
    #[error(transparent)]
    Merge(#[from] DocumentError),
    /// The store did not take what a device of ours may write: it holds another history of that device.
    #[error("space {space} did not take a change: {answer}")]
    NotTaken {
        /// Which space.
        space: SpaceId,
        /// What it said.
        answer: String,
    },
}

impl Amounts {
    fn check(&self) -> Result<(), SeedError> {
        let within = |fine: bool, what, must| if fine { Ok(()) } else { Err(SeedError::Amount { what, must }) };
        within((1..=USERS_MAX).contains(&self.users), "users", "1 to 100,000")?;
        within(self.spaces <= USERS_MAX, "spaces", "at most 100,000")?;
        within(u64::from(self.documents) <= SPACE_DOCUMENTS_MAX, "documents", "at most 1,000,000")?;
        within((1..=CHANGES_MAX).contains(&self.changes), "changes", "1 to 100,000")
    }

    /// Chance for one purpose. All amounts are in it: a feed that had other items before could not be continued.
    fn draw(&self, purpose: &str, number: u32) -> Draw {
        let amounts = [self.users, self.spaces, self.documents, self.changes, number].map(u32::to_be_bytes);
        Draw::new(&[purpose.as_bytes(), &self.seed.to_be_bytes(), &amounts.concat()])
    }
}

/// Fills a store. It may be in use: devices that follow a space see what is added with the next heartbeat.
pub async fn seed(
    store: &dyn Store,
    amounts: &Amounts,
    mut progress: impl FnMut(Progress),
) -> Result<Seeded, SeedError> {
    amounts.check()?;
    let mut seeded = Seeded { users: (0..amounts.users).map(user).collect(), ..Seeded::default() };
    for user in &seeded.users {
        store.ensure_personal(user).await?;
    }
    for number in 0..amounts.spaces {
        let mut filling = Filling::new(store, amounts, number);
        for (user, role) in &filling.space.members {
            store.set_role(filling.space.id, user, Some(*role)).await?;
        }
        for done in 1..=amounts.documents {
            filling.document(amounts.changes).await?;
            progress(Progress { space: number + 1, documents: done });
        }
        seeded.applied += filling.applied;
        seeded.duplicates += filling.duplicates;
        seeded.spaces.push(filling.space);
    }
    Ok(seeded)
}

fn user(number: u32) -> String {
    let (name, round) = (NAMES[number as usize % NAMES.len()], number as usize / NAMES.len());
    if round == 0 { name.to_owned() } else { format!("{name}-{}", round + 1) }
}

/// A space that is being filled.
struct Filling<'a> {
    store: &'a dyn Store,
    space: SeededSpace,
    draw: Draw,
    /// Who may write, on which devices.
    writers: Vec<(String, DeviceId)>,
    heads: BTreeMap<DeviceId, FeedHead>,
    applied: u64,
    duplicates: u64,
}

impl<'a> Filling<'a> {
    fn new(store: &'a dyn Store, amounts: &Amounts, number: u32) -> Self {
        let mut draw = amounts.draw("space", number);
        let id = SpaceId::from_random(draw.bytes());
        let size = (2 + draw.below(MEMBERS_MAX as u64 - 1) as u32).min(amounts.users);
        // An owner, writers, and every third member only reads.
        let role = |member: u32| match member {
            0 => Role::Owner,
            member if member % 3 == 2 => Role::Reader,
            _ => Role::Writer,
        };
        let members = (0..size).map(|member| (user((number + member) % amounts.users), role(member)));
        let members: Vec<(String, Role)> = members.collect();
        let mut writers = Vec::new();
        for (user, _) in members.iter().filter(|(_, role)| *role >= Role::Writer) {
            writers.extend((0..DEVICES_OF_USER).map(|_| (user.clone(), DeviceId::from_random(draw.bytes()))));
        }
        let heads = writers.iter().map(|(_, device)| (*device, FeedHead::start(id, *device))).collect();
        let space = SeededSpace { id, members, documents: 0, deleted: 0 };
        Self { store, space, draw, writers, heads, applied: 0, duplicates: 0 }
    }

    /// One more document, in groups of pushes: each run is what one device wrote before another one did.
    async fn document(&mut self, changes: u32) -> Result<(), SeedError> {
        let devices: Vec<DeviceId> = self.writers.iter().map(|(_, device)| *device).collect();
        let mut story = Story::begin(&mut self.draw, self.space.documents, &devices);
        let mut left = changes;
        while left > 0 {
            let part = left.min(GROUP_CHANGES);
            left -= part;
            let runs = story.write(&mut self.draw, part, left == 0)?;
            self.commit(runs).await?;
        }
        self.space.documents += 1;
        self.space.deleted += u32::from(story.is_deleted());
        Ok(())
    }

    async fn commit(&mut self, runs: Vec<story::Written>) -> Result<(), SeedError> {
        let mut pushes = Vec::with_capacity(runs.len());
        for story::Written { author, items } in runs {
            let (user, device) = self.writers[author].clone();
            let base = self.heads.get(&device).copied().unwrap_or_else(|| FeedHead::start(self.space.id, device));
            let run = Run { device, base, items };
            self.heads.insert(device, run.end());
            pushes.push(Push::check(user, run));
        }
        let sent: u64 = pushes.iter().map(|push| push.candidates.len() as u64).sum();
        let committed = self.store.commit(self.space.id, pushes).await?;
        let not_taken = |answer: String| SeedError::NotTaken { space: self.space.id, answer };
        for answer in &committed.answers {
            match answer {
                PushAnswer::Taken { results, need, .. } if need.is_empty() => {
                    if let Some(refused) = results.iter().find(|result| result.code.is_some()) {
                        return Err(not_taken(format!("{refused:?}")));
                    }
                }
                // What a later attempt of ours wrote behind it is in the log already.
                PushAnswer::Behind { .. } => {}
                other => return Err(not_taken(format!("{other:?}"))),
            }
        }
        let added = committed.entries.len() as u64;
        self.applied += added;
        self.duplicates += sent - added;
        Ok(())
    }
}

/// Changes that are committed together: a group stays far below a page, and a long document does not wait for its end.
const GROUP_CHANGES: u32 = 64;
