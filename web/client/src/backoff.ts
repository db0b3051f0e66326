import { goingAway, restarting, tooMany } from './messages.ts'

const first = 500
const most = 30_000

/**
 * How long to wait after the nth failure in a row, in ms: anything up to a limit that doubles, so that those who lost their
 * connection at once don't come back at once. A server that restarts is back soon; one that says "too many" means it.
 */
export function backoff(failures: number, code: number, hadBeenOpen: boolean, random: () => number): number {
  if (code === tooMany) return most * (0.5 + random() / 2)
  if (hadBeenOpen && (code === restarting || code === goingAway)) return 1000 * random()
  return random() * Math.min(most, first * 2 ** (failures - 1))
}
