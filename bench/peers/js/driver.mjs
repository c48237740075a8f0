// `driver.mjs ENGINE`: does what it is told in lines of JSON, with that engine's own client, and answers in lines of JSON. See
// bench/peers/README.md for the lines. Nothing is measured here but time and, at the client's sockets, bytes.
import { createInterface } from 'node:readline'
import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { deadline, long } from './wait.mjs'

const engine = process.argv[2]
const module = { hocuspocus: 'hocuspocus', 'y-sweet': 'y-sweet', 'automerge-repo': 'automerge', samod: 'automerge' }[engine]
const { Client } = await import(`./${module}.mjs`)

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
/** Documents that a client asks for at once: Hocuspocus closes the connection of one that asks for more than a hundred. */
const OPENING = 64
/** More keystrokes than this are made without automerge-repo. */
const STROKES_MAX = 20_000
const say = value => process.stdout.write(JSON.stringify(value) + '\n')
const now = () => performance.now()
const pause = ms => new Promise(done => setTimeout(done, ms))

/** Tells that a place was reached, and waits until the harness has looked at the server. */
async function mark(name) {
  say({ mark: name })
  await lines.next()
}

async function next() {
  const { value, done } = await lines.next()
  return done ? undefined : JSON.parse(value)
}

function traffic(client) {
  const sum = { up: 0, down: 0 }
  for (const socket of client.sockets()) {
    sum.up += socket?.bytesWritten ?? 0
    sum.down += socket?.bytesRead ?? 0
  }
  return sum
}

function connected(address) {
  const client = new Client(address)
  client.connect()
  return client
}

/** A writer's text and the same at a reader. */
async function pair(server, name) {
  const [writer, reader] = [connected(server), connected(server)]
  const mine = writer.create(name)
  await mine.acknowledged()
  const theirs = await reader.open(mine.id)
  return { writer, reader, mine, theirs }
}

const steps = {
  /** One writes at a steady pace, another reads. */
  async propagate({ server, name, edits, interval_ms, warm_up }) {
    const { mine, theirs, ...clients } = await pair(server, name)
    const [began, times] = [[], []]
    const arrived = new Promise(done => {
      theirs.onChange(() => {
        const length = theirs.length()
        while (times.length < length) times.push(now() - began[times.length])
        if (length === edits) done()
      })
    })
    const start = now()
    for (let at = 0; at < edits; at++) {
      const wait = start + at * interval_ms - now()
      if (wait > 0) await pause(wait)
      began.push(now())
      mine.splice(at, 0, 'x')
    }
    await deadline(arrived, 'the last edit')
    clients.writer.close()
    clients.reader.close()
    return { latencies_ms: times.slice(warm_up) }
  },

  /** Many documents, each with a writer, a reader and one change in flight. */
  async fan_out({ server, name, pairs, warm_up_s, seconds }) {
    const open = []
    for (let number = 0; number < pairs; number++) open.push(await pair(server, `${name}-${number}`))
    let [counting, running, times] = [false, true, []]
    const work = open.map(async ({ mine, theirs }) => {
      let [length, seen] = [0, () => {}]
      theirs.onChange(() => theirs.length() >= length && seen())
      while (running) {
        const began = now()
        const arrived = new Promise(done => (seen = done))
        mine.splice(length++, 0, 'x')
        await deadline(arrived, 'a change')
        if (counting) times.push(now() - began)
      }
    })
    const failed = Promise.all(work)
    await Promise.race([pause(warm_up_s * 1e3), failed])
    await mark('begin')
    counting = true
    const began = now()
    await Promise.race([pause(seconds * 1e3), failed])
    counting = false
    const took = (now() - began) / 1e3
    await mark('end')
    running = false
    await failed
    for (const { writer, reader } of open) {
      writer.close()
      reader.close()
    }
    return { delivered: times.length, seconds: took, latencies_ms: times }
  },

  /** Typed without a network, then sent; then a fresh client takes it. */
  async offline({ server, name, strokes_file }) {
    const strokes = JSON.parse(readFileSync(strokes_file, 'utf8'))
    const writer = new Client(server)
    let began = now()
    const restored = strokes.length > STROKES_MAX && writer.restored?.(strokes)
    const mine = restored || writer.create(name)
    if (!restored) for (const [at, remove, insert] of strokes) mine.splice(at, remove, insert)
    const edit_us = ((now() - began) * 1e3) / strokes.length
    await mark('upload')
    began = now()
    writer.connect()
    await mine.acknowledged()
    const up_ms = now() - began
    const up = traffic(writer)
    writer.close()
    await mark('uploaded')
    began = now()
    const reader = connected(server)
    const theirs = await reader.open(mine.id)
    await long(theirs, mine.length())
    const fresh_ms = now() - began
    const down = traffic(reader)
    if (theirs.text() !== mine.text()) throw new Error('the texts differ')
    await mark('fresh')
    reader.close()
    return { edit_us, up_ms, fresh_ms, bytes_up: up.up, bytes_down: down.down, bytes: up.up + up.down + down.up + down.down, id: mine.id }
  },

  /** Fills the server with documents, each written in some changes. */
  async fill({ server, name, documents, texts_file }) {
    const texts = JSON.parse(readFileSync(texts_file, 'utf8'))
    const client = connected(server)
    const [ids, began] = [[], now()]
    for (let from = 0; from < documents; from += 50) {
      const write = async (_, some) => {
        const text = client.create(`${name}-${from + some}`)
        ids.push(text.id)
        await text.acknowledged()
        for (const part of texts[from + some]) text.splice(text.length(), 0, part)
        await text.acknowledged()
      }
      await Promise.all(Array.from({ length: Math.min(50, documents - from) }, write))
    }
    const fill_s = (now() - began) / 1e3
    client.close()
    return { fill_s, ids }
  },

  /** A fresh client takes all of them. */
  async cold({ server, ids, length }) {
    await mark('begin')
    const began = now()
    const client = connected(server)
    const left = [...ids]
    const take = async () => {
      for (let id = left.pop(); id; id = left.pop()) {
        const text = await client.open(id)
        if (text.length() < length) await long(text, length)
      }
    }
    await Promise.all(Array.from({ length: OPENING }, take))
    const cold_s = (now() - began) / 1e3
    const { up, down } = traffic(client)
    await mark('end')
    client.close()
    return { cold_s, bytes_down: down, bytes: up + down }
  },

  /** Clients with a document each that say nothing. */
  async idle({ server, name, steps }) {
    const open = []
    await mark('0')
    for (const step of steps) {
      while (open.length < step) {
        const some = []
        for (let number = open.length; number < Math.min(step, open.length + 20); number++) {
          const client = connected(server)
          some.push(client.create(`${name}-${number}`).acknowledged().then(() => client))
        }
        open.push(...(await Promise.all(some)))
      }
      await mark(`${step}`)
    }
    for (const client of open) client.close()
    return {}
  },

  /** Writes until the server is dead; answers what was acknowledged of each document. */
  async load({ server, name, documents, interval_ms }) {
    const client = connected(server)
    const texts = []
    for (let number = 0; number < documents; number++) texts.push(client.create(`${name}-${number}`))
    await Promise.all(texts.map(text => text.acknowledged()))
    let running = true
    const work = texts.map(async text => {
      text.count = 0
      for (let at = 0; running; at++) {
        const began = now()
        text.splice(at, 0, 'x')
        await text.acknowledged()
        text.count = at + 1
        const wait = began + interval_ms - now()
        if (wait > 0) await pause(wait)
      }
    })
    Promise.all(work).catch(() => {})
    await mark('loading')
    await mark('dead')
    running = false
    client.close()
    return { acknowledged: texts.map(text => ({ id: text.id, count: text.count })) }
  },

  /** How long those documents are on the server. */
  async lengths({ server, ids }) {
    const client = connected(server)
    const one = async id => {
      try {
        return (await client.open(id)).length()
      } catch {
        return 0
      }
    }
    const lengths = await Promise.all(ids.map(one))
    client.close()
    return { lengths }
  },

  /** A long document is edited, and receives edits from elsewhere: what an edit costs, and how long the thread stands still. */
  async long({ server, id, edits }) {
    const client = connected(server)
    let began = now()
    const text = await client.open(id)
    const open_ms = now() - began
    const times = []
    for (let at = 0; at < edits; at++) {
      const from = now()
      text.splice(text.length(), 0, 'x')
      times.push((now() - from) * 1e3)
    }
    await text.acknowledged()
    const remote = Math.min(edits, 100)
    const wanted = text.length() + remote
    const worker = new Worker(new URL('./writer.mjs', import.meta.url), { workerData: { module, server, id, edits: remote } })
    const failed = new Promise((_, reject) => worker.once('error', reject))
    await Promise.race([new Promise(done => worker.once('message', done)), failed])
    const stalls = []
    let [running, last] = [true, now()]
    const watch = () => {
      const here = now()
      stalls.push(here - last)
      last = here
      if (running) setImmediate(watch)
    }
    last = now()
    watch()
    worker.postMessage('go')
    await Promise.race([long(text, wanted), failed])
    running = false
    await worker.terminate()
    client.close()
    // One for each remote edit: the longest of them are those in which something was applied.
    stalls.sort((a, b) => b - a)
    return { open_ms, edits_us: times, stalls_ms: stalls.slice(0, remote) }
  },
}

for (let told = await next(); told; told = await next()) {
  try {
    say({ result: await steps[told.step](told) })
  } catch (error) {
    say({ error: `${error.stack ?? error}` })
  }
}
process.exit(0)
