package eryxon_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

func TestProgressIsShownFourTimesASecondAndInTheEnd(t *testing.T) {
	for name, data := range map[string]eryxon.Dataset{
		"slices":    {Jobs: eryxon.FromSlice(someJobs(500))},
		"sequences": {Jobs: eryxon.FromSeq(seqOf(someJobs(500)))},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *eryxontest.Server, client *eryxon.Client) {
				type seen struct {
					eryxon.Progress
					at time.Time
				}
				var shown []seen
				start := time.Now()
				report, err := client.SyncAll(t.Context(), data, eryxon.WithMaxRequestRecords(5), eryxon.WithConcurrency(1),
					eryxon.WithProgress(func(p eryxon.Progress) { shown = append(shown, seen{p, time.Now()}) }))
				require.NoError(t, err)
				last := shown[len(shown)-1]
				assert.InDelta(t, 4*time.Since(start).Seconds(), len(shown), 12, "10 seconds, four times each")
				for i, s := range shown {
					assert.Equal(t, i == len(shown)-1, s.Final)
					assert.Equal(t, s.Done, s.Counts.Total())
					if name == "slices" {
						assert.Equal(t, 500, s.Total)
						assert.GreaterOrEqual(t, s.StillNeed*5, s.Total-s.Done)
						assert.Less(t, (s.StillNeed-1)*5, s.Total-s.Done)
					} else {
						assert.Zero(t, s.Total, "its end is not known")
						assert.Zero(t, s.StillNeed)
					}
					assert.GreaterOrEqual(t, s.Requests*5, s.Done, "what is done took requests")
					assert.LessOrEqual(t, s.Requests, s.Done/5+1)
					assert.Equal(t, s.at.Sub(start), s.Elapsed)
					assert.InDelta(t, float64(s.Done)/s.Elapsed.Seconds(), s.Rate, 0.01)
					if i > 0 && !s.Final {
						assert.GreaterOrEqual(t, s.at.Sub(shown[i-1].at), 250*time.Millisecond)
						assert.Greater(t, s.Done, shown[i-1].Done)
					}
				}
				assert.Equal(t, 500, last.Done)
				assert.Equal(t, report.Jobs.Requests, last.Requests)
				assert.Equal(t, report.Total().Counts, last.Counts)
			}, eryxontest.WithLatency(100*time.Millisecond, 0))
		})
	}
}

func TestASlowProgressFunctionDoesNotSlowTheRun(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		var shown []eryxon.Progress
		start := time.Now()
		_, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(someJobs(100))}, eryxon.WithMaxRequestRecords(1), eryxon.WithConcurrency(1),
			eryxon.WithProgress(func(p eryxon.Progress) {
				shown = append(shown, p)
				time.Sleep(7 * time.Second)
			}))
		require.NoError(t, err)
		requests := srv.Requests()
		assert.Equal(t, 10*time.Second, requests[99].End.Sub(start), "requests go on meanwhile")
		require.Len(t, shown, 3, "fewer reports")
		assert.True(t, shown[2].Final, "the end is never missed")
		assert.Equal(t, 100, shown[2].Done)
		assert.Greater(t, shown[1].Done, 65, "a late report tells the latest")
	}, eryxontest.WithLatency(100*time.Millisecond, 0))
}

func TestAProgressFunctionThatBreaksHarmsNothing(t *testing.T) {
	for name, broken := range map[string]func(){
		"panic": func() { panic("no terminal") },
		"exit":  runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *eryxontest.Server, client *eryxon.Client) {
				calls := 0
				report, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(someJobs(100))}, eryxon.WithMaxRequestRecords(1),
					eryxon.WithProgress(func(eryxon.Progress) {
						calls++
						broken()
					}))
				require.NoError(t, err)
				assert.Equal(t, 100, report.Jobs.Counts.Created)
				assert.Equal(t, 1, calls, "it gets no more")
			}, eryxontest.WithLatency(time.Second, 0))
		})
	}
}

func TestProgressIsOverWhenSyncAllReturns(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *eryxontest.Server, client *eryxon.Client) {
		var mu sync.Mutex
		returned := false
		for _, data := range []eryxon.Dataset{{}, {Jobs: eryxon.FromSlice(someJobs(1))}, {Jobs: eryxon.FromSeq(seqOf(someJobs(1)))}} {
			returned = false
			final := 0
			_, err := client.SyncAll(t.Context(), data, eryxon.WithProgress(func(p eryxon.Progress) {
				mu.Lock()
				defer mu.Unlock()
				assert.False(t, returned)
				if p.Final {
					final++
				}
			}))
			mu.Lock()
			returned = true
			mu.Unlock()
			require.NoError(t, err)
			assert.Equal(t, 1, final, "once in the end, however short the run")
		}
		// Also where a sink of the caller's panics; the bubble would tell of a
		// goroutine that is left.
		assert.Panics(t, func() {
			_, _ = client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice([]eryxon.Job{{ExternalID: "x"}})},
				eryxon.WithProgress(func(eryxon.Progress) {}), eryxon.WithOutcomes(func(eryxon.Outcome) error { panic("sink") }))
		})
	})
}
