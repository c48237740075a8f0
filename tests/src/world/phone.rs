//! A phone of a world: the real client on a store of its own, with the simulation's time, randomness, disk and network.

use std::fs;
use std::path::PathBuf;

use sync_client_ffi::simulated::{self, Disk, World as Around};
use sync_client_ffi::stepped::{Asked, Phone, make_store};
use sync_client_ffi::{Client, DeviceId, OpenError, SpaceId};

use super::rng::Rng;
use super::server::copy;

/// What phones' clocks on the wall show first.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// A phone that may be off.
pub struct SimPhone {
    /// Whose it is.
    pub user: String,
    folder: PathBuf,
    device: DeviceId,
    marked: bool,
    live: bool,
    up: Option<Phone>,
    around: Around,
    wall_offset_ms: i64,
    /// Another one each time that it is started.
    pub life: u64,
    /// Whether requests go out, and answers come in.
    pub sends: bool,
    /// The same of the other direction.
    pub hears: bool,
    /// Whether the app is in the foreground.
    pub foreground: bool,
    /// It will never be seen again.
    pub gone: bool,
    /// How many marks there were when its store was copied aside.
    pub backup: Option<u64>,
    /// When it wants to be woken.
    pub wake_ms: Option<u64>,
    /// A token is on its way.
    pub token_comes: bool,
}

/// Makes what every phone begins with.
pub fn template(folder: &std::path::Path) {
    fs::create_dir_all(folder).expect("a folder");
    make_store(&folder.join("store")).expect("a store");
}

impl SimPhone {
    /// A phone that is off, with an empty store.
    pub fn new(
        seed: u64,
        at: usize,
        user: String,
        template: &std::path::Path,
        folder: PathBuf,
        marked: bool,
        live: bool,
    ) -> Self {
        fs::create_dir_all(&folder).expect("a folder");
        copy(&template.join("store"), &folder.join("store"));
        let mut rng = Rng::of(seed, 1_000 + at as u64);
        let device = DeviceId::from_random(rng.bytes());
        let around = Around { now_ms: 0, wall_ms: 0, random: rng.next(), disk: Disk::Fine, commits: 0 };
        Self {
            user,
            folder,
            device,
            marked,
            live,
            up: None,
            around,
            wall_offset_ms: 0,
            life: 0,
            sends: true,
            hears: true,
            foreground: true,
            gone: false,
            backup: None,
            wake_ms: None,
            token_comes: false,
        }
    }

    /// A phone whose store is a copy of another one's, as it is now.
    pub fn clone_of(other: &Self, seed: u64, at: usize, template: &std::path::Path, folder: PathBuf) -> Self {
        let mut clone = Self::new(seed, at, other.user.clone(), template, folder, other.marked, other.live);
        copy(&other.folder.join("store"), &clone.folder.join("store"));
        clone.device = other.device;
        clone
    }

    /// Opens its store and begins to synchronise.
    pub fn start(&mut self, now_ms: u64, space: SpaceId) -> Result<(), OpenError> {
        self.life += 1;
        let mut builder = Client::builder(self.folder.join("store"));
        if self.marked {
            builder = builder.marker(self.folder.join("marker"));
        }
        // What it is called later, the store knows.
        let builder = if self.life == 1 { builder.identity(self.user.clone(), self.device) } else { builder };
        let live = self.live;
        let opened = self.inside(now_ms, || Phone::open(builder, live));
        self.up = Some(opened?);
        (self.foreground, self.token_comes) = (true, false);
        // On a failing disk it is added the next time.
        let _ = self.with(now_ms, |phone| phone.client().add_space(space));
        Ok(())
    }

    fn inside<T>(&mut self, now_ms: u64, work: impl FnOnce() -> T) -> T {
        self.around.now_ms = now_ms;
        self.around.wall_ms = (BEGIN_MS + now_ms).saturating_add_signed(self.wall_offset_ms);
        simulated::enter(Some(self.around.clone()));
        let done = work();
        if let Some(around) = simulated::enter(None) {
            self.around = around;
        }
        done
    }

    /// Does something with it; `None` where it is off.
    pub fn with<T>(&mut self, now_ms: u64, work: impl FnOnce(&mut Phone) -> T) -> Option<T> {
        let mut up = self.up.take()?;
        let done = self.inside(now_ms, || work(&mut up));
        self.up = Some(up);
        Some(done)
    }

    /// Lets it do what there is to do; gives what it asks of the network.
    pub fn turn(&mut self, now_ms: u64) -> Vec<Asked> {
        let turned = self.with(now_ms, |phone| {
            let wake_ms = phone.turn();
            (wake_ms, phone.asked())
        });
        let (wake_ms, asked) = turned.unwrap_or_default();
        self.wake_ms = wake_ms;
        asked
    }

    /// Which device it is, where it is on.
    pub fn device(&mut self) -> Option<DeviceId> {
        self.with(0, |phone| phone.client().device())
    }

    /// Whether it is on.
    pub fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        let up = self.up.take();
        self.inside(0, || drop(up));
        self.around.disk = Disk::Fine;
        self.wake_ms = None;
    }

    /// What its disk does from now on.
    pub fn set_disk(&mut self, disk: Disk) {
        self.around.disk = disk;
    }

    /// Whether its power has failed.
    pub fn has_failed(&self) -> bool {
        matches!(self.around.disk, Disk::Fails { after: 0, .. })
    }

    /// Moves its clock on the wall.
    pub fn move_clock(&mut self, by_ms: i64) {
        self.wall_offset_ms = self.wall_offset_ms.saturating_add(by_ms);
    }

    /// Copies its store aside.
    pub fn back_up(&mut self, marks: u64) {
        copy(&self.folder.join("store"), &self.folder.join("backup"));
        self.backup = Some(marks);
    }

    /// Puts back what was copied, while it is off.
    pub fn put_back(&mut self) {
        copy(&self.folder.join("backup"), &self.folder.join("store"));
    }
}
