//! Which device a store is: another one than before, where it was restored from a backup or copied.

use std::sync::Arc;

use sync_core::id::DeviceId;

use super::error::ClientError;
use super::{Client, Subscription, lock};

impl Client {
    /// Whether the store was restored from a backup or copied from another device, as its [marker](crate::ClientBuilder::marker)
    /// shows. It goes on as [another device](Self::wanted_device), and what it had not sent is written anew.
    pub fn is_restored(&self) -> bool {
        self.shared.restored
    }

    /// The device that this store goes on as, since it was restored from a backup or copied, while there is no token for
    /// it. The app gets one from its server, for this device or for any other that is new, and [sets](Self::set_token) it; or
    /// its user signs in once more, as a device without an id
    /// ([`Refresher::signed_in_again`](crate::account::Refresher::signed_in_again)). Edits go on meanwhile, and nothing is exchanged.
    pub fn wanted_device(&self) -> Option<DeviceId> {
        self.engine().wanted_device()
    }

    /// Calls `callback` with the [device](Self::wanted_device) for which a token is wanted, each time that it is.
    ///
    /// ```no_run
    /// # fn token_for(device: sync_client_ffi::DeviceId) -> String { String::new() }
    /// # fn f(client: &sync_client_ffi::Client) {
    /// let registering = client.clone();
    /// let subscription = client.on_device_wanted(move |device| registering.set_token(token_for(device)));
    /// # drop(subscription);
    /// # }
    /// ```
    pub fn on_device_wanted(&self, callback: impl Fn(DeviceId) + Send + Sync + 'static) -> Subscription {
        let shared = Arc::downgrade(&self.shared);
        self.on_token_wanted(move || {
            let wanted = shared.upgrade().and_then(|shared| lock(&shared.engine).wanted_device());
            wanted.into_iter().for_each(&callback);
        })
    }

    /// Devices that this store was before it was restored from a backup or copied; their changes are this device's own.
    pub fn former_devices(&self) -> Result<Vec<DeviceId>, ClientError> {
        Ok(self.engine().store.read().former()?)
    }
}
