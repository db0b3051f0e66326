package civil

import (
	"fmt"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // so that zones are known on machines and in images that have no zoneinfo
)

// zones holds every zone loaded so far. Only names that exist get in, so it can't grow without end.
var zones sync.Map // string -> *time.Location

// LoadZone is the zone of that IANA name ("Europe/Prague", "UTC"). It refuses "" and "Local", whose meaning depends on
// the machine, and everything that isn't a name of the tz database.
func LoadZone(name string) (*time.Location, error) {
	if loc, ok := zones.Load(name); ok {
		return loc.(*time.Location), nil
	}
	if name == "" {
		return nil, fmt.Errorf("the time zone is missing")
	}
	if !zoneName(name) {
		return nil, fmt.Errorf("%.64q is not an IANA time zone like Europe/Prague", name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%.64q is not an IANA time zone like Europe/Prague", name)
	}
	kept, _ := zones.LoadOrStore(name, loc)
	return kept.(*time.Location), nil
}

// zoneName keeps out paths and the files that lie beside the zones in a system's zoneinfo folder: copies with
// leap seconds, and aliases of the machine's own zone.
func zoneName(name string) bool {
	switch name {
	case "Local", "localtime", "posixrules", "Factory":
		return false
	}
	if len(name) > 64 || strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix/") {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || strings.IndexByte("/_+-", c) >= 0)) {
			return false
		}
	}
	return true
}
