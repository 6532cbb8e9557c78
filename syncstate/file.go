package syncstate

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/eryxon/eryxon-go"
)

// What lies in the database: a bucket for each entity, and one with the format
// marker, the header and the tally.
var (
	stateBucket = []byte("state")
	formatKey   = []byte("format")
	headerKey   = []byte("header")
	tallyKey    = []byte("tally")
)

const entriesPrefix = "entries/"

var _ eryxon.State = (*File)(nil)

// File is a state in a file. All methods may be called from several goroutines
// at once.
type File struct {
	path  string
	whole string // the path from the root, wherever the process goes

	mu     sync.Mutex
	locked bool
	closed bool
	failed error // why nothing but Close is possible any more
	stuck  bool  // the database is, or died, where closing it would wait for ever
	db     *bbolt.DB
	file   *os.File // the database's own, to read what it has mapped without faults

	// tx is a read transaction that stays open from one read to the next, which
	// makes them several times as fast. It ends before each write: the database
	// could not grow under it, nor reuse the pages that it sees.
	tx      *bbolt.Tx
	readers map[eryxon.Entity]*reader
	key     []byte
}

// reader reads the entries of one entity in tx.
type reader struct {
	cursor *bbolt.Cursor
	seed   uint32
}

// Open opens the state in the file at path, and makes the file where there is
// none; its folder must exist. While it is open nobody else can open it: they
// get an error that matches [eryxon.ErrStateInUse], at once.
//
// The file is read whole first. One that is damaged, or not a state, is left as
// it is, with an error that matches [eryxon.ErrStateDamaged]; so is one of
// another format version, with [eryxon.ErrStateMismatch]. An empty file counts
// as none.
func Open(path string) (*File, error) {
	if path == "" {
		return nil, &problem{what: "no path is given", next: "name a file"}
	}
	f := &File{path: path}
	if err := f.open(); err != nil {
		if f.stuck && f.file != nil {
			_ = f.file.Close()
		}
		return nil, at(path, err)
	}
	return f, nil
}

func (f *File) open() error {
	var err error
	if f.whole, err = filepath.Abs(f.path); err != nil {
		return notOpened(err)
	}
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return notOpened(err)
	case !info.Mode().IsRegular():
		return &problem{what: "is a folder or a device", next: "name a file"}
	case info.Size() > 0:
		if err := f.verify(); err != nil {
			return err
		}
	}
	if err := f.connect(false); err != nil {
		return err
	}
	if err := f.prepare(); err != nil {
		_ = f.disconnect()
		return err
	}
	return nil
}

// verify looks at the file under a shared lock and without the right to write.
// No writer is at work meanwhile. Between it and the lock to write, another
// process may come and go, but it leaves a sound file behind.
func (f *File) verify() (err error) {
	if err := f.connect(true); err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err != nil {
		err = unreadable(err)
	} else {
		err = verify(f.file, info.Size())
	}
	if e := f.disconnect(); err == nil {
		err = e
	}
	return err
}

// connect opens the database.
func (f *File) connect(readOnly bool) (err error) {
	defer f.guard(debug.SetPanicOnFault(true), &err)
	f.stuck = true
	f.db, err = bbolt.Open(f.path, 0o600, &bbolt.Options{
		ReadOnly:     readOnly,
		Timeout:      time.Nanosecond, // one attempt: the next would come 50 ms later
		FreelistType: bbolt.FreelistMapType,
		NoStatistics: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err := os.OpenFile(name, flag, mode) //nolint:gosec // the file that the caller names
			f.file = file
			return file, err
		},
	})
	f.stuck = false
	var system syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return inUse("in use by another run")
	case errors.As(err, &system): // it is not there, not allowed, or can't be locked or mapped
		return notOpened(err)
	case errors.Is(err, bolterrors.ErrInvalid):
		return foreign()
	}
	return unreadable(err)
}

// prepare looks for the format marker, or sets it in a new database.
func (f *File) prepare() error {
	isNew, err := f.marked()
	if err != nil || !isNew {
		return err
	}
	err = f.write(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket(stateBucket)
		if err != nil {
			return err
		}
		first := tally{txid: uint64(tx.ID())}
		return errors.Join(b.Put(formatKey, formatMarker(formatVersion)), b.Put(tallyKey, first.bytes()))
	})
	if err == nil {
		syncFolder(filepath.Dir(f.whole))
	}
	return err
}

// marked checks the format marker; a database without any content is new.
func (f *File) marked() (isNew bool, err error) {
	defer f.guard(debug.SetPanicOnFault(true), &err)
	if err := f.read(); err != nil {
		return false, err
	}
	if k, _ := f.tx.Cursor().First(); k == nil {
		return true, nil
	}
	b := f.tx.Bucket(stateBucket)
	if b == nil {
		return false, foreign()
	}
	return false, checkFormat(b.Get(formatKey))
}

// syncFolder makes a new file's name last. Not every system can do that.
func syncFolder(path string) {
	if d, err := os.Open(path); err == nil { //nolint:gosec // the folder of the file that the caller names
		_ = d.Sync()
		_ = d.Close()
	}
}

// Path returns the path that Open was given.
func (f *File) Path() string { return f.path }

// Lock makes the file the caller's alone within the process; others are kept
// out since Open. While another run has it, the error matches
// [eryxon.ErrStateInUse].
func (f *File) Lock() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if f.locked {
		return at(f.path, inUse("in use by another run of this process"))
	}
	f.locked = true
	return nil
}

// Unlock gives the file back. It fails where no Lock precedes it.
func (f *File) Unlock() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.locked {
		return at(f.path, unlocked())
	}
	f.locked = false
	return nil
}

// Close gives the file up; whatever Put has kept is on the disk already. It
// fails, with an error that matches [eryxon.ErrStateInUse], while a run has
// locked the file. Closing again does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	if f.locked {
		return at(f.path, inUse("is not closed: a run has it"))
	}
	f.closed = true
	return at(f.path, f.disconnect())
}

// disconnect closes the database in whatever state it is.
func (f *File) disconnect() (err error) {
	defer f.guard(debug.SetPanicOnFault(true), &err)
	f.endRead()
	if f.stuck {
		err = f.file.Close()
	} else {
		err = f.db.Close()
	}
	if err != nil {
		err = &problem{what: "closing failed: " + err.Error(), next: "what was put is kept", cause: err}
	}
	return err
}

// usable tells why no method can do its work, if so.
func (f *File) usable() error {
	if f.closed {
		return at(f.path, closed())
	}
	return f.failed
}

// guard ends a method that touches the database. Damage that comes while the
// file is open can make the database panic, or fault where the file was cut
// short; after that nothing is believed any more. fault is the goroutine's
// setting of [debug.SetPanicOnFault] before.
func (f *File) guard(fault bool, err *error) {
	debug.SetPanicOnFault(fault)
	if r := recover(); r != nil {
		f.failed = at(f.path, damaged("%v", r))
		*err = f.failed
	}
}

// begin begins a transaction, after a look at what the database would believe
// blindly: a panic there leaves its locks taken.
func (f *File) begin(writable bool) (*bbolt.Tx, error) {
	info, err := f.file.Stat()
	if err != nil {
		return nil, unreadable(err)
	}
	m, err := currentMeta(f.file)
	if err != nil {
		return nil, err
	}
	if err := m.fits(info.Size()); err != nil {
		return nil, err
	}
	f.stuck = true
	tx, err := f.db.Begin(writable)
	f.stuck = false
	if err != nil {
		return nil, unreadable(err)
	}
	return tx, nil
}

// end gives a transaction up, unless it is committed.
func (f *File) end(tx *bbolt.Tx) {
	f.stuck = true
	_ = tx.Rollback()
	f.stuck = false
}

// read sees to it that there is a read transaction.
func (f *File) read() (err error) {
	if f.tx == nil {
		f.tx, err = f.begin(false)
	}
	return err
}

func (f *File) endRead() {
	if tx := f.tx; tx != nil {
		f.tx, f.readers = nil, nil
		f.end(tx)
	}
}

// write makes a change, whole or not at all.
func (f *File) write(change func(*bbolt.Tx) error) (err error) {
	defer f.guard(debug.SetPanicOnFault(true), &err)
	f.endRead()
	tx, err := f.begin(true)
	if err != nil {
		return err
	}
	defer f.end(tx)
	if err := change(tx); err != nil {
		return unreadable(err)
	}
	if err := tx.Commit(); err != nil {
		// How much of it is on the disk is for the next Open to find.
		f.failed = at(f.path, &problem{what: "writing failed: " + err.Error(), next: "see to the disk, " + nextReopen, cause: err})
		return f.failed
	}
	return nil
}

// reader returns what reads an entity, nil where it has no entries.
func (f *File) reader(entity eryxon.Entity) (*reader, error) {
	if r := f.readers[entity]; r != nil {
		return r, nil
	}
	if err := f.read(); err != nil {
		return nil, err
	}
	b := f.tx.Bucket([]byte(entriesPrefix + entity))
	if b == nil {
		return nil, nil
	}
	r := &reader{cursor: b.Cursor(), seed: seedOf(string(entity))}
	if f.readers == nil {
		f.readers = make(map[eryxon.Entity]*reader)
	}
	f.readers[entity] = r
	return r, nil
}

// Header returns what Put has kept beside the entries, nil in a new state.
func (f *File) Header() (header []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return nil, err
	}
	header, err = f.header()
	return header, at(f.path, err)
}

func (f *File) header() (header []byte, err error) {
	defer f.guard(debug.SetPanicOnFault(true), &err)
	if err := f.read(); err != nil {
		return nil, err
	}
	b := f.tx.Bucket(stateBucket)
	if b == nil {
		return nil, damaged("its header is gone")
	}
	stored := b.Get(headerKey)
	if stored == nil {
		return nil, nil
	}
	stored, err = parseHeader(stored)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, stored...), nil
}

// Get returns the entry of a record, and whether there is one. Keys in
// ascending order are the fastest: a microsecond each, or less.
func (f *File) Get(entity eryxon.Entity, key eryxon.Key) (eryxon.StateEntry, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return eryxon.StateEntry{}, false, err
	}
	e, found, err := f.get(entity, key)
	if err != nil {
		return eryxon.StateEntry{}, false, at(f.path, err)
	}
	return e, found, nil
}

func (f *File) get(entity eryxon.Entity, key eryxon.Key) (e eryxon.StateEntry, found bool, err error) {
	if entity == "" {
		return e, false, nameless()
	}
	defer f.guard(debug.SetPanicOnFault(true), &err)
	r, err := f.reader(entity)
	if err != nil || r == nil {
		return e, false, err
	}
	f.key = appendKey(f.key[:0], key)
	k, stored := r.cursor.Next() // for keys in order: half the price of a search
	if !bytes.Equal(k, f.key) {
		k, stored = r.cursor.Seek(f.key)
	}
	if !bytes.Equal(k, f.key) {
		return e, false, nil
	}
	v, ok := parseValue(r.seed, k, stored)
	if !ok {
		return e, false, damaged("the entry of %s %s fails its checksum", entity, key)
	}
	return v.entry(entity, key), true, nil
}
