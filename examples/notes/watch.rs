//! A live list: what others write appears as it arrives.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::sync::mpsc::{SyncSender, sync_channel};

use sync_client_ffi::{DocId, EventKind, Origin, Patched, Subscription};

use crate::app::{App, short};
use crate::login::Login;

/// News that waits to be shown. When there is more, whoever brings it waits: it is told on a thread of its own.
const WAITING_MAX: usize = 256;

/// Something to show.
enum News {
    Listed,
    Changed(DocId),
    Deleted(DocId),
    Status(String),
}

/// Watches until the process is interrupted. The store is in use meanwhile: edit from another device, or another folder.
pub fn watch(app: &App) -> Result<(), Box<dyn Error>> {
    if matches!(app.login, Login::Nobody) {
        return Err("nobody is signed in: `notes login` first".into());
    }
    let (sender, news) = sync_channel(WAITING_MAX);
    let told = sender.clone();
    let _status = app.client.on_status(move |status| {
        let _ = told.send(News::Status(format!("{status:?}").to_lowercase()));
    });
    let told = sender.clone();
    let _standing = match &app.login {
        Login::Token { .. } | Login::Nobody => None,
        Login::Session(refresher) => Some(refresher.on_standing(move |standing| {
            let _ = told.send(News::Status(standing.to_string()));
        })),
    };
    let told = sender.clone();
    let _list = app.client.on_documents(app.space, move || {
        let _ = told.send(News::Listed);
    });
    app.client.start()?;
    let mut watched = BTreeMap::new();
    let mut shown = String::new();
    list(app, &mut watched, &sender)?;
    // Ends with the process: Ctrl-C loses nothing, every edit is on disk.
    for news in news {
        match news {
            News::Listed => list(app, &mut watched, &sender)?,
            News::Changed(id) => println!("{}", app.line(id)?),
            News::Deleted(id) => {
                watched.remove(&id);
                println!("{}  (deleted)", short(id));
            }
            // Each exchange passes through these two; only a change of fortune is worth a line.
            News::Status(status) if status != shown && !matches!(status.as_str(), "syncing" | "connecting") => {
                println!("-- {status}");
                shown = status;
            }
            News::Status(_) => {}
        }
    }
    Ok(())
}

/// Shows the notes that are not watched yet, and watches them.
fn list(
    app: &App,
    watched: &mut BTreeMap<DocId, Subscription>,
    sender: &SyncSender<News>,
) -> Result<(), Box<dyn Error>> {
    for id in app.ids()? {
        if let Entry::Vacant(place) = watched.entry(id) {
            place.insert(observe(app, id, sender)?);
            println!("{}", app.line(id)?);
        }
    }
    Ok(())
}

fn observe(app: &App, id: DocId, sender: &SyncSender<News>) -> Result<Subscription, Box<dyn Error>> {
    let sender = sender.clone();
    let note = app.client.open_doc(app.space, id)?;
    Ok(note.observe(move |event| {
        let by_others = |step: &Patched| step.origin == Origin::Remote;
        let news = match &event.kind {
            EventKind::Deleted => News::Deleted(id),
            EventKind::LookAgain => News::Changed(id),
            EventKind::Patches(steps) if steps.iter().any(by_others) => News::Changed(id),
            EventKind::Patches(_) => return,
        };
        let _ = sender.send(news);
    }))
}
