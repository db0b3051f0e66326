package mail

import (
	"embed"
	"fmt"
	"sync"

	"github.com/goccy/go-yaml"

	"duebell/jobs/text"
)

//go:embed locales/*.yaml
var files embed.FS

// words are what stands around a notification in one language. {} is a name.
type words struct {
	Dir            string `yaml:"dir"`
	Greeting       string `yaml:"greeting"`
	GreetingNobody string `yaml:"greeting_nobody"`
	Untitled       string `yaml:"untitled"` // in place of a title; {} is the lender
	Open           string `yaml:"open"`     // the button
	Why            string `yaml:"why"`      // {} is the lender
	Change         string `yaml:"change"`   // before the address of the settings
	Settings       string `yaml:"settings"` // the link's own words
	Beware         string `yaml:"beware"`

	lang string
}

var loaded = sync.OnceValue(func() map[string]*words {
	all, err := load()
	if err != nil {
		panic(err) // the files are part of the program
	}
	return all
})

func load() (map[string]*words, error) {
	all := map[string]*words{}
	for _, language := range text.Languages() {
		src, err := files.ReadFile("locales/" + language + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("read texts of e-mails: %w", err)
		}
		w := &words{lang: language}
		if err := yaml.UnmarshalWithOptions(src, w, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("texts of e-mails in %s: %w", language, err)
		}
		all[language] = w
	}
	return all, nil
}

// wordsFor are those of the language in which jobs/text writes for that locale.
func wordsFor(locale string) *words { return loaded()[text.Language(locale)] }
