//! A bare tokio-postgres program that inserts the rows which the store would have, in the same groups: prepared statements,
//! all of a group sent together with its BEGIN and COMMIT. It looks at nothing and decides nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

use super::writers::hash;

const CONNECTIONS: usize = 16;
/// What a keystroke's change has.
const PAYLOAD: [u8; 112] = [7; 112];

const LOG: &str = "INSERT INTO log (space_id, seq, device_id, n, kind, doc_id, hash, verdict, chain, payload_bytes,
                                    actor, actor_seq, start_op, max_op, deps)
                   SELECT $1, at, device, at, 2, device, hash, 0, hash, 112, actor, at, at, at, hash
                   FROM unnest($2::bigint[], $3::uuid[], $4::bytea[], $5::bytea[]) AS w (at, device, hash, actor)";
const PAYLOADS: &str =
    "INSERT INTO payloads (space_id, seq, bytes) SELECT $1, * FROM unnest($2::bigint[], $3::bytea[])";
const FEEDS: &str = "INSERT INTO feeds (space_id, device_id, n, chain)
                     SELECT $1, * FROM unnest($2::uuid[], $3::bigint[], $4::bytea[])
                     ON CONFLICT (space_id, device_id) DO UPDATE SET n = excluded.n, chain = excluded.chain";
const DOCUMENTS: &str = "INSERT INTO documents (space_id, doc_id, collection, operations, actors)
                         SELECT $1, doc, 'notes', at, 1 FROM unnest($2::uuid[], $3::bigint[]) AS w (doc, at)
                         ON CONFLICT (space_id, doc_id) DO UPDATE SET operations = excluded.operations";
const ACTORS: &str = "INSERT INTO actors (space_id, doc_id, actor, seq, hash)
                      SELECT $1, * FROM unnest($2::uuid[], $3::bytea[], $4::bigint[], $5::bytea[])
                      ON CONFLICT (space_id, doc_id, actor) DO UPDATE SET seq = excluded.seq, hash = excluded.hash";
const SPACE: &str = "UPDATE spaces SET head_seq = $2, head_chain = $3 WHERE space_id = $1";

/// A group: its space, and the places that it takes in the log.
struct Group {
    space: usize,
    from: u64,
    entries: usize,
}

/// Inserts the groups, those of one space one after the other; answers entries a second.
pub async fn run(url: &str, spaces: usize, groups: &[(usize, usize)]) -> f64 {
    let mut of_spaces: Vec<VecDeque<Group>> = (0..spaces).map(|_| VecDeque::new()).collect();
    let mut heads = vec![0; spaces];
    for &(space, entries) in groups {
        of_spaces[space].push_back(Group { space, from: heads[space], entries });
        heads[space] += entries as u64;
    }
    let setup = Bare::connect(url).await;
    for space in 0..spaces {
        let insert = "INSERT INTO spaces (space_id, head_seq, head_chain, documents_total) VALUES ($1, 0, $2, 0)";
        setup.client.execute(insert, &[&uuid(space, 0), &hash(0).0.as_slice()]).await.expect("a space");
    }
    let queue = Arc::new(Mutex::new(VecDeque::from(of_spaces)));
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS.min(spaces) {
        connections.push(Bare::connect(url).await);
    }
    let began = Instant::now();
    let work = connections.into_iter().map(|bare| {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move {
            loop {
                let Some(mut space) = queue.lock().await.pop_front() else { return };
                let Some(group) = space.pop_front() else { continue };
                bare.insert(&group).await;
                queue.lock().await.push_back(space);
            }
        })
    });
    for work in work.collect::<Vec<_>>() {
        work.await.expect("a connection");
    }
    heads.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64()
}

struct Bare {
    client: Client,
    statements: [Statement; 6],
}

impl Bare {
    async fn connect(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
        tokio::spawn(connection);
        let mut statements = Vec::new();
        for text in [LOG, PAYLOADS, FEEDS, DOCUMENTS, ACTORS, SPACE] {
            statements.push(client.prepare(text).await.expect("a statement"));
        }
        Self { client, statements: statements.try_into().expect("six") }
    }

    async fn insert(&self, group: &Group) {
        let places = group.from + 1..=group.from + group.entries as u64;
        let space = uuid(group.space, 0);
        let at: Vec<i64> = places.clone().map(|place| place as i64).collect();
        let devices: Vec<Uuid> = (0..group.entries).map(|device| uuid(group.space, device + 1)).collect();
        let hashes: Vec<_> = places.map(|place| hash(place << 8 | group.space as u64)).collect();
        let hashes: Vec<&[u8]> = hashes.iter().map(|hash| hash.0.as_slice()).collect();
        let actors: Vec<Vec<u8>> =
            devices.iter().map(|device| [device.as_bytes().as_slice(), &[0; 4]].concat()).collect();
        let payloads = vec![PAYLOAD.as_slice(); group.entries];
        let head = *at.last().expect("an entry");
        let [log, payload, feeds, documents, tails, of_space] = &self.statements;
        let done = tokio::try_join!(
            biased;
            self.client.batch_execute("BEGIN"),
            async { self.client.execute(log, &[&space, &at, &devices, &hashes, &actors]).await },
            async { self.client.execute(payload, &[&space, &at, &payloads]).await },
            async { self.client.execute(feeds, &[&space, &devices, &at, &hashes]).await },
            async { self.client.execute(documents, &[&space, &devices, &at]).await },
            async { self.client.execute(tails, &[&space, &devices, &actors, &at, &hashes]).await },
            async { self.client.execute(of_space, &[&space, &head, &hashes[0]]).await },
            self.client.batch_execute("COMMIT"),
        );
        done.expect("a group");
    }
}

fn uuid(space: usize, number: usize) -> Uuid {
    Uuid::from_u128((space as u128 + 1) << 64 | number as u128)
}
