// What the two engines on Yjs have in common: a document with one text.
import * as Y from 'yjs'

export class YText {
  constructor(id) {
    this.id = id
    this.doc = new Y.Doc()
    this.inner = this.doc.getText('text')
  }

  splice(at, remove, insert) {
    this.doc.transact(() => {
      if (remove > 0) this.inner.delete(at, remove)
      if (insert) this.inner.insert(at, insert)
    })
  }

  length() {
    return this.inner.length
  }

  text() {
    return this.inner.toString()
  }

  onChange(callback) {
    this.doc.on('update', callback)
  }
}
