import { type Component, h, type FunctionalComponent } from 'vue'
import type { Link } from './links.ts'

// 24 by 24, drawn with a stroke.
const shapes = {
  bell: 'M6 9a6 6 0 1 1 12 0c0 6 2 7 2 7H4s2-1 2-7m4 11a2 2 0 0 0 4 0',
  calendar: 'M8 3v4m8-4v4M4 10h16M4 5h16v15H4z',
  clock: 'M12 7v5l3 2m6-2a9 9 0 1 1-18 0 9 9 0 0 1 18 0',
  alert: 'M12 9v5m0 3v.01M12 3 2 20h20z',
  document: 'M14 3H5v18h14V8zv5h5M9 15l2 2 4-4',
  check: 'm5 12.5 4.5 4.5L19 7.5',
  dot: 'M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6',
  archive: 'M4 8v12h16V8M3 4h18v4H3zm7 8h4',
  close: 'm6 6 12 12M18 6 6 18',
  lock: 'M8 11V7a4 4 0 0 1 8 0v4M5 11h14v9H5z',
  cloud: 'm3 3 18 18M9 6a6 6 0 0 1 8 5 4 4 0 0 1 3 7M6 9a5 5 0 0 0 1 10h9',
  up: 'M12 19V5m-6 6 6-6 6 6',
  start: 'm14.5 6-6 6 6 6',
  end: 'm9.5 6 6 6-6 6',
}

export type IconName = keyof typeof shapes

/** A picture beside words: readers of the screen don't hear it. */
export const Icon: FunctionalComponent<{ name: IconName | Component }> = ({ name }) =>
  typeof name === 'string'
    ? h(
        'svg',
        { class: `db-svg db-svg-${name}`, viewBox: '0 0 24 24', 'aria-hidden': true },
        h('path', { d: shapes[name] }),
      )
    : h(name, { class: 'db-svg', 'aria-hidden': true })
Icon.props = ['name']

/** A button that is only a picture: its name is its tooltip. */
export const Tool: FunctionalComponent<{ icon: IconName; label: string }> = ({ icon, label }) =>
  h('button', { type: 'button', class: 'db-tool', 'aria-label': label, title: label }, h(Icon, { name: icon }))
Tool.props = ['icon', 'label']

/** Looks like a button and is a link where it leads somewhere. */
export const Choice: FunctionalComponent<{ to: Link | null; label: string }> = ({ to, label }) =>
  to
    ? h('a', { href: to.href, target: to.target, rel: 'noopener noreferrer' }, label)
    : h('button', { type: 'button' }, label)
Choice.props = ['to', 'label']
