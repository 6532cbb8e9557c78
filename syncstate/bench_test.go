package syncstate_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/syncstate"
)

const million = 1_000_000

func millionth(i int) eryxon.StateEntry {
	return eryxon.StateEntry{
		Entity: eryxon.EntityOperations,
		Key:    eryxon.Key{Source: "SAP", ExternalID: fmt.Sprintf("SO-%07d-010-0010", i)},
		ID:     fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(i)*2654435761, i),
		Time:   time.Unix(int64(1735689600+i), 0),
		Digest: [16]byte{byte(i), byte(i >> 8), byte(i >> 16), 7},
		Detail: []byte("0123456789012345678901234567890123456789"),
	}
}

// millionFolder is where aMillion has its file, until the tests end.
var millionFolder string

// aMillion makes a state with a million entries, once for all benchmarks.
var aMillion = sync.OnceValues(func() (path string, err error) {
	if millionFolder, err = os.MkdirTemp("", "syncstate"); err != nil {
		return "", err
	}
	path = filepath.Join(millionFolder, "state")
	f, err := syncstate.Open(path)
	if err != nil {
		return "", err
	}
	list := make([]eryxon.StateEntry, 0, 10_000)
	for i := 0; i < million && err == nil; i++ {
		if list = append(list, millionth(i)); len(list) == cap(list) {
			err = f.Put(nil, list)
			list = list[:0]
		}
	}
	if err != nil {
		return "", err
	}
	return path, f.Close()
})

func openMillion(b *testing.B) *syncstate.File {
	b.Helper()
	f, err := syncstate.Open(millionPath(b))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, f.Close()) })
	return f
}

func millionPath(b *testing.B) string {
	b.Helper()
	path, err := aMillion()
	require.NoError(b, err)
	return path
}

// heap is the largest Go heap that was looked at, in MiB.
type heap float64

func (h *heap) look() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	*h = max(*h, heap(m.HeapAlloc)/(1<<20))
}

func keysOfAMillion() []eryxon.Key {
	keys := make([]eryxon.Key, million)
	for i := range keys {
		keys[i] = millionth(i).Key
	}
	return keys
}

func BenchmarkGetInOrder(b *testing.B) {
	f := openMillion(b)
	keys := keysOfAMillion()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		_, found, err := f.Get(eryxon.EntityOperations, keys[i%million])
		if !found || err != nil {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkGetAtRandom(b *testing.B) {
	f := openMillion(b)
	keys := keysOfAMillion()
	rand.New(rand.NewPCG(1, 1)).Shuffle(million, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		_, found, err := f.Get(eryxon.EntityOperations, keys[i%million])
		if !found || err != nil {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkGetWhatIsNotThere(b *testing.B) {
	f := openMillion(b)
	keys := keysOfAMillion()
	for i := range keys {
		keys[i].ExternalID += "x"
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		_, found, err := f.Get(eryxon.EntityOperations, keys[i%million])
		if found || err != nil {
			b.Fatal(found, err)
		}
	}
}

// BenchmarkPut1000 replaces a thousand of a million entries.
func BenchmarkPut1000(b *testing.B) {
	for name, step := range map[string]int{"in order": 1, "scattered": 997} {
		b.Run(name, func(b *testing.B) {
			f := openMillion(b)
			list := make([]eryxon.StateEntry, 1000)
			var h heap
			b.ReportAllocs()
			b.ResetTimer()
			for n := range b.N {
				b.StopTimer()
				for i := range list {
					list[i] = millionth((n*1000 + i*step) % million)
					list[i].Digest[15] = byte(n)
				}
				b.StartTimer()
				if err := f.Put([]byte("header"), list); err != nil {
					b.Fatal(err)
				}
				if n%16 == 0 {
					b.StopTimer()
					h.look()
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(h), "heap-MiB")
		})
	}
}

func BenchmarkOpenMillion(b *testing.B) {
	path := millionPath(b)
	info, err := os.Stat(path)
	require.NoError(b, err)
	var h heap
	for range b.N {
		f, err := syncstate.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		h.look()
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(h), "heap-MiB")
	b.ReportMetric(float64(info.Size())/(1<<20), "file-MiB")
}

// BenchmarkRunOverMillion is a run's share: each of a million entries is looked
// up in order, and one in ten of them put again, a thousand at a time.
func BenchmarkRunOverMillion(b *testing.B) {
	f := openMillion(b)
	for range b.N {
		runtime.GC()
		var h heap
		list := make([]eryxon.StateEntry, 0, 1000)
		for i := range million {
			e, found, err := f.Get(eryxon.EntityOperations, eryxon.Key{Source: "SAP", ExternalID: fmt.Sprintf("SO-%07d-010-0010", i)})
			if !found || err != nil {
				b.Fatal(found, err)
			}
			if i%10 == 0 {
				if list = append(list, e); len(list) == cap(list) {
					if err := f.Put(nil, list); err != nil {
						b.Fatal(err)
					}
					list = list[:0]
				}
			}
			if i%20_000 == 0 {
				h.look()
			}
		}
		b.ReportMetric(float64(h), "heap-MiB")
	}
}

func BenchmarkEntriesOfAMillion(b *testing.B) {
	f := openMillion(b)
	b.ReportAllocs()
	for range b.N {
		runtime.GC()
		var h heap
		n := 0
		for _, err := range f.Entries(eryxon.EntityOperations) {
			if err != nil {
				b.Fatal(err)
			}
			if n++; n%20_000 == 0 {
				h.look()
			}
		}
		if n != million {
			b.Fatal(n)
		}
		b.ReportMetric(float64(h), "heap-MiB")
	}
}

func BenchmarkMemoryGet(b *testing.B) {
	m := syncstate.NewMemory()
	e := millionth(1)
	require.NoError(b, m.Put(nil, []eryxon.StateEntry{e}))
	b.ReportAllocs()
	for range b.N {
		_, _, _ = m.Get(e.Entity, e.Key)
	}
}
