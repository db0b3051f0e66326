// Whether the page that is committed is what the sources build: builds into a folder of its own and compares byte by byte.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'

const committed = fileURLToPath(new URL('../../cmd/duebell/demo/page', import.meta.url))
const built = mkdtempSync(join(tmpdir(), 'duebell-demo-page-'))

const filesOf = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort()

try {
  await build({
    configFile: fileURLToPath(new URL('vite.config.ts', import.meta.url)),
    logLevel: 'error',
    build: { outDir: built },
  })
  const differences = []
  const [now, then] = [filesOf(built), filesOf(committed)]
  for (const name of now) {
    if (!then.includes(name)) differences.push(`${name} is missing`)
    else if (!readFileSync(join(built, name)).equals(readFileSync(join(committed, name)))) differences.push(`${name} is another`)
  }
  for (const name of then) if (!now.includes(name)) differences.push(`${name} is left over`)
  if (differences.length) {
    console.error(`cmd/duebell/demo/page isn't what web/demo builds:\n  ${differences.join('\n  ')}`)
    console.error('Run `npm run build -w demo` in web/ and commit what it writes.')
    process.exitCode = 1
  } else console.log(`cmd/duebell/demo/page is what web/demo builds: ${now.length} files.`)
} finally {
  rmSync(built, { recursive: true, force: true })
}
