package eryxon

import (
	"iter"
	"time"
)

// State remembers from one run to the next what a server has acknowledged: see
// [WithState]. Package syncstate has one in a file and one in memory. One state
// belongs to one installation and tenant. It holds no API key.
//
// Methods are called from several goroutines at once, between Lock and Unlock.
type State interface {
	// Lock makes the state the caller's alone. It does not wait: while another
	// run has it, of this process or another, it fails with [ErrStateInUse].
	Lock() error
	// Unlock gives it back.
	Unlock() error
	// Header returns what Put has kept beside the entries, nil in a new state.
	Header() ([]byte, error)
	// Get returns the entry of a record, and whether there is one.
	Get(Entity, Key) (StateEntry, bool, error)
	// Entries returns all entries of an entity, in no promised order. Put may
	// be called while they are ranged over; what is put may or may not be met.
	Entries(Entity) iter.Seq2[StateEntry, error]
	// Put keeps the entries, replacing those of the same entity and key, and
	// the header where it is not nil: all of it or, on an error, nothing. What
	// it kept survives a crash of the process and of the machine. It is given
	// at most 16 KiB of source and external id together, 1 KiB of ID and 64 KiB
	// of Detail.
	Put(header []byte, entries []StateEntry) error
}

// StateEntry is what a [State] keeps of one record.
type StateEntry struct {
	Entity Entity
	Key    Key
	ID     string    // the row's UUID, "" where the server has not told it
	Time   time.Time // when the server last acknowledged the record, to the second; zero: never
	Digest [16]byte  // of the content that it acknowledged; zero: none, or in doubt
	Detail []byte    // what else the SDK keeps: opaque, at most a few hundred bytes
}
