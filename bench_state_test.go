package eryxon_test

import (
	"context"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/syncstate"
)

// BenchmarkUnchanged streams a million records that the state in a file knows,
// and then with one in a hundred changed. It reports the requests, and the
// highest heap on the way.
func BenchmarkUnchanged(b *testing.B) {
	const records = 1_000_000
	state, err := syncstate.Open(filepath.Join(b.TempDir(), "state"))
	require.NoError(b, err)
	defer func() { require.NoError(b, state.Close()) }()
	stream := func(server *nullServer, jobs iter.Seq2[eryxon.Job, error], watch func()) (counts map[eryxon.Status]int) {
		counts = map[eryxon.Status]int{}
		st := benchClient(b, server).Jobs.Stream(context.Background(), jobs, eryxon.WithState(state))
		for o := range st.All() {
			if counts[o.Status]++; o.Index%20_000 == 0 {
				watch()
			}
		}
		require.NoError(b, st.Err())
		return counts
	}
	none := func() {}
	require.Equal(b, map[eryxon.Status]int{eryxon.StatusCreated: records}, stream(&nullServer{}, benchJobs(records), none))
	b.Run("All", func(b *testing.B) {
		for b.Loop() {
			var stats runtime.MemStats
			peak, server := uint64(0), &nullServer{}
			counts := stream(server, benchJobs(records), func() {
				runtime.ReadMemStats(&stats)
				peak = max(peak, stats.HeapInuse)
			})
			require.Equal(b, map[eryxon.Status]int{eryxon.StatusUnchanged: records}, counts)
			require.Zero(b, server.requests.Load())
			b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
		}
	})
	b.Run("But1Percent", func(b *testing.B) {
		random := rand.New(rand.NewPCG(1, 1))
		for b.Loop() {
			server := &nullServer{}
			jobs := func(yield func(eryxon.Job, error) bool) {
				for j, err := range benchJobs(records) {
					if random.IntN(100) == 0 {
						j.Notes = eryxon.Some(strconv.Itoa(random.Int()))
					}
					if !yield(j, err) {
						return
					}
				}
			}
			counts := stream(server, jobs, none)
			changed := records - counts[eryxon.StatusUnchanged]
			b.ReportMetric(float64(server.requests.Load())/float64((changed+999)/1000), "requests/least")
		}
	})
}
