package eryxon

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

func dueJob(id string, day int) Job {
	j := job(id)
	if day > 0 {
		j.DueDate = Some(NewDate(2026, time.December, day))
	}
	return j
}

func TestRationedRunsSendTheUrgentFirst(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	list := []Job{dueJob("old-9", 9), dueJob("old-0", 0), dueJob("old-3", 3)}
	_, err := c.Jobs.BulkSync(t.Context(), list, WithState(st))
	require.NoError(t, err)
	for i := range list {
		list[i].Notes = Some("changed")
	}
	list = append(list, dueJob("new-8", 8), dueJob("new-2", 2))

	sent := func(res *BulkResult) (ids []string) {
		for _, o := range res.Outcomes {
			if o.Status.Success() && o.RequestID != "" {
				ids = append(ids, o.Key.ExternalID)
			}
		}
		return ids
	}
	run := func(opts ...BulkOption) *BulkResult {
		t.Helper()
		res, err := c.Jobs.BulkSync(t.Context(), list, append(opts, WithState(st), WithMaxRequestRecords(2))...)
		if err != nil {
			require.ErrorIs(t, err, ErrRequestBudget)
		}
		for i, o := range res.Outcomes {
			require.Equal(t, i, o.Index)
			require.Equal(t, list[i].ExternalID, o.Key.ExternalID)
		}
		return res
	}
	first := run(WithRequestBudget(1))
	assert.Equal(t, []string{"new-8", "new-2"}, sent(first))
	assert.Equal(t, Counts{Created: 2, NotSent: 3}, first.Counts)
	assert.Equal(t, []string{"old-9", "old-3"}, sent(run(WithRequestBudget(1))))
	last := run(WithRequestBudget(1))
	assert.Equal(t, []string{"old-0"}, sent(last))
	assert.Equal(t, Counts{Updated: 1, Unchanged: 4}, last.Counts)

	for i := range list {
		list[i].Notes = Some("again")
	}
	byID := func(a, b Pending) int { return -compareKeys(a.Key, b.Key) }
	assert.Equal(t, []string{"old-9", "old-3"}, sent(run(WithRequestBudget(1), WithUrgency(byID))))
}

func TestRationedDatasetsSendTheUrgentFirst(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	orders := []Job{dueJob("late", 20), dueJob("soon", 2), dueJob("none", 0)}
	var parts []Part
	for _, o := range orders {
		parts = append(parts, Part{ExternalID: "part-" + o.ExternalID, PartNumber: "P", JobExternalID: o.ExternalID, Material: Some("Steel"), Quantity: Some(1)})
	}
	report, err := c.SyncAll(t.Context(), Dataset{Jobs: FromSlice(orders), Parts: FromSlice(parts)},
		WithState(st), WithRequestBudget(4), WithMaxRequestRecords(1), WithConcurrency(1))
	require.ErrorIs(t, err, ErrRequestBudget)
	assert.Equal(t, Counts{Created: 3}, report.Jobs.Counts)
	assert.Equal(t, Counts{Created: 1, NotSent: 2}, report.Parts.Counts)
	_, there := srv.Row(eryxontest.Parts, "SAP", "part-soon")
	assert.True(t, there)
}

func TestQuotaAcrossRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New()
		st := newMemState()
		n := 0
		run := func(opts ...Option) *BulkResult {
			t.Helper()
			n++ // each run is a process of its own and has one new record
			c := onServer(t, srv, append(opts, WithSource("SAP"), WithDailyQuota(5))...)
			res, err := c.Jobs.BulkSync(t.Context(), []Job{job(fmt.Sprint(n))}, WithState(st))
			if err != nil {
				require.ErrorIs(t, err, ErrRateLimited)
			}
			return res
		}
		for range 3 {
			assert.Equal(t, Counts{Created: 1}, run().Counts)
			time.Sleep(time.Hour)
		}
		assert.Equal(t, Counts{NotSent: 1}, run(WithQuotaReserve(2)).Counts, "two are left for others")
		assert.Equal(t, Counts{Created: 1}, run().Counts)
		assert.Equal(t, Counts{Created: 1}, run().Counts)
		refused := run()
		assert.Equal(t, Counts{NotSent: 1}, refused.Counts)
		var limited *RateLimitError
		require.ErrorAs(t, refused.Outcomes[0].Err, &limited)
		assert.WithinDuration(t, time.Now().Add(21*time.Hour), limited.Reset, time.Second)
		assert.Len(t, srv.Requests(), 5)
		time.Sleep(21*time.Hour + time.Second)
		assert.Equal(t, Counts{Created: 1}, run().Counts)
	})
}

func TestQuotaThatTheServerHasToldIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New()
		st := newMemState()
		header := http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {time.Now().Add(5 * time.Hour).UTC().Format(time.RFC3339)}, "Retry-After": {"18000"}}
		srv.Script("/api-jobs/bulk-sync", eryxontest.TooManyRequests(header))
		for range 3 {
			res, err := onServer(t, srv, WithSource("SAP")).Jobs.BulkSync(t.Context(), jobs(1), WithState(st))
			require.ErrorIs(t, err, ErrRateLimited)
			assert.Equal(t, Counts{NotSent: 1}, res.Counts)
			time.Sleep(time.Hour)
		}
		assert.Len(t, srv.Requests(), 1, "a restarted process knows")
		time.Sleep(3 * time.Hour)
		res, err := onServer(t, srv, WithSource("SAP")).Jobs.BulkSync(t.Context(), jobs(1), WithState(st))
		require.NoError(t, err)
		assert.Equal(t, Counts{Created: 1}, res.Counts)
	})
}

// A day on the free plan: 5000 open orders, 3 % of them change in an hour, a
// run every half hour, each a process of its own.
func TestADayOnTheFreePlan(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := eryxontest.New(eryxontest.WithRelease(release), eryxontest.WithQuota(100, 24*time.Hour))
				st := newMemState()
				random := rand.New(rand.NewPCG(1, 2))
				orders := make([]Job, 5000)
				changed := make(map[int]time.Time, len(orders)) // not delivered yet
				for i := range orders {
					orders[i] = Job{ExternalID: fmt.Sprintf("SO-%05d", i), JobNumber: fmt.Sprintf("J-%05d", i), Customer: Some("Acme"),
						DueDate: Some(NewDate(2026, time.December, 1+i%28)), Priority: Some(i % 5), Notes: Some("first")}
					changed[i] = time.Now()
				}
				worst := time.Duration(0)
				for range 48 {
					c := onServer(t, srv, WithSource("SAP"), WithDailyQuota(100))
					res, err := c.Jobs.BulkSync(t.Context(), orders, WithState(st))
					require.NoError(t, err)
					for i, o := range res.Outcomes {
						require.True(t, o.Status.Success())
						if since, ok := changed[i]; ok {
							worst = max(worst, time.Since(since))
							require.NotEmpty(t, o.RequestID, "a change is sent")
							delete(changed, i)
						}
					}
					require.Empty(t, changed)
					for minute := range 30 { // until the next run
						time.Sleep(time.Minute)
						for range 2 + minute%2 { // 150 an hour
							i := random.IntN(len(orders))
							orders[i].Notes = Some(fmt.Sprint("changed ", random.Uint32()))
							if _, waits := changed[i]; !waits {
								changed[i] = time.Now()
							}
						}
					}
				}
				t.Logf("%d requests, a change waits at most %s", len(srv.Requests()), worst)
				assert.LessOrEqual(t, len(srv.Requests()), 100)
				assert.LessOrEqual(t, worst, time.Hour)
				for _, i := range []int{0, 17, 4999} {
					row, ok := srv.Row(eryxontest.Jobs, "SAP", orders[i].ExternalID)
					require.True(t, ok)
					if _, waits := changed[i]; !waits {
						assert.Equal(t, orders[i].Notes.Or(""), row["notes"])
					}
				}
			})
		})
	}
}

// What a client spends beside the runs counts, whoever runs next.
func TestQuotaOfSeveralClients(t *testing.T) {
	srv := eryxontest.New()
	st := newMemState()
	a, b := onServer(t, srv), onServer(t, srv)
	n := 0
	next := func() Job { n++; return job(fmt.Sprint(n)) }
	run := func(c *Client) {
		t.Helper()
		_, err := c.Jobs.BulkSync(t.Context(), []Job{next()}, WithState(st))
		require.NoError(t, err)
	}
	run(a)
	for range 4 {
		_, err := a.Jobs.Sync(t.Context(), next())
		require.NoError(t, err)
	}
	run(b)
	run(b)
	run(a)
	assert.Equal(t, len(srv.Requests()), st.of(t).Quota.Spent)
}

func TestQuotaAfterTheClockWasSetBack(t *testing.T) {
	srv := eryxontest.New()
	st := newMemState()
	_, err := onServer(t, srv).Jobs.BulkSync(t.Context(), jobs(1), WithState(st))
	require.NoError(t, err)
	h := st.of(t)
	h.Quota.Window, h.Quota.Spent = time.Now().Add(time.Hour), 5
	st.header, err = json.Marshal(h)
	require.NoError(t, err)
	_, err = onServer(t, srv, WithDailyQuota(5)).Jobs.BulkSync(t.Context(), jobs(2), WithState(st))
	require.ErrorIs(t, err, ErrRateLimited, "what was spent stays spent")
}
