//! Every frame's codec: arbitrary bytes never panic, and what is read is written and read again as the same.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::version::VersionVector;
use sync_core::wire::{
    ErrorResponse, HealRequest, HealResponse, LiveRequest, LiveResponse, SyncRequest, SyncResponse, VersionResponse,
    decode, encode,
};

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(frame) = decode::<T>(bytes) else { return };
    let again = encode(&frame).expect("what was read can be written");
    assert_eq!(decode::<T>(&again).expect("what was written can be read"), frame);
}

fuzz_target!(|bytes: &[u8]| {
    round_trip::<SyncRequest>(bytes);
    round_trip::<SyncResponse>(bytes);
    round_trip::<HealRequest>(bytes);
    round_trip::<HealResponse>(bytes);
    round_trip::<VersionResponse>(bytes);
    round_trip::<ErrorResponse>(bytes);
    round_trip::<LiveRequest>(bytes);
    round_trip::<LiveResponse>(bytes);
    let _ = LiveResponse::read(bytes);
    if let Ok(vector) = VersionVector::decode(bytes) {
        assert_eq!(vector.encode(), bytes);
    }
});
