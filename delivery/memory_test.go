package delivery

import (
	"slices"
	"testing"
)

func TestMemoryIsGivenBackOnceABurstIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		megabytes []uint64 // allocated in each interval
		want      []int    // the intervals after which memory is given back
	}{
		"nothing happens":          {megabytes: []uint64{0, 0, 0}},
		"little happens":           {megabytes: []uint64{5, 5, 5, 0, 0}},
		"little, again and again":  {megabytes: []uint64{6, 0, 6, 0, 6, 0, 6, 0}, want: []int{5}},
		"a burst":                  {megabytes: []uint64{100, 80, 1, 0, 0}, want: []int{2}},
		"a burst that ebbs away":   {megabytes: []uint64{100, 50, 25, 12, 6, 3, 1}, want: []int{4}},
		"two bursts":               {megabytes: []uint64{100, 0, 0, 50, 0, 0}, want: []int{1, 4}},
		"a steady load, 20 to one": {megabytes: slices.Repeat([]uint64{10}, 45), want: []int{19, 39}},
	} {
		var m memory
		var allocated uint64
		var got []int
		for i, mb := range c.megabytes {
			allocated += mb << 20
			if m.due(allocated) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: after %v, want %v", name, got, c.want)
		}
	}
}
