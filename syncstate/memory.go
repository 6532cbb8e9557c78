package syncstate

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/eryxon/eryxon-go"
)

var _ eryxon.State = (*Memory)(nil)

// Memory is a state in memory, for tests: it ends with the process. It takes
// and refuses what a [File] does. All methods may be called from several
// goroutines at once.
type Memory struct {
	mu      sync.Mutex
	locked  bool
	header  []byte
	entries map[eryxon.Entity]map[eryxon.Key]eryxon.StateEntry
}

// NewMemory returns an empty state.
func NewMemory() *Memory { return &Memory{} }

// Lock makes the state the caller's alone. While another run has it, the error
// matches [eryxon.ErrStateInUse].
func (m *Memory) Lock() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked {
		return inUse("in use by another run of this process")
	}
	m.locked = true
	return nil
}

// Unlock gives the state back. It fails where no Lock precedes it.
func (m *Memory) Unlock() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.locked {
		return unlocked()
	}
	m.locked = false
	return nil
}

// Header returns what Put has kept beside the entries, nil in a new state.
func (m *Memory) Header() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.header), nil
}

// Get returns the entry of a record, and whether there is one.
func (m *Memory) Get(entity eryxon.Entity, key eryxon.Key) (eryxon.StateEntry, bool, error) {
	if entity == "" {
		return eryxon.StateEntry{}, false, nameless()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, found := m.entries[entity][key]
	return kept(e), found, nil
}

// Entries returns all entries of an entity, in no particular order. Put may be
// called while they are ranged over; what is put is not met.
func (m *Memory) Entries(entity eryxon.Entity) iter.Seq2[eryxon.StateEntry, error] {
	return func(yield func(eryxon.StateEntry, error) bool) {
		if entity == "" {
			yield(eryxon.StateEntry{}, nameless())
			return
		}
		m.mu.Lock()
		entries := slices.Collect(maps.Values(m.entries[entity]))
		m.mu.Unlock()
		for _, e := range entries {
			if !yield(kept(e), nil) {
				return
			}
		}
	}
}

// Put keeps the entries, replacing those of the same entity and key, and the
// header where it is not nil: all of it or, on an error, nothing. The bounds
// are those of [File.Put].
func (m *Memory) Put(header []byte, entries []eryxon.StateEntry) error {
	if err := admissible(header, entries); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if header != nil {
		m.header = slices.Clone(header)
	}
	if m.entries == nil {
		m.entries = make(map[eryxon.Entity]map[eryxon.Key]eryxon.StateEntry)
	}
	for _, e := range entries {
		of := m.entries[e.Entity]
		if of == nil {
			of = make(map[eryxon.Key]eryxon.StateEntry)
			m.entries[e.Entity] = of
		}
		of[e.Key] = kept(e)
	}
	return nil
}

// kept is an entry as a file would keep it, sharing no bytes with e.
func kept(e eryxon.StateEntry) eryxon.StateEntry {
	if e.Time.Unix() == zeroSeconds {
		e.Time = time.Time{}
	} else {
		e.Time = time.Unix(e.Time.Unix(), 0).UTC()
	}
	if len(e.Detail) == 0 {
		e.Detail = nil
	}
	e.Detail = slices.Clone(e.Detail)
	return e
}
