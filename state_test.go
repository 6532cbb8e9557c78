package eryxon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// memState is a state in memory that can be made to fail.
type memState struct {
	mu      sync.Mutex
	locked  bool
	header  []byte
	entries map[entityKey]StateEntry
	puts    int
	failPut error
	failGet error
}

func newMemState() *memState { return &memState{entries: make(map[entityKey]StateEntry)} }

func (m *memState) Lock() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked {
		return ErrStateInUse
	}
	m.locked = true
	return nil
}

func (m *memState) Unlock() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.locked {
		return errors.New("not locked")
	}
	m.locked = false
	return nil
}

func (m *memState) Header() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.header), nil
}

func (m *memState) Get(e Entity, k Key) (StateEntry, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry, ok := m.entries[entityKey{e, k}]
	return entry, ok, m.failGet
}

func (m *memState) Entries(e Entity) iter.Seq2[StateEntry, error] {
	return func(yield func(StateEntry, error) bool) {
		m.mu.Lock()
		var list []StateEntry
		for k, entry := range m.entries {
			if k.entity == e {
				list = append(list, entry)
			}
		}
		m.mu.Unlock()
		for _, entry := range list {
			if !yield(entry, nil) {
				return
			}
		}
	}
}

func (m *memState) Put(header []byte, entries []StateEntry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failPut != nil {
		return m.failPut
	}
	m.puts++
	if header != nil {
		m.header = slices.Clone(header)
	}
	for _, e := range entries {
		m.entries[entityKey{e.Entity, e.Key}] = e
	}
	return nil
}

func (m *memState) of(t testing.TB) *stateHeader {
	t.Helper()
	h, err := readStateHeader(m.header)
	require.NoError(t, err)
	return h
}

// posts counts the requests that carry records.
func posts(srv *eryxontest.Server) int {
	n := 0
	for _, r := range srv.Requests() {
		if r.Method != "GET" {
			n++
		}
	}
	return n
}

func TestStateSparesUnchangedRecords(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			c := onServer(t, srv)
			st := newMemState()
			list := jobs(30)
			first, err := c.Jobs.BulkSync(t.Context(), list, WithState(st), WithSource("SAP"))
			require.NoError(t, err)
			assert.Equal(t, 30, first.Counts.Succeeded())

			before := len(srv.Requests())
			again, err := c.Jobs.BulkSync(t.Context(), list, WithState(st), WithSource("SAP"))
			require.NoError(t, err)
			assert.Equal(t, Counts{Unchanged: 30}, again.Counts)
			assert.Len(t, srv.Requests(), before, "unchanged records cost no request")
			for i, o := range again.Outcomes {
				assert.Empty(t, o.RequestID)
				assert.Equal(t, first.Outcomes[i].ID, o.ID)
			}

			list[7].Customer = Some("Acme")
			c = onServer(t, srv) // another process
			changed, err := c.Jobs.BulkSync(t.Context(), list, WithState(st), WithSource("SAP"))
			require.NoError(t, err)
			assert.Equal(t, Counts{Unchanged: 29, Updated: 1}, changed.Counts)
			assert.Equal(t, StatusUpdated, changed.Outcomes[7].Status)
			assert.LessOrEqual(t, len(srv.Requests()), before+2)

			full, err := c.Jobs.BulkSync(t.Context(), list, WithState(st), WithSource("SAP"), WithFull())
			require.NoError(t, err)
			assert.Equal(t, Counts{Updated: 30}, full.Counts)
		})
	}
}

func TestStateDoubtsWhatWasSentWithoutAnAnswer(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"), once())
	st := newMemState()
	a, b := job("1"), job("1")
	a.Notes, b.Notes = Some("a"), Some("b")
	_, err := c.Jobs.BulkSync(t.Context(), []Job{a}, WithState(st))
	require.NoError(t, err)

	srv.Script("/api-jobs/bulk-sync", eryxontest.LoseAnswer())
	res, err := c.Jobs.BulkSync(t.Context(), []Job{b}, WithState(st))
	require.Error(t, err)
	require.Equal(t, StatusUnknown, res.Outcomes[0].Status)

	// The server may hold b: a is not known to be there.
	res, err = c.Jobs.BulkSync(t.Context(), []Job{a}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, StatusUpdated, res.Outcomes[0].Status)
}

func TestStateKeepsWhatARefusalLeftAlone(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"), once())
	st := newMemState()
	a, b := job("1"), job("1")
	b.Notes = Some("b")
	_, err := c.Jobs.BulkSync(t.Context(), []Job{a}, WithState(st))
	require.NoError(t, err)
	srv.Script("/api-jobs/bulk-sync", eryxontest.StatusJSON(401, "UNAUTHORIZED", "no"))
	_, err = c.Jobs.BulkSync(t.Context(), []Job{b}, WithState(st))
	require.ErrorIs(t, err, ErrUnauthorized)
	before := len(srv.Requests())
	res, err := c.Jobs.BulkSync(t.Context(), []Job{a}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, StatusUnchanged, res.Outcomes[0].Status)
	assert.Len(t, srv.Requests(), before)
}

func TestStateOfALaterRecordOfTheSameKey(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	a, b := job("1"), job("1")
	a.Notes, b.Notes = Some("a"), Some("b")
	_, err := c.Jobs.BulkSync(t.Context(), []Job{a}, WithState(st))
	require.NoError(t, err)
	// First changed, then back: the last word is what the server must hold.
	stream := c.Jobs.Stream(t.Context(), FromSlice([]Job{b, a}).all(), WithState(st), WithMaxRequestRecords(1))
	var statuses []Status
	for o := range stream.All() {
		statuses = append(statuses, o.Status)
	}
	require.NoError(t, stream.Err())
	assert.NotContains(t, statuses, StatusUnchanged)
	assert.Equal(t, "a", srv.Rows(eryxontest.Jobs)[0]["notes"])
}

func TestStateIsOneRunsAlone(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	require.NoError(t, st.Lock())
	res, err := c.Jobs.BulkSync(t.Context(), jobs(2), WithState(st))
	require.ErrorIs(t, err, ErrStateInUse)
	assert.Equal(t, Counts{NotSent: 2}, res.Counts)
	_, err = c.SyncAll(t.Context(), Dataset{Jobs: FromSlice(jobs(2))}, WithState(st))
	require.ErrorIs(t, err, ErrStateInUse)
	assert.Empty(t, srv.Requests())
	assert.Empty(t, st.entries)
	assert.Nil(t, st.header)
}

func TestStateOfAnotherInstallation(t *testing.T) {
	st := newMemState()
	c := onServer(t, eryxontest.New(), WithSource("SAP"))
	_, err := c.Jobs.BulkSync(t.Context(), jobs(2), WithState(st))
	require.NoError(t, err)

	h := st.of(t)
	h.BaseURL = "https://elsewhere.example"
	st.header, err = json.Marshal(h)
	require.NoError(t, err)
	header := slices.Clone(st.header)
	_, err = c.Jobs.BulkSync(t.Context(), jobs(3), WithState(st))
	require.ErrorIs(t, err, ErrStateMismatch)
	require.ErrorContains(t, err, "https://elsewhere.example")
	assert.Equal(t, header, st.header)
	assert.False(t, st.locked)
}

func TestStateThatCanNotBeWritten(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	list := jobs(2)
	_, err := c.Jobs.BulkSync(t.Context(), list, WithState(st))
	require.NoError(t, err)
	st.failPut = errors.New("disk full")
	list[0].Notes = Some("new")
	before := len(srv.Requests())
	res, err := c.Jobs.BulkSync(t.Context(), list, WithState(st))
	require.ErrorContains(t, err, "disk full")
	assert.Equal(t, StatusNotSent, res.Outcomes[0].Status, "what the state can't doubt is not sent")
	assert.Equal(t, StatusUnchanged, res.Outcomes[1].Status)
	assert.Len(t, srv.Requests(), before)
}

func TestStateMaxAge(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	_, err := c.Jobs.BulkSync(t.Context(), jobs(2), WithState(st))
	require.NoError(t, err)
	k := entityKey{EntityJobs, Key{"SAP", jobs(2)[0].ExternalID}}
	old := st.entries[k]
	old.Time = time.Now().Add(-8 * 24 * time.Hour)
	st.entries[k] = old
	res, err := c.Jobs.BulkSync(t.Context(), jobs(2), WithState(st), WithMaxAge(7*24*time.Hour))
	require.NoError(t, err)
	assert.Equal(t, Counts{Updated: 1, Unchanged: 1}, res.Counts)
}

func TestStateLeavesTheShopFloorsFields(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			c := onServer(t, srv, WithSource("SAP"))
			st := newMemState()
			mill := Resource{ExternalID: "M1", Name: "Mill", Type: ResourceEquipment, Status: Some(ResourceInUse), Active: Some(true)}
			sync := func(opts ...BulkOption) Counts {
				t.Helper()
				res, err := c.Resources.BulkSync(t.Context(), []Resource{mill}, append(opts, WithState(st))...)
				require.NoError(t, err)
				return res.Counts
			}
			row := func() eryxontest.Row { return srv.Rows(eryxontest.Resources)[0] }
			assert.Equal(t, 1, sync().Succeeded())
			assert.Equal(t, "in_use", row()["status"], "a new record is sent whole")

			_, err := onServer(t, srv, WithSource("SAP")).Resources.Sync(t.Context(), Resource{ExternalID: "M1", Name: "Mill", Type: ResourceEquipment, Status: Some(ResourceMaintenance), Active: Some(false)})
			require.NoError(t, err)
			mill.Status = Some(ResourceAvailable)
			assert.Equal(t, Counts{Unchanged: 1}, sync(), "its status does not count")
			mill.Location = Some("Hall 2")
			assert.Equal(t, Counts{Updated: 1}, sync())
			assert.Equal(t, "maintenance", row()["status"])
			assert.Equal(t, "Hall 2", row()["location"])

			assert.Equal(t, Counts{Updated: 1}, sync(WithoutCreateOnly("status")))
			assert.Equal(t, "available", row()["status"])
			assert.Equal(t, false, row()["active"])
		})
	}
}

func TestSyncAllWithState(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			st := newMemState()
			data := func() Dataset {
				return Dataset{
					Cells: FromSlice([]Cell{{ExternalID: "C1", Name: "Cutting", Color: Some("#112233"), Sequence: Some(1), Active: Some(true)}}),
					Jobs: FromSlice([]Job{{ExternalID: "J1", JobNumber: "J1", Parts: []Part{
						{ExternalID: "P1", PartNumber: "P1", Material: Some("Steel"), Quantity: Some(2), Operations: []Operation{
							{ExternalID: "O1", OperationName: "Cut", CellName: "Cutting", Sequence: Some(1), EstimatedTimeMinutes: Some(3.0)},
						}},
					}}}),
				}
			}
			report, err := onServer(t, srv, WithSource("SAP")).SyncAll(t.Context(), data(), WithState(st))
			require.NoError(t, err)
			assert.Equal(t, 4, report.Total().Counts.Succeeded())

			before := len(srv.Requests())
			report, err = onServer(t, srv, WithSource("SAP")).SyncAll(t.Context(), data(), WithState(st))
			require.NoError(t, err)
			assert.Equal(t, Counts{Unchanged: 4}, report.Total().Counts)
			assert.Len(t, srv.Requests(), before)

			// A child alone, its parents known by the state only.
			op := Operation{ExternalID: "O2", PartExternalID: "P1", OperationName: "Cut again", CellName: "Cutting", Sequence: Some(2), EstimatedTimeMinutes: Some(3.0)}
			more := Dataset{Operations: FromSlice([]Operation{op})}
			report, err = onServer(t, srv, WithSource("SAP")).SyncAll(t.Context(), more, WithState(st))
			require.NoError(t, err)
			assert.Equal(t, 1, report.Total().Counts.Succeeded())
			for _, r := range srv.Requests()[before:] {
				if release != eryxontest.V01 { // which takes parts of any source by that external id
					assert.NotContains(t, r.Path, "diff", "the state knows the part")
				}
			}
		})
	}
}

func TestDryRun(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	list := jobs(4)
	_, err := c.Jobs.BulkSync(t.Context(), list[:3], WithState(st))
	require.NoError(t, err)
	before, puts := len(srv.Requests()), st.puts
	list[1].Customer, list[1].Priority = Some("Acme"), Some(3)
	bad := Job{ExternalID: "bad"}
	parts := []Part{
		{ExternalID: "P1", PartNumber: "P", JobExternalID: "bad"},
		{ExternalID: "P2", PartNumber: "P", JobExternalID: list[0].ExternalID},
	}
	told := map[string]Outcome{}
	report, err := c.SyncAll(t.Context(), Dataset{Jobs: FromSlice(append(list, bad)), Parts: FromSlice(parts)},
		WithState(st), WithDryRun(func(o Outcome) { told[o.Key.ExternalID] = o }))
	require.ErrorIs(t, err, ErrValidation)
	assert.True(t, report.DryRun)
	assert.Equal(t, Counts{Created: 1, Updated: 1, Unchanged: 2, Failed: 1}, report.Jobs.Counts)
	assert.Equal(t, Counts{Created: 1, ParentFailed: 1}, report.Parts.Counts)
	assert.Equal(t, []string{"customer", "priority"}, told[list[1].ExternalID].Changed)
	assert.Equal(t, StatusParentFailed, told["P1"].Status)
	assert.Equal(t, 2, report.Total().Requests)
	assert.Zero(t, report.Total().Attempts)
	assert.Len(t, srv.Requests(), before)
	assert.Equal(t, puts, st.puts, "a dry run leaves the state as it is")
	assert.Contains(t, report.String(), "nothing was sent")
	assert.False(t, st.locked)
}

func TestSingleSyncKeepsTheStateTrue(t *testing.T) {
	srv := eryxontest.New()
	st := newMemState()
	c := onServer(t, srv, WithSource("SAP"), WithState(st))
	a, b := job("1"), job("1")
	b.Notes = Some("b")
	_, err := c.Jobs.BulkSync(context.Background(), []Job{a})
	require.NoError(t, err)
	_, err = c.Jobs.Sync(t.Context(), b)
	require.NoError(t, err)
	res, err := c.Jobs.BulkSync(t.Context(), []Job{b})
	require.NoError(t, err)
	assert.Equal(t, StatusUnchanged, res.Outcomes[0].Status)
	res, err = c.Jobs.BulkSync(t.Context(), []Job{a})
	require.NoError(t, err)
	assert.Equal(t, StatusUpdated, res.Outcomes[0].Status)
}

// Of two records of one key the state knows what became of the later one, and
// nothing of the earlier one once that is in doubt.
func TestStateOfALaterRecordThatGetsNoAnswer(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, once())
	st := newMemState()
	a, b := job("1"), job("1")
	a.Notes, b.Notes = Some("a"), Some("b")
	srv.Script("/api-jobs/bulk-sync", eryxontest.Delay(20*time.Millisecond), eryxontest.LoseAnswer())
	var statuses []Status
	for o := range c.Jobs.Stream(t.Context(), FromSlice([]Job{a, b}).all(), WithState(st), WithMaxRequestRecords(1)).All() {
		statuses = append(statuses, o.Status)
	}
	assert.Equal(t, []Status{StatusCreated, StatusUnknown}, statuses)
	res, err := c.Jobs.BulkSync(t.Context(), []Job{a}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, Counts{Updated: 1}, res.Counts)
	assert.Equal(t, "a", srv.Rows(eryxontest.Jobs)[0]["notes"])
}

func TestStateAfterASingleSyncBesideARefusedRun(t *testing.T) {
	srv := eryxontest.New()
	st := newMemState()
	c := onServer(t, srv, once(), WithState(st))
	a, b, other := job("1"), job("1"), job("1")
	a.Notes, b.Notes, other.Notes = Some("a"), Some("b"), Some("other")
	_, err := c.Jobs.BulkSync(t.Context(), []Job{a})
	require.NoError(t, err)
	input := func(yield func(Job, error) bool) {
		if !yield(b, nil) {
			return
		}
		_, err := c.Jobs.Sync(t.Context(), other)
		assert.NoError(t, err)
		srv.Script("/api-jobs/bulk-sync", eryxontest.StatusJSON(401, "UNAUTHORIZED", "no"))
	}
	for o := range c.Jobs.Stream(t.Context(), input).All() {
		assert.Equal(t, StatusFailed, o.Status)
	}
	res, err := c.Jobs.BulkSync(t.Context(), []Job{a})
	require.NoError(t, err)
	assert.Equal(t, Counts{Updated: 1}, res.Counts, "the server holds what the single sync sent")
}

// What is left out of an update is not left out of the record that is handed
// back.
func TestStateHandsRecordsBackAsTheyWereGiven(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, once())
	st := newMemState()
	list := jobs(6)
	for i := range list {
		list[i].Status = Some(WorkOnHold)
	}
	_, err := c.Jobs.BulkSync(t.Context(), list, WithState(st))
	require.NoError(t, err)
	for i := range list {
		list[i].Notes = Some("x")
	}
	ctx, cancel := context.WithCancel(t.Context())
	input := func(yield func(Job, error) bool) {
		defer cancel()
		for _, j := range list {
			if !yield(j, nil) {
				return
			}
		}
	}
	for o := range c.Jobs.Stream(ctx, input, WithState(st)).All() {
		assert.Equal(t, StatusNotSent, o.Status)
		assert.Equal(t, list[o.Index], o.Record)
	}
	srv.Script("/api-jobs/bulk-sync", eryxontest.StatusJSON(401, "UNAUTHORIZED", "no"))
	res, err := c.Jobs.BulkSync(t.Context(), list, WithState(st), WithMaxRequestRecords(2))
	require.ErrorIs(t, err, ErrUnauthorized)
	for i, o := range res.Outcomes {
		assert.Equal(t, list[i], o.Record)
	}
}

// otherTenant puts a state into the hands of a server that has none of its
// rows, at the same address.
func otherTenant(t *testing.T, st *memState) *eryxontest.Server {
	t.Helper()
	srv := eryxontest.New(eryxontest.WithKey("ery_live_of_another_tenant"))
	h := st.of(t)
	h.BaseURL = srv.URL
	var err error
	st.header, err = json.Marshal(h)
	require.NoError(t, err)
	return srv
}

func TestStateOfAnotherTenantCostsAFewReads(t *testing.T) {
	st := newMemState()
	_, err := onServer(t, eryxontest.New()).SyncAll(t.Context(), shop(20), WithState(st))
	require.NoError(t, err)
	srv := otherTenant(t, st)
	_, err = onServer(t, srv).SyncAll(t.Context(), shop(20), WithState(st))
	require.ErrorIs(t, err, ErrStateMismatch)
	assert.LessOrEqual(t, len(srv.Requests()), 12)
}

func TestStateOfOperationsAloneIsNotAnotherTenants(t *testing.T) {
	st := newMemState()
	_, err := onServer(t, eryxontest.New()).SyncAll(t.Context(), shop(2), WithState(st))
	require.NoError(t, err)
	for k := range st.entries {
		if k.entity != EntityOperations {
			delete(st.entries, k)
		}
	}
	op := Operation{ExternalID: "O1", OperationName: "Cut", PartExternalID: "P1", CellName: "Cell 1", Sequence: Some(1), EstimatedTimeMinutes: Some(5.0)}
	report, err := onServer(t, otherTenant(t, st)).SyncAll(t.Context(), Dataset{Operations: FromSlice([]Operation{op})}, WithState(st))
	require.ErrorIs(t, err, ErrStateMismatch)
	assert.Zero(t, report.Operations.Counts.Unchanged)
}

// boundedState takes no more than it must.
type boundedState struct{ *memState }

func (b boundedState) Put(header []byte, entries []StateEntry) error {
	for _, e := range entries {
		if len(e.Key.Source)+len(e.Key.ExternalID) > 16<<10 || len(e.ID) > 1<<10 || len(e.Detail) > 64<<10 {
			return errors.New("too long")
		}
	}
	return b.memState.Put(header, entries)
}

func TestStateOfAnAbsurdlyLongKey(t *testing.T) {
	c := onServer(t, eryxontest.New())
	st := boundedState{newMemState()}
	list := jobs(3)
	list[1].ExternalID, list[1].Status = strings.Repeat("x", 20_000), Some(WorkOnHold)
	res, err := c.Jobs.BulkSync(t.Context(), list, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, Counts{Created: 3}, res.Counts)
	res, err = c.Jobs.BulkSync(t.Context(), list, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, Counts{Updated: 1, Unchanged: 2}, res.Counts)
}

func TestStateMaxAgeOfAnEntryFromTheFuture(t *testing.T) {
	c := onServer(t, eryxontest.New())
	st := newMemState()
	_, err := c.Jobs.BulkSync(t.Context(), jobs(1), WithState(st))
	require.NoError(t, err)
	for k, entry := range st.entries { // written while the clock was wrong
		entry.Time = time.Now().Add(365 * 24 * time.Hour)
		st.entries[k] = entry
	}
	res, err := c.Jobs.BulkSync(t.Context(), jobs(1), WithState(st), WithMaxAge(time.Hour))
	require.NoError(t, err)
	assert.Equal(t, Counts{Updated: 1}, res.Counts)
}

// brittleState takes some writes and then no more.
type brittleState struct {
	*memState
	left int
}

func (b *brittleState) Put(header []byte, entries []StateEntry) error {
	if b.left--; b.left < 0 {
		return errors.New("disk full")
	}
	return b.memState.Put(header, entries)
}

func TestStateThatCanNotTakeTheLastAcknowledgement(t *testing.T) {
	c := onServer(t, eryxontest.New())
	st := newMemState()
	list := jobs(1)
	_, err := c.Jobs.BulkSync(t.Context(), list, WithState(st))
	require.NoError(t, err)
	list[0].Notes = Some("new")
	res, err := c.Jobs.BulkSync(t.Context(), list, WithState(&brittleState{st, 1}))
	require.ErrorContains(t, err, "disk full")
	assert.Equal(t, Counts{Updated: 1}, res.Counts)
}

func TestDryRunClientsSendNothing(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithDryRun(nil))
	res, err := c.Jobs.Sync(t.Context(), job("1"))
	require.ErrorContains(t, err, "dry run")
	assert.Equal(t, StatusNotSent, res.Status)
	_, err = c.Jobs.BulkSync(t.Context(), jobs(probeFrom*maxRecords))
	require.NoError(t, err)
	assert.Empty(t, srv.Requests())
}

// A record that was sent, and never arrived, is still new: what belongs to new
// records only reaches the server in the end.
func TestStateCompletesRecordsThatWereNewAfterAll(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			st := newMemState()
			cell := func(i int, sequence int, active bool) Cell {
				id := fmt.Sprint("C", i)
				return Cell{ExternalID: id, Name: id, Color: Some("#111111"), Sequence: Some(sequence), Active: Some(active)}
			}
			var old, fresh []Cell
			for i := range 4 {
				old = append(old, cell(i, 1, true))
				fresh = append(fresh, cell(4+i, 1, false))
			}
			_, err := onServer(t, srv).Cells.BulkSync(t.Context(), old, WithState(st))
			require.NoError(t, err)
			srv.Chaos(1, 1, eryxontest.CloseBefore())
			_, err = onServer(t, srv, once()).Cells.BulkSync(t.Context(), fresh, WithState(st))
			require.Error(t, err)
			srv.Chaos(0, 0)
			for i := range old {
				old[i].Sequence = Some(2)
			}
			_, err = onServer(t, srv).Cells.BulkSync(t.Context(), append(old, fresh...), WithState(st))
			require.NoError(t, err)
			for _, c := range fresh {
				row, _ := srv.Row(eryxontest.Cells, "SAP", c.ExternalID)
				assert.Equal(t, false, row["active"], c.ExternalID)
			}
		})
	}
}

func TestStateCompletesNewRecordsInTheNextRun(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, once())
	st := newMemState()
	held := job("1")
	held.Status = Some(WorkOnHold)
	run := func(opts ...BulkOption) Status {
		res, _ := c.Jobs.BulkSync(t.Context(), []Job{held}, append(opts, WithState(st))...)
		return res.Outcomes[0].Status
	}
	srv.Script("/api-jobs/bulk-sync", eryxontest.CloseBefore())
	assert.Equal(t, StatusUnknown, run())
	assert.Equal(t, StatusUnknown, run(WithRequestBudget(1)), "its row is there, its status is not")
	assert.Equal(t, StatusUpdated, run())
	assert.Equal(t, "on_hold", srv.Rows(eryxontest.Jobs)[0]["status"])
	assert.Equal(t, StatusUnchanged, run())
}

func TestSingleSyncsLeaveTheShopFloorsFields(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			c := onServer(t, srv, once(), WithState(newMemState()))
			cell := Cell{ExternalID: "C1", Name: "Cutting", Color: Some("#111111"), Sequence: Some(1), Active: Some(true)}
			_, err := c.Cells.Sync(t.Context(), cell)
			require.NoError(t, err)
			off := cell
			off.Active = Some(false)
			_, err = onServer(t, srv).Cells.Sync(t.Context(), off)
			require.NoError(t, err)
			cell.Sequence = Some(2)
			_, err = c.Cells.Sync(t.Context(), cell)
			require.NoError(t, err)
			row := srv.Rows(eryxontest.Cells)[0]
			assert.EqualValues(t, 2, row["sequence"])
			assert.Equal(t, false, row["active"])

			held := job("1")
			held.Status = Some(WorkOnHold)
			srv.Script("/api-jobs/sync", eryxontest.CloseBefore())
			_, err = c.Jobs.Sync(t.Context(), held)
			require.Error(t, err)
			res, err := c.Jobs.Sync(t.Context(), held)
			require.NoError(t, err)
			assert.Equal(t, StatusCreated, res.Status)
			assert.Equal(t, "on_hold", srv.Rows(eryxontest.Jobs)[0]["status"])
		})
	}
}

// A server that keeps what updates leave out may have been replaced by one that
// does not since the state was written.
func TestStateOfAServerThatOverwritesByNow(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10} {
		parts := make([]Part, n)
		for i := range parts {
			id := fmt.Sprint("P", i)
			parts[i] = Part{ExternalID: id, PartNumber: id, JobExternalID: "J", Material: Some("Steel"), Quantity: Some(7)}
		}
		data := func() Dataset { return Dataset{Jobs: FromSlice([]Job{job("J")}), Parts: FromSlice(parts)} }
		st := newMemState()
		_, err := onServer(t, eryxontest.New(eryxontest.WithRelease(eryxontest.V08))).SyncAll(t.Context(), data(), WithState(st))
		require.NoError(t, err)
		before := st.of(t).Server
		require.Equal(t, ReleaseV08, before.Release)

		srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01)) // with the same rows
		st = newMemState()
		_, err = onServer(t, srv).SyncAll(t.Context(), data(), WithState(st))
		require.NoError(t, err)
		h := st.of(t)
		h.Server = before
		st.header, err = json.Marshal(h)
		require.NoError(t, err)

		for i := range parts {
			parts[i].Material, parts[i].Quantity, parts[i].Notes = Opt[string]{}, Opt[int]{}, Some("new")
		}
		report, err := onServer(t, srv).SyncAll(t.Context(), data(), WithState(st))
		require.ErrorIs(t, err, ErrValidation)
		assert.Equal(t, Counts{Failed: n}, report.Parts.Counts)
		for _, row := range srv.Rows(eryxontest.Parts) {
			assert.Equal(t, "Steel", row["material"])
		}
	}
}

// A record that is sent inside another, and on its own, is never taken for what
// it was the other way.
func TestStateOfNestedRecordsThatAreSentOnTheirOwnToo(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	c := onServer(t, srv)
	st := newMemState()
	order := job("J")
	order.Parts = []Part{{ExternalID: "P", PartNumber: "P", Material: Some("Steel"), Quantity: Some(1)}}
	run := func() Counts {
		t.Helper()
		res, err := c.Jobs.BulkSync(t.Context(), []Job{order}, WithState(st))
		require.NoError(t, err)
		return res.Counts
	}
	assert.Equal(t, Counts{Created: 1}, run())
	assert.Equal(t, Counts{Unchanged: 1}, run())
	alone := order.Parts[0]
	alone.JobExternalID, alone.Material = "J", Some("Brass")
	_, err := c.Parts.BulkSync(t.Context(), []Part{alone}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, Counts{Updated: 1}, run())
	assert.Equal(t, "Steel", srv.Rows(eryxontest.Parts)[0]["material"])
	assert.Equal(t, Counts{Unchanged: 1}, run())
	res, err := c.Parts.BulkSync(t.Context(), []Part{alone}, WithState(st))
	require.NoError(t, err)
	assert.Equal(t, Counts{Updated: 1}, res.Counts)
}

func TestStateSendsNewNestedRecordsWhole(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			c := onServer(t, srv)
			st := newMemState()
			sync := func(j Job) {
				t.Helper()
				_, err := c.Jobs.BulkSync(t.Context(), []Job{j}, WithState(st))
				require.NoError(t, err)
			}
			sync(job("J"))
			order := job("J")
			order.Parts = []Part{{ExternalID: "P", PartNumber: "P", Material: Some("Steel"), Quantity: Some(1), Status: Some(WorkOnHold)}}
			sync(order)
			assert.Equal(t, "on_hold", srv.Rows(eryxontest.Parts)[0]["status"])
			order.Notes, order.Parts[0].Status = Some("new"), Some(WorkNotStarted)
			sync(order)
			assert.Equal(t, "on_hold", srv.Rows(eryxontest.Parts)[0]["status"], "it is the shop floor's now")
		})
	}
}

// An operation names its cell: where the name moves to another cell, the
// operation does too.
func TestStateOfOperationsWhoseCellWasRenamed(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			c := onServer(t, srv, WithSource("SAP"))
			st := newMemState()
			cell := func(id, name string, at int) Cell {
				return Cell{ExternalID: id, Name: name, Color: Some("#111111"), Sequence: Some(at), Active: Some(true)}
			}
			sync := func(cells ...Cell) *Report {
				t.Helper()
				report, err := c.SyncAll(t.Context(), Dataset{
					Cells: FromSlice(cells), Jobs: FromSlice([]Job{{ExternalID: "J", JobNumber: "J"}}),
					Parts: FromSlice([]Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J", Material: Some("Steel"), Quantity: Some(1)}}),
					Operations: FromSlice([]Operation{
						{ExternalID: "O1", OperationName: "Cut", PartExternalID: "P", CellName: "Cutting", Sequence: Some(1), EstimatedTimeMinutes: Some(1.0)},
						{ExternalID: "O2", OperationName: "Bend", PartExternalID: "P", CellName: "Bending", Sequence: Some(2), EstimatedTimeMinutes: Some(1.0)},
					}),
				}, WithState(st), WithConcurrency(1))
				require.NoError(t, err)
				return report
			}
			sync(cell("C1", "Cutting", 1), cell("C3", "Bending", 3))
			sync(cell("C1", "Sawing", 1), cell("C3", "Bending", 3), cell("C2", "Cutting", 2))
			op, _ := srv.Row(eryxontest.Operations, "SAP", "O1")
			c2, _ := srv.Row(eryxontest.Cells, "SAP", "C2")
			assert.Equal(t, c2["id"], op["cell_id"])
			report := sync(cell("C1", "Sawing", 1), cell("C3", "Bending, large", 3), cell("C4", "Bending", 4), cell("C2", "Cutting", 2))
			assert.Equal(t, 1, report.Operations.Counts.Unchanged, "the other's name has not moved")
		})
	}
}

// A server that fills what an update leaves out is given what it has.
func TestStateOfRecordsThatNeverGiveWhatTheShopFloorOwns(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01))
	c := onServer(t, srv, WithSource("SAP"))
	st := newMemState()
	mill := Resource{ExternalID: "M1", Name: "Mill", Type: ResourceEquipment}
	_, err := c.Resources.BulkSync(t.Context(), []Resource{mill}, WithState(st))
	require.NoError(t, err)
	_, err = onServer(t, srv, WithSource("SAP")).Resources.Sync(t.Context(), Resource{ExternalID: "M1", Name: "Mill", Type: ResourceEquipment, Status: Some(ResourceMaintenance), Active: Some(false)})
	require.NoError(t, err)
	mill.Location = Some("Hall 2")
	_, err = c.Resources.BulkSync(t.Context(), []Resource{mill}, WithState(st))
	require.NoError(t, err)
	row := srv.Rows(eryxontest.Resources)[0]
	assert.Equal(t, "Hall 2", row["location"])
	assert.Equal(t, "maintenance", row["status"])
	assert.Equal(t, false, row["active"])
}

// A row that the server has lost is made anew whole.
func TestStateOfRowsThatTheServerLost(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01} {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.New(eryxontest.WithRelease(release))
			c := onServer(t, srv, WithSource("SAP"))
			st := newMemState()
			order := job("1")
			order.Status = Some(WorkOnHold)
			_, err := c.Jobs.BulkSync(t.Context(), []Job{order}, WithState(st))
			require.NoError(t, err)
			srv.Reset()
			order.Notes = Some("changed")
			res, err := c.Jobs.BulkSync(t.Context(), []Job{order}, WithState(st))
			require.NoError(t, err)
			assert.Equal(t, Counts{Created: 1}, res.Counts)
			assert.Equal(t, "on_hold", srv.Rows(eryxontest.Jobs)[0]["status"])
		})
	}
}

// What the server refuses every night does not stand in the way of what changes.
func TestStateOfRefusedRecordsIsKeptApart(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	c := onServer(t, srv, WithSource("SAP"), WithRelease(ReleaseV08))
	st := newMemState()
	_, err := c.SyncAll(t.Context(), Dataset{
		Cells: FromSlice([]Cell{{ExternalID: "C", Name: "Cutting", Sequence: Some(1)}}),
		Jobs:  FromSlice([]Job{{ExternalID: "J", JobNumber: "J"}}),
		Parts: FromSlice([]Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "J", Material: Some("Steel"), Quantity: Some(1)}}),
	}, WithState(st))
	require.NoError(t, err)
	ops := make([]Operation, 200)
	for i := range ops {
		ops[i] = Operation{ExternalID: fmt.Sprint("O", i), OperationName: "Cut", PartExternalID: "P", CellName: "Cutting", Sequence: Some(i), EstimatedTimeMinutes: Some(1.0)}
	}
	for i := 7; i < 200; i += 20 { // rows that were deleted on the server
		_, err := c.Operations.Sync(t.Context(), ops[i])
		require.NoError(t, err)
		require.True(t, srv.Delete(eryxontest.Operations, "SAP", ops[i].ExternalID))
	}
	const nights = 8
	for night := range nights {
		for i := range ops {
			if i%20 != 7 {
				ops[i].Notes = Some(fmt.Sprint("night ", night))
			}
		}
		before := len(srv.Requests())
		res, err := c.Operations.BulkSync(t.Context(), ops, WithState(st))
		require.Error(t, err)
		// The search is bounded; what is known to be refused is looked at once more.
		assert.LessOrEqual(t, len(srv.Requests())-before, 9+20, "night %d", night)
		if night == nights-1 { // by now it has been found out which are lost
			assert.Equal(t, Counts{Updated: 190, Failed: 10}, res.Counts)
			assert.LessOrEqual(t, len(srv.Requests())-before, 12)
		}
		row, _ := srv.Row(eryxontest.Operations, "SAP", "O8")
		assert.Equal(t, fmt.Sprint("night ", night), row["notes"])
	}
}
