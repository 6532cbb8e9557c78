package eryxon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// onReleaseV08 is a server that counts, with a job, a part and a cell.
func onReleaseV08() *eryxontest.Server {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	j := srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "J", "external_id": "J", "external_source": "SAP"})
	srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": "P", "job_id": j, "material": "S", "external_id": "P", "external_source": "SAP"})
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cut", "sequence": 1})
	return srv
}

// A server that counts has stored nothing that went to it as documented: what is wrong
// with it is no doubt.
func TestWhatTheFirstBulkCanNotHaveWrittenIsFailed(t *testing.T) {
	c := onServer(t, onReleaseV08())
	res, err := c.Operations.BulkSync(t.Context(), []Operation{
		{ExternalID: "O1", OperationName: "x", PartExternalID: "P", CellName: "Cut", Sequence: Some(1), EstimatedTimeMinutes: Some(5.0)},
		{ExternalID: "O2", OperationName: "x", PartExternalID: "NOPE", CellName: "Cut", Sequence: Some(1), EstimatedTimeMinutes: Some(5.0)},
		{ExternalID: "O3", OperationName: "x", PartExternalID: "P", CellName: "NOPE", Sequence: Some(1), EstimatedTimeMinutes: Some(5.0)},
		{ExternalID: "O4", OperationName: "x", PartExternalID: "P", CellName: "Cut", Sequence: Some(1), EstimatedTimeMinutes: Some(12.5)},
	})
	require.ErrorIs(t, err, ErrParentNotFound)
	assert.Equal(t, Counts{Created: 1, Failed: 3}, res.Counts)
	assert.NotErrorIs(t, err, ErrUnknownOutcome)
}

// The first bulk shows it as well as later ones.
func TestAPriorityWithoutAColumnIsFailedAtOnce(t *testing.T) {
	c := onServer(t, eryxontest.New(eryxontest.WithRelease(eryxontest.V08AsMigrated)))
	res, err := c.Jobs.BulkSync(t.Context(), []Job{{ExternalID: "A", JobNumber: "A", Priority: Some(5)}, {ExternalID: "B", JobNumber: "B"}})
	require.ErrorIs(t, err, ErrMissingColumn)
	assert.Equal(t, StatusFailed, res.Outcomes[0].Status)
	assert.Equal(t, StatusSynced, res.Outcomes[1].Status)
}

func TestANestedOperationOfAnUnknownCellIsFailed(t *testing.T) {
	c := onServer(t, onReleaseV08())
	res, _ := c.Jobs.BulkSync(t.Context(), []Job{{ExternalID: "N", JobNumber: "N", Parts: []Part{{ExternalID: "NP", PartNumber: "NP", Material: Some("S"), Quantity: Some(1),
		Operations: []Operation{{ExternalID: "NO", OperationName: "x", CellName: "Nope"}}}}}})
	assert.Equal(t, StatusFailed, res.Outcomes[0].Nested[1].Status)
}

// What an answer refuses in so many words is refused, whatever becomes of the others.
func TestACountingAnswerNamesItsFailures(t *testing.T) {
	body := `{"success":true,"data":{"results":{"created":1,"updated":0,"failed":1,"errors":[{"item":{"external_id":"B","external_source":"SAP","job_number":"B","status":"nope"},"error":[{"field":"status","message":"Invalid value for status","value":"nope","constraint":"ENUM","entityType":"job","entityIndex":0}]}]},"total":2}}`
	for _, other := range []httpmock.Responder{answer(404, `nope`), answer(502, `<html>`)} {
		c, wire := onWire(t, once())
		wire.RegisterNoResponder(other)
		wire.RegisterResponder("POST", testURL+"/api-jobs/bulk-sync", answer(200, body))
		res, err := c.Jobs.BulkSync(t.Context(), []Job{{ExternalID: "A", JobNumber: "A"}, {ExternalID: "B", JobNumber: "B", Status: Some(WorkStatus("nope"))}})
		assert.Equal(t, StatusUnknown, res.Outcomes[0].Status)
		assert.Equal(t, StatusFailed, res.Outcomes[1].Status)
		require.ErrorIs(t, err, ErrValidation)
		assert.Equal(t, "status", recordErrorOf(t, res.Outcomes[1].Err).Field)
	}
}

func TestANewResourceLosesNoColumnWithoutAWord(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01))
	res, _ := onServer(t, srv, WithRelease(ReleaseV01)).Resources.BulkSync(t.Context(), []Resource{
		{ExternalID: "A", Name: "A", Type: "tooling", Status: Some(ResourceAvailable), Active: Some(true), Extra: map[string]any{"zzz": 1}},
		{ExternalID: "B", Name: "B", Type: "tooling", Status: Some(ResourceAvailable), Extra: map[string]any{"zzz": 1}},
	})
	assert.Equal(t, StatusFailed, res.Outcomes[0].Status)
	assert.Equal(t, StatusFailed, res.Outcomes[1].Status, "leaving active out does not make the column arrive")
}

func TestACellsPlaceIsNotReportedAsCleared(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V01))
	srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "A", "external_id": "A", "external_source": "SAP", "sequence": 7, "color": "#111111", "active": true})
	res, _ := onServer(t, srv, WithRelease(ReleaseV01)).Cells.BulkSync(t.Context(), []Cell{{ExternalID: "A", Name: "A", Color: Some("#222222"), Active: Some(true), Sequence: Null[int]()}})
	assert.False(t, res.Outcomes[0].Status.Success(), "sequence is still 7; a single sync says unknown")
}

// As migrated the server does not tell a job's id, but takes parts of it.
func TestASinglePartFindsAJobThatIsNotNamed(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08AsMigrated))
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "J", "external_id": "J", "external_source": "SAP"})
	bulk, err := onServer(t, srv).Parts.BulkSync(t.Context(), []Part{{ExternalID: "P1", PartNumber: "P1", JobExternalID: "J", Material: Some("S"), Quantity: Some(2)}})
	require.NoError(t, err)
	require.Equal(t, StatusCreated, bulk.Outcomes[0].Status)
	res, err := onServer(t, srv).Parts.Sync(t.Context(), Part{ExternalID: "P2", PartNumber: "P2", JobExternalID: "J", Material: Some("S"), Quantity: Some(2)})
	require.NoError(t, err, "the bulk of the same record arrives")
	assert.Equal(t, StatusCreated, res.Status)
}

func TestAServerWithoutReadsIsNoneThatFills(t *testing.T) {
	for _, read := range []httpmock.Responder{answer(501, `Not Implemented`), answer(400, `{"success":false,"error":{"code":"BAD_REQUEST","message":"unknown route"}}`), answer(200, `{"success":true,"data":[]}`), httpmock.NewErrorResponder(errors.New("no such route"))} {
		c, wire := onWire(t, once())
		wire.RegisterNoResponder(read)
		wire.RegisterResponder(http.MethodPost, testURL+"/api-parts/bulk-sync", answer(200, `{"success":true,"data":{"total":1,"created":1,"updated":0,"errors":0,"results":[{"external_id":"SO-001-10","id":"u","action":"created"}]}}`))
		// The sample of the reference: it gives no material.
		res, _ := c.Parts.BulkSync(t.Context(), []Part{{ExternalID: "SO-001-10", JobExternalID: "SO-001", PartNumber: "PART-A", Quantity: Some(10)}})
		assert.Equal(t, StatusCreated, res.Outcomes[0].Status)
	}
}

// The bulk that shows a server to be one that counts is not made once more for that:
// where it has made rows of which there was none they are there, and told with their
// ids.
func TestTheFirstBulkIsNotMadeTwice(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "N2"})
	jobs := make([]Job, 4)
	for i := range jobs {
		jobs[i] = Job{ExternalID: fmt.Sprint("J", i), JobNumber: fmt.Sprint("N", i)}
	}
	res, err := onServer(t, srv).Jobs.BulkSync(t.Context(), jobs)
	require.ErrorIs(t, err, ErrNaturalKeyTaken)
	assert.Equal(t, Counts{Created: 3, Failed: 1}, res.Counts, "one has lost its number to another row, without a word")
	for i, o := range res.Outcomes {
		if row, found := srv.Row(eryxontest.Jobs, "SAP", jobs[i].ExternalID); found {
			assert.Equal(t, row["id"], o.ID)
		}
	}
	assert.Len(t, srv.Requests(), 3, "the bulk, the question, and the one that was lost")
}

// Where a server can't be asked whether it passes over statuses, single syncs tell.
func TestAStatusIsToldWithoutTheRead(t *testing.T) {
	for _, read := range []httpmock.Responder{refusal(500, "INTERNAL_ERROR", "boom"), answer(200, "<html>"), refusal(403, "FORBIDDEN", "no reads")} {
		c, wire := onWire(t, once())
		wire.RegisterNoResponder(read)
		wire.RegisterResponder(http.MethodPost, testURL+"/api-jobs/bulk-sync", answer(200, `{"success":true,"data":{"total":1,"created":0,"updated":1,"errors":0,"results":[{"external_id":"A","id":"u","action":"updated"}]}}`))
		wire.RegisterResponder(http.MethodPut, testURL+"/api-jobs/sync", answer(200, `{"success":true,"data":{"action":"updated","id":"u","external_id":"A"}}`))
		_, err := c.Jobs.BulkSync(t.Context(), []Job{{ExternalID: "A", JobNumber: "A", Status: Some(WorkOnHold)}})
		assert.NoError(t, err)
	}
}

// An answer that tells nothing of the server keeps back what it might overwrite, and
// teaches nothing; cells without the word success are those of a server that fills.
func TestAReadThatTellsNothingIsNotBelieved(t *testing.T) {
	for body, fills := range map[string]bool{
		`null`: false, `{"success":true}`: false, `{"success":true,"data":null}`: false, `{"message":"name resolution failed"}`: false, `{"code":"PGRST002","message":"Retrying."}`: false,
		`{"error":"no connection"}`: false, `{"data":{"cells":[{"id":"1","name":"A"},{"id":"2","name":"B"}]}}`: true,
	} {
		srv := eryxontest.NewServer(t, eryxontest.WithRelease(eryxontest.V01))
		srv.Seed(eryxontest.Resources, eryxontest.Row{"external_id": "R", "external_source": "SAP", "name": "R", "type": "tooling", "status": "maintenance"})
		odd := true
		hc := srv.Client()
		next := hc.Transport
		hc.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet && odd {
				odd = false
				return answer(200, body)(r)
			}
			return next.RoundTrip(r)
		})
		c, err := New(srv.URL, srv.Key, WithSource("SAP"), WithHTTPClient(hc), once())
		require.NoError(t, err)
		moved := []Resource{{ExternalID: "R", Name: "R", Type: ResourceTooling, Location: Some("B")}}
		res, err := c.Resources.BulkSync(t.Context(), moved)
		if fills {
			require.ErrorIs(t, err, ErrValidation, body)
			continue
		}
		require.ErrorIs(t, err, ErrBadAnswer, body)
		assert.Equal(t, Counts{NotSent: 1}, res.Counts, body)
		_, err = c.Resources.BulkSync(t.Context(), moved)
		require.ErrorIs(t, err, ErrValidation, body)
	}
}

// A read in another form keeps no single sync back.
func TestAReadInAnotherFormKeepsNothingBack(t *testing.T) {
	for _, read := range []httpmock.Responder{answer(200, `{}`), answer(200, `[]`), answer(204, ``), answer(200, `{"cells":[]}`)} {
		c, wire := onWire(t, once())
		wire.RegisterNoResponder(read)
		wire.RegisterResponder(http.MethodPut, testURL+"/api-parts/sync", answer(201, `{"success":true,"data":{"action":"created","id":"u","external_id":"A"}}`))
		_, err := c.Parts.Sync(t.Context(), Part{ExternalID: "A", PartNumber: "A", JobExternalID: "J", Quantity: Some(10)})
		assert.NoError(t, err)
	}
}

// What a request may have written that failed for a reason of its own is neither not
// sent, nor refused, nor updated, when the search for its reason goes on another way.
func TestWhatMayBeWrittenStaysSoOnAnotherWay(t *testing.T) {
	late := refusal(500, "INTERNAL_ERROR", "Failed to record sync history: canceling statement due to statement timeout")
	for _, after := range []int{0, 401, 402, 429} {
		srv := eryxontest.NewServer(t, eryxontest.WithRelease(eryxontest.V08))
		hc := srv.Client()
		next := hc.Transport
		hc.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			res, err := next.RoundTrip(r)
			switch {
			case err != nil:
				return nil, err
			case strings.HasSuffix(r.URL.Path, "/api-erp-sync/sync"):
				_ = res.Body.Close()
				return late(r)
			case after > 0 && r.Method == http.MethodPut:
				_ = res.Body.Close()
				return refusal(after, "X", "no more")(r)
			}
			return res, nil
		})
		c, err := New(srv.URL, srv.Key, WithSource("SAP"), WithHTTPClient(hc), WithRelease(ReleaseV08), once())
		require.NoError(t, err)
		res, err := c.Jobs.BulkSync(t.Context(), jobs(64))
		require.Error(t, err)
		assert.Zero(t, res.Counts.Updated, "%d: none was there before", after)
		for _, o := range res.Outcomes {
			if o.Status == StatusFailed || o.Status == StatusNotSent {
				_, there := srv.Row(eryxontest.Jobs, "SAP", o.Key.ExternalID)
				assert.False(t, there, "%d: %v", after, o.Err)
			}
		}
	}
}

// A reason that is a record's own is not another's.
func TestReasonsOfARecordsOwnAreNotShared(t *testing.T) {
	srv := eryxontest.NewServer(t, eryxontest.WithRelease(eryxontest.V08AsMigrated))
	list := jobs(60)
	for i, j := range list {
		if i < 20 {
			srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "old" + j.JobNumber, "external_id": j.ExternalID, "external_source": "SAP"})
			srv.Delete(eryxontest.Jobs, "SAP", j.ExternalID)
		} else {
			srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": j.JobNumber, "external_id": "F" + j.ExternalID, "external_source": "OTHER"})
		}
	}
	res, err := onServer(t, srv, WithRelease(ReleaseV08)).Jobs.BulkSync(t.Context(), list)
	require.Error(t, err)
	assert.Equal(t, Counts{Failed: 60}, res.Counts)
	for i, o := range res.Outcomes {
		assert.Equal(t, i < 20, errors.Is(o.Err, ErrDeletedOnServer), "%d: %v", i, o.Err)
	}
}

// A parent of which the server does not tell whether it is there is not missing.
func TestAParentThatNobodyTellsOf(t *testing.T) {
	const id = "10000000-0000-4000-8000-0000000000a1"
	for name, records := range map[string]string{
		"omitted":      `[]`,
		"repeated":     `[{"external_id":"SO","external_source":"SAP","status":"update","existing_id":"` + id + `"},{"external_id":"SO","external_source":"SAP","status":"update","existing_id":"` + id + `"}]`,
		"without id":   `[{"external_id":"SO","external_source":"SAP","status":"update"}]`,
		"in trouble":   `[{"external_id":"SO","external_source":"SAP","status":"error","error":"canceling statement due to statement timeout"}]`,
		"other status": `[{"external_id":"SO","external_source":"SAP","status":"conflict","existing_id":"` + id + `"}]`,
		"no list":      `null`,
	} {
		diff := answer(200, `{"success":true,"data":{"summary":{},"entities":{"jobs":{"entity_type":"jobs","total":1,"records":`+records+`}}}}`)
		c, _ := scripted(t, []httpmock.Responder{diff}, once(), WithRelease(ReleaseV08))
		res, err := c.Parts.Sync(t.Context(), Part{ExternalID: "P", JobExternalID: "SO", PartNumber: "N", Material: Some("S"), Quantity: Some(1)})
		require.ErrorIs(t, err, ErrBadAnswer, name)
		require.NotErrorIs(t, err, ErrParentNotFound, name)
		assert.Equal(t, StatusNotSent, res.Status, name)
		assert.ErrorContains(t, err, "job_external_id", name)

		c, _ = scripted(t, []httpmock.Responder{diff}, once(), WithRelease(ReleaseV01))
		bulk, err := c.Parts.BulkSync(t.Context(), []Part{{ExternalID: "P", JobExternalID: "SO", PartNumber: "N", Material: Some("S"), Quantity: Some(1)}})
		require.ErrorIs(t, err, ErrBadAnswer, name)
		require.NotErrorIs(t, err, ErrParentNotFound, name)
		assert.Equal(t, Counts{NotSent: 1}, bulk.Counts, name)
	}
}

// A part that may be written is not refused for want of its job's id, with which
// another way would begin.
func TestAPartThatMayBeWrittenIsNotRefused(t *testing.T) {
	srv := eryxontest.NewServer(t, eryxontest.WithRelease(eryxontest.V08AsMigrated))
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "J", "external_id": "J", "external_source": "SAP"})
	late, hc := refusal(500, "INTERNAL_ERROR", "Failed to record sync history"), srv.Client()
	next := hc.Transport
	hc.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		res, err := next.RoundTrip(r)
		if err == nil && strings.HasSuffix(r.URL.Path, "/api-erp-sync/sync") {
			_ = res.Body.Close()
			return late(r)
		}
		return res, err
	})
	c, err := New(srv.URL, srv.Key, WithSource("SAP"), WithHTTPClient(hc), WithRelease(ReleaseV08), once())
	require.NoError(t, err)
	parts := make([]Part, 64)
	for i := range parts {
		id := fmt.Sprint("P", i)
		parts[i] = Part{ExternalID: id, PartNumber: id, JobExternalID: "J", Material: Some("S"), Quantity: Some(1)}
	}
	res, err := c.Parts.BulkSync(t.Context(), parts)
	require.Error(t, err)
	assert.Equal(t, Counts{Unknown: 64}, res.Counts)
	assert.Len(t, srv.Rows(eryxontest.Parts), 64)
}

// One reason beside records that the answer leaves out may be theirs.
func TestALoneReasonOfSeveral(t *testing.T) {
	sync := answer(200, `{"success":true,"data":{"summary":{},"entities":{"jobs":{"total":3,"created":0,"updated":0,"skipped":0,"errors":3,"results":[{"external_id":"SO-00000","action":"error","error":"duplicate key value violates unique constraint \"jobs_tenant_id_job_number_key\""}]}}}}`)
	c, _ := scripted(t, []httpmock.Responder{sync}, once(), WithRelease(ReleaseV08))
	res, err := c.ERP.Sync(t.Context(), ERPRequest{Jobs: jobs(3)})
	require.Error(t, err)
	assert.ErrorContains(t, res.Jobs[0].Err, "may be innocent")
	made := answer(200, `{"success":true,"data":{"summary":{},"entities":{"jobs":{"total":1,"created":1,"updated":0,"skipped":0,"errors":0,"results":[{"external_id":"SO-00000","id":"u","action":"created"}]}}}}`)
	c, _ = scripted(t, []httpmock.Responder{sync, made}, once(), WithRelease(ReleaseV08))
	bulk, err := c.Jobs.BulkSync(t.Context(), jobs(3))
	require.Error(t, err)
	assert.Equal(t, Counts{Created: 1, Unknown: 2}, bulk.Counts)
}

// A cell that turns out to be there under another name is given back what it was not
// given. Where that is refused, it was written all the same.
func TestACellThatIsNotGivenBackWhatItHad(t *testing.T) {
	srv := eryxontest.NewServer(t, eryxontest.WithRelease(eryxontest.V01))
	hc := srv.Client()
	next, puts := hc.Transport, 0
	hc.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPut {
			if puts++; puts == 3 {
				return refusal(422, "VALIDATION_ERROR", "name is required")(r)
			}
		}
		return next.RoundTrip(r)
	})
	c, err := New(srv.URL, srv.Key, WithSource("SAP"), WithHTTPClient(hc), WithRelease(ReleaseV01), once())
	require.NoError(t, err)
	_, err = c.Cells.Sync(t.Context(), Cell{ExternalID: "C", Name: "Old", Color: Some("#111111"), Active: Some(false)})
	require.NoError(t, err)
	other, err := New(srv.URL, srv.Key, WithSource("SAP"), WithHTTPClient(hc), WithRelease(ReleaseV01), once())
	require.NoError(t, err)
	res, err := other.Cells.Sync(t.Context(), Cell{ExternalID: "C", Name: "New"})
	require.ErrorIs(t, err, ErrUnknownOutcome)
	assert.Equal(t, StatusUnknown, res.Status)
	row, _ := srv.Row(eryxontest.Cells, "SAP", "C")
	assert.Equal(t, "New", row["name"])
}

// Who has given up waiting makes no request, though it is its turn.
func TestNobodyTakesATurnAfterTheEnd(t *testing.T) {
	c, _ := onWire(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 64 { // a select of two that are ready takes either
		_, err := c.core.turnToMake(EntityJobs)(ended)
		require.ErrorIs(t, err, context.Canceled)
	}
	end, err := c.core.turnToMake(EntityJobs)(t.Context())
	require.NoError(t, err, "and keeps it from nobody")
	end()
}

// What a request may have written is not failed because another route refuses it.
func TestWhatMayBeWrittenIsNotFailed(t *testing.T) {
	together := `{"action":"error","external_id":%q,"error":"invalid input"}`
	results := make([]string, 4)
	for i := range results {
		results[i] = fmt.Sprintf(together, fmt.Sprintf("SO-%05d", i))
	}
	refusedTogether := answer(200, `{"success":true,"data":{"summary":{},"entities":{"jobs":{"total":4,"created":0,"updated":0,"skipped":0,"errors":4,"results":[`+strings.Join(results, ",")+`]}}}}`)
	refused, gone := refusal(409, "CONFLICT", "no"), refusal(404, "NOT_FOUND", "no such function")
	for name, tt := range map[string]struct {
		n       int
		answers []httpmock.Responder
	}{
		"an answer that took too long": {2, []httpmock.Responder{answer(546, ""), gone, gone, refused}},
		"a bulk whose answer was lost": {4, []httpmock.Responder{refusedTogether, answer(503, ""), gone, refused}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := scripted(t, tt.answers, once(), WithRelease(ReleaseV08))
			res, err := c.Jobs.BulkSync(t.Context(), jobs(tt.n))
			require.ErrorIs(t, err, ErrUnknownOutcome)
			assert.Equal(t, Counts{Unknown: tt.n}, res.Counts)
		})
	}
}

// A row of another record is not handed out as this one's.
func TestTheRowIsTheRecordsOwn(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"action":"updated","job":{"id":"u","external_id":"OTHER","external_source":"SAP","job_number":"X"}}}`)}, once())
	res, err := c.Jobs.Sync(t.Context(), jobs(1)[0])
	require.ErrorIs(t, err, ErrUnknownOutcome)
	assert.Nil(t, res.Row)
}
