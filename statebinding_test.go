package eryxon

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

func TestStateOfAnotherTenant(t *testing.T) {
	const mine, theirs = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08} {
		t.Run(string(release), func(t *testing.T) {
			of := func(tenant, key string) *eryxontest.Server {
				return eryxontest.New(eryxontest.WithRelease(release), eryxontest.WithTenant(tenant), eryxontest.WithKey(key))
			}
			st := newMemState()
			srv := of(mine, "ery_live_first")
			_, err := onServer(t, srv, WithSource("SAP")).Jobs.BulkSync(t.Context(), jobs(3), WithState(st))
			require.NoError(t, err)
			for _, secret := range []string{"ery_live", "first"} {
				assert.NotContains(t, string(st.header), secret)
			}

			other := of(theirs, "ery_live_other")
			header, entries := slices.Clone(st.header), maps.Clone(st.entries)
			res, err := onServer(t, other, WithSource("SAP")).Jobs.BulkSync(t.Context(), jobs(4), WithState(st))
			require.ErrorIs(t, err, ErrStateMismatch)
			assert.Equal(t, Counts{NotSent: 4}, res.Counts)
			assert.Zero(t, posts(other))
			assert.Equal(t, header, st.header)
			assert.Equal(t, entries, st.entries)

			// The same tenant with a new key goes on.
			srv.Key = "ery_live_second"
			res, err = onServer(t, srv, WithSource("SAP")).Jobs.BulkSync(t.Context(), jobs(3), WithState(st))
			require.NoError(t, err)
			assert.Equal(t, Counts{Unchanged: 3}, res.Counts)
			before := len(srv.Requests())
			_, err = onServer(t, srv, WithSource("SAP")).Jobs.BulkSync(t.Context(), jobs(3), WithState(st))
			require.NoError(t, err)
			assert.Len(t, srv.Requests(), before, "it is asked once for a key")
		})
	}
}

func TestStateOfATenantThatItsRowsContradict(t *testing.T) {
	st := newMemState()
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01), eryxontest.WithTenant("00000000-0000-4000-8000-00000000000a"))
	c := onServer(t, srv, WithSource("SAP"), WithState(st))
	_, err := c.Jobs.Sync(t.Context(), job("1")) // its row tells the tenant
	require.NoError(t, err)
	assert.Equal(t, "00000000-0000-4000-8000-00000000000a", st.of(t).TenantID)

	srv = eryxontest.New(eryxontest.WithRelease(eryxontest.V01), eryxontest.WithTenant("00000000-0000-4000-8000-00000000000b"))
	c = onServer(t, srv, WithSource("SAP"), WithState(st))
	res, err := c.Jobs.Sync(t.Context(), job("2"))
	require.NoError(t, err, "it is there")
	assert.Equal(t, StatusCreated, res.Status)
	assert.NotContains(t, st.entries, entityKey{EntityJobs, Key{"SAP", job("2").ExternalID}}, "and not remembered")
}

func TestStateThatCanNotBeRead(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"))
	for header, want := range map[string]error{
		`{"format":2,"base_url":"http://localhost/functions/v1"}`: ErrStateMismatch,
		`{"format":1,"base_url":`:                                 ErrStateDamaged,
		`[]`:                                                      ErrStateDamaged,
	} {
		st := newMemState()
		st.header = []byte(header)
		_, err := c.SyncAll(t.Context(), Dataset{Jobs: FromSlice(jobs(2))}, WithState(st))
		require.ErrorIs(t, err, want)
		assert.Equal(t, header, string(st.header))
		assert.False(t, st.locked)
	}
	st := newMemState()
	st.failGet = fmt.Errorf("a page is gone: %w", ErrStateDamaged)
	res, err := c.Jobs.BulkSync(t.Context(), jobs(2), WithState(st))
	require.ErrorIs(t, err, ErrStateDamaged)
	assert.Equal(t, Counts{NotSent: 2}, res.Counts)
	assert.Empty(t, srv.Requests())
}

func TestStateOptionsThatMakeNoSense(t *testing.T) {
	for _, o := range []Option{
		WithState(nil), WithMaxAge(0), WithCreateOnly("statsu"), WithoutCreateOnly("jobs.external_id"), WithCreateOnly("orders.status"),
		WithDailyQuota(0), WithQuotaReserve(-1), WithUrgency(nil), WithCompleteExport("", nil),
	} {
		_, err := New(testURL, testKey, o)
		require.ErrorContains(t, err, "eryxon: With")
	}
	_, err := New(testURL, testKey, WithCreateOnly("notes", "jobs.priority", "parts.Extra[planner]", "Extra[x.y]"), WithoutCreateOnly("status", "cells.active"))
	require.NoError(t, err)
}

func TestCreateOnlyFieldsOfTheCallersChoice(t *testing.T) {
	srv := eryxontest.New()
	c := onServer(t, srv, WithSource("SAP"), WithCreateOnly("jobs.notes", "jobs.Extra[planner]"))
	st := newMemState()
	extra := map[string]any{"planner": "Ann", "lot": "7"}
	order := Job{ExternalID: "1", JobNumber: "1", Notes: Some("first"), Extra: extra}
	sync := func() Status {
		t.Helper()
		res, err := c.Jobs.BulkSync(t.Context(), []Job{order}, WithState(st))
		require.NoError(t, err)
		return res.Outcomes[0].Status
	}
	row := func() eryxontest.Row { return srv.Rows(eryxontest.Jobs)[0] }
	assert.Equal(t, StatusCreated, sync())
	assert.Equal(t, "Ann", row()["planner"])
	order.Notes, extra["planner"] = Some("second"), "Bob"
	assert.Equal(t, StatusUnchanged, sync())
	extra["lot"] = "8"
	assert.Equal(t, StatusUpdated, sync())
	assert.Equal(t, "8", row()["lot"])
	assert.Equal(t, "Ann", row()["planner"])
	assert.Equal(t, "first", row()["notes"])
	assert.Equal(t, map[string]any{"planner": "Bob", "lot": "8"}, extra, "the caller's map is its own")
}
