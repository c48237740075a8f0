//! How long "not yours" and "not there" take: asked in random order over the real router and store, and compared by ranks.
//!
//! Which of the two is asked next is drawn anew each time, so whatever else happens on the machine happens to both alike: if
//! the answers take the same time, the rank statistic is that of a fair draw, however noisy the times are.

use std::hint::black_box;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use sync_core::id::{DeviceId, SpaceId};
use sync_core::ledger::Role;
use sync_core::wire::account::InviteResponse;
use sync_server::{Caller, Config, Server};

use crate::world::{JSON, World, frame};

/// Answers that are timed in the closest comparison; the others have a quarter of that.
const SAMPLES: usize = 10_000;
/// Ids of each kind that are asked about: so many that none is special.
const IDS: usize = 64;
/// By how many standard deviations the ranks may differ from a fair draw's: chance gets there once in 150,000 runs.
const Z_MAX: f64 = 4.5;
/// Anything below this is lost in the network, and was planted to see whether it is found here.
const PLANTED: Duration = Duration::from_micros(50);

/// What is asked: a method, a path and a body.
type Question = (&'static str, String, String);

struct Bench {
    router: TowerToHyperService<Router>,
    token: String,
    /// Kept for its folder and its store.
    _world: World,
}

/// Times of two kinds of questions, in microseconds.
struct Times {
    one: Vec<f64>,
    other: Vec<f64>,
}

impl Bench {
    async fn new() -> (Self, Vec<SpaceId>) {
        let mut config = Config::default();
        config.limits.rules = Vec::new();
        let world = World::with(config).await;
        let mut spaces = Vec::new();
        for _ in 0..IDS {
            let space = random_space();
            for user in ["ann", "bob", "carl"] {
                world.server.set_role(space, user, Some(Role::Owner)).await.unwrap();
            }
            spaces.push(space);
        }
        // Who asks has spaces, too.
        world.server.set_role(random_space(), "eve", Some(Role::Owner)).await.unwrap();
        (Self::of(world, "eve"), spaces)
    }

    fn of(world: World, user: &str) -> Self {
        let token = token(&world.server, user);
        Self { router: TowerToHyperService::new(world.server.router()), token, _world: world }
    }

    /// How long an answer takes. It must be that of what does not exist.
    async fn time(&self, (method, path, body): &Question) -> f64 {
        let request = Request::builder().method(*method).uri(path).header("content-type", JSON);
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let request = request.body(Body::from(body.clone())).unwrap();
        let started = Instant::now();
        let response = self.router.call(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap();
        let taken = started.elapsed();
        assert_eq!(status, 404);
        black_box(body);
        taken.as_secs_f64() * 1e6
    }

    /// Asks both kinds in random order; of the first, each answer takes `more` on top.
    async fn compare(&self, samples: usize, [one, other]: [&[Question]; 2], more: Duration) -> Times {
        let mut times = Times { one: Vec::new(), other: Vec::new() };
        let mut random = vec![0; samples * 2];
        getrandom::fill(&mut random).unwrap();
        for drawn in random.chunks(2) {
            let (questions, taken) = if drawn[0] % 2 == 0 { (one, &mut times.one) } else { (other, &mut times.other) };
            let question = &questions[usize::from(drawn[1]) % questions.len()];
            let mut time = self.time(question).await;
            if drawn[0] % 2 == 0 && !more.is_zero() {
                time += spin(more);
            }
            taken.push(time);
        }
        times
    }
}

/// Works for that long, and says for how long it did.
fn spin(time: Duration) -> f64 {
    let started = Instant::now();
    while started.elapsed() < time {
        black_box(());
    }
    started.elapsed().as_secs_f64() * 1e6
}

impl Times {
    /// Mann and Whitney's statistic as a standard deviate: above 0 the first kind takes longer.
    fn z(&self) -> f64 {
        let mut all: Vec<(f64, bool)> = self.one.iter().map(|time| (*time, true)).collect();
        all.extend(self.other.iter().map(|time| (*time, false)));
        all.sort_by(|one, other| one.0.total_cmp(&other.0));
        // Nanoseconds hardly ever tie; those that do were shuffled by the draw.
        let ranks: f64 = all.iter().zip(1..).filter(|((_, is_one), _)| *is_one).map(|(_, rank)| f64::from(rank)).sum();
        let (n, m) = (self.one.len() as f64, self.other.len() as f64);
        if n * m < 1.0 {
            return 0.0;
        }
        let (mean, variance) = (n * (n + m + 1.0) / 2.0, n * m * (n + m + 1.0) / 12.0);
        (ranks - mean) / variance.sqrt()
    }

    fn report(&self, what: &str) -> f64 {
        let median = |times: &[f64]| {
            let mut times = times.to_vec();
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        let z = self.z();
        let samples = self.one.len() + self.other.len();
        println!(
            "{what}: medians {:.1} and {:.1} µs, z {z:.2}, {samples} samples",
            median(&self.one),
            median(&self.other)
        );
        z
    }
}

fn random_space() -> SpaceId {
    let mut random = [0; 16];
    getrandom::fill(&mut random).unwrap();
    SpaceId::from_random(random)
}

fn token(server: &Server, user: &str) -> String {
    let caller = Caller { user: user.to_owned(), device: DeviceId::from_bytes([7; 16]) };
    server.issue_token(&caller, Duration::from_mins(10)).unwrap()
}

fn pull(space: SpaceId) -> Question {
    ("POST", "/v1/sync".to_owned(), format!(r#"{{"schema":1,"space":"{space}","pull":{{"own":true,"version":true}}}}"#))
}

fn members(space: SpaceId) -> Question {
    ("GET", format!("/v1/spaces/{space}/members"), String::new())
}

fn promotion(space: SpaceId) -> Question {
    ("PUT", format!("/v1/spaces/{space}/members/eve"), r#"{"schema":1,"role":"owner"}"#.to_owned())
}

fn acceptance(token: &str) -> Question {
    ("POST", "/v1/invites/accept".to_owned(), format!(r#"{{"schema":1,"token":"{token}"}}"#))
}

/// Fails where the two kinds can be told apart.
async fn same_time(bench: &Bench, what: &str, samples: usize, questions: [&[Question]; 2]) {
    let times = bench.compare(samples, questions, Duration::ZERO).await;
    let z = times.report(what);
    assert!(z.abs() < Z_MAX, "{what}: told apart by {z:.1} standard deviations");
}

#[tokio::test]
async fn not_yours_takes_as_long_as_not_there() {
    let (bench, others) = Bench::new().await;
    let nobodys: Vec<SpaceId> = (0..IDS).map(|_| random_space()).collect();
    for (what, question) in [("a pull", pull as fn(SpaceId) -> Question), ("members", members), ("a role", promotion)] {
        let of = |spaces: &[SpaceId]| spaces.iter().map(|space| question(*space)).collect::<Vec<Question>>();
        let (there, nowhere) = (of(&others), of(&nobodys));
        // What would be told apart is: the first kind takes a little longer.
        let mut planted = Times { one: Vec::new(), other: Vec::new() };
        while planted.z() <= Z_MAX && planted.one.len() + planted.other.len() < SAMPLES {
            let more = bench.compare(SAMPLES / 20, [&there, &nowhere], PLANTED).await;
            planted.one.extend(more.one);
            planted.other.extend(more.other);
        }
        let z = planted.report(&format!("{what}, planted"));
        assert!(z > Z_MAX, "{what}: {PLANTED:?} were not found: {z:.1} standard deviations");
        let samples = if what == "members" { SAMPLES } else { SAMPLES / 4 };
        same_time(&bench, what, samples, [&there, &nowhere]).await;
    }
}

#[tokio::test]
async fn a_used_invitation_takes_as_long_as_none() {
    let mut config = Config::default();
    config.limits.rules = Vec::new();
    let world = World::with(config).await;
    let space = random_space();
    world.server.set_role(space, "ann", Some(Role::Owner)).await.unwrap();
    let (ann, bob) = (world.phone("ann"), world.phone("bob"));
    let mut used = Vec::new();
    for _ in 0..IDS {
        let invite = ann.request(reqwest::Method::POST, &format!("/v1/spaces/{space}/invites"));
        let invite = invite.header("content-type", JSON).body(r#"{"schema":1,"role":"reader"}"#).send().await.unwrap();
        let token = frame::<InviteResponse>(invite).await.token.0;
        let (_, path, body) = acceptance(&token);
        let accept = bob.request(reqwest::Method::POST, &path).header("content-type", JSON).body(body);
        assert_eq!(accept.send().await.unwrap().status(), 200);
        world.server.set_role(space, "bob", None).await.unwrap();
        used.push(acceptance(&token));
    }
    // Of the same length; the second kind ends as no base64 does.
    let made = |end: &str| {
        let token = |at: usize| acceptance(&format!("rji_{}{at:02}{}{end}", "Ab9_".repeat(15), "x".repeat(23)));
        (0..IDS).map(token).collect::<Vec<Question>>()
    };
    let (unknown, malformed) = (made("A"), made("x"));
    let bench = Bench::of(world, "eve");
    same_time(&bench, "used and unknown", SAMPLES / 4, [&used, &unknown]).await;
    same_time(&bench, "malformed and unknown", SAMPLES / 4, [&malformed, &unknown]).await;
}
