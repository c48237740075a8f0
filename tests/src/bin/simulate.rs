//! Runs simulations: one seed, many of them, or all deliberate faults of the engine.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sync_tests::world::{Case, Kind, Plan, run, shrink, tidy_up};

const USAGE: &str = "simulate [--seed N | --case 'N skip=1,2-3'] [--trace]
simulate [--seeds A..B] [--minutes M] [--threads T] [--keep-going]
simulate --mutation NAME | --mutations [--seeds A..B]   (with the feature `mutations`)";

struct Options {
    case: Option<Case>,
    trace: bool,
    seeds: std::ops::Range<u64>,
    minutes: Option<u64>,
    threads: usize,
    keep_going: bool,
    mutation: Option<String>,
    mutations: bool,
}

fn options() -> Option<Options> {
    let mut options = Options {
        case: None,
        trace: false,
        seeds: 0..3_000,
        minutes: None,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        keep_going: false,
        mutation: None,
        mutations: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" | "--case" => options.case = Some(Case::parse(&arguments.next()?)?),
            "--trace" => options.trace = true,
            "--seeds" => {
                let text = arguments.next()?;
                let (first, last) = text.split_once("..")?;
                options.seeds = first.parse().ok()?..last.parse().ok()?;
            }
            "--minutes" => {
                options.minutes = Some(arguments.next()?.parse().ok()?);
                options.seeds.end = u64::MAX;
            }
            "--threads" => options.threads = arguments.next()?.parse().ok()?,
            "--keep-going" => options.keep_going = true,
            "--mutation" => options.mutation = Some(arguments.next()?),
            "--mutations" => options.mutations = true,
            _ => return None,
        }
    }
    Some(options)
}

/// What many runs came to.
#[derive(Default)]
struct Tally {
    seeds: AtomicU64,
    twice: AtomicU64,
    simulated_ms: AtomicU64,
    failures: Mutex<Vec<(Case, String)>>,
    stop: AtomicBool,
}

/// Runs those seeds that are wanted on all threads, until one fails or they are done.
fn many(options: &Options, quiet: bool, wanted: impl Fn(&Plan) -> bool + Sync) -> Tally {
    let (tally, next) = (Tally::default(), AtomicU64::new(options.seeds.start));
    let until = options.minutes.map(|minutes| Instant::now() + Duration::from_secs(minutes * 60));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while !tally.stop.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= options.seeds.end {
                        return;
                    }
                    let case = Case::of(seed);
                    if !wanted(&Plan::of(seed)) {
                        continue;
                    }
                    let outcome = run(&case, false);
                    tally.simulated_ms.fetch_add(outcome.simulated_ms, Ordering::Relaxed);
                    let mut broken = outcome.broken.as_ref().map(ToString::to_string);
                    if seed.is_multiple_of(100) && broken.is_none() {
                        tally.twice.fetch_add(1, Ordering::Relaxed);
                        let again = run(&case, false);
                        if again != outcome {
                            broken = Some("two runs of the same seed differ".to_owned());
                        }
                    }
                    let done = tally.seeds.fetch_add(1, Ordering::Relaxed) + 1;
                    if !quiet && done.is_multiple_of(1_000) {
                        let rate = done as f64 / began.elapsed().as_secs_f64();
                        eprintln!("{done} seeds, {rate:.1} a second");
                    }
                    if let Some(what) = broken {
                        if !quiet {
                            println!("seed {seed}: {what}");
                        }
                        tally.failures.lock().expect("a lock").push((case, what));
                        if !options.keep_going {
                            tally.stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    tally
}

fn one(case: &Case, trace: bool) -> ExitCode {
    let outcome = run(case, trace);
    println!("case {case}: hash {:016x}, {} s within", outcome.hash, outcome.simulated_ms / 1000);
    match outcome.broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}

fn all_seeds(options: &Options) -> ExitCode {
    let began = Instant::now();
    let tally = many(options, false, |_| true);
    let (seeds, seconds) = (tally.seeds.into_inner(), began.elapsed().as_secs_f64());
    let hours = tally.simulated_ms.into_inner() as f64 / 3_600_000.0;
    println!(
        "{seeds} seeds in {seconds:.0} s, {:.1} a second, {hours:.1} simulated hours, {} of them twice",
        seeds as f64 / seconds,
        tally.twice.into_inner()
    );
    let failures = tally.failures.into_inner().expect("a lock");
    for (case, what) in failures.iter().take(5) {
        let broken = run(case, false).broken;
        let small = broken.map_or_else(|| case.clone(), |broken| shrink(case, broken.promise));
        let left = run(&small, false).broken.map_or_else(String::new, |broken| broken.to_string());
        println!("{what}\n  --case '{small}'\n  {left}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether what a fault is about may happen in a world at all.
#[cfg_attr(not(feature = "mutations"), expect(dead_code, reason = "there are no faults without it"))]
fn fits(plan: &Plan, fault: &str) -> bool {
    let rolls_back = plan.is_about(Kind::Clone);
    let server_loses = plan.is_about(Kind::ServerRestore);
    match fault {
        "answer-before-commit" => plan.is_about(Kind::ServerPower),
        "chain-unchecked" | "page-chain-unchecked" => rolls_back && !plan.markers,
        "duplicates-taken" => plan.weather.lost > 0,
        "nothing-handed-back" | "loss-of-own-unseen" | "acknowledged-kept-after-loss" | "cursor-unchecked" => {
            server_loses
        }
        "deleted-takes-edits" | "deletion-not-kept" => plan.is_about(Kind::Delete),
        "role-unasked" | "refusal-without-effect" | "rebuild-forgotten" | "actor-kept" | "kept-after-offer" => {
            plan.is_about(Kind::Role)
        }
        "refused-sent-again" => plan.has(&[Kind::Role]) && server_loses,
        "forged-actor-taken" => plan.has(&[Kind::Attack]),
        "pulled-not-compared"
        | "remade-without-the-last"
        | "unsent-lost-when-rolled-back"
        | "device-kept-when-rolled-back" => rolls_back,
        "edit-not-journaled" => plan.has(&[Kind::PhoneCrash]),
        "sealed-in-two-steps" => plan.is_about(Kind::PhonePower),
        "shows-what-the-disk-refused" => plan.is_about(Kind::DiskFull),
        "shown-with-holes" | "snapshot-lacks-the-newest" => plan.is_about(Kind::Compact),
        "drops-what-no-snapshot-covers" => plan.is_about(Kind::Compact) && plan.drops_at_once,
        "full-queue-loses-pages" => plan.live && plan.is_about(Kind::SlowReader),
        "notice-without-its-chain" => plan.live && plan.weather.lost > 0,
        _ => true,
    }
}

#[cfg(feature = "mutations")]
fn mutations(options: &Options) -> ExitCode {
    use sync_core::mutation::{ALL, choose};
    let mut missed = 0;
    println!("| fault | what is wrong | caught by | after seeds |\n| --- | --- | --- | --- |");
    for fault in ALL.iter().filter(|fault| options.mutation.as_deref().is_none_or(|name| name == fault.name)) {
        choose(Some(fault.name));
        let tally = many(options, true, |plan| fits(plan, fault.name));
        let seeds = tally.seeds.into_inner();
        let failures = tally.failures.into_inner().expect("a lock");
        let (caught, what) = if let Some((case, what)) = failures.first() {
            (what.split(':').next().unwrap_or_default().to_owned(), format!("{case}: {what}"))
        } else {
            missed += 1;
            ("**nothing**".to_owned(), String::new())
        };
        println!("| `{}` | {} | {caught} | {seeds} |", fault.name, fault.what);
        eprintln!("    {what}");
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "mutations"))]
fn mutations(_: &Options) -> ExitCode {
    eprintln!("build it with --features mutations");
    ExitCode::FAILURE
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    // What is caught is told in one line.
    if !options.trace {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let code = match &options.case {
        Some(case) => one(case, options.trace),
        None if options.mutations || options.mutation.is_some() => mutations(&options),
        None => all_seeds(&options),
    };
    tidy_up();
    code
}
