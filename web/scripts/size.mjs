// Prints what the packages weigh for whoever ships them in an app: bundled, minified and gzipped, in KB of 1,000 bytes, with
// everything that the entry exports. Fails where a script is above its budget; the style sheet is printed beside it.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build, loadConfigFromFile } from 'vite'

const packages = [
  { name: 'client', budget: 6, external: [] },
  { name: 'vue', budget: 16, external: ['vue', 'vue-router', /^@duebell\/client/], config: 'vue/vite.config.ts' },
]
const result = {}
let fits = true

const file = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))

for (const { name, budget, external, config } of packages) {
  const input = file(`${name}/src/index.ts`)
  if (!existsSync(input)) continue
  // Compiled as for publishing.
  const own = config && (await loadConfigFromFile({ command: 'build', mode: 'production' }, file(config)))
  const { output } = await build({
    configFile: false,
    logLevel: 'error',
    plugins: own?.config.plugins,
    build: {
      write: false,
      target: 'es2022',
      modulePreload: false,
      rolldownOptions: { input, external, preserveEntrySignatures: 'strict' },
    },
  })
  const kb = (bytes) => Math.round(bytes / 10) / 100
  const bytes = { chunk: 0, asset: 0 }
  for (const file of output) bytes[file.type] += gzipSync(file.type === 'chunk' ? file.code : file.source, { level: 9 }).length
  result[`${name}_kb`] = kb(bytes.chunk)
  if (bytes.asset) result[`${name}_css_kb`] = kb(bytes.asset)
  if (bytes.chunk > budget * 1000) {
    fits = false
    console.error(`${name}: ${bytes.chunk} bytes are more than ${budget} KB`)
  }
}
console.log(`RESULT ${JSON.stringify(result)}`)
process.exitCode = fits ? 0 : 1
