//! Hostile changes: the guard never panics, and what it lets through has the hash it says, strips and comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sync_core::chunk::Chunk;
use sync_core::guard;
use sync_core::hostile;
use sync_core::id::DocId;
use sync_core::limits::INFLATED_BYTES_MAX;
use sync_core::strip::Context;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    // A wrong checksum would stop nearly every input at the door.
    hostile::rechecksum(&mut bytes);
    let Ok(guarded) = guard::inspect(&bytes) else { return };
    let chunk = Chunk::read(&bytes).expect("what passed the guard can be read");
    assert_eq!(chunk.hash(), guarded.hash);
    let doc = DocId::from_bytes([0; 16]);
    let mut stripped = Vec::new();
    if Context::default().strip(doc, &chunk, &mut stripped) {
        let mut input = stripped.as_slice();
        let back = Context::default().unstrip(doc, &mut input, INFLATED_BYTES_MAX).expect("it comes back");
        assert_eq!(back, (bytes.clone(), guarded.hash));
    }
    if let Ok(change) = guard::verify(&bytes, &guarded) {
        assert_eq!(change.raw_bytes(), bytes);
    }
});
