package program_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/security.md names exists, in the folder that it names before it.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	const root = "../../.."
	text, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([\\w/.]+)`|\\b((?:Test|Fuzz)[A-Z]\\w*)")
	found := 0
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		held, folder, sources := cells[len(cells)-1], "", ""
		for _, m := range named.FindAllStringSubmatch(held, -1) {
			if path := m[1]; path != "" {
				if strings.HasSuffix(path, ".ts") {
					if _, err := os.Stat(filepath.Join(root, path)); err != nil {
						t.Error(err)
					}
					continue
				}
				folder, sources = path, ""
				files, _ := filepath.Glob(filepath.Join(root, path, "*_test.go"))
				for _, name := range files {
					source, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					sources += string(source)
				}
				continue
			}
			found++
			if !strings.Contains(sources, "func "+m[2]+"(") {
				t.Errorf("%s isn't in %q: %s", m[2], folder, line)
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d tests are named", found)
	}
}
