//! The phone's orders, read from standard input by a thread of their own: a phone that types must still hear.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::io::BufRead;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::line::Order;

/// Where orders wait.
pub struct Desk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    orders: VecDeque<Order>,
    /// After so many steps of a phone, its feed ended with that change.
    points: BTreeMap<(usize, usize), u64>,
    closed: bool,
}

impl Desk {
    /// Starts to read; `came_back` hears of the network at once.
    pub fn open(came_back: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("orders".into()).spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let order = line.ok().and_then(|line| serde_json::from_str(&line).ok());
                let Some(order) = order else { break };
                for_thread.take(order, &came_back);
            }
            for_thread.lock().closed = true;
            for_thread.changed.notify_all();
        })?;
        Ok(Self { shared })
    }

    /// The next order; `None` when there will be no more.
    pub fn next(&self) -> Option<Order> {
        let waiting = |state: &mut State| !state.closed && state.orders.is_empty();
        let waited = self.shared.changed.wait_while(self.shared.lock(), waiting);
        waited.unwrap_or_else(PoisonError::into_inner).orders.pop_front()
    }

    /// Whether nobody gives orders any more.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// With which change another phone's feed ended after so many steps; waits until that is told.
    pub fn point(&self, phone: usize, steps: usize, longest: Duration) -> Result<u64, Box<dyn Error>> {
        let waiting = |state: &mut State| !state.closed && !state.points.contains_key(&(phone, steps));
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), longest, waiting);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let told = state.points.get(&(phone, steps));
        told.copied().ok_or_else(|| format!("phone {phone} was not heard of after {steps} steps").into())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, order: Order, came_back: &impl Fn()) {
        let mut state = self.lock();
        match order {
            Order::Point { phone, steps, n } => {
                state.points.insert((phone, steps), n);
            }
            Order::Network => came_back(),
            order => state.orders.push_back(order),
        }
        drop(state);
        self.changed.notify_all();
    }
}
