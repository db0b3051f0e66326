/** For tests of apps: a server that is scripted and answers as the real one does, and pages of a browser. No network, no timers. */
export { createFakeBrowser, type FakeBrowser, type FakePage } from './testing/browser.ts'
export { fakeToken } from './testing/token.ts'
export { createFakeServer, type FakeServer, type FakeServerOptions } from './testing/server.ts'
export type { FakeSocket } from './testing/socket.ts'
