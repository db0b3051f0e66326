// Package memo keeps what is asked for again and again under the same few keys.
package memo

import "sync"

// most is how many keys a Map keeps: more than a lender's customers have locales or amounts have lengths.
const most = 4096

// Map keeps what was worked out for each key, up to a number of them: so whoever chooses the keys doesn't choose how much memory it takes. The zero
// value is empty. It may be used concurrently.
type Map[K comparable, V any] struct {
	lock sync.RWMutex
	kept map[K]V
}

// Of is what work answers for key, from memory if it was asked before. Several who ask for a new key at once may each have it worked out.
func (m *Map[K, V]) Of(key K, work func(K) V) V {
	m.lock.RLock()
	v, known := m.kept[key]
	m.lock.RUnlock()
	if known {
		return v
	}
	v = work(key)
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.kept == nil {
		m.kept = make(map[K]V)
	}
	if len(m.kept) < most {
		m.kept[key] = v
	}
	return v
}
