//! A live list: what others write appears as it arrives.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use sync_client_ffi::{DocId, EventKind, Origin, Subscription};

use crate::app::{App, short};

/// Changes that wait to be shown; when there are more, the rest is seen at the next look.
const WAITING_MAX: usize = 256;
/// How often the server is asked for news.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something to show.
enum News {
    Changed(DocId),
    Deleted(DocId),
    Status(String),
}

/// Watches until the process is interrupted. The store is in use meanwhile: edit from another device, or another folder.
pub fn watch(app: &App) -> Result<(), Box<dyn Error>> {
    let (sender, news) = sync_channel(WAITING_MAX);
    let told = sender.clone();
    let _status = app.client.on_status(move |status| {
        // When the screen does not keep up, a later status tells more than this one.
        let _ = told.try_send(News::Status(format!("{status:?}").to_lowercase()));
    });
    app.client.start()?;
    let mut watched = BTreeMap::new();
    let mut shown = String::new();
    // Ends with the process: Ctrl-C loses nothing, every edit is on disk.
    loop {
        for id in app.ids()? {
            if let std::collections::btree_map::Entry::Vacant(place) = watched.entry(id) {
                println!("{}", app.line(id)?);
                place.insert(observe(app, id, &sender)?);
            }
        }
        match news.recv_timeout(ASK_EVERY) {
            Ok(News::Changed(id)) => println!("{}", app.line(id)?),
            Ok(News::Deleted(id)) => {
                watched.remove(&id);
                println!("{}  (deleted)", short(id));
            }
            Ok(News::Status(status)) if status != shown => {
                // Each look for news passes through these two; only a change of fortune is worth a line.
                if !matches!(status.as_str(), "syncing" | "connecting") {
                    println!("-- {status}");
                    shown = status;
                }
            }
            Ok(News::Status(_)) => {}
            Err(RecvTimeoutError::Timeout) => {
                // Without a network the background session tries again by itself, and says how it stands.
                let _ = app.client.sync_once(PATIENCE);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn observe(app: &App, id: DocId, sender: &SyncSender<News>) -> Result<Subscription, Box<dyn Error>> {
    let sender = sender.clone();
    let note = app.client.open_doc(app.space, id)?;
    Ok(note.observe(move |event| {
        let news = match &event.kind {
            EventKind::Deleted => News::Deleted(id),
            EventKind::Patches(steps) if steps.iter().all(|step| step.origin == Origin::Local) => return,
            EventKind::Patches(_) | EventKind::LookAgain => News::Changed(id),
        };
        let _ = sender.try_send(news);
    }))
}
