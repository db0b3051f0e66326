// Package text puts notifications into words.
//
// Each language is one file in locales: messages in the form of go-i18n, with the plural forms that the language has (CLDR),
// month names and statuses of applications. A message is plain text with {{.Field}} in it, and nothing else: what a
// person or a loan is called comes out as it is, whatever it looks like. A test checks that every language has every
// message in every form that its numbers need, so a new file is complete when the tests pass.
//
// Texts only say what is true of the numbers they are given: nothing is "due in 0 days".
//
// Reading order: render.go, printer.go, template.go, locales/en.yaml.
package text
