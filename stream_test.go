package eryxon_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

// runs is how many random runs a property gets: few in the ordinary test, as
// many as ERYXON_TEST_RUNS says in a long one.
func runs(t *testing.T, ordinary int) int {
	t.Helper()
	s := os.Getenv("ERYXON_TEST_RUNS")
	if s == "" {
		return ordinary
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

// allFaults are the ways in which a request goes wrong that leave the server
// itself sane. (One that writes an hour after the client gave up is not: the
// attempt timeout is to be above what the gateway allows the server.)
func allFaults() []eryxontest.Fault {
	return []eryxontest.Fault{
		eryxontest.Status(503), eryxontest.Status(502), eryxontest.Status(504), eryxontest.Status(546), eryxontest.Status(413),
		eryxontest.Status(502).After(), eryxontest.Status(504).After(), eryxontest.Status(500), eryxontest.Status(500).After(),
		eryxontest.StatusJSON(500, "INTERNAL_ERROR", "boom"), eryxontest.StatusJSON(500, "INTERNAL_ERROR", "boom").After(),
		eryxontest.StatusJSON(400, "BAD_REQUEST", "not today"),
		eryxontest.CloseBefore(), eryxontest.CloseMidAnswer(), eryxontest.LoseAnswer(), eryxontest.Truncate(40),
		eryxontest.NotJSON(), eryxontest.EmptyBody(), eryxontest.Delay(time.Second), eryxontest.Delay(time.Hour).After(),
		eryxontest.OmitRecord(), eryxontest.RepeatRecord(), eryxontest.InventRecord(), eryxontest.ContradictCounts(),
		eryxontest.TooManyRequests(map[string][]string{"Retry-After": {"1"}}),
		eryxontest.StallMidAnswer(time.Hour),
	}
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// torment gives the server a random character.
func torment(r *rand.Rand, srv *eryxontest.Server) {
	faults := allFaults()
	switch r.IntN(4) {
	case 0:
	case 1:
		srv.Chaos(r.Uint64(), r.Float64()*0.9, pick(r, faults))
	default:
		srv.Chaos(r.Uint64(), r.Float64()*0.5, faults...)
	}
	if r.IntN(4) == 0 {
		srv.RefuseWhole(pick(r, []int{400, 422, 500}), "BAD_REQUEST", "a record of the request is bad")
	}
	if r.IntN(5) == 0 {
		srv.RefuseOverRecords(1+r.IntN(30), pick(r, []int{413, 504, 546}))
	}
	if r.IntN(5) == 0 {
		srv.RefuseOverBytes(300+r.IntN(3000), 413)
	}
}

// history checks the outcomes of records of one key against the row that is
// there in the end. Each record's content names its index.
type history struct {
	existed bool // before the run
	was     string
}

func checkTruth(t *testing.T, srv *eryxontest.Server, e eryxontest.Entity, before map[eryxon.Key]history, outs []eryxon.Outcome) {
	t.Helper()
	perKey := map[eryxon.Key][]eryxon.Outcome{}
	for _, o := range outs {
		perKey[o.Key] = append(perKey[o.Key], o)
	}
	for key, list := range perKey {
		if key.ExternalID == "" || key.Source == "" {
			continue
		}
		row, there := srv.Row(e, key.Source, key.ExternalID)
		content, _ := row["notes"].(string)
		h := before[key]
		possible := map[string]bool{}
		mayExist, mustExist := h.existed, h.existed
		if h.existed {
			possible[h.was] = true
		}
		for _, o := range list {
			mine := fmt.Sprintf("v%d", o.Index)
			switch o.Status {
			case eryxon.StatusCreated:
				assert.Falsef(t, mustExist, "%v: record %d says created, but the row was there", key, o.Index)
				possible, mayExist, mustExist = map[string]bool{mine: true}, true, true
			case eryxon.StatusUpdated:
				assert.Truef(t, mayExist, "%v: record %d says updated, but there was no row", key, o.Index)
				possible, mayExist, mustExist = map[string]bool{mine: true}, true, true
			case eryxon.StatusSynced:
				possible, mayExist, mustExist = map[string]bool{mine: true}, true, true
			case eryxon.StatusUnknown:
				possible[mine], mayExist = true, true
			case eryxon.StatusFailed, eryxon.StatusNotSent, eryxon.StatusSuperseded:
			default:
				assert.Failf(t, "unexpected status", "%v %v", key, o)
			}
		}
		if mustExist {
			assert.Truef(t, there, "%v: a success is reported, and there is no row: %+v", key, list)
		}
		if there {
			assert.Truef(t, possible[content], "%v: the row holds %q, the outcomes allow %v: %+v", key, content, possible, list)
		}
	}
}

func TestStreamAccountsForEveryRecordTruthfully(t *testing.T) {
	n := runs(t, 400)
	for seed := range n {
		ok := t.Run(strconv.Itoa(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomStream(t, uint64(seed)) })
		})
		if !ok && seed > 5 {
			t.FailNow()
		}
	}
}

func randomStream(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	srv := eryxontest.New()
	defer srv.Close()
	client, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP"),
		eryxon.WithAttemptTimeout(time.Minute), eryxon.WithRetryPolicy(eryxon.RetryPolicy{MaxAttempts: 1 + r.IntN(3), BaseDelay: time.Millisecond, MaxDelay: time.Second}))
	require.NoError(t, err)

	size := r.IntN(60)
	span := 1 + r.IntN(80)
	jobs := make([]eryxon.Job, size)
	before := map[eryxon.Key]history{}
	for i := range jobs {
		id := strconv.Itoa(r.IntN(span))
		jobs[i] = eryxon.Job{ExternalID: id, JobNumber: "N" + id, Notes: eryxon.Some(fmt.Sprintf("v%d", i))}
		if r.IntN(6) == 0 {
			jobs[i].ExternalSource, jobs[i].JobNumber = "Odoo", "O"+id
		}
		if r.IntN(20) == 0 {
			jobs[i].JobNumber = "" // refused locally
		}
		if r.IntN(25) == 0 {
			srv.FailRecord(eryxontest.Jobs, id, "Invalid due_date format")
		}
		if r.IntN(8) == 0 {
			key := eryxon.Key{Source: "SAP", ExternalID: id}
			if _, seeded := before[key]; !seeded && jobs[i].ExternalSource == "" {
				srv.Seed(eryxontest.Jobs, eryxontest.Row{"external_id": id, "external_source": "SAP", "job_number": "N" + id, "notes": "old"})
				before[key] = history{existed: true, was: "old"}
			}
		}
	}
	torment(r, srv)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if r.IntN(4) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(5000))*time.Millisecond)
		defer cancel()
	}
	opts := []eryxon.BulkOption{eryxon.WithConcurrency(1 + r.IntN(5)), eryxon.WithMaxRequestRecords(1 + r.IntN(20)),
		eryxon.WithGracePeriod(time.Duration(r.IntN(3)) * 40 * time.Second)}

	taken := 0
	inputErr := errors.New("the ERP went away")
	breakInput := r.IntN(6) == 0
	input := func(yield func(eryxon.Job, error) bool) {
		for i, j := range jobs {
			if breakInput && i == size/2 {
				yield(eryxon.Job{}, inputErr)
				return
			}
			taken++
			if !yield(j, nil) {
				return
			}
		}
	}
	st := client.Jobs.Stream(ctx, input, opts...)
	var outs []eryxon.Outcome
	leave := -1
	if r.IntN(5) == 0 {
		leave = r.IntN(size + 1)
	}
	for o := range st.All() {
		outs = append(outs, o)
		if len(outs) == leave {
			break
		}
	}
	if leave < 0 {
		assert.Empty(t, st.Rest(), "a loop that was not left has everything")
	}
	outs = append(outs, st.Rest()...)
	synctest.Wait() // a server may still be at work for a client that gave up

	seen := make([]bool, size)
	for _, o := range outs {
		require.Less(t, o.Index, taken, "an outcome for a record that was not taken")
		require.Falsef(t, seen[o.Index], "record %d has two outcomes", o.Index)
		seen[o.Index] = true
		require.Equal(t, jobs[o.Index].ExternalID, o.Key.ExternalID)
		assert.Equal(t, o.Status.Success() || o.Status == eryxon.StatusSuperseded, o.Err == nil)
		if !o.Status.Success() && o.Status != eryxon.StatusSuperseded {
			assert.Equal(t, jobs[o.Index], o.Record)
			assert.Equal(t, o.Status == eryxon.StatusUnknown, errors.Is(o.Err, eryxon.ErrUnknownOutcome))
		}
	}
	require.Len(t, outs, taken, "every record that was taken has an outcome")
	if taken < size && leave < 0 {
		assert.Error(t, st.Err(), "what ended the run early is told")
	}
	time.Sleep(3 * time.Hour) // whatever the server was still at
	// The order of a key's records is the order of their indexes.
	inOrder := make([]eryxon.Outcome, taken)
	for _, o := range outs {
		inOrder[o.Index] = o
	}
	checkTruth(t, srv, eryxontest.Jobs, before, inOrder)
	assert.Empty(t, srv.Overlaps(), "no two requests in flight hold the same key")
}
