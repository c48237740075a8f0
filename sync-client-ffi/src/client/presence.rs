//! Who shows itself in a space. Nothing of it is stored: it holds for as long as it says, and then is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sync_core::id::{DeviceId, SpaceId};
use sync_core::limits::{PRESENCE_BYTES_MAX, PRESENCE_PEERS_MAX, PRESENCE_TTL_MAX_MS};
use sync_core::session::Presence;
use sync_core::wire::Peer;

use super::Client;
use super::error::ClientError;
use super::observe::Subscription;

/// Who shows itself for less would have to say so again and again.
const TTL_MIN: Duration = Duration::from_secs(1);
/// A user's name, as long as anybody's may be.
const USER_BYTES_MAX: usize = 1 << 10;

/// Somebody who shows itself in a space now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who.
    pub user: String,
    /// On which device.
    pub device: DeviceId,
    /// What it shows, in the app's own words.
    pub data: Vec<u8>,
}

impl Client {
    /// Shows something to whoever else is in a space: a name, a colour, where the cursor is. It takes the place of what was
    /// shown before, is shown for as long as this client is connected, and is gone `ttl` (1 s to 1 min) after it vanishes.
    /// It is never stored, and the first thing to be dropped where the network is slow.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn f(client: &sync_client_ffi::Client) -> Result<(), sync_client_ffi::ClientError> {
    /// let space = client.personal_space();
    /// client.set_presence(space, br#"{"name":"Ann","line":12}"#.to_vec(), Duration::from_secs(20))?;
    /// let others = client.on_presence(space, |peers| println!("{} here", peers.len()));
    /// client.clear_presence(space)?;
    /// # drop(others);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_presence(&self, space: SpaceId, data: Vec<u8>, ttl: Duration) -> Result<(), ClientError> {
        self.engine().space(space)?;
        let (bytes, max) = (data.len(), PRESENCE_BYTES_MAX);
        if bytes > max {
            return Err(ClientError::PresenceTooLarge { bytes, max });
        }
        let ttl_ms = ttl.as_millis().clamp(TTL_MIN.as_millis(), u128::from(PRESENCE_TTL_MAX_MS)) as u32;
        self.shared.inbox.present(space, Some(Presence { data, ttl_ms }));
        Ok(())
    }

    /// Shows nothing any more in a space: the others see this client leave.
    pub fn clear_presence(&self, space: SpaceId) -> Result<(), ClientError> {
        self.engine().space(space)?;
        self.shared.inbox.present(space, None);
        Ok(())
    }

    /// Who else shows itself in a space now.
    pub fn peers(&self, space: SpaceId) -> Vec<PeerInfo> {
        self.shared.observers.peers(space)
    }

    /// Tells `callback` who shows itself in a space, each time that this changes, at most once a frame of the screen, on a
    /// thread of its own.
    pub fn on_presence(&self, space: SpaceId, callback: impl Fn(&[PeerInfo]) + Send + Sync + 'static) -> Subscription {
        self.shared.observers.observe_presence(space, Arc::new(callback))
    }
}

/// The peers of all spaces.
#[derive(Default)]
pub(super) struct Peers {
    spaces: BTreeMap<SpaceId, BTreeMap<DeviceId, Shown>>,
}

struct Shown {
    user: String,
    data: Vec<u8>,
    until: Instant,
}

impl Peers {
    /// Takes what the server says, within bounds; and whether that changes what is shown.
    pub(super) fn update(&mut self, space: SpaceId, peers: Vec<Peer>, now: Instant) -> bool {
        let shown = self.spaces.entry(space).or_default();
        let mut changed = false;
        for Peer { user, device, data, ttl_ms } in peers {
            let Some(data) = data else {
                changed |= shown.remove(&device).is_some();
                continue;
            };
            let fits = data.len() <= PRESENCE_BYTES_MAX && user.len() <= USER_BYTES_MAX;
            let known = shown.get(&device);
            if !fits || (known.is_none() && shown.len() >= PRESENCE_PEERS_MAX) {
                continue;
            }
            // Most messages only say that somebody is still there.
            changed |= known.is_none_or(|known| known.user != user || known.data != *data || known.until <= now);
            let until = now + Duration::from_millis(u64::from(ttl_ms).min(PRESENCE_TTL_MAX_MS));
            shown.insert(device, Shown { user, data: data.into_vec(), until });
        }
        if shown.is_empty() {
            self.spaces.remove(&space);
        }
        changed
    }

    /// Who shows itself now, ascending by device.
    pub(super) fn list(&self, space: SpaceId, now: Instant) -> Vec<PeerInfo> {
        let shown = self.spaces.get(&space).into_iter().flatten().filter(|(_, shown)| shown.until > now);
        let info = |(&device, shown): (&DeviceId, &Shown)| PeerInfo {
            user: shown.user.clone(),
            device,
            data: shown.data.clone(),
        };
        shown.map(info).collect()
    }

    /// Drops who has not been heard of in time; gives the spaces where somebody was.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<SpaceId> {
        let mut left = Vec::new();
        self.spaces.retain(|space, shown| {
            let before = shown.len();
            shown.retain(|_, shown| shown.until > now);
            if shown.len() < before {
                left.push(*space);
            }
            !shown.is_empty()
        });
        left
    }

    /// When the next one runs out.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.spaces.values().flatten().map(|(_, shown)| shown.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u16, data: Option<&[u8]>, ttl_ms: u32) -> Peer {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let data = data.map(|data| data.to_vec().into());
        Peer { user: "ann".into(), device: DeviceId::from_random(id), data, ttl_ms }
    }

    #[test]
    fn peers_come_change_run_out_and_leave() {
        let (space, start) = (SpaceId::from_random([1; 16]), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let mut peers = Peers::default();
        assert!(peers.update(space, vec![peer(1, Some(b"a"), 100), peer(2, Some(b"b"), 500)], at(0)));
        assert!(!peers.update(space, vec![peer(1, Some(b"a"), 100)], at(50)), "still there is no news");
        assert_eq!(peers.next_end(), Some(at(150)));
        assert_eq!(peers.list(space, at(149)).len(), 2);
        assert_eq!(peers.list(space, at(150)).len(), 1, "also before anybody looked");
        assert_eq!(peers.expire(at(150)), [space]);
        assert!(peers.expire(at(151)).is_empty());
        assert!(peers.update(space, vec![peer(2, None, 0)], at(200)));
        assert!(!peers.update(space, vec![peer(2, None, 0)], at(200)));
        assert_eq!(peers.next_end(), None);
    }

    #[test]
    fn peers_are_bounded_in_number_size_and_time() {
        let (space, now) = (SpaceId::from_random([1; 16]), Instant::now());
        let mut peers = Peers::default();
        let crowd = (0..2_000).map(|number| peer(number, Some(b"x"), u32::MAX)).collect();
        peers.update(space, crowd, now);
        assert_eq!(peers.list(space, now).len(), PRESENCE_PEERS_MAX);
        assert!(peers.update(space, vec![peer(0, Some(b"y"), 1)], now), "who is there may change");
        assert!(!peers.update(space, vec![peer(1, Some(&[0; PRESENCE_BYTES_MAX + 1]), 1)], now));
        assert!(peers.list(space, now + Duration::from_millis(PRESENCE_TTL_MAX_MS)).is_empty());
    }
}
