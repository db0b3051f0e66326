/**
 * How tests and pictures start Chromium: the machine's own, without a sandbox (tests run as root), silent towards the outside.
 * @type {{ executablePath: string, args: string[] }}
 */
export const launchOptions = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--font-render-hinting=none', // the same text on every machine
  ],
}
