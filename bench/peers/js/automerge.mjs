// automerge-repo's client, against its own server and against samod. It has no acknowledgements; the nearest is a sync message
// of the server that names the change among its heads: the server has applied it in memory, and stores it 100 ms later or less.
import { next as A } from '@automerge/automerge'
import { Repo } from '@automerge/automerge-repo'
import { WebSocketClientAdapter } from '@automerge/automerge-repo-network-websocket'
import { EventEmitter } from 'node:events'
import { deadline, until } from './wait.mjs'

class Text extends EventEmitter {
  constructor(client, handle) {
    super()
    Object.assign(this, { client, handle, id: handle.url, theirs: new Set() })
    client.texts.set(handle.documentId, this)
  }

  splice(at, remove, insert) {
    this.handle.change(doc => A.splice(doc, ['text'], at, remove, insert))
  }

  length() {
    return this.handle.doc()?.text?.length ?? 0
  }

  text() {
    return this.handle.doc().text
  }

  onChange(callback) {
    this.handle.on('change', callback)
  }

  /** Until the server names all of our heads. */
  acknowledged() {
    const wanted = A.getHeads(this.handle.doc())
    return until(this, 'heads', () => wanted.every(head => this.theirs.has(head)))
  }
}

export class Client {
  texts = new Map()

  constructor(address) {
    this.address = address
    this.repo = new Repo({ network: [] })
    this.repo.synchronizer.on('sync-state', ({ documentId, syncState }) => {
      const text = this.texts.get(documentId)
      if (!text || !syncState.theirHeads) return
      text.theirs = new Set(syncState.theirHeads)
      text.emit('heads')
    })
  }

  connect() {
    this.adapter = new WebSocketClientAdapter(`ws://${this.address}`)
    // Its whenReady() gives up after a second: only a peer says that there is a connection.
    this.peer = new Promise(done => this.repo.networkSubsystem.once('peer', done))
    this.repo.networkSubsystem.addNetworkAdapter(this.adapter)
  }

  create() {
    return new Text(this, this.repo.create({ text: '' }))
  }

  /** A long document as it comes from an app's storage: the same changes, one a keystroke, made without the repo, which takes a
   * millisecond for each. */
  restored(strokes) {
    let doc = A.from({ text: '' })
    for (const [at, remove, insert] of strokes) doc = A.change(doc, inner => A.splice(inner, ['text'], at, remove, insert))
    return new Text(this, this.repo.import(A.save(doc)))
  }

  async open(id) {
    await deadline(this.peer, 'a peer')
    return new Text(this, await deadline(this.repo.find(id), `document ${id}`))
  }

  sockets() {
    return [this.adapter?.socket?._socket]
  }

  close() {
    this.adapter?.disconnect()
  }
}
