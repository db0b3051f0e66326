package text

import (
	"embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"

	"duebell/internal/memo"
	"duebell/internal/money"
)

//go:embed locales/*.yaml
var files embed.FS

// languages have texts. The first one is for everybody else.
var languages = []string{"en", "ar", "cs", "es", "hi"}

// catalog is all messages, read once.
type catalog struct {
	matcher    language.Matcher
	localizers []*i18n.Localizer   // by languages
	plain      []map[string]parsed // by languages: messages without plural forms
	forms      []memo.Map[formKey, form]
}

var loaded = sync.OnceValue(func() *catalog {
	c, err := load()
	if err != nil {
		panic(err) // the files are part of the program
	}
	return c
})

func load() (*catalog, error) {
	c := &catalog{forms: make([]memo.Map[formKey, form], len(languages))}
	var tags []language.Tag
	for _, name := range languages {
		tag, err := language.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("language %s: %w", name, err)
		}
		// A bundle for each language, and not one for all: then nothing is looked for in another language unnoticed.
		bundle := i18n.NewBundle(tag)
		bundle.RegisterUnmarshalFunc("yaml", yaml.Unmarshal)
		file, err := bundle.LoadMessageFileFS(files, "locales/"+name+".yaml")
		if err != nil {
			return nil, fmt.Errorf("read texts: %w", err)
		}
		plain := map[string]parsed{}
		for _, message := range file.Messages {
			if message.One != "" {
				continue
			}
			if plain[message.ID], err = parse(message.Other); err != nil {
				return nil, fmt.Errorf("text %s of %s: %w", message.ID, name, err)
			}
		}
		tags = append(tags, tag)
		c.localizers = append(c.localizers, i18n.NewLocalizer(bundle, name))
		c.plain = append(c.plain, plain)
	}
	c.matcher = language.NewMatcher(tags)
	return c, nil
}

// printer writes in one language with one set of numerals. It may be used concurrently.
type printer struct {
	language  string
	localizer *i18n.Localizer
	plain     map[string]parsed
	zero      rune                     // the numeral 0
	forms     *memo.Map[formKey, form] // of the language
}

// printers are those of the locales that were asked for.
var printers memo.Map[string, *printer]

func newPrinter(locale string) *printer {
	c := loaded()
	index := 0
	tag, err := language.Parse(locale)
	if err == nil {
		_, index, _ = c.matcher.Match(tag)
	}
	p := &printer{language: languages[index], localizer: c.localizers[index], plain: c.plain[index], forms: &c.forms[index]}
	p.zero = zeroOf(p.language, locale)
	return p
}

// zeroOf is the numeral 0 in which amounts are written for that locale, so that days and dates look the same.
func zeroOf(language, locale string) rune {
	if !strings.HasPrefix(strings.ToLower(locale), language) {
		return '0'
	}
	for _, r := range money.Format(0, 0, "EUR", locale) {
		if unicode.IsDigit(r) {
			return r
		}
	}
	return '0'
}

// number writes a number in the locale's numerals, ungrouped.
func (p *printer) number(n int) string {
	s := strconv.Itoa(n)
	if p.zero == '0' {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return r
		}
		return r - '0' + p.zero
	}, s)
}

// message fills in a message that counts nothing; false if the language has none of that id.
func (p *printer) message(id string, w *words) (string, bool) {
	t, ok := p.plain[id]
	if !ok {
		return "", false
	}
	return t.fill(w), true
}

// counted fills in a message in the plural form that belongs to count.
func (p *printer) counted(id string, w *words, count int) (string, error) {
	f := p.forms.Of(formKey{id, count}, p.form)
	if f.err != nil {
		return "", f.err
	}
	return f.template.fill(w), nil
}

// form is a message in one plural form.
type form struct {
	template parsed
	err      error
}

// formKey is what a form depends on. Which form a count has is go-i18n's to say, which finds its rules anew for each message.
type formKey struct {
	id    string
	count int
}

func (p *printer) form(key formKey) form {
	var found parsed
	_, err := p.localizer.Localize(&i18n.LocalizeConfig{MessageID: key.id, TemplateData: &found, TemplateParser: parser{}, PluralCount: key.count})
	return form{found, err}
}
