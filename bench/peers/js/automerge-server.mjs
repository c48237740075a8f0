// automerge-repo with its WebSocket server and its file store, otherwise as it comes. `automerge-server.mjs FOLDER` prints its address.
import { WebSocketServer } from 'ws'
import { Repo } from '@automerge/automerge-repo'
import { WebSocketServerAdapter } from '@automerge/automerge-repo-network-websocket'
import { NodeFSStorageAdapter } from '@automerge/automerge-repo-storage-nodefs'

const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
await new Promise(done => sockets.once('listening', done))
const repo = new Repo({
  network: [new WebSocketServerAdapter(sockets)],
  storage: new NodeFSStorageAdapter(process.argv[2]),
  peerId: 'server',
  // A server that does not offer documents to whoever has not asked for them, as automerge-repo's own sync server.
  sharePolicy: async () => false,
})
process.on('SIGTERM', async () => {
  await repo.flush()
  process.exit(0)
})
console.log(`127.0.0.1:${sockets.address().port}`)
