// In declarations a relative import names what is there: './x.js' for x.d.ts, './X.vue.js' for X.vue.d.ts. Every module
// resolution finds those.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

const dist = new URL('dist/', import.meta.url)
for (const name of readdirSync(dist, { recursive: true })) {
  if (!name.endsWith('.d.ts')) continue
  const file = new URL(name, dist)
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.replace(/((?:from |import\()["']\.[^"']+?)(?:\.ts|(\.vue))(?=["'])/g, '$1$2.js'))
}
