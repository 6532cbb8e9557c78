package syncstate

import (
	"bytes"
	"errors"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"

	"github.com/eryxon/eryxon-go"
)

// fillPercent is how full pages are left where they are split. Less wastes room
// where keys come in order, more where they do not.
const fillPercent = 0.75

// Put keeps the entries, replacing those of the same entity and key, and the
// header where it is not nil: all of it or, on an error, nothing. Of entries
// with the same entity and key the last is kept. It is on the disk when Put
// returns, which takes some milliseconds whatever their number: put many at a
// time.
//
// Entities have any name of 1 to 128 bytes; source and external id have up to
// 16 KiB together, an ID 1 KiB, a detail 64 KiB, the header 1 MiB. Anything
// longer is an error.
//
// After an error of the disk every method but Unlock and Close fails: only
// opening the file again can tell what it holds.
func (f *File) Put(header []byte, entries []eryxon.StateEntry) error {
	if err := admissible(header, entries); err != nil {
		return at(f.path, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if header == nil && len(entries) == 0 {
		return nil
	}
	err := f.inPlace()
	if err == nil {
		err = f.write(func(tx *bbolt.Tx) error { return put(tx, header, entries) })
	}
	return at(f.path, err)
}

// inPlace demands that the path still leads to the open file. What is put into
// one that was removed is lost when it is closed.
func (f *File) inPlace() error {
	mine, err := f.file.Stat()
	if err != nil {
		return unreadable(err)
	}
	theirs, err := os.Stat(f.whole)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, theirs) {
		return &problem{what: "the file was removed or replaced while it was open", next: nextReopen, kind: eryxon.ErrStateDamaged}
	}
	return nil
}

func put(tx *bbolt.Tx, header []byte, entries []eryxon.StateEntry) error {
	state := tx.Bucket(stateBucket)
	if state == nil {
		return damaged("its tally is gone")
	}
	sums, err := parseTally(state.Get(tallyKey))
	if err != nil {
		return err
	}
	if err := putEntries(tx, entries, &sums); err != nil {
		return err
	}
	if header != nil {
		if err := state.Put(headerKey, appendHeader(nil, header)); err != nil {
			return err
		}
	}
	sums.txid = uint64(tx.ID())
	return state.Put(tallyKey, sums.bytes())
}

func putEntries(tx *bbolt.Tx, entries []eryxon.StateEntry, sums *tally) error {
	writers := make(map[eryxon.Entity]*writer)
	var key, values []byte // the database keeps slices of the values until the commit
	for i := range entries {
		e := &entries[i]
		w := writers[e.Entity]
		if w == nil {
			b, err := tx.CreateBucketIfNotExists([]byte(entriesPrefix + e.Entity))
			if err != nil {
				return err
			}
			b.FillPercent = fillPercent
			w = &writer{bucket: b, cursor: b.Cursor(), seed: seedOf(string(e.Entity))}
			writers[e.Entity] = w
		}
		key = appendKey(key[:0], e.Key)
		start := len(values)
		values = appendValue(values, w.seed, key, e)
		if err := w.put(key, values[start:len(values):len(values)], sums); err != nil {
			return err
		}
	}
	return nil
}

// writer writes the entries of one entity.
type writer struct {
	bucket *bbolt.Bucket
	cursor *bbolt.Cursor
	seed   uint32
}

func (w *writer) put(key, value []byte, sums *tally) error {
	if k, before := w.cursor.Seek(key); bytes.Equal(k, key) {
		if len(before) < valueBase {
			return damaged("the entry that is replaced fails its checksum")
		}
		sums.remove(before)
	}
	sums.add(value)
	return w.bucket.Put(key, value)
}
