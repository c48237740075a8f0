// y-sweet's own provider: one connection for each document. An acknowledgement is its echo of the client's version: the server
// has applied the change in memory; it stores documents every ten seconds.
import { createYjsProvider } from '@y-sweet/client'
import WebSocket from 'ws'
import { YText } from './yjs.mjs'
import { until } from './wait.mjs'

async function post(url, body) {
  const headers = { 'Content-Type': 'application/json' }
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`)
  return answer.json()
}

class Text extends YText {
  attach(address, isNew) {
    // What an app's backend does for its clients.
    const token = async () => {
      if (isNew) await post(`http://${address}/doc/new`, { docId: this.id })
      return post(`http://${address}/doc/${this.id}/auth`, {})
    }
    const options = { WebSocketPolyfill: WebSocket, showDebuggerLink: false }
    this.provider = createYjsProvider(this.doc, this.id, token, options)
  }

  synced() {
    return until(this.provider, 'connection-status', () => this.provider.status === 'connected')
  }

  async acknowledged() {
    await this.synced()
    // What was written before there was a connection is not counted as local changes: ask for an echo behind it.
    if (!this.asked) {
      this.asked = true
      this.provider.incrementLocalVersion()
      this.provider.checkSync()
    }
    await until(this.provider, 'local-changes', () => !this.provider.hasLocalChanges)
  }
}

export class Client {
  texts = []

  constructor(address) {
    this.address = address
  }

  connect() {
    this.connected = true
    for (const text of this.texts) text.attach(this.address, true)
  }

  create(name, isNew = true) {
    const text = new Text(name)
    this.texts.push(text)
    if (this.connected) text.attach(this.address, isNew)
    return text
  }

  async open(id) {
    const text = this.create(id, false)
    await text.synced()
    return text
  }

  sockets() {
    return this.texts.map(text => text.provider?.websocket?._socket)
  }

  close() {
    for (const text of this.texts) text.provider?.destroy()
  }
}
