// Hocuspocus's own provider. An acknowledgement is its sync status: the server has applied the change in memory; it stores a
// document two to ten seconds later.
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'
import WebSocket from 'ws'
import { YText } from './yjs.mjs'
import { until } from './wait.mjs'

class Text extends YText {
  attach(socket) {
    const { id: name, doc: document } = this
    this.provider = new HocuspocusProvider({ websocketProvider: socket, name, document })
    this.provider.attach()
  }

  synced() {
    return until(this.provider, 'synced', () => this.provider.synced)
  }

  acknowledged() {
    return until(this.provider, 'unsyncedChanges', () => this.provider.synced && !this.provider.hasUnsyncedChanges)
  }
}

export class Client {
  constructor(address) {
    this.address = address
  }

  connect() {
    this.socket = new HocuspocusProviderWebsocket({ url: `ws://${this.address}`, WebSocketPolyfill: WebSocket })
    for (const text of this.offline ?? []) text.attach(this.socket)
  }

  create(name) {
    const text = new Text(name)
    if (this.socket) text.attach(this.socket)
    else this.offline = [...(this.offline ?? []), text]
    return text
  }

  async open(id) {
    const text = this.create(id)
    await text.synced()
    return text
  }

  sockets() {
    return [this.socket?.webSocket?._socket]
  }

  close() {
    this.socket?.destroy()
  }
}
