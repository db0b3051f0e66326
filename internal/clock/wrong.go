package clock

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Wrong is Real on a machine whose clock is wrong, for tests: by the duration that is in a file, such as -90s. Writing another
// one sets the clock while it runs.
func Wrong(file string) (Clock, error) {
	by, err := readOffset(file)
	if err != nil {
		return nil, err
	}
	var last atomic.Int64
	last.Store(int64(by))
	return &realClock{system: func() time.Time {
		if by, err := readOffset(file); err == nil { // else it is just being written
			last.Store(int64(by))
		}
		return time.Now().Add(time.Duration(last.Load()))
	}}, nil
}

func readOffset(file string) (time.Duration, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	by, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return by, nil
}
