// Writes into a document at a steady pace, as somebody elsewhere would, in a thread of its own.
import { parentPort, workerData } from 'node:worker_threads'

const { module, server, id, edits } = workerData
const { Client } = await import(`./${module}.mjs`)
const client = new Client(server)
client.connect()
const text = await client.open(id)
parentPort.postMessage('ready')
await new Promise(done => parentPort.once('message', done))
for (let at = 0; at < edits; at++) {
  text.splice(text.length(), 0, 'y')
  await new Promise(done => setTimeout(done, 50))
}
await text.acknowledged()
