// Hocuspocus with its SQLite extension, otherwise as it comes. `hocuspocus-server.mjs FOLDER` prints its address.
import { mkdirSync } from 'node:fs'
import { Server } from '@hocuspocus/server'
import { SQLite } from '@hocuspocus/extension-sqlite'

const folder = process.argv[2]
mkdirSync(folder, { recursive: true })
const server = new Server({
  port: 0,
  address: '127.0.0.1',
  quiet: true,
  extensions: [new SQLite({ database: `${folder}/documents.sqlite` })],
})
await server.listen()
console.log(`127.0.0.1:${server.address.port}`)
