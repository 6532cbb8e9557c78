package syncstate

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/eryxon/eryxon-go"
)

var entities = []eryxon.Entity{eryxon.EntityJobs, eryxon.EntityParts, eryxon.EntityCells}

// sound is a sound file and what it holds.
type sound struct {
	name    string
	file    []byte
	holds   map[string]string
	entries []eryxon.StateEntry
}

func numbered(i, width int) eryxon.StateEntry {
	return eryxon.StateEntry{
		Entity: entities[min(2, i%10)],
		Key:    eryxon.Key{Source: "SAP", ExternalID: fmt.Sprintf("%0*d", width, i*7919%10007)},
		ID:     fmt.Sprintf("%08x-1111-4222-8333-%012x", i, i),
		Time:   time.Unix(int64(1e9+i), 0),
		Digest: [16]byte{byte(i), byte(i >> 8), 1},
		Detail: []byte(fmt.Sprint("detail ", i)),
	}
}

// soundFile makes a state of n entries whose ids have width digits, in several
// puts, so that there are free pages.
func soundFile(t testing.TB, name string, n, width int) *sound {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state")
	f, err := Open(path)
	require.NoError(t, err)
	quick(f)
	s := &sound{name: name}
	for i := range n {
		s.entries = append(s.entries, numbered(i, width))
	}
	for part := range slices.Chunk(s.entries, n/5) {
		require.NoError(t, f.Put([]byte("header "+name), part))
	}
	s.holds = holds(t, f)
	require.NoError(t, f.Close())
	s.file, err = os.ReadFile(path)
	require.NoError(t, err)
	m, err := currentMeta(bytes.NewReader(s.file))
	require.NoError(t, err)
	s.file = s.file[:m.pages*m.pageSize] // without what the database has made room for
	require.NoError(t, verify(bytes.NewReader(s.file), int64(len(s.file))))
	return s
}

func soundFiles(t testing.TB) []*sound {
	return []*sound{
		soundFile(t, "tiny", 6, 4),       // all inside of one page
		soundFile(t, "usual", 400, 5),    // one branch page each
		soundFile(t, "narrow", 120, 700), // several levels of branch pages, which hold few keys each
	}
}

// holds is everything that a state holds.
func holds(t testing.TB, f *File) map[string]string {
	t.Helper()
	out, err := read(f)
	require.NoError(t, err)
	return out
}

func read(f *File) (map[string]string, error) {
	header, err := f.Header()
	if err != nil {
		return nil, err
	}
	out := map[string]string{"header": string(header)}
	for _, entity := range entities {
		for e, err := range f.Entries(entity) {
			if err != nil {
				return nil, err
			}
			out[nameOf(&e)] = textOf(&e)
		}
	}
	return out, nil
}

func nameOf(e *eryxon.StateEntry) string { return string(e.Entity) + " " + e.Key.String() }

func textOf(e *eryxon.StateEntry) string {
	return e.ID + " " + strconv.FormatInt(e.Time.Unix(), 10) + " " + string(e.Digest[:]) + " " + string(e.Detail)
}

// quick spares the test the waiting for the disk.
func quick(f *File) *File {
	f.db.NoSync, f.db.NoGrowSync = true, true
	return f
}

// damages are ways in which a file gets damaged. What they return may be b.
var damages = []struct {
	name   string
	damage func(r *rand.Rand, b []byte) []byte
}{
	{"a bit", func(r *rand.Rand, b []byte) []byte {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return b
	}},
	{"a bit of the first bytes of a page", func(r *rand.Rand, b []byte) []byte {
		b[page(r, b)+r.IntN(200)] ^= 1 << r.IntN(8)
		return b
	}},
	{"a bit of what heads a page", func(r *rand.Rand, b []byte) []byte {
		b[page(r, b)+r.IntN(pageHeader+elementSize)] ^= 1 << r.IntN(8)
		return b
	}},
	{"a small number", func(r *rand.Rand, b []byte) []byte {
		at := page(r, b) + 2*r.IntN(100)
		native.PutUint16(b[at:], uint16(r.IntN(40)))
		return b
	}},
	{"a large number", func(r *rand.Rand, b []byte) []byte {
		at := page(r, b) + 4*r.IntN(50)
		native.PutUint32(b[at:], ^uint32(r.IntN(40)))
		return b
	}},
	{"some bytes", func(r *rand.Rand, b []byte) []byte {
		for range 1 + r.IntN(8) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		return b
	}},
	{"a stretch of bytes", func(r *rand.Rand, b []byte) []byte {
		at := r.IntN(len(b))
		scribble(r, b[at:min(len(b), at+1+r.IntN(600))])
		return b
	}},
	{"a page of chance", func(r *rand.Rand, b []byte) []byte {
		at := page(r, b)
		scribble(r, b[at:at+4096])
		return b
	}},
	{"a page of zeros", func(r *rand.Rand, b []byte) []byte {
		at := page(r, b)
		clear(b[at : at+4096])
		return b
	}},
	{"zeros to the end", func(r *rand.Rand, b []byte) []byte {
		clear(b[r.IntN(len(b)):])
		return b
	}},
	{"another page", func(r *rand.Rand, b []byte) []byte {
		copy(b[page(r, b):], bytes.Clone(b[page(r, b):][:4096]))
		return b
	}},
	{"another page of the right number", func(r *rand.Rand, b []byte) []byte {
		to := page(r, b)
		copy(b[to+8:], bytes.Clone(b[page(r, b):][8:4096]))
		return b
	}},
	{"half a page of another", func(r *rand.Rand, b []byte) []byte {
		half := 2048 * r.IntN(2)
		copy(b[page(r, b)+half:], bytes.Clone(b[page(r, b)+half:][:2048]))
		return b
	}},
	{"two pages swapped", func(r *rand.Rand, b []byte) []byte {
		x, y := page(r, b), page(r, b)
		keep := bytes.Clone(b[x:][:4096])
		copy(b[x:], b[y:][:4096])
		copy(b[y:], keep)
		return b
	}},
	{"an end", func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b))] }},
	{"whole pages at the end", func(r *rand.Rand, b []byte) []byte { return b[:page(r, b)] }},
	{"more at the end", func(r *rand.Rand, b []byte) []byte { return append(b, make([]byte, r.IntN(10_000))...) }},
	{"a byte too many", func(r *rand.Rand, b []byte) []byte { return slices.Insert(b, r.IntN(len(b)), byte(r.Uint32())) }},
	{"a byte too few", func(r *rand.Rand, b []byte) []byte {
		at := r.IntN(len(b))
		return slices.Delete(b, at, at+1)
	}},
	// No chance makes these: the meta pages' checksums are right.
	{"meta: another root", func(r *rand.Rand, b []byte) []byte { return metas(r, b, 16) }},
	{"meta: another free list", func(r *rand.Rand, b []byte) []byte { return metas(r, b, 32) }},
	{"meta: another end", func(r *rand.Rand, b []byte) []byte { return metas(r, b, 40) }},
	{"meta: another page size", func(r *rand.Rand, b []byte) []byte {
		for _, at := range []int{0, 4096} {
			native.PutUint32(b[at+pageHeader+8:], []uint32{0, 1, 3, 512, 1024, 2048, 8192, 65536, 1 << 30, 1<<32 - 1}[r.IntN(10)])
		}
		return sign(b)
	}},
}

func page(r *rand.Rand, b []byte) int { return 4096 * r.IntN(len(b)/4096) }

func scribble(r *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

// metas changes a number in both meta pages.
func metas(r *rand.Rand, b []byte, offset int) []byte {
	n := uint64(r.IntN(len(b)/4096 + 3))
	if r.IntN(10) == 0 {
		n = ^n
	}
	for _, at := range []int{0, 4096} {
		native.PutUint64(b[at+pageHeader+offset:], n)
	}
	return sign(b)
}

// sign makes the meta pages' checksums right.
func sign(b []byte) []byte {
	for at := 0; at <= 4096 && len(b) >= at+4096; at += 4096 {
		h := fnv.New64a()
		_, _ = h.Write(b[at+pageHeader:][:metaSize-8])
		native.PutUint64(b[at+pageHeader+metaSize-8:], h.Sum64())
	}
	return b
}

// TestDamagedFiles damages files in thousands of ways, 30 of each kind or as
// many as SYNCSTATE_DAMAGES says. Open refuses each, and leaves it as it is, or
// the damage hit nothing: then every entry is right, and the file takes new ones
// and still has all after opening it again.
func TestDamagedFiles(t *testing.T) {
	times := 30
	if n, err := strconv.Atoi(os.Getenv("SYNCSTATE_DAMAGES")); err == nil {
		times = n
	}
	path := filepath.Join(t.TempDir(), "state")
	for _, s := range soundFiles(t) {
		r := rand.New(rand.NewPCG(11, 11))
		passed, refused := 0, 0
		for _, d := range damages {
			for i := range times {
				b := d.damage(r, bytes.Clone(s.file))
				if len(b) == 0 {
					continue // a new file
				}
				err := verify(bytes.NewReader(b), int64(len(b)))
				if err != nil {
					refused++
					require.ErrorIs(t, err, eryxon.ErrStateDamaged, d.name)
				} else {
					passed++
				}
				if err == nil || i%10 == 0 {
					require.NoError(t, os.WriteFile(path, b, 0o600))
					opened(t, path, b, s, err != nil, i%5 == 0, d.name)
				}
			}
		}
		t.Logf("%s: %d refused, %d with all entries", s.name, refused, passed)
		assert.Greater(t, refused, passed/2)
	}
}

// opened opens a damaged file and holds it against what it should have.
// further goes on to write to it.
func opened(t *testing.T, path string, b []byte, s *sound, bad, further bool, what string) {
	t.Helper()
	f, err := Open(path)
	if bad {
		require.ErrorIs(t, err, eryxon.ErrStateDamaged, what)
		require.Contains(t, err.Error(), path)
		require.Contains(t, err.Error(), "move it away")
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, after), "the file has changed")
		return
	}
	require.NoError(t, err, what)
	require.Truef(t, maps.Equal(s.holds, holds(t, f)), "%s: other entries", what)
	if !further {
		require.NoError(t, f.Close(), what)
		return
	}
	want := maps.Clone(s.holds)
	quick(f)
	changed := slices.Clone(s.entries[:len(s.entries)/2])
	changed = append(changed, numbered(20_000, 5), numbered(20_001, 5))
	for i := range changed {
		changed[i].Detail = []byte("changed")
		want[nameOf(&changed[i])] = textOf(&changed[i])
	}
	require.NoError(t, f.Put(nil, changed), what)
	require.Truef(t, maps.Equal(want, holds(t, f)), "%s: other entries", what)
	require.NoError(t, f.Close(), what)
	f, err = Open(path)
	require.NoError(t, err, what)
	require.Truef(t, maps.Equal(want, holds(t, f)), "%s: other entries", what)
	require.NoError(t, f.Close(), what)
}

// TestLostWrites: a disk that loses the write of one page leaves an older one
// that is sound in itself.
func TestLostWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for _, n := range []int{1, 4, 30, 300} {
		s := soundFile(t, "usual", 400, 5)
		require.NoError(t, os.WriteFile(path, s.file, 0o600))
		f, err := Open(path)
		require.NoError(t, err)
		quick(f)
		// The pages that the first put frees are written by the second.
		for _, detail := range []string{"first", "second"} {
			changed := slices.Clone(s.entries[:n])
			for i := range changed {
				changed[i].Detail = []byte(detail)
			}
			require.NoError(t, f.Put([]byte(detail), changed))
			if detail == "first" {
				s.file, err = os.ReadFile(path)
				require.NoError(t, err)
				s.holds = holds(t, f)
			}
		}
		want := holds(t, f)
		require.NoError(t, f.Close())
		after, err := os.ReadFile(path)
		require.NoError(t, err)

		refused := 0
		for at := 0; at+4096 <= len(s.file); at += 4096 {
			if bytes.Equal(s.file[at:at+4096], after[at:at+4096]) {
				continue
			}
			b := bytes.Clone(after)
			copy(b[at:], s.file[at:at+4096])
			require.NoError(t, os.WriteFile(path, b, 0o600))
			f, err := Open(path)
			switch {
			case at < 8192: // without its meta page, all of the put is as if it had not begun
				require.NoError(t, err)
				require.True(t, maps.Equal(s.holds, holds(t, f)))
			case err == nil:
				require.True(t, maps.Equal(want, holds(t, f)), "page %d", at/4096)
			default:
				require.ErrorIs(t, err, eryxon.ErrStateDamaged)
				refused++
				continue
			}
			require.NoError(t, f.Close())
		}
		assert.Positive(t, refused)
	}
}

// TestBytesThatCount changes every third byte of a small file.
func TestBytesThatCount(t *testing.T) {
	s := soundFile(t, "tiny", 6, 4)
	path := filepath.Join(t.TempDir(), "state")
	var free []int
	for i := 0; i < len(s.file); i += 3 {
		s.file[i] ^= 0xFF
		if verify(bytes.NewReader(s.file), int64(len(s.file))) == nil {
			free = append(free, i)
		}
		s.file[i] ^= 0xFF
	}
	assert.Less(t, len(free), len(s.file))
	for n, i := range free {
		if n%200 == 0 {
			b := bytes.Clone(s.file)
			b[i] ^= 0xFF
			require.NoError(t, os.WriteFile(path, b, 0o600))
			opened(t, path, b, s, false, true, fmt.Sprint("byte ", i))
		}
	}
}

// While a file is open somebody else may damage it. Whatever is read then was
// stored, or there is an error; nothing panics or hangs, and closing works.
func TestDamageWhileOpen(t *testing.T) {
	s := soundFile(t, "usual", 600, 5)
	stored := map[string]bool{}
	for k, v := range s.holds {
		stored[k+v] = true
	}
	damage := map[string]func(r *rand.Rand, path string, b []byte) error{
		"cut to nothing": func(_ *rand.Rand, path string, _ []byte) error { return os.Truncate(path, 0) },
		"cut to a page":  func(_ *rand.Rand, path string, _ []byte) error { return os.Truncate(path, 4096) },
		"cut in half":    func(_ *rand.Rand, path string, b []byte) error { return os.Truncate(path, int64(len(b)/2)) },
		"zeros":          func(_ *rand.Rand, path string, b []byte) error { return overwrite(path, 0, make([]byte, len(b))) },
		"no meta pages":  func(_ *rand.Rand, path string, _ []byte) error { return overwrite(path, 0, make([]byte, 8192)) },
		"data of zeros": func(_ *rand.Rand, path string, b []byte) error {
			return overwrite(path, 8192, make([]byte, len(b)-8192))
		},
		"data of chance": func(r *rand.Rand, path string, b []byte) error {
			scribble(r, b[8192:])
			return overwrite(path, 8192, b[8192:])
		},
		"pages of chance": func(r *rand.Rand, path string, b []byte) error {
			for range 5 {
				at := page(r, b)
				scribble(r, b[at:at+4096])
			}
			return overwrite(path, 0, b)
		},
		"bits": func(r *rand.Rand, path string, b []byte) error {
			for range 100 {
				b[8192+r.IntN(len(b)-8192)] ^= 1 << r.IntN(8)
			}
			return overwrite(path, 0, b)
		},
	}
	for name, spoil := range damage {
		for seed := range uint64(6) {
			r := rand.New(rand.NewPCG(seed, 5))
			path := filepath.Join(t.TempDir(), "state")
			require.NoError(t, os.WriteFile(path, s.file, 0o600))
			f, err := Open(path)
			require.NoError(t, err)
			quick(f)
			require.NoError(t, f.Lock())
			if seed%2 == 0 { // with a read transaction open
				holds(t, f)
			}
			require.NoError(t, spoil(r, path, bytes.Clone(s.file)))
			only := func(err error) {
				t.Helper()
				if err != nil {
					require.ErrorIs(t, err, eryxon.ErrStateDamaged, name)
					require.Contains(t, err.Error(), path)
				}
			}
			for range 3 {
				_, err = f.Header()
				only(err)
				for _, entity := range entities {
					for e, err := range f.Entries(entity) {
						only(err)
						require.True(t, err != nil || stored[nameOf(&e)+textOf(&e)], name)
					}
				}
				for _, e := range s.entries {
					got, found, err := f.Get(e.Entity, e.Key)
					only(err)
					require.True(t, !found || stored[nameOf(&e)+textOf(&got)], name)
				}
				only(f.Put([]byte("header usual"), s.entries[:100]))
			}
			require.NoError(t, f.Unlock())
			require.NoError(t, f.Close(), name)
			f, err = Open(path)
			require.NotErrorIs(t, err, eryxon.ErrStateInUse, name)
			if err == nil {
				require.NoError(t, f.Close())
			}
		}
	}
}

func overwrite(path string, at int64, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

// A fault in the moment that a transaction begins leaves the database's locks
// taken. Nothing waits for them.
func TestADatabaseThatDiesAtABeginning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f, err := Open(path)
	require.NoError(t, err)
	f.endRead()
	require.NoError(t, overwrite(path, 0, make([]byte, 8192)))
	err = func() (err error) {
		defer f.guard(debug.SetPanicOnFault(true), &err)
		f.stuck = true
		_, err = f.db.Begin(false)
		return err
	}()
	require.ErrorIs(t, err, eryxon.ErrStateDamaged)
	_, _, err = f.Get(eryxon.EntityJobs, eryxon.Key{})
	require.ErrorIs(t, err, eryxon.ErrStateDamaged)
	require.ErrorIs(t, f.Lock(), eryxon.ErrStateDamaged)
	require.NoError(t, f.Close())
}

func TestAFileThatIsRemovedTakesNoMore(t *testing.T) {
	for name, remove := range map[string]func(path string) error{
		"removed":  os.Remove,
		"renamed":  func(path string) error { return os.Rename(path, path+" old") },
		"replaced": func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)) },
	} {
		path := filepath.Join(t.TempDir(), "state")
		f, err := Open(path)
		require.NoError(t, err)
		require.NoError(t, f.Put(nil, []eryxon.StateEntry{numbered(0, 1)}))
		require.NoError(t, remove(path))
		err = f.Put(nil, []eryxon.StateEntry{numbered(1, 1)})
		require.ErrorIs(t, err, eryxon.ErrStateDamaged, name)
		assert.Contains(t, err.Error(), path+": the file was removed or replaced")
		require.NoError(t, f.Close())
	}
}

func TestARelativePathOutlivesAChangeOfFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	f, err := Open("state")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, f.Put(nil, []eryxon.StateEntry{numbered(0, 1)}))
	require.NoError(t, f.Close())
}

// A put that the disk does not take is not there at all, and the file is not
// used any more until it is opened again.
func TestADiskThatIsFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f, err := Open(path)
	require.NoError(t, err)
	var list []eryxon.StateEntry
	for i := range 2000 {
		list = append(list, numbered(i, 5))
	}
	require.NoError(t, f.Put([]byte("before"), list[:10]))
	before := holds(t, f)
	f.db.MaxSize = 1
	err = f.Put([]byte("after"), list)
	require.ErrorContains(t, err, path+": writing failed: ")
	require.ErrorContains(t, err, "see to the disk")
	_, _, again := f.Get(eryxon.EntityJobs, eryxon.Key{})
	require.ErrorIs(t, again, err)
	require.ErrorIs(t, f.Put(nil, list[:1]), err)
	require.NoError(t, f.Close())
	f, err = Open(path)
	require.NoError(t, err)
	require.Equal(t, before, holds(t, f))
	require.NoError(t, f.Put([]byte("after"), list))
	require.NoError(t, f.Close())
}

func TestOtherFormats(t *testing.T) {
	for version, kind := range map[uint32]error{0: eryxon.ErrStateMismatch, 2: eryxon.ErrStateMismatch, 1 << 31: eryxon.ErrStateMismatch} {
		for name, change := range map[string]func(tx *bbolt.Tx, b *bbolt.Bucket) error{
			"nothing else": func(*bbolt.Tx, *bbolt.Bucket) error { return nil },
			"everything else": func(tx *bbolt.Tx, b *bbolt.Bucket) error {
				_, err := tx.CreateBucket([]byte("something new"))
				return errors.Join(err, b.Put([]byte("header"), []byte("x")), b.Put([]byte("new"), []byte("y")))
			},
		} {
			path := filepath.Join(t.TempDir(), "state")
			write(t, path, func(tx *bbolt.Tx, b *bbolt.Bucket) error {
				return errors.Join(b.Put(formatKey, formatMarker(version)), change(tx, b))
			})
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			_, err = Open(path)
			require.ErrorIs(t, err, kind, name)
			assert.NotErrorIs(t, err, eryxon.ErrStateDamaged)
			assert.Contains(t, err.Error(), fmt.Sprintf("%s: is of format %d, and this release of the SDK knows format 1", path, version))
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.True(t, bytes.Equal(before, after))
		}
	}
}

// What this format does not know is not ignored: it would be lost, or is damage.
func TestUnknownContentIsRefused(t *testing.T) {
	for name, change := range map[string]func(tx *bbolt.Tx, b *bbolt.Bucket) error{
		"a bucket": func(tx *bbolt.Tx, _ *bbolt.Bucket) error { _, err := tx.CreateBucket([]byte("x")); return err },
		"a nameless one": func(tx *bbolt.Tx, _ *bbolt.Bucket) error {
			_, err := tx.CreateBucket([]byte(entriesPrefix))
			return err
		},
		"a key":           func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Put([]byte("x"), nil) },
		"a bucket inside": func(_ *bbolt.Tx, b *bbolt.Bucket) error { _, err := b.CreateBucket([]byte("x")); return err },
		"a header":        func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Put(headerKey, []byte("unsigned")) },
		"a short header":  func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Put(headerKey, []byte("x")) },
		"a marker":        func(_ *bbolt.Tx, b *bbolt.Bucket) error { return b.Put(formatKey, append(formatMarker(1)[:20], 9)) },
		"an entry": func(tx *bbolt.Tx, _ *bbolt.Bucket) error {
			b, err := tx.CreateBucket([]byte(entriesPrefix + "jobs"))
			return errors.Join(err, b.Put([]byte("\x03SAP1"), []byte("x")))
		},
		"a key of an entry": func(tx *bbolt.Tx, _ *bbolt.Bucket) error {
			b, err := tx.CreateBucket([]byte(entriesPrefix + "jobs"))
			key, e := []byte("\x09SAP1"), numbered(0, 1)
			return errors.Join(err, b.Put(key, appendValue(nil, seedOf("jobs"), key, &e)))
		},
		"an entry of another entity": func(tx *bbolt.Tx, _ *bbolt.Bucket) error {
			b, err := tx.CreateBucket([]byte(entriesPrefix + "jobs"))
			e := numbered(0, 1)
			key := appendKey(nil, e.Key)
			return errors.Join(err, b.Put(key, appendValue(nil, seedOf("parts"), key, &e)))
		},
		"a bucket of entries": func(tx *bbolt.Tx, _ *bbolt.Bucket) error {
			b, err := tx.CreateBucket([]byte(entriesPrefix + "jobs"))
			if err == nil {
				_, err = b.CreateBucket([]byte("\x03SAP1"))
			}
			return err
		},
	} {
		path := filepath.Join(t.TempDir(), "state")
		write(t, path, func(tx *bbolt.Tx, b *bbolt.Bucket) error {
			return errors.Join(b.Put(formatKey, formatMarker(formatVersion)), change(tx, b))
		})
		_, err := Open(path)
		require.ErrorIs(t, err, eryxon.ErrStateDamaged, name)
	}
}

// write makes a database by hand.
func write(t *testing.T, path string, change func(tx *bbolt.Tx, b *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(stateBucket)
		if err != nil {
			return err
		}
		return change(tx, b)
	}))
	require.NoError(t, db.Close())
}

// TestVerifyTakesWhateverTheDatabaseWrites: histories of puts of every size,
// each file verified by this package and by the database's own check.
func TestVerifyTakesWhateverTheDatabaseWrites(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 9))
		path := filepath.Join(t.TempDir(), "state")
		f, err := Open(path)
		require.NoError(t, err)
		quick(f)
		for range 25 {
			list := make([]eryxon.StateEntry, r.IntN(1+r.IntN(400)))
			first, step := r.IntN(100_000), 1+r.IntN(3)
			for i := range list {
				list[i] = numbered(first+i*step, 8)
				if seed%4 == 1 {
					list[i].Key.ExternalID = strings.Repeat(list[i].Key.ExternalID, 1+r.IntN(60))
				}
				if seed%4 > 1 && r.IntN(9) == 0 {
					list[i].Detail = make([]byte, r.IntN(1<<r.IntN(15)))
				}
			}
			require.NoError(t, f.Put(make([]byte, r.IntN(1<<r.IntN(16))), list))
			f.endRead()
			info, err := f.file.Stat()
			require.NoError(t, err)
			require.NoError(t, verify(f.file, info.Size()))
		}
		require.NoError(t, f.db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Error(err)
			}
			return nil
		}))
		require.NoError(t, f.Close())
	}
}

// FuzzOpen: any bytes as a file. Open takes or refuses them, without a panic;
// what it takes can be read, written to and read again.
func FuzzOpen(f *testing.F) {
	for _, s := range soundFiles(f) {
		if len(s.file) < 50_000 {
			f.Add(s.file, true)
			f.Add(s.file, false)
		}
		f.Add(s.file[:4*4096], true)
	}
	f.Add([]byte("text"), false)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, signed bool) {
		if len(b) > 1<<20 {
			return
		}
		b = bytes.Clone(b)
		if signed {
			b = sign(b)
		}
		path := filepath.Join(t.TempDir(), "state")
		require.NoError(t, os.WriteFile(path, b, 0o600))
		f, err := Open(path)
		if err != nil {
			if !errors.Is(err, eryxon.ErrStateDamaged) && !errors.Is(err, eryxon.ErrStateMismatch) {
				t.Fatal(err)
			}
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(b, after), "the file has changed")
			return
		}
		quick(f)
		before := holds(t, f)
		for i := range 30 {
			e := numbered(i, 3)
			_, _, err := f.Get(e.Entity, e.Key)
			require.NoError(t, err)
		}
		e := numbered(1, 3)
		require.NoError(t, f.Put(nil, []eryxon.StateEntry{e}))
		before[nameOf(&e)] = textOf(&e)
		require.NoError(t, f.Close())
		f, err = Open(path)
		require.NoError(t, err)
		require.Equal(t, before, holds(t, f))
		require.NoError(t, f.Close())
	})
}
