package eryxon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// erpAnswerOf is an answer of the unified endpoint, of jobs alone.
func erpAnswerOf(members string) httpmock.Responder {
	return answer(200, `{"success":true,"data":{"summary":{"total_entities":1},"entities":{"jobs":{`+members+`}}}}`)
}

func erpStatuses(list []Outcome) string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Status.String()
	}
	return strings.Join(names, ", ")
}

func diffStatuses(list []ERPDifference) string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = cmpOr(string(list[i].Status), "unknown")
	}
	return strings.Join(names, ", ")
}

func part(id, jobID string) Part {
	return Part{ExternalID: id, PartNumber: "PN-" + id, JobExternalID: jobID}
}

func mold(id string) Resource {
	return Resource{ExternalID: id, Name: "N-" + id, Type: ResourceMold}
}

// The whole way in each release: what a diff foretells, what a sync does, what
// a second one skips, and what the history tells.
func TestERPInEveryRelease(t *testing.T) {
	acrossReleases(t, func(t *testing.T, release eryxontest.Release, srv *eryxontest.Server, c *Client) {
		ctx := t.Context()
		req := ERPRequest{
			Jobs:      []Job{job("SO-1"), job("SO-2")},
			Parts:     []Part{part("P-1", "SO-1"), part("P-2", "NONE")},
			Resources: []Resource{mold("T-1")},
		}
		diff, err := c.ERP.Diff(ctx, req)
		if release == eryxontest.Documented {
			require.ErrorIs(t, err, ErrUnsupported)
			assert.NotErrorIs(t, err, ErrNotFound)
			assert.Equal(t, "unknown, unknown", diffStatuses(diff.Jobs))
			result, err := c.ERP.Sync(ctx, req)
			require.ErrorIs(t, err, ErrUnsupported)
			assert.Equal(t, 5, result.Counts.NotSent, "nobody has read them")
			_, err = c.ERP.Status(ctx, ERPStatusOptions{})
			require.ErrorIs(t, err, ErrUnsupported)
			return
		}
		require.NoError(t, err)
		assert.Equal(t, "create, create", diffStatuses(diff.Jobs))
		assert.Equal(t, "error, error", diffStatuses(diff.Parts), "their jobs are not there yet")
		assert.ErrorIs(t, diff.Parts[1].Err, ErrParentNotFound)
		assert.Equal(t, "create", diffStatuses(diff.Resources))
		assert.Empty(t, srv.Rows(eryxontest.Jobs))

		migrated := release == eryxontest.V08AsMigrated
		result, err := c.ERP.Sync(ctx, req)
		var partial *PartialError
		require.ErrorAs(t, err, &partial)
		assert.Empty(t, partial.Entity)
		assert.Equal(t, 5, partial.Total)
		if migrated {
			assert.Equal(t, "failed, failed", erpStatuses(result.Jobs))
			assert.ErrorIs(t, result.Jobs[0].Err, ErrMissingColumn)
			assert.ErrorContains(t, result.Jobs[0].Err, "may be innocent")
			assert.Equal(t, "failed, failed", erpStatuses(result.Parts))
			assert.Equal(t, "failed", erpStatuses(result.Resources))
		} else {
			assert.Equal(t, "created, created", erpStatuses(result.Jobs))
			assert.Equal(t, "created, failed", erpStatuses(result.Parts))
			assert.Equal(t, "created", erpStatuses(result.Resources))
			assert.NotContains(t, result.Parts[1].Err.Error(), "innocent")
			row, ok := srv.Row(eryxontest.Jobs, "SAP", "SO-2")
			require.True(t, ok)
			assert.Equal(t, row["id"], result.Jobs[1].ID)
		}
		assert.ErrorIs(t, result.Parts[1].Err, ErrParentNotFound)
		assert.Equal(t, part("P-2", "NONE"), result.Parts[1].Record)
		// Success is told of rows that are there, and of no others.
		for i, list := range [][]Outcome{result.Jobs, result.Parts, result.Resources} {
			entity := []eryxontest.Entity{eryxontest.Jobs, eryxontest.Parts, eryxontest.Resources}[i]
			for _, o := range list {
				_, there := srv.Row(entity, o.Key.Source, o.Key.ExternalID)
				assert.Equal(t, there, o.Status.Success(), o.Key)
				assert.Equal(t, o.Status.Success(), o.Err == nil)
			}
		}

		if !migrated {
			diff, err = c.ERP.Diff(ctx, req)
			require.NoError(t, err)
			assert.Equal(t, "unchanged, unchanged", diffStatuses(diff.Jobs))
			assert.Equal(t, result.Jobs[0].ID, diff.Jobs[0].ID)
			req.Jobs[1].Customer = Some("Acme")
			diff, err = c.ERP.Diff(ctx, req)
			require.NoError(t, err)
			assert.Equal(t, "unchanged, update", diffStatuses(diff.Jobs))
			assert.NotEmpty(t, diff.Jobs[1].Changes)
			req.Parts = req.Parts[:1]
			result, err = c.ERP.Sync(ctx, req)
			require.NoError(t, err)
			assert.Equal(t, "unchanged, updated", erpStatuses(result.Jobs))
			req.Options.SkipUnchanged = Some(false)
			req.Options.RecordHistory = Some(false)
			result, err = c.ERP.Sync(ctx, req)
			require.NoError(t, err)
			assert.Equal(t, "updated, updated", erpStatuses(result.Jobs))
			assert.Equal(t, Counts{Updated: 4}, result.Counts)
		}

		status, err := c.ERP.Status(ctx, ERPStatusOptions{Entity: EntityJobs, Source: "api_erp_sync", Limit: 100})
		require.NoError(t, err)
		require.NotEmpty(t, status.History)
		assert.Equal(t, len(status.History), status.Stats.Syncs)
		assert.Equal(t, EntityJobs, status.History[0].Entity)
		assert.Equal(t, Some(2), status.History[0].TotalRecords)
		if migrated {
			require.NotEmpty(t, status.History[0].Errors)
			assert.Contains(t, status.History[0].Errors[0].Error, "priority")
		}
		none, err := c.ERP.Status(ctx, ERPStatusOptions{Entity: EntityCells})
		require.NoError(t, err)
		assert.Empty(t, none.History)
	})
}

func TestERPRequestOnTheWire(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"summary":{},"entities":{}}}`)})
	_, _ = c.ERP.Sync(t.Context(), ERPRequest{
		Jobs:      []Job{job("SO-1"), {ExternalID: "SO-2", JobNumber: "2", Priority: Some(0), DueDate: Some(NewDate(2025, 3, 1)), Extra: map[string]any{"metadata": map[string]any{"a": 1}}}},
		Parts:     []Part{{ExternalID: "P", PartNumber: "P", JobExternalID: "SO-1", Quantity: Some(2)}},
		Resources: []Resource{{ExternalID: "T", ExternalSource: "SAP", Name: "T", Type: ResourceMold, Active: Some(false), Status: Some(ResourceInUse)}},
		Options:   ERPOptions{SkipUnchanged: Some(false), ContinueOnError: Some(true), RecordHistory: Some(false)},
	})
	_, _ = c.ERP.Diff(t.Context(), ERPRequest{Resources: []Resource{mold("T")}})
	require.Len(t, s.requests(), 2)
	assert.Equal(t, http.MethodPost, s.requests()[0].method)
	assert.Equal(t, "/api-erp-sync/sync", s.requests()[0].path)
	assert.Equal(t, `{"jobs":[{"external_id":"SO-1","external_source":"SAP","job_number":"JOB-SO-1"},`+
		`{"external_id":"SO-2","external_source":"SAP","job_number":"2","due_date":"2025-03-01","priority":0,"metadata":{"a":1}}],`+
		`"parts":[{"external_id":"P","external_source":"SAP","job_external_id":"SO-1","part_number":"P","quantity":2}],`+
		`"resources":[{"external_id":"T","external_source":"SAP","name":"T","type":"mold","status":"in_use","active":false}],`+
		`"options":{"skip_unchanged":false,"continue_on_error":true,"record_history":false}}`, s.requests()[0].body)
	assert.Equal(t, "/api-erp-sync/diff", s.requests()[1].path)
	assert.Equal(t, `{"resources":[{"external_id":"T","external_source":"SAP","name":"N-T","type":"mold"}]}`, s.requests()[1].body)
}

func TestERPLocalRules(t *testing.T) {
	nestedJob := Job{ExternalID: "N", JobNumber: "N", Parts: []Part{{ExternalID: "P", PartNumber: "P"}}}
	nestedPart := Part{ExternalID: "N", PartNumber: "N", JobExternalID: "J", Operations: []Operation{{ExternalID: "O", OperationName: "O", CellName: "C"}}}
	for name, test := range map[string]struct {
		req   ERPRequest
		field string
		diff  bool // refused by Diff, too
	}{
		"nested parts":      {ERPRequest{Jobs: []Job{nestedJob}}, "parts", true},
		"nested operations": {ERPRequest{Parts: []Part{nestedPart}}, "operations", true},
		"required field":    {ERPRequest{Jobs: []Job{{ExternalID: "A"}}}, "job_number", true},
		"required id":       {ERPRequest{Jobs: []Job{{JobNumber: "A"}}}, "external_id", true},
		"link":              {ERPRequest{Parts: []Part{{ExternalID: "A", PartNumber: "A"}}}, "job_external_id", true},
		"two contents":      {ERPRequest{Resources: []Resource{mold("A"), {ExternalID: "A", Name: "B", Type: ResourceMold}}}, "external_id", true},
		"null":              {ERPRequest{Jobs: []Job{{ExternalID: "A", JobNumber: "A", Customer: Null[string]()}}}, "customer", false},
		"null number":       {ERPRequest{Jobs: []Job{{ExternalID: "A", JobNumber: "A", Priority: Null[int]()}}}, "priority", false},
		"empty text":        {ERPRequest{Parts: []Part{{ExternalID: "A", PartNumber: "A", JobID: "J", Material: Some("")}}}, "material", false},
		"status of a job":   {ERPRequest{Jobs: []Job{{ExternalID: "A", JobNumber: "A", Status: Some(WorkOnHold)}}}, "status", false},
		"status of a part":  {ERPRequest{Parts: []Part{{ExternalID: "A", PartNumber: "A", JobID: "J", Status: Some(WorkOnHold)}}}, "status", false},
		"another column":    {ERPRequest{Parts: []Part{{ExternalID: "A", PartNumber: "A", JobID: "J", Extra: map[string]any{"drawing_no": "D"}}}}, "Extra[drawing_no]", false},
		"metadata null":     {ERPRequest{Jobs: []Job{{ExternalID: "A", JobNumber: "A", Extra: map[string]any{"metadata": nil}}}}, "Extra[metadata]", false},
		"resource":          {ERPRequest{Resources: []Resource{{ExternalID: "A", Name: "A", Type: "mold", Location: Null[string]()}}}, "location", false},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"entities":{}}}`)})
			result, err := c.ERP.Sync(t.Context(), test.req)
			require.ErrorIs(t, err, ErrValidation)
			var invalid *ValidationError
			require.ErrorAs(t, err, &invalid)
			assert.True(t, invalid.Local)
			assert.Equal(t, test.field, invalid.Field)
			assert.Equal(t, result.Counts.Total(), result.Counts.Failed)
			assert.Zero(t, result.Response.Attempts)
			assert.Empty(t, s.requests())

			diff, err := c.ERP.Diff(t.Context(), test.req)
			require.NoError(t, err)
			if !test.diff {
				assert.Len(t, s.requests(), 1)
				return
			}
			assert.Empty(t, s.requests())
			for _, list := range [][]ERPDifference{diff.Jobs, diff.Parts, diff.Resources} {
				for _, d := range list {
					assert.Equal(t, DiffError, d.Status)
					assert.ErrorIs(t, d.Err, ErrValidation)
				}
			}
		})
	}
}

func TestERPTakesOneSourceARequest(t *testing.T) {
	c, wire := onWire(t)
	req := ERPRequest{Jobs: []Job{job("A"), {ExternalID: "B"}}, Resources: []Resource{{ExternalID: "A", ExternalSource: "Oracle", Name: "A", Type: "mold"}}}
	result, err := c.ERP.Sync(t.Context(), req)
	var invalid *ValidationError
	require.ErrorAs(t, err, &invalid)
	assert.True(t, invalid.Local)
	assert.Equal(t, "external_source", invalid.Field)
	assert.ErrorContains(t, err, `is "Oracle" beside records of "SAP"`)
	assert.Equal(t, "not sent, failed", erpStatuses(result.Jobs))
	assert.Equal(t, "not sent", erpStatuses(result.Resources))
	assert.ErrorIs(t, result.Resources[0].Err, ErrValidation)
	diff, err := c.ERP.Diff(t.Context(), req)
	require.ErrorAs(t, err, &invalid)
	assert.Equal(t, DiffUnknown, diff.Jobs[0].Status)
	assert.Error(t, diff.Jobs[0].Err)
	assert.Zero(t, wire.GetTotalCallCount())

	// No source at all is each record's own mistake.
	bare, err := New(testURL, testKey)
	require.NoError(t, err)
	result, err = bare.ERP.Sync(t.Context(), req)
	require.ErrorIs(t, err, ErrValidation)
	assert.Equal(t, "failed, failed", erpStatuses(result.Jobs))
}

func TestERPWithNothingToSend(t *testing.T) {
	c, _ := onWire(t)
	result, err := c.ERP.Sync(t.Context(), ERPRequest{})
	require.NoError(t, err)
	assert.Zero(t, result.Counts.Total())
	diff, err := c.ERP.Diff(t.Context(), ERPRequest{})
	require.NoError(t, err)
	assert.Zero(t, diff.Response.Attempts)
	_, err = c.ERP.Sync(t.Context(), ERPRequest{Jobs: []Job{job("A")}}, nil)
	assert.ErrorContains(t, err, "option 0 is nil")
}

// What local rules refuse does not keep the rest back; what stands there twice
// is sent once.
func TestERPSendsTheRest(t *testing.T) {
	srv := eryxontest.NewServer(t, eryxontest.WithRelease(eryxontest.V01))
	c := onServer(t, srv)
	req := ERPRequest{Jobs: []Job{job("A"), {ExternalID: "B"}, job("C"), job("A")}}
	diff, err := c.ERP.Diff(t.Context(), req)
	require.NoError(t, err)
	assert.Equal(t, "create, error, create, create", diffStatuses(diff.Jobs))
	assert.Equal(t, 0, diff.Jobs[0].Index)
	result, err := c.ERP.Sync(t.Context(), req)
	require.ErrorIs(t, err, ErrValidation)
	assert.Equal(t, "superseded, failed, created, created", erpStatuses(result.Jobs))
	for i, o := range result.Jobs {
		assert.Equal(t, i, o.Index)
	}
	var partial *PartialError
	require.ErrorAs(t, err, &partial)
	assert.Equal(t, EntityJobs, partial.Entity)
	assert.Equal(t, 1, partial.Failed)
	assert.Equal(t, 2, srv.Requests()[1].Records)
}

// One bad record fails every create beside it, updates aside.
func TestERPOneBadRecord(t *testing.T) {
	srv := eryxontest.NewServer(t, eryxontest.WithRelease(eryxontest.V08))
	c := onServer(t, srv)
	_, err := c.ERP.Sync(t.Context(), ERPRequest{Jobs: []Job{job("A")}})
	require.NoError(t, err)
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "JOB-C"})
	old := job("A")
	old.Notes = Some("new")
	result, err := c.ERP.Sync(t.Context(), ERPRequest{Jobs: []Job{job("B"), old, job("C")}})
	require.ErrorIs(t, err, ErrNaturalKeyTaken)
	assert.Equal(t, "failed, updated, failed", erpStatuses(result.Jobs))
	assert.ErrorContains(t, result.Jobs[0].Err, "said of 2 records")
	_, there := srv.Row(eryxontest.Jobs, "SAP", "B")
	assert.False(t, there)
}

// An answer that omits, repeats or contradicts proves nothing of that record.
func TestERPSyncReconciles(t *testing.T) {
	const a, b = `{"external_id":"A","id":"1","action":"created"}`, `{"external_id":"B","id":"2","action":"updated"}`
	for name, test := range map[string]struct{ members, want string }{
		"complete":           {`"total":2,"created":1,"updated":1,"skipped":0,"errors":0,"results":[` + a + `,` + b + `]`, "created, updated"},
		"out of order":       {`"results":[` + b + `,` + a + `]`, "created, updated"},
		"omitted":            {`"results":[` + a + `]`, "created, unknown"},
		"repeated":           {`"results":[` + a + `,` + b + `,` + a + `]`, "unknown, updated"},
		"invented":           {`"results":[` + a + `,` + b + `,{"external_id":"Z","action":"created"}]`, "created, updated"},
		"counts contradict":  {`"total":2,"created":2,"updated":0,"results":[` + a + `,` + b + `]`, "unknown, unknown"},
		"skipped":            {`"total":2,"created":1,"skipped":1,"results":[` + a + `,{"external_id":"B","id":"2","action":"skipped"}]`, "created, unchanged"},
		"skipped, not so":    {`"total":2,"created":1,"skipped":0,"results":[` + a + `,{"external_id":"B","id":"2","action":"skipped"}]`, "created, unknown"},
		"odd action":         {`"results":[` + a + `,{"external_id":"B","action":"queued"}]`, "created, unknown"},
		"action and error":   {`"results":[` + a + `,{"external_id":"B","action":"updated","error":"x"}]`, "created, unknown"},
		"another source":     {`"results":[` + a + `,{"external_id":"B","external_source":"Oracle","action":"updated"}]`, "created, unknown"},
		"error":              {`"results":[` + a + `,{"external_id":"B","action":"error","error":"value too long"}]`, "created, failed"},
		"error, no reason":   {`"results":[` + a + `,{"external_id":"B","action":"error"}]`, "created, failed"},
		"counts only":        {`"total":2,"created":1,"updated":1`, "unknown, unknown"},
		"null results":       {`"results":null`, "unknown, unknown"},
		"an entry is no row": {`"results":[7,null,` + a + `,[` + b + `]]`, "created, unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := scripted(t, []httpmock.Responder{erpAnswerOf(test.members)})
			result, err := c.ERP.Sync(t.Context(), ERPRequest{Jobs: []Job{job("A"), job("B")}})
			assert.Equal(t, test.want, erpStatuses(result.Jobs))
			assert.Equal(t, result.Counts.Succeeded() == 2, err == nil)
			for i, o := range result.Jobs {
				assert.Equal(t, o.Status.Success(), o.Err == nil)
				assert.Equal(t, i, o.Index)
				assert.Equal(t, EntityJobs, o.Entity)
				assert.NotEmpty(t, o.RequestID)
				if o.Status == StatusUnknown {
					assert.ErrorIs(t, o.Err, ErrUnknownOutcome)
					assert.Equal(t, job(o.Key.ExternalID), o.Record)
				}
			}
		})
	}
	c, _ := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"entities":{"parts":{"results":[]}}}}`)})
	result, err := c.ERP.Sync(t.Context(), ERPRequest{Jobs: []Job{job("A")}})
	require.ErrorIs(t, err, ErrUnknownOutcome)
	assert.ErrorContains(t, result.Jobs[0].Err, "does not mention it")
}

func TestERPCallFails(t *testing.T) {
	for name, test := range map[string]struct {
		answer httpmock.Responder
		status Status
		is     error
	}{
		"unauthorized":  {refusal(401, "UNAUTHORIZED", "no"), StatusFailed, ErrUnauthorized},
		"rate limit":    {refusal(429, "RATE_LIMIT_EXCEEDED", "no"), StatusNotSent, ErrRateLimited},
		"no answer":     {broken(), StatusUnknown, ErrConnection},
		"gateway":       {answer(504, "timeout"), StatusUnknown, ErrTimeout},
		"server error":  {refusal(500, "INTERNAL_ERROR", "boom"), StatusUnknown, ErrServer},
		"no data":       {answer(200, `{"success":true,"data":{}}`), StatusUnknown, ErrBadAnswer},
		"cut":           {answer(200, `{"success":true,"data":{"entities":{"jobs":{"results":[{"exter`), StatusUnknown, ErrBadAnswer},
		"two values":    {answer(200, `{"success":true,"data":{"entities":{}}} {}`), StatusUnknown, ErrBadAnswer},
		"empty":         {answer(200, ``), StatusUnknown, ErrBadAnswer},
		"no endpoint":   {refusal(404, "NOT_FOUND", "Endpoint not found"), StatusNotSent, ErrUnsupported},
		"someone's 404": {answer(404, `<html>`), StatusNotSent, ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := scripted(t, []httpmock.Responder{test.answer}, once())
			req := ERPRequest{Jobs: []Job{job("A")}, Resources: []Resource{mold("T")}}
			result, err := c.ERP.Sync(t.Context(), req)
			require.ErrorIs(t, err, test.is)
			for _, o := range append(result.Jobs, result.Resources...) {
				assert.Equal(t, test.status, o.Status)
				assert.ErrorIs(t, o.Err, test.is)
				assert.NotNil(t, o.Record)
			}
			diff, err := c.ERP.Diff(t.Context(), req)
			require.ErrorIs(t, err, test.is)
			assert.Equal(t, "unknown", diffStatuses(diff.Jobs))
			assert.ErrorIs(t, diff.Jobs[0].Err, test.is)
		})
	}
}

// A repeated request whose first answer was lost may have created what it then
// finds unchanged.
func TestERPSyncAfterALostAnswer(t *testing.T) {
	srv := eryxontest.NewServer(t, eryxontest.WithRelease(eryxontest.V01))
	c := onServer(t, srv, hasty(3))
	srv.Script("/api-erp-sync/sync", eryxontest.LoseAnswer())
	result, err := c.ERP.Sync(t.Context(), ERPRequest{Jobs: []Job{job("A"), job("B")}})
	require.NoError(t, err)
	assert.Equal(t, "synced, synced", erpStatuses(result.Jobs))
	assert.Equal(t, 2, result.Response.Attempts)
}

// The unified endpoint and the services never have the same key in two
// requests at once.
func TestERPSyncHoldsItsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := eryxontest.New(eryxontest.WithRelease(eryxontest.V01), eryxontest.WithLatency(time.Second, 0))
		c := onServer(t, s)
		done := make(chan error, 2)
		go func() { _, err := c.ERP.Sync(t.Context(), ERPRequest{Jobs: []Job{job("A"), job("B")}}); done <- err }()
		synctest.Wait()
		go func() { _, err := c.Jobs.Sync(t.Context(), job("B")); done <- err }()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		assert.Empty(t, s.Overlaps())

		// And the wait ends with the context.
		go func() { _, err := c.Jobs.Sync(t.Context(), job("B")); done <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		result, err := c.ERP.Sync(ctx, ERPRequest{Jobs: []Job{job("B")}})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, "not sent", erpStatuses(result.Jobs))
		require.NoError(t, <-done)
	})
}

func TestERPDiffReconciles(t *testing.T) {
	for name, test := range map[string]struct{ records, want string }{
		"complete":       {`{"external_id":"A","external_source":"SAP","status":"create"},{"external_id":"B","status":"update","existing_id":"x"}`, "create, update"},
		"out of order":   {`{"external_id":"B","status":"unchanged","existing_id":"x"},{"external_id":"A","status":"create"}`, "create, unchanged"},
		"omitted":        {`{"external_id":"A","status":"create"}`, "create, unknown"},
		"repeated":       {`{"external_id":"A","status":"create"},{"external_id":"B","status":"create"},{"external_id":"B","status":"create"}`, "create, unknown"},
		"another source": {`{"external_id":"A","external_source":"Oracle","status":"create"},{"external_id":"B","status":"create"}`, "unknown, create"},
		"odd":            {`{"external_id":"A","status":7},{"external_id":"B","status":"perhaps"}`, "unknown, unknown"},
		"error beside":   {`{"external_id":"A","status":"create","error":"x"},{"external_id":"B","status":"error","error":"Job with external_id \"N\" not found"}`, "unknown, error"},
		"no records":     {`7`, "unknown, unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := scripted(t, []httpmock.Responder{erpAnswerOf(`"records":[` + test.records + `]`)})
			diff, err := c.ERP.Diff(t.Context(), ERPRequest{Jobs: []Job{job("A"), job("B")}})
			require.NoError(t, err)
			assert.Equal(t, test.want, diffStatuses(diff.Jobs))
			for _, d := range diff.Jobs {
				assert.Equal(t, d.Status == DiffUnknown || d.Status == DiffError, d.Err != nil)
				if d.Status == DiffUnknown {
					assert.ErrorIs(t, d.Err, ErrBadAnswer)
				}
			}
		})
	}
	c, _ := scripted(t, []httpmock.Responder{erpAnswerOf(`"records":[{"external_id":"A","status":"update","existing_id":"x","changes":["a",{"b":1},null]},{"external_id":"B","status":"update","changes":{"c":2}}]`)})
	diff, err := c.ERP.Diff(t.Context(), ERPRequest{Jobs: []Job{job("A"), job("B")}})
	require.NoError(t, err)
	assert.Equal(t, []string{"a", `{"b":1}`, "null"}, diff.Jobs[0].Changes)
	assert.Equal(t, []string{`{"c":2}`}, diff.Jobs[1].Changes)
}

func TestDiffKeysInEveryRelease(t *testing.T) {
	acrossReleases(t, func(t *testing.T, release eryxontest.Release, srv *eryxontest.Server, c *Client) {
		var keys []Key
		want := make(map[Key]string)
		for entity, r := range reads {
			if entity == eryxontest.Cells {
				continue
			}
			keys = keys[:0]
			clear(want)
			for i := range 1203 {
				key := Key{Source: "SAP", ExternalID: fmt.Sprintf("X-%d", i)}
				keys = append(keys, key)
				if i%3 == 0 {
					want[key] = srv.Seed(entity, r.seed(i))
				}
			}
			other := Key{Source: "Oracle", ExternalID: "X-0"}
			keys = append(keys, other, keys[0])
			before := len(srv.Requests())
			cfg := c.core.cfg
			found, out, err := c.core.diffKeys(t.Context(), &cfg, Entity(entity), keys, false)
			asked := srv.Requests()[before:]
			if release == eryxontest.Documented {
				require.ErrorIs(t, err, ErrNotFound)
				assert.Equal(t, 404, out.status)
				assert.Equal(t, 1, out.attempts)
				require.Len(t, found, 1204)
				assert.Equal(t, DiffUnknown, found[keys[0]].status)
				continue
			}
			require.NoError(t, err)
			assert.Len(t, asked, out.attempts)
			for _, q := range asked {
				assert.LessOrEqual(t, q.Records, 2*maxDiffKeys, "jobs are asked about as parents, too")
				sources := make(map[string]bool)
				for _, k := range q.Keys {
					sources[k.Source] = true
				}
				assert.LessOrEqual(t, len(sources), 1)
			}
			require.Len(t, found, 1204)
			for key, r := range found {
				id, exists := want[key]
				if release == eryxontest.V08AsMigrated && entity != eryxontest.Parts {
					id = "" // columns that the look-up needs are not there
					if entity == eryxontest.Resources {
						assert.Equal(t, DiffUnknown, r.status, "that none is found proves nothing")
						exists = false
					}
				}
				assert.Equal(t, exists, r.exists(), key)
				assert.Equal(t, id, r.id)
			}
		}
	})
}

func TestDiffKeysKeepsURLsShort(t *testing.T) {
	asked := func(d *dialect, ids []string, expected bool) int {
		list := make([]question, len(ids))
		for i, id := range ids {
			list[i].key.ExternalID = id
		}
		n, _ := d.askable(list, expected)
		return n
	}
	long := make([]string, 1600)
	for i := range long {
		long[i] = fmt.Sprintf("%036d", i)
	}
	d := &dialect{}
	n := asked(d, long, false)
	assert.LessOrEqual(t, n*39, maxDiffURL)
	assert.Greater(t, (n+1)*39, maxDiffURL)
	assert.Equal(t, maxDiffKeys, asked(d, make([]string, 600), false))
	assert.Equal(t, 1, asked(d, []string{strings.Repeat("x", 2*maxDiffURL), "y"}, false))
	assert.Equal(t, maxDiffURL/(3*3+3), asked(d, repeatedText("ä/", 600), false), "what a URL has to escape takes three bytes")

	assert.Equal(t, maxRecords, asked(d, long, true), "rows that are expected show whether they could be looked up")
	assert.False(t, d.reached(maxRecords, maxRecords*39, false), "no row in a long URL proves nothing")
	assert.Equal(t, n, asked(d, long, true), "and shorter ones are asked from then on")
	assert.True(t, d.reached(n, n*39, false))
	assert.True(t, d.reached(500, 500*39, true))
	assert.Equal(t, 500, asked(d, long, false), "a length that has shown rows is asked again")
	assert.True(t, d.reached(500, 500*39, false))
	assert.True(t, d.reached(1, 500*maxDiffURL, false), "less than one can't be asked")

	cfg := defaultConfig()
	c, _ := onWire(t)
	found, out, err := c.core.diffKeys(t.Context(), &cfg, EntityJobs, nil, false)
	require.NoError(t, err)
	assert.Nil(t, out)
	assert.Empty(t, found)
}

func repeatedText(s string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = s
	}
	return list
}

// What was learned before a failure stays.
func TestDiffKeysFailsInTheMiddle(t *testing.T) {
	srv := eryxontest.NewServer(t, eryxontest.WithRelease(eryxontest.V08))
	c := onServer(t, srv)
	var keys []Key
	for i := range 700 {
		keys = append(keys, Key{Source: "SAP", ExternalID: fmt.Sprintf("X-%d", i)})
	}
	srv.Script("/api-erp-sync/diff", eryxontest.Fault{}, eryxontest.StatusJSON(500, "INTERNAL_ERROR", "boom"))
	cfg := c.core.cfg
	found, out, err := c.core.diffKeys(t.Context(), &cfg, EntityParts, keys, false)
	require.ErrorIs(t, err, ErrServer)
	assert.Equal(t, 2, out.attempts)
	assert.Equal(t, DiffCreate, found[keys[0]].status)
	assert.Equal(t, DiffUnknown, found[keys[699]].status)
}

func TestERPStatus(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"stats":{"total_syncs":5,"successful":"x","failed":2},
		"history":[{"id":"1","entity_type":"jobs","status":"failed","errors":"odd","file_name":null,"total_records":3,"started_at":"2026-11-23T10:54:20.413+00:00"}]}}`)})
	for _, limit := range []int{-1, 101} {
		_, err := c.ERP.Status(t.Context(), ERPStatusOptions{Limit: limit})
		require.ErrorIs(t, err, ErrValidation)
	}
	assert.Empty(t, s.requests())
	status, err := c.ERP.Status(t.Context(), ERPStatusOptions{Entity: EntityJobs, Source: "api_erp_sync", Limit: 100})
	require.NoError(t, err)
	assert.Equal(t, "/api-erp-sync/status?entity_type=jobs&limit=100&source=api_erp_sync", s.requests()[0].path)
	assert.Equal(t, ERPStats{Syncs: 5, Failed: 2}, status.Stats)
	require.Len(t, status.History, 1)
	entry := status.History[0]
	assert.Equal(t, Some(3), entry.TotalRecords)
	assert.JSONEq(t, `"odd"`, string(entry.Unknown["errors"]))
	assert.Contains(t, entry.Unknown, "file_name")
	assert.Equal(t, 200, status.Response.StatusCode)
	_, err = c.ERP.Status(t.Context(), ERPStatusOptions{})
	require.NoError(t, err)
	assert.Equal(t, erpStatusPath, s.requests()[1].path)

	for body, kind := range map[string]error{
		`{"success":true,"data":{"history":[7]}}`: ErrBadAnswer,
		`{"success":true,"data":[]}`:              ErrBadAnswer,
		`{"success":true}`:                        ErrBadAnswer,
	} {
		c, _ := scripted(t, []httpmock.Responder{answer(200, body)})
		_, err := c.ERP.Status(t.Context(), ERPStatusOptions{})
		assert.ErrorIs(t, err, kind, body)
	}
}

func TestERPKeepsTheKeyOutOfErrors(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{erpAnswerOf(`"results":[{"external_id":"A","action":"error","error":"` + testKey + `"},{"external_id":"B","action":"` + testKey + `"}],` +
		`"records":[{"external_id":"A","status":"error","error":"` + testKey + `","changes":["` + testKey + `",{"` + testKey + `":1}]},{"external_id":"B","status":"` + testKey + `"}]`)})
	req := ERPRequest{Jobs: []Job{job("A"), job("B")}}
	result, err := c.ERP.Sync(t.Context(), req)
	require.Error(t, err)
	diff, err2 := c.ERP.Diff(t.Context(), req)
	require.NoError(t, err2)
	assert.NotContains(t, fmt.Sprintf("%v %+v %+v %+v", err, result.Jobs, diff.Jobs, errors.Join(diff.Jobs[0].Err, diff.Jobs[1].Err)), testKey)
}

// Every recorded answer of the unified endpoint is read, and tells of each
// record.
func TestERPReadsRecordedAnswers(t *testing.T) {
	files, err := filepath.Glob("eryxontest/testdata/*.jsonl")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	seen := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			var x struct {
				Name     string          `json:"name"`
				Path     string          `json:"path"`
				Status   int             `json:"status"`
				Response json.RawMessage `json:"response"`
			}
			require.NoError(t, json.Unmarshal([]byte(line), &x))
			if x.Status != 200 || x.Path != erpSyncPath && x.Path != erpDiffPath {
				continue
			}
			seen++
			a, err := readERP(x.Response, func(b []byte) []byte { return b })
			require.NoError(t, err, x.Name)
			require.NotEmpty(t, a.entities)
			for e, found := range a.entities {
				assert.Equal(t, found.total, len(found.diffs)+len(found.entries), e)
				for _, entry := range found.entries {
					assert.True(t, entry.action == "error" || actionStatus(entry.action).Success(), entry.action)
				}
				for _, entry := range found.diffs {
					assert.Contains(t, []DiffStatus{DiffCreate, DiffUpdate, DiffUnchanged, DiffError}, entry.status)
				}
			}
		}
	}
	assert.Positive(t, seen)
}

func FuzzReadERP(f *testing.F) {
	f.Add([]byte(`{"success":true,"data":{"entities":{"jobs":{"total":1,"results":[{"external_id":"A","action":"created"}],"records":[{"external_id":"A","status":"create","changes":[1]}]}}}}`))
	f.Add([]byte(`{"success":true,"data":{"entities":{"jobs":null,"jobs":{"records":{}}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := readERP(body, func(b []byte) []byte { return b })
		if a == nil {
			t.Fatal("nil answer")
		}
		if err != nil {
			return
		}
		want := []Key{{"SAP", "A"}}
		for _, r := range matchDiff(want, a.entity(EntityJobs)) {
			if r.status == DiffUnknown && r.doubt == "" {
				t.Fatal("unknown, and no reason why")
			}
		}
		sent := []*sentRecord[any]{{key: want[0]}}
		for _, found := range reconcile(sent, &a.entity(EntityJobs).bulkAnswer, false) {
			if found.status == StatusUnknown && found.doubtful == "" {
				t.Fatal("unknown, and no reason why")
			}
		}
	})
}
