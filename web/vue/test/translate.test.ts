import { describe, expect, it } from 'vitest'
import ar from '../src/locales/ar.ts'
import cs from '../src/locales/cs.ts'
import en from '../src/locales/en.ts'
import es from '../src/locales/es.ts'
import hi from '../src/locales/hi.ts'
import { createTranslate, directionOf, type Message, type Messages } from '../src/translate.ts'

const languages: Messages[] = [en, cs, es, ar, hi]
const textsOf = (message: Message) => (typeof message === 'string' ? [message] : Object.values(message))
const fieldsOf = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '')

describe.each(languages.map((messages) => [messages.lang, messages] as const))(
  'the messages in %s',
  (lang, messages) => {
    it('are those of English, no more and no less', () => {
      expect(new Set(Object.keys(messages))).toEqual(new Set(Object.keys(en)))
    })

    it('have a text for each plural category of the language, and for no other', () => {
      const categories = new Set(new Intl.PluralRules(lang).resolvedOptions().pluralCategories)
      for (const [key, message] of Object.entries(messages)) {
        if (typeof message !== 'string') expect(new Set(Object.keys(message)), key).toEqual(categories)
      }
    })

    it('name the values that English names', () => {
      for (const [key, message] of Object.entries(messages)) {
        const english = en[key as keyof typeof en]
        const known = new Set(textsOf(english).flatMap(fieldsOf))
        for (const text of textsOf(message)) {
          expect(text.trim(), key).not.toBe('')
          // "One" and "two" may be words; every other form shows its values.
          expect([...known], key).toEqual(expect.arrayContaining(fieldsOf(text)))
        }
        const other = typeof message === 'string' ? message : message.other
        expect(new Set(fieldsOf(other)), key).toEqual(known)
      }
    })
  },
)

describe('a translation', () => {
  it('takes the plural form that the language has for the number', () => {
    const czech = createTranslate(cs, 'cs')
    expect(czech('new', { n: 1 })).toBe('1 nové oznámení')
    expect(czech('new', { n: 3 })).toBe('3 nová oznámení')
    expect(czech('new', { n: 5 })).toBe('5 nových oznámení')
    const arabic = createTranslate(ar, 'ar')
    expect(arabic('new', { n: 2 })).toBe('إشعاران جديدان')
    expect(arabic('new', { n: 11 })).toContain('إشعارًا')
  })

  it('writes numbers as the locale does', () => {
    expect(createTranslate(en, 'en-GB')('range', { from: 1001, to: 1020, total: 12345 })).toBe('1,001–1,020 of 12,345')
    expect(createTranslate(ar, 'ar-EG')('count', { n: 12 })).toBe('١٢')
  })

  it('never reads a value as a text with fields', () => {
    expect(createTranslate(en, 'en')('newTitled', { title: 'pay {n} $& now' })).toBe('New notification: pay {n} $& now')
  })

  it('makes a name of a kind that it does not know', () => {
    const t = createTranslate({ ...en, 'kind.card.shipped': 'Cards' }, 'en')
    expect(t.kind('card.shipped')).toBe('Cards')
    expect(t.kind('card.lost_abroad')).toBe('Card lost abroad')
  })

  it('knows which way a language runs', () => {
    expect(['ar-EG', 'he', 'fa', 'ur-PK'].map(directionOf)).toEqual(['rtl', 'rtl', 'rtl', 'rtl'])
    expect(['en', 'cs-CZ', 'hi', 'arn'].map(directionOf)).toEqual(['ltr', 'ltr', 'ltr', 'ltr'])
  })
})
