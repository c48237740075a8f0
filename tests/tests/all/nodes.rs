//! Several nodes.

use sync_tests::nodes::Nodes;
use sync_tests::rig::device;

mod bus;
mod crashes;
mod devices;
mod exhausted;
mod kills;
mod writers;

#[test]
fn nodes_share_their_keys_and_come_back_on_their_ports() {
    let mut nodes = Nodes::with(env!("CARGO_BIN_EXE_child").as_ref(), 3, |_, _| {});
    let token = nodes.token("ann", device(1));
    let urls: Vec<String> = (0..3).map(|node| nodes.url(node)).collect();
    nodes.kill(1);
    assert!(nodes.node(1).get("/v1/spaces", &token).is_err());
    nodes.restart(1);
    for (node, url) in urls.iter().enumerate() {
        assert_eq!(nodes.url(node), *url);
        assert_eq!(nodes.node(node).get("/v1/spaces", &token).unwrap().status, 200);
    }
}
