package syncstate_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/syncstate"
)

const uuid = "0f8fad5b-d9cb-469f-a165-70867728950e"

// both runs a test on a state of each kind.
func both(t *testing.T, test func(t *testing.T, s eryxon.State)) {
	t.Helper()
	t.Run("File", func(t *testing.T) { test(t, open(t, filepath.Join(t.TempDir(), "state"))) })
	t.Run("Memory", func(t *testing.T) { test(t, syncstate.NewMemory()) })
}

func open(t testing.TB, path string) *syncstate.File {
	t.Helper()
	f, err := syncstate.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = f.Unlock()
		assert.NoError(t, f.Close())
	})
	return f
}

func entry(id string) eryxon.StateEntry {
	return eryxon.StateEntry{
		Entity: eryxon.EntityJobs,
		Key:    eryxon.Key{Source: "SAP", ExternalID: id},
		ID:     uuid,
		Time:   time.Date(2024, 12, 31, 23, 59, 58, 0, time.UTC),
		Digest: [16]byte{1, 2, 3, 15: 16},
		Detail: []byte("detail of " + id),
	}
}

// same compares as a State is meant: times as points in time, no detail and an
// empty one alike.
func same(t testing.TB, want, got eryxon.StateEntry) {
	t.Helper()
	want.Time = want.Time.Truncate(time.Second)
	alike := want.Time.Equal(got.Time) && want.Time.IsZero() == got.Time.IsZero() && bytes.Equal(want.Detail, got.Detail) &&
		want.Entity == got.Entity && want.Key == got.Key && want.ID == got.ID && want.Digest == got.Digest
	assert.Truef(t, alike, "want %v, got %v", want, got)
}

func get(t testing.TB, s eryxon.State, e eryxon.Entity, k eryxon.Key) (eryxon.StateEntry, bool) {
	t.Helper()
	got, found, err := s.Get(e, k)
	require.NoError(t, err)
	return got, found
}

func all(t testing.TB, s eryxon.State, e eryxon.Entity) []eryxon.StateEntry {
	t.Helper()
	var list []eryxon.StateEntry
	for got, err := range s.Entries(e) {
		require.NoError(t, err)
		list = append(list, got)
	}
	slices.SortFunc(list, func(a, b eryxon.StateEntry) int {
		return cmp.Or(cmp.Compare(a.Key.Source, b.Key.Source), cmp.Compare(a.Key.ExternalID, b.Key.ExternalID))
	})
	return list
}

func TestANewStateIsEmpty(t *testing.T) {
	both(t, func(t *testing.T, s eryxon.State) {
		header, err := s.Header()
		require.NoError(t, err)
		assert.Nil(t, header)
		_, found := get(t, s, eryxon.EntityJobs, eryxon.Key{Source: "SAP", ExternalID: "1"})
		assert.False(t, found)
		assert.Empty(t, all(t, s, eryxon.EntityJobs))
		require.NoError(t, s.Put(nil, nil))
	})
}

func TestWhatIsPutIsThere(t *testing.T) {
	both(t, func(t *testing.T, s eryxon.State) {
		bare := eryxon.StateEntry{Entity: eryxon.EntityCells}
		list := []eryxon.StateEntry{entry("1"), bare}
		for _, id := range []string{"", "x", strings.ToUpper(uuid), "{" + uuid + "}", uuid + "0", uuid[:35], strings.ReplaceAll(uuid, "-", "_"), "g" + uuid[1:], uuid, "\x00", strings.Repeat("i", 1<<10)} {
			e := entry(fmt.Sprintf("id %d %.40s", len(list), id))
			e.ID = id
			list = append(list, e)
		}
		for _, at := range []time.Time{
			{}, time.Time{}.Add(time.Second - 1), time.Time{}.Add(time.Second), time.Time{}.Add(-1), time.Unix(0, 0), time.Unix(-1, 5), time.Unix(1<<40, 999),
			time.Now(), time.Date(1900, 1, 1, 1, 1, 1, 1, time.FixedZone("", 3600)),
		} {
			e := entry(fmt.Sprintf("time %d", len(list)))
			e.Time = at
			list = append(list, e)
		}
		for _, detail := range [][]byte{nil, {}, {0}, bytes.Repeat([]byte{0xFF}, 64<<10)} {
			e := entry(fmt.Sprintf("detail %d", len(list)))
			e.Detail = detail
			list = append(list, e)
		}
		for _, k := range []eryxon.Key{
			{}, {Source: "a", ExternalID: "bc"}, {Source: "ab", ExternalID: "c"}, {Source: "abc"}, {ExternalID: "abc"},
			{Source: "a\x00", ExternalID: "b"}, {Source: "a", ExternalID: "\x00b"}, {Source: "\x01a", ExternalID: "b"},
			{Source: strings.Repeat("s", 127), ExternalID: "1"}, {Source: strings.Repeat("s", 128), ExternalID: "1"},
			{Source: strings.Repeat("s", 8<<10), ExternalID: strings.Repeat("i", 8<<10)}, {Source: "日本", ExternalID: "\xff\xfe"},
		} {
			e := entry("")
			e.Key, e.Detail = k, []byte(k.String())
			list = append(list, e)
		}
		require.NoError(t, s.Put([]byte("header"), list))
		for _, want := range list {
			got, found := get(t, s, want.Entity, want.Key)
			require.Truef(t, found, "%q", want.Key)
			same(t, want, got)
		}
		assert.Len(t, all(t, s, eryxon.EntityJobs), len(list)-1)
		assert.Len(t, all(t, s, eryxon.EntityCells), 1)
		header, err := s.Header()
		require.NoError(t, err)
		assert.Equal(t, []byte("header"), header)
	})
}

// Looking up in order, backwards, with gaps and with keys that are not there.
func TestGetsInAnyOrder(t *testing.T) {
	both(t, func(t *testing.T, s eryxon.State) {
		var list []eryxon.StateEntry
		for i := 0; i < 1000; i += 2 {
			list = append(list, entry(fmt.Sprintf("%04d", i)))
		}
		require.NoError(t, s.Put(nil, list))
		r := rand.New(rand.NewPCG(2, 2))
		for n := range 10_000 {
			i := []int{n % 1002, 1001 - n%1002, r.IntN(1002)}[n/1002%3]
			got, found := get(t, s, eryxon.EntityJobs, entry(fmt.Sprintf("%04d", i)).Key)
			require.Equal(t, i < 1000 && i%2 == 0, found)
			if found {
				same(t, entry(fmt.Sprintf("%04d", i)), got)
			}
		}
	})
}

func TestPutReplaces(t *testing.T) {
	both(t, func(t *testing.T, s eryxon.State) {
		first, second, third := entry("1"), entry("1"), entry("1")
		second.Detail, third.Detail, third.ID = []byte("second"), nil, ""
		require.NoError(t, s.Put([]byte("h"), []eryxon.StateEntry{first, second}))
		got, _ := get(t, s, first.Entity, first.Key)
		same(t, second, got)
		require.NoError(t, s.Put(nil, []eryxon.StateEntry{third}))
		got, _ = get(t, s, first.Entity, first.Key)
		same(t, third, got)
		header, err := s.Header()
		require.NoError(t, err)
		assert.Equal(t, []byte("h"), header, "a nil header leaves it alone")
		require.NoError(t, s.Put([]byte{}, nil))
		header, err = s.Header()
		require.NoError(t, err)
		assert.NotNil(t, header, "an empty header is one")
		assert.Empty(t, header)
	})
}

func TestAStateSharesNoBytes(t *testing.T) {
	both(t, func(t *testing.T, s eryxon.State) {
		header, e := []byte("header"), entry("1")
		require.NoError(t, s.Put(header, []eryxon.StateEntry{e}))
		header[0], e.Detail[0] = 'X', 'X'
		for range 2 {
			got, _ := get(t, s, e.Entity, e.Key)
			same(t, entry("1"), got)
			got.Detail[0] = 'Y'
			kept, err := s.Header()
			require.NoError(t, err)
			assert.Equal(t, "header", string(kept))
			kept[0] = 'Y'
			for got, err := range s.Entries(e.Entity) {
				require.NoError(t, err)
				got.Detail[0] = 'Z'
			}
		}
	})
}

func TestRefusedPutsKeepNothing(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	both(t, func(t *testing.T, s eryxon.State) {
		for name, spoil := range map[string]func(e *eryxon.StateEntry, header *[]byte){
			"no entity":   func(e *eryxon.StateEntry, _ *[]byte) { e.Entity = "" },
			"long entity": func(e *eryxon.StateEntry, _ *[]byte) { e.Entity = eryxon.Entity(long(129)) },
			"long source": func(e *eryxon.StateEntry, _ *[]byte) { e.Key.Source = long(16<<10 + 1) },
			"long key": func(e *eryxon.StateEntry, _ *[]byte) {
				e.Key = eryxon.Key{Source: long(8 << 10), ExternalID: long(8<<10 + 1)}
			},
			"long id":     func(e *eryxon.StateEntry, _ *[]byte) { e.ID = long(1<<10 + 1) },
			"long detail": func(e *eryxon.StateEntry, _ *[]byte) { e.Detail = make([]byte, 64<<10+1) },
			"long header": func(_ *eryxon.StateEntry, header *[]byte) { *header = make([]byte, 1<<20+1) },
		} {
			bad, header := entry("2"), []byte("h")
			spoil(&bad, &header)
			err := s.Put(header, []eryxon.StateEntry{entry("1"), bad})
			require.Error(t, err, name)
			assert.Contains(t, err.Error(), "syncstate: ")
			assert.Contains(t, err.Error(), "none is kept")
			assert.Less(t, len(err.Error()), 500)
			assert.Empty(t, all(t, s, eryxon.EntityJobs), name)
			kept, err := s.Header()
			require.NoError(t, err)
			assert.Nil(t, kept, name)
		}
		_, _, err := s.Get("", eryxon.Key{})
		require.ErrorContains(t, err, "no entity is named")
		for _, err := range s.Entries("") {
			require.ErrorContains(t, err, "no entity is named")
		}
		_, found := get(t, s, "jobs", eryxon.Key{Source: long(1 << 20)})
		assert.False(t, found, "what can't be put is not there")
	})
}

func TestTheLargestEntriesFit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f := open(t, path)
	r := rand.New(rand.NewPCG(3, 3))
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	var list []eryxon.StateEntry
	for range 12 {
		e := entry(string(bytesOf(16<<10 - 3)))
		e.ID, e.Detail = string(bytesOf(1<<10)), bytesOf(64<<10)
		list = append(list, e, entry(string(bytesOf(20))))
	}
	header := bytesOf(1 << 20)
	for i := range list {
		require.NoError(t, f.Put(header, list[:i+1]))
	}
	require.NoError(t, f.Close())
	f = open(t, path)
	for _, want := range list {
		got, found := get(t, f, want.Entity, want.Key)
		require.True(t, found)
		same(t, want, got)
	}
	kept, err := f.Header()
	require.NoError(t, err)
	assert.Equal(t, header, kept)
}

func TestOneRunAtATime(t *testing.T) {
	both(t, func(t *testing.T, s eryxon.State) {
		require.ErrorContains(t, s.Unlock(), "without a lock")
		for range 2 {
			require.NoError(t, s.Lock())
			err := s.Lock()
			require.ErrorIs(t, err, eryxon.ErrStateInUse)
			assert.Contains(t, err.Error(), "wait until it has ended")
			require.NoError(t, s.Unlock())
			require.Error(t, s.Unlock())
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for range 8 {
			wg.Go(func() {
				if s.Lock() == nil {
					mu.Lock()
					won++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		assert.Equal(t, 1, won)
	})
}

func TestPutWhileEntriesAreRangedOver(t *testing.T) {
	both(t, func(t *testing.T, s eryxon.State) {
		const n = 5000
		var list []eryxon.StateEntry
		want := map[eryxon.Key]bool{}
		for i := range n {
			e := entry(fmt.Sprintf("%05d", i))
			list = append(list, e)
			want[e.Key] = true
		}
		require.NoError(t, s.Put(nil, list))
		met := 0
		for e, err := range s.Entries(eryxon.EntityJobs) {
			require.NoError(t, err)
			if !want[e.Key] {
				continue // put below
			}
			delete(want, e.Key)
			if met++; met%250 == 0 {
				more := []eryxon.StateEntry{e, entry(fmt.Sprintf("%05d more", n-met)), entry(e.Key.ExternalID + " more")}
				more[0].Detail = []byte("changed")
				require.NoError(t, s.Put([]byte("h"), more))
				got, found := get(t, s, e.Entity, e.Key)
				require.True(t, found)
				same(t, more[0], got)
			}
		}
		assert.Empty(t, want, "all that was there before is met")
		for range s.Entries(eryxon.EntityJobs) {
			break
		}
		outer, inner := 0, 0
		for range s.Entries(eryxon.EntityJobs) {
			for range s.Entries(eryxon.EntityJobs) {
				inner++
			}
			if outer++; outer == 2 {
				break
			}
		}
		assert.Greater(t, inner, 2*n)
	})
}

func TestManyGoroutines(t *testing.T) {
	both(t, func(t *testing.T, s eryxon.State) {
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 10 {
					e := entry(fmt.Sprintf("%d-%d", w, i))
					assert.NoError(t, s.Put([]byte(e.Key.ExternalID), []eryxon.StateEntry{e}))
					got, found, err := s.Get(e.Entity, e.Key)
					assert.NoError(t, err)
					assert.True(t, found)
					same(t, e, got)
					for _, err := range s.Entries(e.Entity) {
						assert.NoError(t, err)
					}
					_, err = s.Header()
					assert.NoError(t, err)
					if s.Lock() == nil {
						assert.NoError(t, s.Unlock())
					}
				}
			})
		}
		wg.Wait()
		assert.Len(t, all(t, s, eryxon.EntityJobs), 40)
	})
}

// TestHistories holds both kinds of state against a map: random histories of
// puts, reads and, for files, closing and opening again.
func TestHistories(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		path := filepath.Join(t.TempDir(), "state")
		f, err := syncstate.Open(path)
		require.NoError(t, err)
		states := []eryxon.State{f, syncstate.NewMemory()}
		model := map[eryxon.Entity]map[eryxon.Key]eryxon.StateEntry{}
		var header []byte
		for range 60 {
			switch r.IntN(6) {
			case 0, 1, 2:
				var h []byte
				if r.IntN(2) == 0 {
					h = []byte(fmt.Sprint("header ", r.Uint32()))
					header = h
				}
				list := someEntries(r)
				for _, s := range states {
					require.NoError(t, s.Put(h, list))
				}
				for _, e := range list {
					if model[e.Entity] == nil {
						model[e.Entity] = map[eryxon.Key]eryxon.StateEntry{}
					}
					model[e.Entity][e.Key] = e
				}
			case 3, 4:
				e := someEntry(r)
				want, there := model[e.Entity][e.Key]
				for _, s := range states {
					got, found := get(t, s, e.Entity, e.Key)
					require.Equal(t, there, found)
					if found {
						same(t, want, got)
					}
				}
			default:
				require.NoError(t, f.Close())
				f, err = syncstate.Open(path)
				require.NoError(t, err)
				states[0] = f
			}
			if r.IntN(6) == 0 || len(model) > 0 && t.Failed() {
				for _, s := range states {
					matches(t, s, header, model)
				}
			}
		}
		for _, s := range states {
			matches(t, s, header, model)
		}
		require.NoError(t, f.Close())
	}
}

func matches(t *testing.T, s eryxon.State, header []byte, model map[eryxon.Entity]map[eryxon.Key]eryxon.StateEntry) {
	t.Helper()
	got, err := s.Header()
	require.NoError(t, err)
	require.Equal(t, header, got)
	for _, entity := range someEntities {
		list := all(t, s, entity)
		require.Len(t, list, len(model[entity]))
		for _, e := range list {
			want, there := model[entity][e.Key]
			require.Truef(t, there, "%s %q", entity, e.Key)
			same(t, want, e)
		}
	}
	require.False(t, t.Failed())
}

var someEntities = []eryxon.Entity{eryxon.EntityJobs, eryxon.EntityParts, "x", "an entity of the future / with a slash", "\x00\xff"}

func someEntry(r *rand.Rand) eryxon.StateEntry {
	e := eryxon.StateEntry{
		Entity: someEntities[r.IntN(len(someEntities))],
		Key:    eryxon.Key{Source: []string{"SAP", "", "Infor LN"}[r.IntN(3)], ExternalID: fmt.Sprint(r.IntN(400))},
	}
	if r.IntN(3) > 0 {
		e.Time = time.Unix(r.Int64N(1<<33), r.Int64N(1e9))
		e.Digest[r.IntN(16)] = byte(r.Uint32())
		e.ID = fmt.Sprintf("%08x-0000-4000-8000-%012x", r.Uint32(), r.Uint32())
	}
	if r.IntN(4) == 0 {
		e.Detail = make([]byte, r.IntN(300))
	}
	if r.IntN(20) == 0 {
		e.ID = fmt.Sprint("row ", r.Uint32())
	}
	if r.IntN(100) == 0 {
		e.Detail = make([]byte, r.IntN(9000)) // more than a page
		e.Key.ExternalID = strings.Repeat(e.Key.ExternalID, 1000)
	}
	return e
}

func someEntries(r *rand.Rand) []eryxon.StateEntry {
	list := make([]eryxon.StateEntry, r.IntN(120))
	for i := range list {
		list[i] = someEntry(r)
	}
	return list
}
