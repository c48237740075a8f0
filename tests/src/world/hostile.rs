//! A member who means harm, and frames that nobody meant.

use sync_client_ffi::{Actor, DeviceId, DocId, Op};
use sync_core::document::Document;
use sync_core::feed::{Body, FeedHead, Item, Run, create_hash};
use sync_core::hostile::huge_claim;
use sync_core::id::Hash;
use sync_core::wire::{self, ErrorCode, ItemStatus, PushAnswer, SCHEMA, SyncRequest, SyncResponse};

use super::rng::Rng;
use super::server::Reply;
use super::{Checked, World, broken};

impl World {
    /// Promise 8: writing in another device's name, lies about what is sent, and noise.
    pub(super) fn attack(&mut self, rng: &mut Rng) -> Checked {
        let device = DeviceId::from_random(rng.bytes());
        let victim = self.phones[0].device();
        let (Some(token), Some(victim)) = (self.server.token("user0", device), victim) else { return Ok(()) };
        let doc = DocId::mint(self.now_ms, rng.bytes());
        let forged = change_of(Actor::new(victim, rng.bytes()), rng);
        let own = Actor::new(device, rng.bytes());
        let honest = change_of(own, rng);
        let huge = huge_claim(own, 10_000_000);
        let item = |hash, bytes: &[u8]| Item { doc, hash, body: Body::Change { bytes: bytes.to_vec() } };
        let items = vec![
            Item { doc, hash: create_hash(doc, "traps"), body: Body::Create { collection: "traps".to_owned() } },
            item(forged.0, &forged.1),
            item(Hash::of(&[&rng.bytes::<8>()]), &honest.1),
            item(Hash::of(&[&huge]), &huge),
        ];
        let run = Run { device, base: FeedHead::start(self.space, device), items };
        let request = SyncRequest { schema: SCHEMA, space: self.space, push: Some(run), pull: None, snapshot: None };
        let frame = wire::encode(&request).expect("a frame");
        let mut noise = frame.clone();
        for _ in 0..rng.within(1, 8) {
            let at = rng.below(noise.len() as u64) as usize;
            noise[at] ^= 1 << rng.below(8);
        }
        noise.truncate(rng.within(0, noise.len() as u64) as usize);
        for body in [noise, frame] {
            let replies = self.server.ask(vec![("/v1/sync", token.clone(), body)]);
            let Some(reply) = replies.into_iter().next().flatten() else { continue };
            self.repelled(reply)?;
        }
        if self.server.has_failed() { self.server_dies() } else { Ok(()) }
    }

    fn repelled(&mut self, reply: Reply) -> Checked {
        match reply {
            Err(ErrorCode::Internal) if !self.server.has_failed() => {
                broken(8, "the server calls it a fault of its own that somebody sent noise")
            }
            Err(code) => {
                self.trace.note(format_args!("an attack is refused: {code:?}"));
                Ok(())
            }
            Ok(body) => {
                let Ok(SyncResponse { push: Some(PushAnswer::Taken { results, .. }), .. }) = wire::decode(&body) else {
                    return Ok(());
                };
                let lies =
                    ["a change in another device's name", "a change under another hash", "ten million operations"];
                for (result, lie) in results.iter().skip(1).zip(lies) {
                    if result.status == ItemStatus::Applied {
                        return broken(8, format!("the server took {lie}"));
                    }
                }
                self.trace.note(format_args!("an attack is refused, item by item"));
                Ok(())
            }
        }
    }
}

fn change_of(actor: Actor, rng: &mut Rng) -> (Hash, Vec<u8>) {
    let mut document = Document::new(actor);
    let op = Op::Put { path: "trap".into(), value: 1i64.into() };
    document.edit(vec![op], &mut || rng.next()).expect("an edit");
    let sealed = document.seal(&mut || rng.next()).expect("a change");
    (sealed.hash, sealed.bytes)
}
