package eryxon

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStatusNames(t *testing.T) {
	for s, want := range map[Status]struct {
		name    string
		success bool
	}{
		StatusUnknown: {"unknown", false}, StatusCreated: {"created", true}, StatusUpdated: {"updated", true},
		StatusSynced: {"synced", true}, StatusUnchanged: {"unchanged", true}, StatusFailed: {"failed", false},
		StatusParentFailed: {"parent failed", false}, StatusSuperseded: {"superseded", false}, StatusNotSent: {"not sent", false},
	} {
		assert.Equal(t, want.name, s.String())
		assert.Equal(t, want.success, s.Success(), want.name)
		raw, err := json.Marshal(s)
		require.NoError(t, err)
		var back Status
		require.NoError(t, json.Unmarshal(raw, &back))
		assert.Equal(t, s, back)
	}
	assert.Equal(t, "Status(99)", Status(99).String())
	assert.False(t, Status(99).Success())
	s := StatusCreated
	require.ErrorContains(t, s.UnmarshalText([]byte("done")), `"done" is not a status`)
	assert.Equal(t, StatusCreated, s)
	assert.False(t, Outcome{}.Status.Success(), "an outcome that nobody filled in is no success")
}

func TestCountsAddUp(t *testing.T) {
	var c Counts
	assert.Equal(t, "no records", c.String())
	for s := range Status(statusCount) {
		for range int(s) + 1 {
			c.add(s)
		}
	}
	assert.Equal(t, Counts{Unknown: 1, Created: 2, Updated: 3, Synced: 4, Unchanged: 5, Failed: 6, ParentFailed: 7, Superseded: 8, NotSent: 9}, c)
	assert.Equal(t, 45, c.Total())
	assert.Equal(t, 14, c.Succeeded())
	assert.Equal(t, "2 created, 3 updated, 4 synced, 5 unchanged, 6 failed, 7 parent failed, 8 superseded, 9 not sent, 1 unknown", c.String())
	raw, err := json.Marshal(c)
	require.NoError(t, err)
	assert.JSONEq(t, `{"unknown":1,"created":2,"updated":3,"synced":4,"unchanged":5,"failed":6,"parent_failed":7,"superseded":8,"not_sent":9}`, string(raw))
	c.add(Status(99))
	assert.Equal(t, 2, c.Unknown, "what nobody knows is unknown")
}

func TestKeysForPeople(t *testing.T) {
	assert.Equal(t, "SAP/SO-1", Key{"SAP", "SO-1"}.String())
	assert.Equal(t, "SO-1", Key{"", "SO-1"}.String())
	assert.Equal(t, "SAP/(no external id)", Key{Source: "SAP"}.String())
	assert.Equal(t, "(no external id)", Key{}.String())
}

func TestABulkResultsErrorListsWhatDidNotSucceed(t *testing.T) {
	r := &BulkResult{Outcomes: []Outcome{
		{Entity: EntityParts, Status: StatusCreated}, {Entity: EntityParts, Index: 1, Status: StatusSuperseded},
	}}
	require.NoError(t, r.Err(), "superseded records were replaced by the caller's own")
	r.Outcomes = append(r.Outcomes, Outcome{Entity: EntityParts, Index: 2, Status: StatusFailed})
	r.Outcomes[2].close(ErrForbidden)
	var partial *PartialError
	require.ErrorAs(t, r.Err(), &partial)
	assert.Equal(t, EntityParts, partial.Entity)
	assert.Equal(t, 3, partial.Total)
	require.Len(t, partial.Failures, 1)
	assert.Equal(t, 2, partial.Failures[0].Index)
	assert.Contains(t, r.Err().Error(), "1 part of 3 did not succeed")
}
