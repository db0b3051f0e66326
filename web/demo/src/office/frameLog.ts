import { reactive } from 'vue'
import type { Frame } from '../frames.ts'
import type { Told } from '../network.ts'

/** A connection: the office's, or a device's. */
export interface Line {
  name: string
  /** The client's: live, offline, … */
  state: string
  links: number
  breaks: number
  rev: number | null
}

export interface Entry {
  key: number
  line: string
  frame: Frame
}

const most = 80

/** The last frames of all connections, newest first. */
export function createFrameLog() {
  const lines = reactive<Record<string, Line>>({})
  const entries = reactive<Entry[]>([])
  let last = 0

  function lineOf(key: string): Line {
    return (lines[key] ??= { name: key, state: 'idle', links: 0, breaks: 0, rev: null })
  }

  return {
    lines,
    entries,
    name(key: string, name: string): void {
      lineOf(key).name = name
    },
    state(key: string, state: string): void {
      lineOf(key).state = state
    },
    add(key: string, { frame, links, breaks, rev }: Told): void {
      Object.assign(lineOf(key), { links, breaks, rev })
      entries.unshift({ key: ++last, line: key, frame })
      entries.splice(most)
    },
    drop(key: string): void {
      delete lines[key]
      entries.splice(0, entries.length, ...entries.filter(({ line }) => line !== key))
    },
  }
}

export type FrameLog = ReturnType<typeof createFrameLog>
