//! What every limiter must do, as plain functions over the trait. They panic where one does not conform.
//!
//! Nothing here is a matter of luck on a slow machine: time only ever passes for longer than was asked, and what is claimed
//! holds then, too.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Decision, Limiter, Quota};

/// The time that the limiter goes by.
#[async_trait]
pub trait Time: Send + Sync {
    /// Since some moment.
    fn now(&self) -> Duration;

    /// Lets it pass, no less than so much.
    async fn pass(&self, time: Duration);
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(10);

/// All of it that needs one node, with windows of that length where time must pass.
pub async fn all(limiter: &dyn Limiter, time: &dyn Time, window: Duration) {
    counts_down(limiter).await;
    all_or_none(limiter).await;
    places_become_free(limiter, time, window).await;
    refused_attempts_do_not_count(limiter, time, window).await;
    below_the_limit(limiter, time, window).await;
    bursts_at_edges(limiter, time, window).await;
}

fn quota(requests: u32, window: Duration) -> Quota {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("random numbers");
    let key = format!("{:032x}", u128::from_be_bytes(random));
    Quota { rule: "test".into(), key, requests, window }
}

async fn ask(limiter: &dyn Limiter, quota: &Quota) -> Decision {
    let decision = limiter.ask(std::slice::from_ref(quota)).await;
    let known = limiter.refused(std::slice::from_ref(quota));
    if !decision.allowed {
        assert!(decision.refused_for() <= quota.window, "{decision:?}");
        assert!(decision.tightest().is_some_and(|usage| usage.remaining == 0), "{decision:?}");
    } else if decision.usage[0].remaining > 0 {
        assert_eq!(known, None, "what has room is not refused unasked");
    }
    decision
}

/// As many as the limit says, each answered with how many are left.
pub async fn counts_down(limiter: &dyn Limiter) {
    let quota = quota(5, LONG);
    for remaining in (0..5).rev() {
        let decision = ask(limiter, &quota).await;
        assert!(decision.allowed);
        assert_eq!(decision.usage.len(), 1);
        let usage = &decision.usage[0];
        assert_eq!((usage.remaining, usage.requests, usage.window), (remaining, 5, LONG));
        assert!(usage.frees_in <= LONG && usage.frees_in > LONG / 2);
    }
    for _ in 0..3 {
        let decision = ask(limiter, &quota).await;
        assert!(!decision.allowed);
        assert!(decision.refused_for() > LONG / 2);
        let known = limiter.refused(std::slice::from_ref(&quota)).expect("it is known now");
        assert!(!known.allowed && known.refused_for() > LONG / 2);
    }
}

/// What one quota refuses is counted in none.
pub async fn all_or_none(limiter: &dyn Limiter) {
    let (narrow, wide) = (quota(1, LONG), quota(10, LONG));
    let both = [wide.clone(), narrow.clone()];
    let first = limiter.ask(&both).await;
    assert!(first.allowed);
    assert_eq!(first.usage.iter().map(|usage| usage.remaining).collect::<Vec<_>>(), [9, 0]);
    assert_eq!(first.tightest().expect("two").requests, 1);
    for _ in 0..20 {
        let refused = limiter.ask(&both).await;
        assert!(!refused.allowed);
        assert_eq!(refused.tightest().expect("one at least").requests, 1);
    }
    assert_eq!(ask(limiter, &wide).await.usage[0].remaining, 8);
    let none = limiter.ask(&[]).await;
    assert!(none.allowed && none.usage.is_empty());
}

/// A refusal says when a place becomes free, and then it is.
pub async fn places_become_free(limiter: &dyn Limiter, time: &dyn Time, window: Duration) {
    let quota = quota(2, window);
    for _ in 0..4 {
        let mut refused = ask(limiter, &quota).await;
        while refused.allowed {
            refused = ask(limiter, &quota).await;
        }
        time.pass(refused.refused_for()).await;
        assert!(ask(limiter, &quota).await.allowed, "at the time that it was told");
    }
}

/// A client that hammers gets its limit, again and again, as if it had not.
pub async fn refused_attempts_do_not_count(limiter: &dyn Limiter, time: &dyn Time, window: Duration) {
    let quota = quota(5, window);
    let mut record = Record::default();
    for _ in 0..6 {
        let mut refused = 0;
        while refused < 50 {
            let decision = record.ask(limiter, time, &quota).await;
            refused += u32::from(!decision.allowed);
        }
        // The rest of the window, so that all of its places are free again.
        time.pass(window).await;
    }
    assert!(record.allowed.len() >= 30, "{} of 30: refused attempts counted", record.allowed.len());
    record.check(&quota);
}

/// Who stays at 90 % of the limit is never refused.
pub async fn below_the_limit(limiter: &dyn Limiter, time: &dyn Time, window: Duration) {
    let quota = quota(10, window);
    for _ in 0..40 {
        assert!(ask(limiter, &quota).await.allowed);
        time.pass(window / 9).await;
    }
}

/// One request, a full burst just before the window of a fixed counter ends, and one just after. Gives how many were let
/// through, and how many a counter per fixed window would have.
pub async fn bursts_at_edges(limiter: &dyn Limiter, time: &dyn Time, window: Duration) -> (u32, u32) {
    let quota = quota(10, window);
    let mut record = Record::default();
    let (mut counted_in, mut counted, mut fixed) = (0, 0, 0);
    let start = time.now();
    let bursts = [(1, window * 9 / 10), (9, window / 5), (10, Duration::ZERO)];
    for (requests, pause) in bursts {
        for _ in 0..requests {
            let number = time.now().saturating_sub(start).as_nanos() / window.as_nanos();
            if number != counted_in {
                (counted_in, counted) = (number, 0);
            }
            counted += 1;
            fixed += u32::from(counted <= quota.requests);
            record.ask(limiter, time, &quota).await;
        }
        time.pass(pause).await;
    }
    record.check(&quota);
    (record.allowed.len() as u32, fixed)
}

/// Nodes with tasks that all ask at once, for one quota of so many: exactly so many are let through.
pub async fn many_at_once(nodes: &[Arc<dyn Limiter>], requests: u32) {
    const TASKS: usize = 50;
    let quota = quota(requests, LONG);
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..TASKS {
        let (limiter, quota) = (Arc::clone(&nodes[at % nodes.len()]), quota.clone());
        tasks.spawn(async move {
            let mut allowed = 0;
            for _ in 0..quota.requests / 4 {
                allowed += u32::from(limiter.ask(std::slice::from_ref(&quota)).await.allowed);
            }
            allowed
        });
    }
    let mut allowed = 0;
    while let Some(done) = tasks.join_next().await {
        allowed += done.expect("a task");
    }
    assert_eq!(allowed, requests, "let through by {} nodes", nodes.len());
}

/// What was let through, with the times before and after.
#[derive(Default)]
struct Record {
    allowed: Vec<(Duration, Duration)>,
}

impl Record {
    async fn ask(&mut self, limiter: &dyn Limiter, time: &dyn Time, quota: &Quota) -> Decision {
        let before = time.now();
        let decision = ask(limiter, quota).await;
        if decision.allowed {
            self.allowed.push((before, time.now()));
        }
        decision
    }

    /// No stretch of the window's length holds more than the limit.
    fn check(&self, quota: &Quota) {
        for all in self.allowed.windows(quota.requests as usize + 1) {
            let (Some((first, _)), Some((_, last))) = (all.first(), all.last()) else { continue };
            let took = last.saturating_sub(*first);
            assert!(took >= quota.window, "{} in {took:?} of {:?}", all.len(), quota.window);
        }
    }
}
