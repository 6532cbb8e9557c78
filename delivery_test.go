package eryxon_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

// inBubble runs a test in virtual time, against a server without sockets. A
// goroutine that outlives the test fails it.
func inBubble(t *testing.T, test func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client), opts ...eryxontest.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(opts...)
		defer srv.Close()
		test(t, srv, clientOf(t, srv))
	})
}

func clientOf(t *testing.T, srv *eryxontest.Server, opts ...eryxon.Option) *eryxon.Client {
	t.Helper()
	client, err := eryxon.New(srv.URL, srv.Key, append([]eryxon.Option{eryxon.WithHTTPClient(srv.Client()), eryxon.WithSource("SAP")}, opts...)...)
	require.NoError(t, err)
	return client
}

func someJobs(n int) []eryxon.Job {
	jobs := make([]eryxon.Job, n)
	for i := range jobs {
		jobs[i] = eryxon.Job{ExternalID: fmt.Sprintf("SO-%04d", i), JobNumber: fmt.Sprintf("J-%04d", i)}
	}
	return jobs
}

// seqOf is a slice as a sequence.
func seqOf[R any](records []R) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// sizesOf lists how many records the requests had, and how many of them were
// refused.
func sizesOf(srv *eryxontest.Server) (sizes []int, refused int) {
	for _, r := range srv.Requests() {
		sizes = append(sizes, r.Records)
		if r.Status != http.StatusOK {
			refused++
		}
	}
	return sizes, refused
}

func TestOneBadRecordCostsLittleWhereverItStands(t *testing.T) {
	places := []int{0, 1, 2, 3, 124, 125, 249, 250, 374, 375, 499, 500, 501, 511, 512, 624, 625, 749, 750, 874, 875, 997, 998, 999}
	r := rand.New(rand.NewPCG(7, 7))
	for range runs(t, 20) {
		places = append(places, r.IntN(1000))
	}
	for n, bad := range places {
		status, code := 400, "BAD_REQUEST"
		if n%3 == 1 {
			status, code = 422, "VALIDATION_ERROR"
		} else if n%3 == 2 {
			status, code = 500, "INTERNAL_ERROR"
		}
		t.Run(fmt.Sprintf("%d of %d", status, bad), func(t *testing.T) {
			inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
				jobs := someJobs(1000)
				srv.FailRecord(eryxontest.Jobs, jobs[bad].ExternalID, "Invalid priority")
				srv.RefuseWhole(status, code, "a record of the request is bad")
				result, err := client.Jobs.BulkSync(t.Context(), jobs)
				var partial *eryxon.PartialError
				require.ErrorAs(t, err, &partial)
				assert.Equal(t, 1, partial.Failed, "the one bad record and no other")
				assert.False(t, result.Outcomes[bad].Status.Success())
				if status < 500 {
					assert.Equal(t, eryxon.StatusFailed, result.Outcomes[bad].Status)
				}
				assert.Len(t, srv.Rows(eryxontest.Jobs), 999, "all others land")
				assert.LessOrEqual(t, len(srv.Requests()), 1+20, "the search is by halving")
				assert.Equal(t, len(srv.Requests()), result.Requests)
				assert.Equal(t, len(srv.Requests()), result.Attempts)
			})
		})
	}
}

func TestAThousandBadRecordsDoNotBurnTheQuota(t *testing.T) {
	for _, status := range []int{400, 500} {
		inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
			jobs := someJobs(1000)
			for _, j := range jobs {
				srv.FailRecord(eryxontest.Jobs, j.ExternalID, "Invalid priority")
			}
			srv.RefuseWhole(status, "BAD_REQUEST", "a record of the request is bad")
			result, err := client.Jobs.BulkSync(t.Context(), jobs)
			require.Error(t, err)
			assert.Zero(t, result.Counts.Succeeded())
			assert.Equal(t, 1000, result.Counts.Total())
			assert.LessOrEqual(t, len(srv.Requests()), 60)
			assert.Empty(t, srv.Rows(eryxontest.Jobs))
		})
	}
}

func TestSomeBadRecordsAreReportedTruthfully(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	for range runs(t, 20) {
		inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
			jobs := someJobs(50 + r.IntN(900))
			bad := map[int]bool{}
			for range 2 + r.IntN(12) {
				i := r.IntN(len(jobs))
				bad[i] = true
				srv.FailRecord(eryxontest.Jobs, jobs[i].ExternalID, "Invalid priority")
			}
			srv.RefuseWhole(400, "BAD_REQUEST", "a record of the request is bad")
			result, err := client.Jobs.BulkSync(t.Context(), jobs)
			require.Error(t, err)
			assert.LessOrEqual(t, len(srv.Requests()), 60)
			for i, o := range result.Outcomes {
				_, there := srv.Row(eryxontest.Jobs, "SAP", jobs[i].ExternalID)
				require.Equalf(t, there, o.Status.Success(), "record %d is %s", i, o.Status)
				require.Falsef(t, bad[i] && o.Status.Success(), "record %d is bad", i)
			}
		})
	}
}

func TestNoRequestIsLongerThanAllowedAndNoneShorterThanNeeded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	for range runs(t, 30) {
		limit := 1024 + r.IntN(8000)
		inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
			jobs := someJobs(200)
			for i := range jobs {
				jobs[i].Notes = eryxon.Some(strings.Repeat("ü<\"", 1+r.IntN(60)))
			}
			_, err := client.Jobs.BulkSync(t.Context(), jobs, eryxon.WithMaxRequestBytes(limit))
			require.NoError(t, err)
			requests := srv.Requests()
			for i, req := range requests {
				require.LessOrEqual(t, len(req.Body), limit)
				if i+1 < len(requests) {
					next := onlyRecord(t, requests[i+1].Body)
					require.Greater(t, len(req.Body)+1+next, limit, "the next record would have fitted")
				}
			}
		})
	}
}

// onlyRecord is the length of the first record in a bulk's body.
func onlyRecord(t *testing.T, body []byte) int {
	t.Helper()
	_, list, ok := strings.Cut(string(body), `[{`)
	require.True(t, ok)
	first, _, ok := strings.Cut(list, `},{`)
	if !ok {
		first = strings.TrimSuffix(list, `}]}`)
	}
	return len(first) + 2
}

func TestARecordAloneOverTheLimitIsRefusedWithoutARequest(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		jobs := someJobs(3)
		raw, err := jobs[1].MarshalJSON()
		require.NoError(t, err)
		room := 2048 - len(`{"jobs":[]}`) - len(raw) - len(`,"external_source":"SAP"`) - len(`,"notes":""`)
		for _, over := range []int{0, 1} {
			jobs[1].Notes = eryxon.Some(strings.Repeat("x", room+over))
			result, err := client.Jobs.BulkSync(t.Context(), jobs, eryxon.WithMaxRequestBytes(2048))
			if over == 0 {
				require.NoError(t, err, "exactly the limit is allowed")
				longest := 0
				for _, r := range srv.Requests() {
					longest = max(longest, len(r.Body))
				}
				assert.Equal(t, 2048, longest)
				srv.Reset()
				continue
			}
			require.ErrorIs(t, err, eryxon.ErrTooLarge)
			assert.Equal(t, eryxon.StatusFailed, result.Outcomes[1].Status)
			assert.Equal(t, 2, result.Counts.Succeeded(), "its neighbours go")
			assert.Len(t, srv.Rows(eryxontest.Jobs), 2)
			assert.Contains(t, err.Error(), "WithMaxRequestBytes")
		}
	})
}

func TestRequestsBecomeSmallerWhereTheServerTakesLess(t *testing.T) {
	for _, status := range []int{413, 504, 546} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
				srv.RefuseOverRecords(130, status)
				result, err := client.Jobs.BulkSync(t.Context(), someJobs(4000))
				require.NoError(t, err)
				assert.Equal(t, 4000, result.Counts.Succeeded())
				sizes, refused := sizesOf(srv)
				assert.Equal(t, 3, refused, "1000, 500 and 250 are tried once: %v", sizes)
				assert.LessOrEqual(t, len(sizes), 3+4000/124+8, "and what follows is as large as it may be: %v", sizes)
			})
		})
	}
	t.Run("by length", func(t *testing.T) {
		inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
			srv.RefuseOverBytes(20_000, 413)
			result, err := client.Jobs.BulkSync(t.Context(), someJobs(4000))
			require.NoError(t, err)
			assert.Equal(t, 4000, result.Counts.Succeeded())
			sizes, refused := sizesOf(srv)
			assert.LessOrEqual(t, refused, 3, "%v", sizes)
		})
	})
}

func TestALongRecordIsTriedHoweverSmallRequestsHaveBecome(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		// Two records are too much for the server, each alone is not.
		srv.RefuseOverBytes(1000, 413)
		jobs := someJobs(8)
		for i := range jobs {
			jobs[i].Notes = eryxon.Some(strings.Repeat("x", 600))
		}
		result, err := client.Jobs.BulkSync(t.Context(), jobs, eryxon.WithMaxRequestRecords(2))
		require.NoError(t, err)
		assert.Equal(t, 8, result.Counts.Succeeded())
	})
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		srv.RefuseOverBytes(600, 413)
		jobs := someJobs(3)
		jobs[1].Notes = eryxon.Some(strings.Repeat("x", 600))
		result, err := client.Jobs.BulkSync(t.Context(), jobs)
		require.ErrorIs(t, err, eryxon.ErrTooLarge)
		assert.Equal(t, "created failed created", fmt.Sprint(result.Outcomes[0].Status, " ", result.Outcomes[1].Status, " ", result.Outcomes[2].Status))
	})
}

func TestAKeyRevokedInTheMiddleEndsTheRun(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		srv.Script("", eryxontest.Fault{}, eryxontest.Fault{}, eryxontest.StatusJSON(401, "UNAUTHORIZED", "Invalid or revoked API key"))
		result, err := client.Jobs.BulkSync(t.Context(), someJobs(450), eryxon.WithMaxRequestRecords(100))
		require.ErrorIs(t, err, eryxon.ErrUnauthorized)
		assert.Len(t, srv.Requests(), 3, "no request in vain")
		assert.Equal(t, 200, result.Counts.Created)
		assert.Equal(t, 150, result.Counts.NotSent)
		assert.Equal(t, 450, result.Counts.Total())
		for _, o := range result.Outcomes[200:] {
			require.ErrorIs(t, o.Err, eryxon.ErrUnauthorized)
			require.NotNil(t, o.Record)
		}
	})
}

func TestAQuotaUsedUpInTheMiddleEndsTheRunWithoutAFurtherRequest(t *testing.T) {
	for _, always := range []bool{true, false} {
		inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
			result, err := client.Jobs.BulkSync(t.Context(), someJobs(450), eryxon.WithMaxRequestRecords(100))
			var limited *eryxon.RateLimitError
			require.ErrorAs(t, err, &limited)
			assert.Equal(t, 2, limitCalls(srv), "requests that the quota allowed")
			want := 2
			if !always {
				want = 3 // the server has told nothing before its 429
			}
			assert.Len(t, srv.Requests(), want)
			assert.Equal(t, eryxon.Counts{Created: 200, NotSent: 250}, result.Counts, "what was turned away unread counts as not sent")
			assert.WithinDuration(t, time.Now().Add(24*time.Hour), limited.Reset, time.Second)
		}, eryxontest.WithQuota(2, 24*time.Hour), eryxontest.WithHeadersAlways(always))
	}
}

func limitCalls(srv *eryxontest.Server) (n int) {
	for _, r := range srv.Requests() {
		if r.Status == http.StatusOK {
			n++
		}
	}
	return n
}

func TestAShortQuotaWindowIsWaitedForWhereAllowed(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		result, err := client.Jobs.BulkSync(t.Context(), someJobs(450), eryxon.WithMaxRequestRecords(100), eryxon.WithMaxWait(time.Minute))
		require.NoError(t, err)
		assert.Equal(t, 450, result.Counts.Created)
		assert.Equal(t, 5, limitCalls(srv))
	}, eryxontest.WithQuota(2, 30*time.Second))
}

func TestAServerThatIsGoneCostsFewRequests(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	attempts := 0
	client, err := eryxon.New("http://"+listener.Addr().String(), "key", eryxon.WithSource("SAP"),
		eryxon.WithRetryPolicy(eryxon.RetryPolicy{MaxAttempts: 3, BaseDelay: 1, MaxDelay: 1}),
		eryxon.WithObserver(func(context.Context, eryxon.Attempt) { attempts++ }))
	require.NoError(t, err)
	result, err := client.Jobs.BulkSync(t.Context(), someJobs(450), eryxon.WithMaxRequestRecords(100))
	require.ErrorIs(t, err, eryxon.ErrConnection)
	var op *net.OpError
	require.ErrorAs(t, err, &op, "the cause is told")
	assert.Equal(t, 450, result.Counts.NotSent, "nothing left, and it can be sent as it is: %s", result.Counts)
	assert.Equal(t, 3, attempts, "one call, with its retries")
	client.CloseIdleConnections()
}

func TestAServerThatAnswersNothingUsableEndsTheRun(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		srv.Chaos(1, 1, eryxontest.Status(503))
		result, err := client.Jobs.BulkSync(t.Context(), someJobs(4000), eryxon.WithMaxRequestRecords(100))
		require.ErrorIs(t, err, eryxon.ErrServer)
		assert.Equal(t, 4000, result.Counts.Total())
		assert.Equal(t, 300, result.Counts.Unknown, "three requests in a row without anything landing are enough")
		assert.Equal(t, 3700, result.Counts.NotSent)
		assert.LessOrEqual(t, len(srv.Requests()), 3*4+4)
	})
}

func TestABudgetOfRequestsIsKept(t *testing.T) {
	for _, budget := range []int{1, 3, 5, 100} {
		inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
			result, err := client.Jobs.BulkSync(t.Context(), someJobs(1000), eryxon.WithMaxRequestRecords(100), eryxon.WithRequestBudget(budget))
			assert.LessOrEqual(t, len(srv.Requests()), budget, "to recognise the server counts too")
			assert.Equal(t, 1000, result.Counts.Total())
			if budget == 100 {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, eryxon.ErrRequestBudget)
			assert.Equal(t, 1000-result.Counts.Created, result.Counts.NotSent)
			last := result.Outcomes[999]
			require.ErrorIs(t, last.Err, eryxon.ErrRequestBudget)
			assert.Equal(t, eryxon.StatusNotSent, last.Status)
			assert.Len(t, srv.Rows(eryxontest.Jobs), result.Counts.Created)
		})
	}
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		srv.Chaos(1, 1, eryxontest.Status(503))
		st := client.Jobs.Stream(t.Context(), seqOf(someJobs(1000)), eryxon.WithMaxRequestRecords(100), eryxon.WithRequestBudget(3))
		for o := range st.All() {
			require.Error(t, o.Err)
		}
		require.ErrorIs(t, st.Err(), eryxon.ErrRequestBudget)
		assert.Len(t, srv.Requests(), 3, "retries count")
	})
}

// endless is an input that never ends. It counts what was taken.
func endless(taken *int) iter.Seq2[eryxon.Job, error] {
	return func(yield func(eryxon.Job, error) bool) {
		for i := 0; ; i++ {
			*taken++
			if !yield(eryxon.Job{ExternalID: fmt.Sprint(i), JobNumber: fmt.Sprint(i)}, nil) {
				return
			}
		}
	}
}

func TestALoopThatIsLeftAccountsForTheRest(t *testing.T) {
	for name, tt := range map[string]struct {
		grace   time.Duration
		unknown bool
		took    time.Duration
	}{
		"no grace":    {0, true, 0},
		"short grace": {time.Second, true, time.Second},
		"long grace":  {time.Hour, false, 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
				_, err := client.Jobs.Sync(t.Context(), eryxon.Job{ExternalID: "0", JobNumber: "0"})
				require.NoError(t, err)
				taken := 0
				st := client.Jobs.Stream(t.Context(), endless(&taken), eryxon.WithMaxRequestRecords(10), eryxon.WithConcurrency(2), eryxon.WithGracePeriod(tt.grace))
				var outs []eryxon.Outcome
				var left time.Time
				for o := range st.All() {
					outs = append(outs, o)
					time.Sleep(time.Second) // virtual: what is in flight is on the wire by now
					left = time.Now()
					break
				}
				assert.Equal(t, tt.took, time.Since(left), "requests in flight get the grace period and no more")
				require.NoError(t, st.Err(), "leaving is no error")
				outs = append(outs, st.Rest()...)
				require.Len(t, outs, taken)
				seen := map[int]bool{}
				counts := map[eryxon.Status]int{}
				for _, o := range outs {
					require.False(t, seen[o.Index])
					seen[o.Index] = true
					counts[o.Status]++
				}
				assert.Equal(t, tt.unknown, counts[eryxon.StatusUnknown] > 0, "%v", counts)
				assert.Zero(t, counts[eryxon.StatusFailed])
				for range st.All() {
					assert.Fail(t, "a second range yields nothing")
				}
				require.Error(t, st.Err(), "and is told")
			}, eryxontest.WithLatency(10*time.Second, 0))
		})
	}
}

func TestAContextCancelledInTheMiddleOfAStream(t *testing.T) {
	for _, grace := range []time.Duration{0, time.Hour} {
		inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			start := time.Now()
			taken := 0
			counts := map[eryxon.Status]int{}
			st := client.Jobs.Stream(ctx, endless(&taken), eryxon.WithMaxRequestRecords(10), eryxon.WithConcurrency(1), eryxon.WithGracePeriod(grace))
			for o := range st.All() {
				counts[o.Status]++
				if o.Status == eryxon.StatusNotSent {
					require.ErrorIs(t, o.Err, context.DeadlineExceeded)
				}
			}
			require.ErrorIs(t, st.Err(), context.DeadlineExceeded)
			assert.Empty(t, st.Rest())
			assert.Len(t, srv.Requests(), 2, "no new ones are made")
			want, took := map[eryxon.Status]int{eryxon.StatusCreated: 10, eryxon.StatusUnknown: 10, eryxon.StatusNotSent: taken - 20}, 15*time.Second
			if grace > 0 {
				want, took = map[eryxon.Status]int{eryxon.StatusCreated: 20, eryxon.StatusNotSent: taken - 20}, 20*time.Second
			}
			assert.Equal(t, want, counts)
			assert.Equal(t, took, time.Since(start))
		}, eryxontest.WithLatency(10*time.Second, 0))
	}
}

func TestPanicsOfTheCallersSurfaceAndLeaveNothingRunning(t *testing.T) {
	for _, where := range []string{"input", "consumer"} {
		inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
			taken := 0
			input := func(yield func(eryxon.Job, error) bool) {
				for j, err := range endless(&taken) {
					if where == "input" && taken == 35 {
						panic("the ERP driver broke")
					}
					if !yield(j, err) {
						return
					}
				}
			}
			st := client.Jobs.Stream(t.Context(), input, eryxon.WithMaxRequestRecords(10), eryxon.WithConcurrency(3))
			yielded := 0
			assert.PanicsWithValue(t, "the ERP driver broke", func() {
				for range st.All() {
					yielded++
					if where == "consumer" && yielded == 15 {
						panic("the ERP driver broke")
					}
				}
			})
			offered := taken
			if where == "input" {
				offered-- // the last one never came
			}
			assert.Equal(t, offered, yielded+len(st.Rest()), "what was taken is accounted for")
			// The keys are free again.
			_, err := client.Jobs.BulkSync(t.Context(), []eryxon.Job{{ExternalID: "1", JobNumber: "1"}})
			require.NoError(t, err)
		}, eryxontest.WithLatency(time.Second, 0))
	}
}

func TestAnErrorOfTheInputEndsTheReadingAndNotTheSending(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		broken := errors.New("the ERP's cursor was closed")
		st := client.Jobs.Stream(t.Context(), func(yield func(eryxon.Job, error) bool) {
			for i := range 25 {
				if !yield(eryxon.Job{ExternalID: fmt.Sprint(i), JobNumber: fmt.Sprint(i)}, nil) {
					return
				}
			}
			assert.False(t, yield(eryxon.Job{}, broken), "the input is not asked for more")
		}, eryxon.WithMaxRequestRecords(10))
		n := 0
		for o := range st.All() {
			require.NoError(t, o.Err)
			n++
		}
		assert.Equal(t, 25, n)
		require.ErrorIs(t, st.Err(), broken)
		assert.Contains(t, st.Err().Error(), "at record 25")
		assert.Len(t, srv.Rows(eryxontest.Jobs), 25)
	})
}

func TestALaterRecordOfAStreamWins(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		jobs := someJobs(10)
		for i := range jobs {
			jobs[i].ExternalID, jobs[i].JobNumber, jobs[i].Notes = "SO-1", "J-1", eryxon.Some(fmt.Sprint(i))
		}
		st := client.Jobs.Stream(t.Context(), seqOf(jobs), eryxon.WithConcurrency(4))
		counts := map[eryxon.Status]int{}
		for o := range st.All() {
			require.NoError(t, o.Err)
			counts[o.Status]++
		}
		assert.Equal(t, map[eryxon.Status]int{eryxon.StatusSuperseded: 9, eryxon.StatusCreated: 1}, counts)
		row, _ := srv.Row(eryxontest.Jobs, "SAP", "SO-1")
		assert.Equal(t, "9", row["notes"])
	})
}

func TestTwoStreamsOfOneClientNeverHoldOneKeyAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				st := client.Jobs.Stream(t.Context(), seqOf(someJobs(100)), eryxon.WithMaxRequestRecords(7), eryxon.WithConcurrency(5))
				for o := range st.All() {
					assert.NoError(t, o.Err)
				}
				assert.NoError(t, st.Err())
			})
		}
		wg.Wait()
		assert.Empty(t, srv.Overlaps())
		assert.Len(t, srv.Rows(eryxontest.Jobs), 100)
	}, eryxontest.WithLatency(100*time.Millisecond, time.Millisecond))
}
