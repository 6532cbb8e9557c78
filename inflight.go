package eryxon

import (
	"context"
	"maps"
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

// keySet is a keyHolder of keys that are known beforehand.
type keySet struct{ keys map[entityKey]struct{} }

func newKeySet() *keySet { return &keySet{keys: make(map[entityKey]struct{})} }

func (h *keySet) add(k entityKey) { h.keys[k] = struct{}{} }

func (h *keySet) holds(k entityKey) bool {
	_, ok := h.keys[k]
	return ok
}

func (h *keySet) each(yield func(entityKey) bool) { maps.Keys(h.keys)(yield) }

// keysOf are those of a record, its own and those nested in it.
func keysOf(o *Outcome) *keySet {
	h := newKeySet()
	h.add(entityKey{o.Entity, o.Key})
	for i := range o.Nested {
		h.add(entityKey{o.Nested[i].Entity, o.Nested[i].Key})
	}
	return h
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

// await registers h as soon as no other request holds one of its keys.
func (f *inFlight) await(ctx context.Context, h keyHolder) error {
	for wait := f.hold(h); wait != nil; wait = f.hold(h) {
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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
