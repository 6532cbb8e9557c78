package eryxon

import (
	"slices"
	"sync"
)

// entityKey is a key within the installation.
type entityKey struct {
	entity Entity
	key    Key
}

// keyHolder is a request in flight, or about to be.
type keyHolder interface {
	holds(entityKey) bool
	each(yield func(entityKey) bool)
}

// oneKey holds the keys of a single sync, its own and those nested in it.
type oneKey struct{ keys []entityKey }

func newOneKey(o *Outcome) *oneKey {
	h := &oneKey{keys: []entityKey{{o.Entity, o.Key}}}
	for i := range o.Nested {
		h.keys = append(h.keys, entityKey{o.Nested[i].Entity, o.Nested[i].Key})
	}
	return h
}

func (h *oneKey) holds(k entityKey) bool { return slices.Contains(h.keys, k) }

func (h *oneKey) each(yield func(entityKey) bool) {
	for _, k := range h.keys {
		if !yield(k) {
			return
		}
	}
}

// inFlight keeps one client and its variants from having the same key in two
// requests at once: an old request that is retried would overwrite newer data.
type inFlight struct {
	mu       sync.Mutex
	holders  []keyHolder
	released chan struct{} // closed when a holder lets go
}

// hold registers h. Where another request holds one of its keys it returns the
// channel that closes when it is worth trying again.
func (f *inFlight) hold(h keyHolder) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, other := range f.holders {
		for k := range h.each {
			if other.holds(k) {
				if f.released == nil {
					f.released = make(chan struct{})
				}
				return f.released
			}
		}
	}
	f.holders = append(f.holders, h)
	return nil
}

// held reports whether a request in flight holds the key.
func (f *inFlight) held(k entityKey) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.holders, func(h keyHolder) bool { return h.holds(k) })
}

func (f *inFlight) release(h keyHolder) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holders = slices.DeleteFunc(f.holders, func(o keyHolder) bool { return o == h })
	if f.released != nil {
		close(f.released)
		f.released = nil
	}
}
