//! What phones see of lists, edit states, moves, undo, export and leaving, called as the bindings call it.

use std::sync::{Arc, Mutex};

use sync_client_ffi::ffi::{
    ChangeState, CollectionEvent, CollectionObserver, EditEvent, EditObserver, EditOp, ExportObserver, ExportProgress,
    FfiValue, Leave, OpenOptions, RejoinClient, RejoinError, Removal,
};
use sync_tests::rig::{PATIENCE, Rig, device};
use sync_tests::seen::Seen;

struct Heard<T>(Seen<T>);

impl CollectionObserver for Heard<CollectionEvent> {
    fn on_collection(&self, event: CollectionEvent) -> Result<(), RejoinError> {
        self.0.see(event);
        Ok(())
    }
}

impl EditObserver for Heard<EditEvent> {
    fn on_edits(&self, event: EditEvent) -> Result<(), RejoinError> {
        self.0.see(event);
        Ok(())
    }
}

struct Stops(Mutex<Vec<ExportProgress>>);

impl ExportObserver for Stops {
    fn on_progress(&self, progress: ExportProgress) -> Result<bool, RejoinError> {
        let mut all = self.0.lock().unwrap();
        all.push(progress);
        Ok(all.len() < 2)
    }
}

#[test]
fn what_phones_see_of_it_works_and_a_shut_client_says_so() {
    let rig = Rig::start();
    let path = rig.folder().join("phone.sqlite").display().to_string();
    let token = Some(rig.token("ann", device(1)));
    let options = OpenOptions { server: Some(rig.url()), token, ..OpenOptions::at(path.clone()) };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = RejoinClient::open_blocking(options).unwrap();
    let space = client.personal_space().unwrap();
    let collections = Seen::default();
    let watch = client.observe_collection(space, Some("notes".into()), Arc::new(Heard(collections.clone()))).unwrap();
    let docs: Vec<_> = (0..3).map(|_| client.create_document(space, "notes".into()).unwrap()).collect();
    collections.wait(|seen| {
        let added = seen.iter().flat_map(|(_, event)| match event {
            CollectionEvent::Changed { added, .. } => added.clone(),
            CollectionEvent::LookAgain { .. } => panic!("so few are kept"),
        });
        (added.collect::<Vec<_>>() == docs.iter().map(|doc| doc.id()).collect::<Vec<_>>()).then_some(())
    });
    watch.cancel();
    let page = client.document_page(space, None, Some(docs[0].id()), 1).unwrap();
    assert_eq!((page.documents[0].document, page.next), (docs[1].id(), Some(docs[1].id())));

    let doc = &docs[0];
    let states = Seen::default();
    let watch = doc.observe_edits(Arc::new(Heard(states.clone()))).unwrap();
    let undo = doc.undo_manager().unwrap();
    let list = EditOp::PutJson { path: "/items".into(), json: r#"["a","b","c"]"#.into(), text: false };
    doc.edit(vec![list, EditOp::Move { path: "/items".into(), from_index: 0, to_index: 2 }]).unwrap();
    assert_eq!(doc.json("/items").unwrap().as_deref(), Some(r#"["b","c","a"]"#));
    let edit = doc.put("/title", FfiValue::Str { value: "x".into() }).unwrap();
    assert_eq!(runtime.block_on(doc.wait_for_edit(edit, 1)).unwrap(), ChangeState::Local);
    undo.undo().unwrap().unwrap();
    assert_eq!((doc.json("/title").unwrap(), undo.redo_steps().unwrap()), (None, 1));
    undo.redo().unwrap().unwrap();
    assert!(matches!(runtime.block_on(client.leave(Leave::WipeWhenSent)), Err(RejoinError::Unsent { .. })));

    let folder = |name: &str| rig.folder().join(name).display().to_string();
    let stops = Arc::new(Stops(Mutex::default()));
    let stopped = runtime.block_on(client.export_all(folder("stopped"), Some(stops.clone())));
    assert!(matches!(stopped, Err(RejoinError::Stopped { .. })), "{stopped:?}");
    assert_eq!(stops.0.lock().unwrap().len(), 2);
    assert_eq!(runtime.block_on(client.export_all(folder("all"), None)).unwrap().documents, 3);
    assert!(rig.folder().join("all/index.json").exists() && !rig.folder().join("stopped").exists());

    client.start().unwrap();
    let state = runtime.block_on(doc.wait_for_edit(edit, PATIENCE.as_millis() as u64)).unwrap();
    assert!(matches!(state, ChangeState::Durable { .. }), "{state:?}");
    states.wait(|seen| {
        let durable = seen.iter().any(|(_, event)| match event {
            EditEvent::Changed { changes, .. } => {
                changes.iter().any(|change| change.last >= edit && matches!(change.state, ChangeState::Durable { .. }))
            }
            EditEvent::LookAgain { .. } => panic!("so few are kept"),
        });
        durable.then_some(())
    });
    watch.cancel();
    let history = doc.history(10).unwrap();
    assert!(!history.is_empty() && history[0].own);
    let hashes = vec![history[0].hash.clone()];
    assert_eq!(doc.json_at("/title", hashes).unwrap().as_deref(), Some(r#""x""#));
    assert!(matches!(doc.json_at("/title", vec!["no hash".into()]), Err(RejoinError::Invalid { .. })));
    assert!(matches!(client.remove_space(space, Removal::Now), Err(RejoinError::Invalid { .. })));

    assert!(runtime.block_on(client.wait_durable(space, PATIENCE.as_millis() as u64)).unwrap());
    runtime.block_on(client.leave(Leave::WipeWhenSent)).unwrap();
    assert!(!std::path::Path::new(&path).exists());
    for result in [doc.json("").map(|_| ()), undo.undo().map(|_| ()), client.pending(space).map(|_| ())] {
        assert!(matches!(result, Err(RejoinError::Closed { .. })), "{result:?}");
    }
}
