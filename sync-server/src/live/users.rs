//! What one user may take up: connections, and messages a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::LARGE_PER_USER_MAX;

/// Users with live connections.
#[derive(Default)]
pub(super) struct Users(Mutex<BTreeMap<String, Arc<User>>>);

struct User {
    /// Changed under the lock of all users alone.
    connections: Mutex<usize>,
    messages: Mutex<Bucket>,
    large: Arc<Semaphore>,
}

/// A user's place for one connection.
pub(crate) struct Seat {
    users: Arc<Users>,
    name: String,
    user: Arc<User>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Users {
    /// A place for a further connection; `None` where the user has all that it may have.
    pub(super) fn sit(self: &Arc<Self>, name: &str, connections_max: usize, bucket: Bucket) -> Option<Seat> {
        let mut users = lock(&self.0);
        let user = users.entry(name.to_owned()).or_insert_with(|| {
            let large = Arc::new(Semaphore::new(LARGE_PER_USER_MAX));
            Arc::new(User { connections: Mutex::new(0), messages: Mutex::new(bucket), large })
        });
        let mut connections = lock(&user.connections);
        if *connections >= connections_max {
            return None;
        }
        *connections += 1;
        drop(connections);
        Some(Seat { users: Arc::clone(self), name: name.to_owned(), user: Arc::clone(user) })
    }
}

impl Seat {
    /// The user's places for large messages.
    pub(super) fn large(&self) -> Arc<Semaphore> {
        Arc::clone(&self.user.large)
    }

    /// Whether the user may send a message now.
    pub(super) fn may_send(&self) -> bool {
        lock(&self.user.messages).take(Instant::now())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut users = lock(&self.users.0);
        let mut connections = lock(&self.user.connections);
        *connections -= 1;
        if *connections == 0 {
            users.remove(&self.name);
        }
    }
}

/// So many at once, and so many a second in the long run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    per_second: f64,
    burst: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { per_second: f64::from(per_second), burst, left: burst, at: now }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * self.per_second).min(self.burst);
        self.at = now;
        let any = self.left >= 1.0;
        if any {
            self.left -= 1.0;
        }
        any
    }

    /// When there is one, if nobody takes it before.
    pub(super) fn next_at(&self) -> Instant {
        self.at + Duration::from_secs_f64((1.0 - self.left).max(0.0) / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_again_but_never_overflows() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 3, start);
        let taken = |bucket: &mut Bucket, at| (0..10).filter(|_| bucket.take(at)).count();
        assert_eq!(taken(&mut bucket, start), 3);
        assert_eq!(bucket.next_at(), start + Duration::from_millis(100));
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(210)), 2);
        assert_eq!(taken(&mut bucket, start + Duration::from_hours(1)), 3);
        assert_eq!(taken(&mut bucket, start), 0, "a clock that goes back gives nothing");
    }

    #[test]
    fn a_user_is_forgotten_with_its_last_connection() {
        let users = Arc::new(Users::default());
        let sit = |name| users.sit(name, 2, Bucket::new(1, 1, Instant::now()));
        let (one, two) = (sit("ann").unwrap(), sit("ann").unwrap());
        assert!(sit("ann").is_none() && sit("bob").is_some());
        assert!(one.may_send() && !two.may_send(), "both take from one bucket");
        drop(one);
        let three = sit("ann").unwrap();
        drop((two, three));
        assert!(lock(&users.0).is_empty());
    }
}
