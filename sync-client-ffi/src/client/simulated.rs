//! What a phone takes from the world around it, as a simulation gives it: time, randomness and the disk. It holds for the
//! thread that set it, so that simulations run side by side.

use std::cell::RefCell;

use super::store::StoreError;

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// The world of one phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// What the monotonic clock shows.
    pub now_ms: u64,
    /// What the phone's clock on the wall shows.
    pub wall_ms: u64,
    /// Where its random numbers come from.
    pub random: u64,
    /// What its disk does.
    pub disk: Disk,
    /// Transactions that were committed.
    pub commits: u64,
}

/// What a disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// What it is told.
    Fine,
    /// It takes nothing more.
    Full,
    /// After so many commits the power fails: nothing is written any more.
    Fails {
        /// How many.
        after: u64,
        /// Whether the last of them is told, which is on disk all the same.
        told: bool,
    },
}

/// Sets the world of this thread; gives the one before.
pub fn enter(world: Option<World>) -> Option<World> {
    WORLD.with(|cell| cell.replace(world))
}

fn with<T>(take: impl FnOnce(&mut World) -> T) -> Option<T> {
    WORLD.with(|cell| cell.borrow_mut().as_mut().map(take))
}

/// Whether there is a world on this thread.
pub(super) fn is_entered() -> bool {
    with(|_| ()).is_some()
}

pub(super) fn now_ms() -> Option<u64> {
    with(|world| world.now_ms)
}

pub(super) fn wall_ms() -> Option<u64> {
    with(|world| world.wall_ms)
}

pub(super) fn random() -> Option<u64> {
    with(|world| next(&mut world.random))
}

/// The next number of splitmix64, whatever the state.
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Asked before a commit.
pub(super) fn before_commit() -> Result<(), StoreError> {
    let disk = with(|world| world.disk);
    match disk {
        Some(Disk::Full) => Err(StoreError::DiskFull),
        Some(Disk::Fails { after: 0, .. }) => Err(failed()),
        _ => Ok(()),
    }
}

/// Asked behind one.
pub(super) fn after_commit() -> Result<(), StoreError> {
    let told = with(|world| {
        world.commits += 1;
        match &mut world.disk {
            Disk::Fails { after, told } => {
                *after = after.saturating_sub(1);
                *after > 0 || *told
            }
            _ => true,
        }
    });
    if told == Some(false) { Err(failed()) } else { Ok(()) }
}

fn failed() -> StoreError {
    StoreError::Io(std::io::Error::other("the power failed"))
}
