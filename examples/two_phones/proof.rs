//! The proof that all replicas hold the expected document, and the figures of the run.

use std::error::Error;
use std::time::Duration;

use sync_examples::proxy::Traffic;

use crate::display::{Display, grouped};
use crate::line::Proof;
use crate::script::Play;
use crate::seen::Seen;
use crate::stage::name;

/// What has come of a run.
#[derive(Default)]
pub struct Outcome {
    /// What each replica holds, its canonical bytes, and what went over its network; the newcomer is the last.
    pub replicas: Vec<(Proof, Vec<u8>, Traffic)>,
    /// Cuts of a network.
    pub cuts: u32,
    /// Processes killed.
    pub kills: u32,
    /// How long edits took to the other phone's screen.
    pub seen: Seen,
    /// How long the newcomer took from its start until it held everything.
    pub caught_up: Duration,
}

/// Says what was proved, with the figures; or what was not, as an error.
pub fn tell(play: &Play, outcome: &Outcome, display: &mut Display) -> Result<(), Box<dyn Error>> {
    figures(play, outcome, display);
    let faults = faults(play, outcome);
    if faults.is_empty() {
        let replicas = outcome.replicas.len();
        let heads: Vec<&str> =
            outcome.replicas.iter().flat_map(|(proof, ..)| &proof.heads).map(|head| &head[..12]).collect();
        display.result(&format!(
            "converged: {replicas} replicas with the same heads ({}), byte-equal canonical saves, and the expected text",
            heads.iter().take(heads.len() / replicas.max(1)).copied().collect::<Vec<_>>().join(", ")
        ));
        return Ok(());
    }
    Err(format!("NOT converged: {}", faults.join("; ")).into())
}

fn faults(play: &Play, outcome: &Outcome) -> Vec<String> {
    let mut faults = Vec::new();
    let Some((first, first_bytes, _)) = outcome.replicas.first() else { return vec!["there are no replicas".into()] };
    for (phone, (proof, bytes, _)) in outcome.replicas.iter().enumerate() {
        let mut fault = |what: String| faults.push(format!("phone {}: {what}", name(phone)));
        if proof.heads.is_empty() || proof.heads != first.heads {
            fault(format!("its heads are {:?}, those of phone A {:?}", proof.heads, first.heads));
        }
        if bytes.is_empty() || bytes != first_bytes {
            fault("its canonical bytes differ from those of phone A".into());
        }
        if proof.text != play.end {
            fault(format!("its text is not the expected one {}", difference(&proof.text, &play.end)));
        }
        if proof.words != play.words {
            fault(format!("its counter reads {} instead of {}", proof.words, play.words));
        }
    }
    faults
}

/// Where two texts part.
fn difference(found: &str, expected: &str) -> String {
    let same = found.chars().zip(expected.chars()).take_while(|(found, expected)| found == expected).count();
    let part = |text: &str| text.chars().skip(same).take(20).collect::<String>();
    format!("from character {same}: {:?} instead of {:?}", part(found), part(expected))
}

fn figures(play: &Play, outcome: &Outcome, display: &mut Display) {
    let keystrokes = play.keystrokes();
    let seconds = display.elapsed().as_secs_f64();
    let (typing, newcomer) = outcome.replicas.split_at(outcome.replicas.len().saturating_sub(1));
    // The first change of all is that which brings the document into being.
    let changes: u64 = typing.iter().map(|(proof, ..)| proof.n).sum();
    let mut row = |what: &str, figure: String| display.result(&format!("  {what:<34}{figure}"));
    row("edits, each durable by itself", grouped(play.steps() as u64));
    row("characters typed and deleted", grouped(keystrokes));
    row("changes they were sealed into", grouped(changes.saturating_sub(1)));
    for (phone, (.., traffic)) in typing.iter().enumerate() {
        let each = |bytes: u64| bytes as f64 / keystrokes.max(1) as f64;
        row(
            &format!("phone {} on the wire", name(phone)),
            format!(
                "{} bytes up, {} down: {:.2} and {:.2} for each character",
                grouped(traffic.up),
                grouped(traffic.down),
                each(traffic.up),
                each(traffic.down)
            ),
        );
    }
    if let (Some(half), Some(most)) = (outcome.seen.within_ms(0.5), outcome.seen.within_ms(0.99))
        && !play.held
    {
        let (live, all) = (grouped(outcome.seen.live_ms.len() as u64), grouped(outcome.seen.edits as u64));
        row(
            "seen on the other phone after",
            format!(
                "{half:.1} ms (median), {most:.1} ms (p99): {live} of {all} edits, those made while both were connected"
            ),
        );
    }
    row("cuts and kills survived", format!("{} and {}", outcome.cuts, outcome.kills));
    for (.., traffic) in newcomer {
        let down = grouped(traffic.down);
        row("a newcomer held everything after", format!("{} ms and {down} bytes", outcome.caught_up.as_millis()));
    }
    row("the whole run took", format!("{seconds:.1} s"));
}
