package syncstate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/syncstate"
)

// untouched fails the test if the file has changed by its end.
func untouched(t *testing.T, path string) {
	t.Helper()
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	require.NoError(t, os.Chtimes(path, long, long))
	t.Cleanup(func() {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.True(t, info.ModTime().Equal(long), "the file's time has changed")
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(before, after), "the file has changed")
	})
}

func TestFileOutlivesItsRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f := open(t, path)
	assert.Equal(t, path, f.Path())
	require.NoError(t, f.Put([]byte("header"), []eryxon.StateEntry{entry("1"), entry("2")}))
	require.NoError(t, f.Close())
	assert.Equal(t, path, f.Path())

	untouched(t, path)
	f = open(t, path)
	got, found := get(t, f, eryxon.EntityJobs, entry("2").Key)
	require.True(t, found)
	same(t, entry("2"), got)
}

func TestFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	open(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode())
}

func TestAnEmptyFileIsNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	f := open(t, path)
	require.NoError(t, f.Put(nil, []eryxon.StateEntry{entry("1")}))
	require.NoError(t, f.Close())
	assert.Len(t, all(t, open(t, path), eryxon.EntityJobs), 1)
}

// A process that ends between making the file and marking it leaves this.
func TestAnInterruptedCreationIsTakenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	f := open(t, path)
	require.NoError(t, f.Put(nil, []eryxon.StateEntry{entry("1")}))
	require.NoError(t, f.Close())
	assert.Len(t, all(t, open(t, path), eryxon.EntityJobs), 1)
}

func TestASecondOpenIsRefusedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f := open(t, path)
	require.NoError(t, f.Put(nil, []eryxon.StateEntry{entry("1")}))
	untouched(t, path)
	start := time.Now()
	_, err := syncstate.Open(path)
	assert.Less(t, time.Since(start), 100*time.Millisecond)
	require.ErrorIs(t, err, eryxon.ErrStateInUse)
	assert.Contains(t, err.Error(), path)
	assert.Contains(t, err.Error(), "wait until it has ended")
	get(t, f, eryxon.EntityJobs, entry("1").Key)
}

func TestOneOfManyOpensWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for range 20 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []*syncstate.File
		for range 6 {
			wg.Go(func() {
				f, err := syncstate.Open(path)
				if err != nil {
					assert.ErrorIs(t, err, eryxon.ErrStateInUse)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				won = append(won, f)
			})
		}
		wg.Wait()
		require.Len(t, won, 1)
		require.NoError(t, won[0].Close())
	}
}

func TestClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f := open(t, path)
	require.NoError(t, f.Lock())
	err := f.Close()
	require.ErrorIs(t, err, eryxon.ErrStateInUse)
	assert.Contains(t, err.Error(), path)
	require.NoError(t, f.Put(nil, []eryxon.StateEntry{entry("1")}), "it is still open")
	require.NoError(t, f.Unlock())
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())

	gone := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, os.ErrClosed)
		assert.Contains(t, err.Error(), path)
	}
	gone(f.Lock())
	require.Error(t, f.Unlock())
	_, err = f.Header()
	gone(err)
	_, _, err = f.Get(eryxon.EntityJobs, eryxon.Key{})
	gone(err)
	gone(f.Put(nil, nil))
	gone(f.Put(nil, []eryxon.StateEntry{entry("1")}))
	n := 0
	for _, err := range f.Entries(eryxon.EntityJobs) {
		gone(err)
		n++
	}
	assert.Equal(t, 1, n)
}

func TestCloseWhileEntriesAreRangedOver(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "state"))
	list := make([]eryxon.StateEntry, 5000)
	for i := range list {
		list[i] = entry(strings.Repeat("x", i%50) + string(rune(i)))
	}
	require.NoError(t, f.Put(nil, list))
	var last error
	for _, err := range f.Entries(eryxon.EntityJobs) {
		require.NoError(t, f.Close())
		last = err
	}
	require.ErrorIs(t, last, os.ErrClosed)
}

func TestPathsThatCanNotBeOpened(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	require.NoError(t, os.WriteFile(file, []byte("text"), 0o600))
	for path, what := range map[string]string{
		"":                                     "no path is given",
		folder:                                 "is a folder or a device; name a file",
		os.DevNull:                             "is a folder or a device; name a file",
		filepath.Join(folder, "none", "state"): "create the folder first",
		filepath.Join(file, "state"):           "can't be opened",
		filepath.Join(folder, "n\x00l"):        "can't be opened",
		filepath.Join(folder, strings.Repeat("x", 5000)): "can't be opened",
	} {
		f, err := syncstate.Open(path)
		require.Errorf(t, err, "%.50q", path)
		assert.Nil(t, f)
		assert.Contains(t, err.Error(), "syncstate: ")
		assert.Contains(t, err.Error(), path)
		assert.Contains(t, err.Error(), what)
		assert.NotErrorIs(t, err, eryxon.ErrStateDamaged)
	}
	_, err := syncstate.Open(filepath.Join(folder, "none", "state"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	assert.Len(t, left, 1, "nothing was made")
}

// otherDatabase is a bbolt file with what change writes.
func otherDatabase(t *testing.T, path string, change func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(change))
	require.NoError(t, db.Close())
}

func TestForeignFilesAreRefused(t *testing.T) {
	random := make([]byte, 64<<10)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	object, err := json.Marshal(map[string]string{"a": strings.Repeat("b", 40_000)})
	require.NoError(t, err)
	for name, content := range map[string][]byte{
		"a byte": {0}, "text": []byte("jobs.csv\n"), "json": object, "random": random, "zeros": make([]byte, 64<<10), "short zeros": make([]byte, 100),
		"SQLite": append([]byte("SQLite format 3\x00"), random...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state")
			require.NoError(t, os.WriteFile(path, content, 0o600))
			untouched(t, path)
			_, err := syncstate.Open(path)
			require.ErrorIs(t, err, eryxon.ErrStateDamaged)
			assert.Contains(t, err.Error(), path+": is not a sync state; ")
			assert.Contains(t, err.Error(), "move it away")
		})
	}
	for name, change := range map[string]func(tx *bbolt.Tx) error{
		"bbolt with buckets": func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("cache")); return err },
		"bbolt of nothing":   func(*bbolt.Tx) error { return nil },
		"marker is a key": func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("state"))
			return errors.Join(err, b.Put([]byte("format"), []byte("x")))
		},
		"marker is a bucket": func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("state"))
			if err == nil {
				_, err = b.CreateBucket([]byte("format"))
			}
			return err
		},
		"nested": func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("a"))
			if err == nil {
				_, err = b.CreateBucket([]byte("state"))
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state")
			otherDatabase(t, path, change)
			untouched(t, path)
			_, err := syncstate.Open(path)
			require.ErrorIs(t, err, eryxon.ErrStateDamaged)
			assert.Contains(t, err.Error(), "is not a sync state; ")
		})
	}
}
