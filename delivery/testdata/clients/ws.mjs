// A conversation with the pusher by Node's ws: node ws.mjs FOLDER_WITH_NODE_MODULES URL, tokens as JSON in TOKENS.
// A line on stdout asks the test for something; the exit code says whether all was as it should be.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const [, , folder, url] = process.argv
const tokens = JSON.parse(process.env.TOKENS)
const { WebSocket } = createRequire(join(folder, 'index.js'))('ws')

// Conversation collects what comes and lets the script wait for it.
class Conversation {
  messages = []
  closed = undefined
  #wake = () => {}

  constructor(token, query = '', options = {}) {
    this.socket = new WebSocket(url + query, token ? ['duebell.v1', `bearer.${token}`] : ['duebell.v1'], options)
    this.socket.on('message', (data, binary) => {
      assert.equal(binary, false)
      this.messages.push(JSON.parse(data.toString()))
      this.#wake()
    })
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
      this.#wake()
    })
    this.socket.on('error', () => {}) // a close follows
  }

  async next(type) {
    while (this.messages.length === 0) {
      assert.equal(this.closed, undefined, `closed before ${type ?? 'a message'}`)
      await new Promise((resolve) => (this.#wake = resolve))
    }
    const message = this.messages.shift()
    if (type) assert.equal(message.type, type)
    return message
  }

  async end() {
    while (!this.closed) await new Promise((resolve) => (this.#wake = resolve))
    return this.closed
  }

  say(message) {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message))
  }
}

const once = (socket, event) => new Promise((resolve) => socket.once(event, resolve))
const ask = (what) => process.stdout.write(`${what}\n`)

// Hello, a change as it happens, and one by this client.
const c = new Conversation(tokens.user)
const hello = await c.next('hello')
assert.deepEqual([hello.user, hello.rev, hello.unread, hello.total], ['client', 0, 0, 0])
assert.equal(c.socket.protocol, 'duebell.v1')
assert.equal(c.socket.extensions, '', 'compression is offered and not agreed on')
ask('tell')
const told = await c.next('changes')
assert.deepEqual([told.from, told.rev, told.unread, told.items.length], [0, 1, 1, 1])
assert.ok(told.items[0].body.length > 65536 && told.items[0].body.endsWith('κόσμε 🚀'), 'a body with a 64-bit length and all of UTF-8')
c.say({ type: 'read', ids: [told.items[0].id], ref: 'r1' })
const both = {} // in either order
for (let i = 0; i < 2; i++) {
  const m = await c.next()
  both[m.type] = m
}
assert.equal(both.ok.ref, 'r1')
assert.deepEqual([both.changes.from, both.changes.rev, both.changes.unread], [1, 2, 0])

// Pings of both sides, and a message in fragments.
c.socket.ping('are you there')
assert.equal((await once(c.socket, 'pong')).toString(), 'are you there')
await once(c.socket, 'ping')
c.socket.send('{"type":"pi', { fin: false })
c.socket.send('ng","ref":"in', { fin: false })
c.socket.send(' pieces"}', { fin: true })
assert.equal((await c.next('ok')).ref, 'in pieces')

// The token is renewed; nonsense is refused and the old one stays.
c.say({ type: 'auth', token: tokens.renewed, ref: 'a1' })
assert.equal((await c.next('ok')).ref, 'a1')
c.say({ type: 'auth', token: 'nonsense', ref: 'a2' })
const refused = await c.next('error')
assert.deepEqual([refused.ref, refused.code], ['a2', 'unauthorized'])
c.socket.close(1000, 'bye')
assert.equal((await c.end()).code, 1000)

// Resumed from the start, and with the token in the header.
const resumed = new Conversation('', `?rev=0&epoch=${hello.epoch}`, { headers: { Authorization: `Bearer ${tokens.user}` } })
await resumed.next('hello')
const missed = await resumed.next('changes')
assert.deepEqual([missed.from, missed.rev, missed.items.length], [0, 2, 1])
resumed.socket.terminate()

// How it ends.
for (const [code, token, act] of [
  [4401, 'nonsense', () => {}],
  [4401, tokens.expired, () => {}],
  [4401, '', () => {}],
  [4400, tokens.user, (x) => x.say('not JSON')],
  [4400, tokens.user, (x) => x.say({ type: 'unknown' })],
  [4403, tokens.user, (x) => x.say({ type: 'auth', token: tokens.other })],
  [1003, tokens.user, (x) => x.socket.send(Buffer.from([1, 2, 3]))],
  [1009, tokens.user, (x) => x.say('x'.repeat(70_000))],
]) {
  const x = new Conversation(token)
  await once(x.socket, 'open')
  act(x)
  const end = await x.end()
  assert.equal(end.code, code, `${end.code} ${end.reason} instead of ${code}`)
  assert.notEqual(end.reason, '')
}

// Sent away.
const last = new Conversation(tokens.user)
await last.next('hello')
ask('drain')
const goaway = await last.next('goaway')
assert.ok(goaway.reconnect_ms >= 0)
assert.equal((await last.end()).code, 1012)
