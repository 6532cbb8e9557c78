package eryxon

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// bulkOf syncs three jobs, A, B and C, and returns what became of them when the
// server answers with the given data.
func bulkOf(t *testing.T, data string) (*BulkResult, error) {
	t.Helper()
	c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":`+data+`}`)}, once(), WithoutChecks())
	bulk, err := c.Jobs.BulkSync(t.Context(), []Job{job("A"), job("B"), job("C")})
	require.Len(t, bulk.Outcomes, 3)
	requests := len(s.requests())
	require.Equal(t, 1, requests)
	for i, o := range bulk.Outcomes {
		assert.Equal(t, i, o.Index)
		assert.Equal(t, o.Status.Success(), o.Err == nil)
		assert.Equal(t, o.Status.Success(), o.Record == nil, "what did not succeed is handed back")
	}
	assert.Equal(t, 3, bulk.Counts.Total())
	return bulk, err
}

func statuses(r *BulkResult) string {
	var list []string
	for _, o := range r.Outcomes {
		list = append(list, o.Status.String())
	}
	return strings.Join(list, ", ")
}

// results is a documented bulk answer.
func results(created, updated, failed int, entries ...string) string {
	return fmt.Sprintf(`{"total":3,"created":%d,"updated":%d,"errors":%d,"results":[%s]}`, created, updated, failed, strings.Join(entries, ","))
}

func entry(id, action string, more ...string) string {
	return fmt.Sprintf(`{"external_id":%q,"id":"u-%s","action":%q%s}`, id, id, action, strings.Join(more, ""))
}

func TestABulksAnswerIsHeldAgainstWhatWasSent(t *testing.T) {
	a, b, c := entry("A", "created"), entry("B", "updated"), entry("C", "created")
	for name, tt := range map[string]struct {
		data string
		want string
		text string // of the first that did not succeed
	}{
		"as documented":             {results(2, 1, 0, a, b, c), "created, updated, created", ""},
		"in another order":          {results(2, 1, 0, c, a, b), "created, updated, created", ""},
		"without counts":            {`{"results":[` + a + "," + b + "," + c + `]}`, "created, updated, created", ""},
		"one refused":               {results(1, 1, 1, a, b, `{"external_id":"C","action":"error","error":"Invalid due_date format"}`), "created, updated, failed", "Invalid due_date format"},
		"one refused as failed":     {results(1, 1, 1, a, b, `{"external_id":"C","action":"failed","error":"no"}`), "created, updated, failed", "no"},
		"refused without reason":    {results(1, 1, 1, a, b, `{"external_id":"C","action":"error"}`), "created, updated, failed", "the server gave no reason"},
		"one skipped":               {results(1, 1, 0, a, b, entry("C", "skipped")), "created, updated, unchanged", ""},
		"one unchanged":             {results(1, 1, 0, a, b, entry("C", "unchanged")), "created, updated, unchanged", ""},
		"one omitted":               {results(2, 1, 0, a, b), "created, updated, unknown", "the answer does not mention it"},
		"the middle omitted":        {results(2, 1, 0, a, c), "created, unknown, created", "does not mention it"},
		"all omitted":               {results(2, 1, 0), "unknown, unknown, unknown", "does not mention it"},
		"one repeated":              {results(2, 1, 0, a, a, b, c), "unknown, updated, created", "more than once"},
		"repeated, contradicting":   {results(2, 1, 0, a, b, c, `{"external_id":"A","action":"error","error":"no"}`), "unknown, updated, created", "more than once"},
		"repeated, the error first": {results(1, 1, 1, `{"external_id":"A","action":"error","error":"no"}`, a, b, c), "unknown, updated, created", "more than once"},
		"one invented":              {results(2, 1, 0, a, b, c, entry("D", "created")), "created, updated, created", ""},
		"one instead of another":    {results(2, 1, 0, a, b, entry("D", "created")), "created, updated, unknown", "does not mention it"},
		"one nameless":              {results(2, 1, 0, a, b, `{"id":"u-C","action":"created"}`), "created, updated, unknown", "does not mention it"},
		"null for a name":           {results(2, 1, 0, a, b, `{"external_id":null,"action":"created"}`), "created, updated, unknown", "does not mention it"},
		"an object for a name":      {results(2, 1, 0, a, b, `{"external_id":{"id":"C"},"action":"created"}`), "created, updated, unknown", "does not mention it"},
		"in lower case":             {results(2, 1, 0, a, b, entry("c", "created")), "created, updated, unknown", "does not mention it"},
		"with a blank":              {results(2, 1, 0, a, b, entry("C ", "created")), "created, updated, unknown", "does not mention it"},
		"another source":            {results(2, 1, 0, a, b, entry("C", "created", `,"external_source":"Infor"`)), "created, updated, unknown", "another source"},
		"its own source":            {results(2, 1, 0, a, b, entry("C", "created", `,"external_source":"SAP"`)), "created, updated, created", ""},
		"an odd action":             {results(2, 1, 0, a, b, entry("C", "queued")), "created, updated, unknown", `the answer's action is "queued"`},
		"no action":                 {results(2, 1, 0, a, b, `{"external_id":"C","id":"u-C"}`), "created, updated, unknown", `the answer's action is ""`},
		"a number as action":        {results(2, 1, 0, a, b, `{"external_id":"C","action":1}`), "created, updated, unknown", `the answer's action is "1"`},
		"created with an error":     {results(2, 1, 0, a, b, entry("C", "created", `,"error":"but not really"`)), "created, updated, unknown", "says created and gives an error"},
		"created with a null error": {results(2, 1, 0, a, b, entry("C", "created", `,"error":null`)), "created, updated, created", ""},
		"one too many created":      {results(3, 1, 0, a, b, c), "unknown, updated, unknown", "the answer's counts contradict its list"},
		"one too few created":       {results(1, 1, 0, a, b, c), "unknown, updated, unknown", "the answer's counts contradict its list"},
		"one too many updated":      {results(2, 2, 0, a, b, c), "created, unknown, created", "the answer's counts contradict its list"},
		"one more failure":          {results(2, 1, 1, a, b, c), "unknown, unknown, unknown", "the answer's counts contradict its list"},
		"a failure for the omitted": {results(1, 1, 1, a, b), "created, updated, unknown", "does not mention it"},
		"another total":             {`{"total":4,"created":2,"updated":1,"errors":0,"results":[` + a + "," + b + "," + c + `]}`, "unknown, unknown, unknown", "the answer's counts contradict its list"},
		"odd counts":                {`{"total":"many","created":-1,"updated":null,"errors":{},"results":[` + a + "," + b + "," + c + `]}`, "created, updated, created", ""},
		"counts as text":            {`{"total":"3","created":[2],"updated":1.5,"errors":"0","results":[` + a + "," + b + "," + c + `]}`, "created, updated, created", ""},
		"odd entries beside":        {results(2, 1, 0, "null", "7", `"A"`, `[]`, a, b, c), "created, updated, created", ""},
		"more members":              {results(2, 1, 0, a, b, entry("C", "created", `,"row":{"external_id":"X","action":"error"},"warnings":["x"]`)), "created, updated, created", ""},
		"a lone surrogate beside":   {results(2, 1, 0, a, b, entry("C", "created", `,"note":"\ud800"`)), "created, updated, created", ""},
		"a lone surrogate in it":    {results(2, 1, 0, a, b, `{"external_id":"C\ud800","action":"created"}`), "created, updated, unknown", "does not mention it"},
		"an escaped name":           {results(2, 1, 0, a, b, `{"external_id":"\u0043","id":"u-C","action":"created"}`), "created, updated, created", ""},
		"bytes that are no UTF-8":   {results(2, 1, 0, a, b, "{\"external_id\":\"C\",\"id\":\"u-C\",\"action\":\"created\",\"note\":\"\xff\"}"), "created, updated, created", ""},
		"a name twice in one":       {results(2, 1, 0, a, b, `{"external_id":"C","external_id":"C","id":"u-C","action":"created","action":"created"}`), "created, updated, created", ""},
		"counts alone":              {`{"total":3,"created":3,"updated":0,"errors":0}`, "unknown, unknown, unknown", "counts only, which prove nothing"},
		"empty data":                {`{}`, "unknown, unknown, unknown", "counts only, which prove nothing"},
		"results as text":           {`{"total":3,"created":3,"results":"all"}`, "unknown, unknown, unknown", "counts only"},
		"results as null":           {`{"total":3,"created":3,"results":null}`, "unknown, unknown, unknown", "counts only"},
		"July's counts":             {`{"results":{"created":3,"updated":0,"failed":0,"errors":[]},"total":3}`, "unknown, unknown, unknown", "counts only, which prove nothing"},
		"July's errors": {`{"results":{"created":1,"updated":1,"failed":1,"errors":[{"item":{"external_id":"B","external_source":"SAP"},"error":"external_source is required"}]},"total":3}`,
			"unknown, failed, unknown", "counts only"},
		"July's errors, nameless": {`{"results":{"created":2,"updated":0,"failed":1,"errors":[{"item":null,"error":"Cannot read properties of null"}]},"total":3}`,
			"unknown, unknown, unknown", "counts only"},
		"July's errors of another": {`{"results":{"created":2,"updated":0,"failed":1,"errors":[{"item":{"external_id":"A","external_source":"Infor"},"error":"no"}]},"total":3}`,
			"unknown, unknown, unknown", "another source"},
	} {
		t.Run(name, func(t *testing.T) {
			bulk, err := bulkOf(t, tt.data)
			assert.Equal(t, tt.want, statuses(bulk))
			if tt.text == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.text)
			}
			for _, o := range bulk.Outcomes {
				if o.Status == StatusUnknown {
					require.ErrorIs(t, o.Err, ErrUnknownOutcome)
					require.ErrorIs(t, o.Err, ErrBadAnswer)
					assert.ErrorContains(t, o.Err, "sync the record again")
				}
				if o.Status.Success() {
					assert.Equal(t, "u-"+o.Key.ExternalID, o.ID)
				}
			}
		})
	}
}

func TestABulksErrorsHaveTheServersDetails(t *testing.T) {
	bulk, err := bulkOf(t, `{"results":{"created":1,"updated":0,"failed":2,"errors":[`+
		`{"item":{"external_id":"A","external_source":"SAP","job_number":"JOB-A"},"error":"Job limit reached"},`+
		`{"item":{"external_id":"C","external_source":"SAP","due_date":"soon"},"error":[`+
		`{"field":"due_date","message":"Invalid date format for due_date","value":"soon","constraint":"DATE_FORMAT","entityType":"job","entityIndex":0},`+
		`{"field":"status","message":"Invalid status","value":7,"constraint":"ENUM","entityType":"job","entityIndex":0}]}]},"total":3}`)
	require.Error(t, err)
	assert.Equal(t, "failed, unknown, failed", statuses(bulk))
	assert.ErrorContains(t, bulk.Outcomes[0].Err, "Job limit reached")
	assert.NotErrorIs(t, bulk.Outcomes[0].Err, ErrValidation)
	var invalid *ValidationError
	require.ErrorAs(t, bulk.Outcomes[2].Err, &invalid)
	assert.Equal(t, "due_date", invalid.Field)
	assert.Equal(t, "Invalid date format for due_date", invalid.Message)
	assert.False(t, invalid.Local)
	assert.Equal(t, []FieldError{
		{Field: "due_date", Message: "Invalid date format for due_date", Value: "soon", Constraint: "DATE_FORMAT", EntityType: "job"},
		{Field: "status", Message: "Invalid status", Value: 7.0, Constraint: "ENUM", EntityType: "job"},
	}, invalid.Details)
	var record *RecordError
	require.ErrorAs(t, bulk.Outcomes[2].Err, &record)
	assert.Equal(t, "due_date", record.Field)
	assert.Equal(t, "VALIDATION_ERROR", record.Code)
	assert.Equal(t, bulk.Outcomes[2].RequestID, record.RequestID)
	assert.ErrorContains(t, record, "status: Invalid status")

	// What was sent and not accepted can be sent again as it is handed back.
	var again []Job
	for _, o := range bulk.Outcomes {
		again = append(again, o.Record.(Job))
	}
	assert.Equal(t, []Job{job("A"), job("B"), job("C")}, again)
}

func TestTheKindsOfABulksErrors(t *testing.T) {
	for text, kind := range map[string]error{
		"external_id and external_source are required":                                      ErrValidation,
		`invalid input syntax for type timestamp with time zone: "not-a-date"`:              ErrValidation,
		`null value in column "job_number" of relation "jobs" violates not-null constraint`: ErrValidation,
		`duplicate key value violates unique constraint "jobs_tenant_id_job_number_key"`:    ErrNaturalKeyTaken,
		"Could not find the 'priority' column of 'jobs' in the schema cache":                ErrMissingColumn,
		`Job with external_id "X" not found`:                                                ErrParentNotFound,
	} {
		quoted, err := json.Marshal(text)
		require.NoError(t, err)
		bulk, err := bulkOf(t, results(2, 0, 1, entry("A", "created"), entry("B", "created"), `{"external_id":"C","action":"error","error":`+string(quoted)+`}`))
		require.ErrorIs(t, err, kind)
		assert.Equal(t, "created, created, failed", statuses(bulk))
		assert.Equal(t, kind == ErrValidation, errors.As(bulk.Outcomes[2].Err, new(*ValidationError)))
		assert.ErrorContains(t, bulk.Outcomes[2].Err, text)
	}
}

// A duplicate of the external key is a lost race; it is repeated once, alone.
func TestALostRaceInABulkIsRepeatedOnce(t *testing.T) {
	race := `{"external_id":"B","action":"error","error":"duplicate key value violates unique constraint \"idx_jobs_external_sync\""}`
	first := answer(200, `{"success":true,"data":`+results(2, 0, 1, entry("A", "created"), race, entry("C", "created"))+`}`)
	second := `{"success":true,"data":{"total":1,"created":0,"updated":%d,"errors":%d,"results":[%s]}}`
	for name, tt := range map[string]struct {
		second httpmock.Responder
		want   string
		kind   error
	}{
		"the update then works": {answer(200, fmt.Sprintf(second, 1, 0, entry("B", "updated"))), "created, updated, created", nil},
		"the row was deleted":   {answer(200, fmt.Sprintf(second, 0, 1, race)), "created, failed, created", ErrDeletedOnServer},
		"another reason":        {answer(200, fmt.Sprintf(second, 0, 1, `{"external_id":"B","action":"error","error":"no"}`)), "created, failed, created", nil},
		"no answer":             {broken(), "created, unknown, created", ErrConnection},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(t, []httpmock.Responder{first, tt.second}, once())
			bulk, err := c.Jobs.BulkSync(t.Context(), []Job{job("A"), job("B"), job("C")})
			assert.Equal(t, tt.want, statuses(bulk))
			if tt.kind != nil {
				require.ErrorIs(t, err, tt.kind)
			}
			require.Len(t, s.requests(), 2)
			assert.Equal(t, `{"jobs":[{"external_id":"B","external_source":"SAP","job_number":"JOB-B"}]}`, s.requests()[1].body)
			assert.Equal(t, 2, bulk.Requests)
		})
	}
}

func TestNumericExternalIDsAreTheSameIDs(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"total":2,"created":2,"updated":0,"errors":0,"results":[`+
		`{"external_id":4711,"id":1,"action":"created"},{"external_id":12345678901234567890,"id":"u","action":"created"}]}}`)}, once())
	bulk, err := c.Jobs.BulkSync(t.Context(), []Job{job("4711"), job("12345678901234567890")})
	require.NoError(t, err)
	assert.Equal(t, "created, created", statuses(bulk))
	assert.Equal(t, "1", bulk.Outcomes[0].ID)
}

// The bound on a request's bytes is exact.
func TestARequestIsAsLargeAsItMayBe(t *testing.T) {
	for _, limit := range []int{1024, 1025, 1500, 4096} {
		srv := eryxontest.New()
		c := onServer(t, srv, WithMaxRequestBytes(limit))
		list := jobs(100)
		for i := range list {
			list[i].Notes = Some(strings.Repeat("x", 1+i%37))
		}
		bulk, err := c.Jobs.BulkSync(t.Context(), list)
		require.NoError(t, err)
		assert.Equal(t, 100, bulk.Counts.Created)
		all := srv.Requests()
		for i, r := range all {
			assert.LessOrEqual(t, len(r.Body), limit)
			if i+1 == len(all) {
				break
			}
			var next struct{ Jobs []json.RawMessage }
			require.NoError(t, json.Unmarshal(all[i+1].Body, &next))
			assert.Greater(t, len(r.Body)+1+len(next.Jobs[0]), limit, "no record more would have fitted")
		}
	}
	srv := eryxontest.New()
	c := onServer(t, srv, WithMaxRequestBytes(1024))
	fits, over := job("FITS"), job("OVER")
	raw, err := json.Marshal(Job{ExternalID: "FITS", ExternalSource: "SAP", JobNumber: "JOB-FITS", Notes: Some("")})
	require.NoError(t, err)
	room := 1024 - len(`{"jobs":[]}`) - len(raw)
	fits.Notes, over.Notes = Some(strings.Repeat("x", room)), Some(strings.Repeat("x", room+1))
	bulk, err := c.Jobs.BulkSync(t.Context(), []Job{job("A"), over, fits, job("B")})
	require.ErrorIs(t, err, ErrTooLarge)
	assert.Equal(t, "created, failed, created, created", statuses(bulk))
	assert.ErrorContains(t, err, "over the limit of 1024 bytes")
	assert.Zero(t, bulk.Outcomes[1].Attempts, "it is not sent")
}
