//! How many nodes there are: each shows itself in a sorted set, under the time that Redis has.

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

use super::Shared;

/// A node that was not seen for so long is gone. It shows itself ten times meanwhile.
const NODE_GONE_MS: u64 = 10_000;

/// Shows a node and counts all. Entries from the future are of a clock that was set back.
const COUNT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - ARGV[2]))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
";

pub(super) struct Census(Script);

impl Census {
    pub(super) fn new() -> Self {
        Self(Script::new(COUNT))
    }

    /// Shows this node, and answers how many there are.
    pub(super) async fn take(&self, shared: &Shared, connection: &mut MultiplexedConnection) -> RedisResult<u32> {
        let mut script = self.0.key(&shared.names.nodes);
        script.arg(shared.node.bytes()).arg(NODE_GONE_MS);
        script.invoke_async(connection).await
    }
}
