// Waiting for what is told by events, never forever.
const PATIENCE_MS = 300_000

/** That promise, or an error when it takes too long. */
export function deadline(promise, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Until it holds, looking again at each such event. */
export function until(emitter, event, holds) {
  if (holds()) return Promise.resolve()
  let look
  const held = new Promise(done => {
    look = () => holds() && done()
    emitter.on(event, look)
  })
  return deadline(held, event).finally(() => emitter.off(event, look))
}

/** Until a text is that long. */
export function long(text, length) {
  if (text.length() >= length) return Promise.resolve()
  const held = new Promise(done => text.onChange(() => text.length() >= length && done()))
  return deadline(held, `${length} characters`)
}
