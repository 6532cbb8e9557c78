package eryxon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What servers have been recorded to say, and what is to be understood of it.
func TestTheServersTextsAreUnderstood(t *testing.T) {
	for text, want := range map[string]complaint{
		"external_id is required for sync operations":  {ErrValidation, "external_id"},
		"external_source is required":                  {ErrValidation, "external_source"},
		"external_id and external_source are required": {ErrValidation, "external_id"},
		"name and type are required":                   {ErrValidation, "name"},
		"job_number is required":                       {ErrValidation, "job_number"},
		"Invalid due_date format":                      {ErrValidation, "due_date"},
		"Invalid date format for due_date":             {ErrValidation, "due_date"},
		"Invalid quantity":                             {ErrValidation, "quantity"},
		"Invalid API key":                              {},
		"job_id or job_external_id is required":        {ErrParentNotFound, "job_external_id"},
		"job_id or valid job_external_id required":     {ErrParentNotFound, "job_external_id"},
		"part_id or part_external_id is required":      {ErrParentNotFound, "part_external_id"},
		"cell_id or cell_name is required":             {ErrParentNotFound, "cell_name"},
		`Job with external_id "NOPE" not found`:        {ErrParentNotFound, "job_external_id"},
		`Part with external_id "NOPE" not found`:       {ErrParentNotFound, "part_external_id"},
		`Cell with name "Cutting" not found`:           {ErrParentNotFound, "cell_name"},
		`Job with id "550e8400" not found`:             {ErrParentNotFound, "job_id"},
		"Missing required fields":                      {ErrValidation, ""},
		"Missing required fields (external_id, name)":  {ErrValidation, ""},
		"Missing required string field: job_number":    {ErrValidation, "job_number"},
		"column jobs.priority does not exist":          {ErrMissingColumn, "priority"},
		`column "priority" does not exist`:             {ErrMissingColumn, "priority"},
		"Failed to sync parts: job_number is required": {ErrValidation, "job_number"},
		"Failed to sync jobs: Could not find the 'priority' column of 'jobs' in the schema cache":                    {ErrMissingColumn, "priority"},
		"Could not find the 'sync_hash' column of 'cells' in the schema cache":                                       {ErrMissingColumn, "sync_hash"},
		`column "priority" of relation "jobs" does not exist`:                                                        {ErrMissingColumn, "priority"},
		`Failed to sync resources: null value in column "name" of relation "resources" violates not-null constraint`: {ErrValidation, "name"},
		`duplicate key value violates unique constraint "idx_jobs_external_sync"`:                                    {ErrConflict, "external_id"},
		`Failed to sync jobs: duplicate key value violates unique constraint "idx_jobs_external_sync"`:               {ErrConflict, "external_id"},
		`duplicate key value violates unique constraint "jobs_tenant_id_job_number_key"`:                             {ErrNaturalKeyTaken, "job_number"},
		`duplicate key value violates unique constraint "parts_job_id_part_number_key"`:                              {ErrNaturalKeyTaken, "part_number"},
		`duplicate key value violates unique constraint "resources_tenant_id_name_key"`:                              {ErrNaturalKeyTaken, "name"},
		`duplicate key value violates unique constraint "uq_cell_names"`:                                             {ErrNaturalKeyTaken, "name"},
		`duplicate key value violates unique constraint "jobs_pkey"`:                                                 {ErrConflict, ""},
		`duplicate key value violates unique constraint "idx_jobs_sync_hash"`:                                        {ErrConflict, ""},
		`insert or update on table "parts" violates foreign key constraint "parts_job_id_fkey"`:                      {ErrParentNotFound, "job_id"},
		`insert or update on table "operations" violates foreign key constraint "operations_part_id_fkey"`:           {ErrParentNotFound, "part_id"},
		`insert or update on table "operations" violates foreign key constraint "operations_cell_id_fkey"`:           {ErrParentNotFound, "cell_id"},
		`insert or update on table "parts" violates foreign key constraint "parts_parent_part_id_fkey"`:              {ErrParentNotFound, "parent_part_id"},
		`insert or update on table "parts" violates foreign key constraint "fk_parts_job"`:                           {ErrParentNotFound, ""},
		`insert or update on table "jobs" violates foreign key constraint "jobs_tenant_id_fkey"`:                     {ErrValidation, "tenant_id"},
		`invalid input syntax for type timestamp with time zone: "not-a-date"`:                                       {ErrValidation, ""},
		`invalid input syntax for type integer: "12.5"`:                                                              {ErrValidation, ""},
		`invalid input value for enum job_status: "sleeping"`:                                                        {ErrValidation, ""},
		`date/time field value out of range: "2025-02-30"`:                                                           {ErrValidation, ""},
		`value "99999999999" is out of range for type integer`:                                                       {ErrValidation, ""},
		`new row for relation "parts" violates check constraint "parts_quantity_check"`:                              {ErrValidation, ""},
		`value too long for type character varying(50)`:                                                              {ErrValidation, ""},
		`numeric field overflow`: {ErrValidation, ""},
		`smallint out of range`:  {ErrValidation, ""},
		`time zone displacement out of range: "2025-01-01T00:00:00+99:00"`: {ErrValidation, ""},
		`unsupported Unicode escape sequence`:                              {ErrValidation, ""},
		`cannot insert a non-DEFAULT value into column "search_vector"`:    {ErrValidation, "search_vector"},
		`column "search_vector" can only be updated to DEFAULT`:            {ErrValidation, "search_vector"},
		`invalid input value for enum job_status: "deadlock detected"`:     {ErrValidation, ""},
		"deadlock detected":                                      {ErrServer, ""},
		"canceling statement due to statement timeout":           {ErrServer, ""},
		"TypeError: fetch failed":                                {ErrServer, ""},
		`too many connections for role "authenticator"`:          {ErrServer, ""},
		"Cannot read properties of null (reading 'external_id')": {},
		"Internal server error":                                  {},
		"":                                                       {},
	} {
		assert.Equalf(t, want, understand(text), "%q", text)
	}
	assert.True(t, isDuplicateExternalKey(`Failed to sync parts: duplicate key value violates unique constraint "idx_parts_external_sync"`))
	assert.False(t, isDuplicateExternalKey(`duplicate key value violates unique constraint "jobs_tenant_id_job_number_key"`))
	assert.False(t, isDuplicateExternalKey("external_id is required"))
}

func TestAServersTextFitsOneLineOfALog(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                         "plain",
		"two\nlines\r\n\tand a tab":     "two lines and a tab",
		"\x1b[31mred\x00\x07":           "[31mred",
		"latin-1 \xfc":                  "latin-1",
		"":                              "",
		strings.Repeat("x", 500):        strings.Repeat("x", 500),
		strings.Repeat("x", 501):        strings.Repeat("x", 500) + "…",
		strings.Repeat("x", 499) + "日本": strings.Repeat("x", 499) + "…",
		"keeps 日本語 and 😀":               "keeps 日本語 and 😀",
		"line\u0085separator\u200bkept": "line separator\u200bkept",
	} {
		assert.Equalf(t, want, printable(in), "%q", in)
	}
}

func TestErrorTextsTellTheCallAndWhatToDo(t *testing.T) {
	api := &APIError{Method: "PUT", Path: "/api-jobs/sync", StatusCode: 401, Code: "UNAUTHORIZED", Message: "Invalid API key", RequestID: "r-1", Attempts: 1, kind: ErrUnauthorized}
	reset := time.Date(2026, time.November, 24, 10, 52, 29, 0, time.FixedZone("", 3600))
	for text, err := range map[string]error{
		"eryxon: PUT /api-jobs/sync: 401 UNAUTHORIZED: Invalid API key (request id r-1, 1 attempt); check the API key: revoked, mistyped, or of another installation": api,
		"eryxon: GET /x: no answer (request id r-2, 3 attempts); check the network and the base URL; upserts may be repeated safely": &APIError{
			Method: "GET", Path: "/x", Message: "no answer", RequestID: "r-2", Attempts: 3, kind: ErrConnection},
		"eryxon: GET /x: not sent: context canceled": &APIError{Method: "GET", Path: "/x", Message: "not sent: context canceled"},
		"eryxon: not sent: VALIDATION_ERROR: job_number is required": &ValidationError{
			Code: "VALIDATION_ERROR", Message: "job_number is required", Local: true, Details: []FieldError{{Field: "job_number", Message: "is required"}}},
		"eryxon: not sent: VALIDATION_ERROR: a is required; b is required": &ValidationError{
			Code: "VALIDATION_ERROR", Message: "a is required", Local: true, Details: []FieldError{{Field: "a", Message: "is required"}, {Field: "b", Message: "is required"}}},
		"eryxon: PUT /api-jobs/sync: 401 VALIDATION_ERROR: 1 error(s) in job; due_date: not a date (request id r-1, 1 attempt)": &ValidationError{
			Code: "VALIDATION_ERROR", Message: "1 error(s) in job", Details: []FieldError{{Field: "due_date", Message: "not a date"}}, api: api},
		"eryxon: rate limit reached, request not sent; sync again after 2026-11-24T09:52:29Z, or allow waiting with WithMaxWait": &RateLimitError{Reset: reset},
		"eryxon: rate limit reached, request not sent; sync again after 2026-11-24T09:52:29Z, in 1m30s, or allow waiting with WithMaxWait": &RateLimitError{
			Reset: reset, RetryAfter: 90*time.Second + 400*time.Millisecond},
		"eryxon: rate limit reached, request not sent; sync again later": &RateLimitError{},
		"eryxon: PUT /api-jobs/sync: 401 UNAUTHORIZED: Invalid API key (request id r-1, 1 attempt); sync again after waiting for 1m30s": &RateLimitError{
			Sent: true, RetryAfter: 90 * time.Second, api: api},
		"eryxon: job SAP/SO-1 (record 3): failed: PUT /api-jobs/sync: 401 UNAUTHORIZED: Invalid API key (request id r-1, 1 attempt); check the API key: revoked, mistyped, or of another installation": &RecordError{
			Entity: EntityJobs, Index: 3, Key: Key{"SAP", "SO-1"}, Status: StatusFailed, RequestID: "r-1", cause: api},
		"eryxon: part SAP/P-1 (record 0): unknown: the answer does not mention it (request id r-1); sync the record again; upserts may be repeated safely": &RecordError{
			Entity: EntityParts, Key: Key{"SAP", "P-1"}, Message: "the answer does not mention it", RequestID: "r-1", kind: ErrBadAnswer},
		"eryxon: cell (no external id) (record 0): failed: taken; rename one of the two, or give the existing row this external id in the MES": &RecordError{
			Entity: EntityCells, Status: StatusFailed, Message: "taken", kind: ErrNaturalKeyTaken},
	} {
		assert.Equal(t, text, err.Error())
	}
	partial := &PartialError{Entity: EntityJobs, Total: 7, Failed: 5}
	for i := range 5 {
		partial.Failures = append(partial.Failures, &RecordError{Entity: EntityJobs, Index: i, Key: Key{"SAP", fmt.Sprint(i)}, Status: StatusFailed, Message: "no"})
	}
	assert.Equal(t, "eryxon: 5 jobs of 7 did not succeed; job SAP/0 (record 0): failed: no; job SAP/1 (record 1): failed: no; job SAP/2 (record 2): failed: no; and 2 more", partial.Error())
}

func TestErrorsAreFoundThroughTheirWrappers(t *testing.T) {
	api := &APIError{StatusCode: 422, kind: ErrValidation, cause: errors.New("deeper")}
	invalid := &ValidationError{Field: "due_date", api: api}
	record := &RecordError{Index: 2, Status: StatusFailed, cause: invalid}
	unknown := &RecordError{Index: 4, Status: StatusUnknown, kind: ErrBadAnswer}
	limited := &RecordError{Index: 5, Status: StatusNotSent, cause: &RateLimitError{Limit: 100}}
	err := fmt.Errorf("nightly run: %w", &PartialError{Failures: []*RecordError{record, unknown, limited}})

	for _, kind := range []error{ErrValidation, ErrUnknownOutcome, ErrBadAnswer, ErrRateLimited, api.cause} {
		assert.ErrorIs(t, err, kind)
	}
	for _, kind := range []error{ErrUnauthorized, ErrConflict, ErrServer, ErrTimeout} {
		assert.NotErrorIs(t, err, kind)
	}
	assert.NotErrorIs(t, record, ErrUnknownOutcome, "only records of status unknown match it")
	var (
		p *PartialError
		r *RecordError
		v *ValidationError
		a *APIError
		l *RateLimitError
	)
	require.ErrorAs(t, err, &p)
	require.ErrorAs(t, err, &r)
	assert.Equal(t, 2, r.Index, "the first")
	require.ErrorAs(t, err, &v)
	assert.Equal(t, "due_date", v.Field)
	require.ErrorAs(t, err, &a)
	assert.Equal(t, 422, a.StatusCode)
	require.ErrorAs(t, err, &l)
	assert.Equal(t, 100, l.Limit)
}

// Reports are made of these errors: their JSON has the names of the API.
func TestErrorsAsJSON(t *testing.T) {
	raw, err := json.Marshal(&RecordError{Entity: EntityJobs, Index: 1, Key: Key{"SAP", "SO-1"}, Status: StatusNotSent, Code: "X", Field: "f", Message: "m", RequestID: "r"})
	require.NoError(t, err)
	assert.JSONEq(t, `{"entity":"jobs","index":1,"key":{"external_source":"SAP","external_id":"SO-1"},"status":"not sent","code":"X","field":"f","message":"m","request_id":"r"}`, string(raw))
	raw, err = json.Marshal(&APIError{Method: "PUT", Path: "/x", StatusCode: 500, Code: "C", Message: "m", RequestID: "r", Attempts: 2, kind: ErrServer, body: []byte("secret")})
	require.NoError(t, err)
	assert.JSONEq(t, `{"method":"PUT","path":"/x","status_code":500,"code":"C","message":"m","request_id":"r","attempts":2}`, string(raw))
	raw, err = json.Marshal(&ValidationError{Code: "VALIDATION_ERROR", Message: "m", Field: "f", Local: true, Index: 3, Key: Key{"S", "E"},
		Details: []FieldError{{Field: "f", Message: "m", Constraint: "NOT_NULL", Value: 7, EntityType: "job", EntityIndex: 2}}})
	require.NoError(t, err)
	assert.JSONEq(t, `{"code":"VALIDATION_ERROR","message":"m","field":"f","local":true,"index":3,"key":{"external_source":"S","external_id":"E"},
		"details":[{"field":"f","message":"m","constraint":"NOT_NULL","value":7,"entityType":"job","entityIndex":2}]}`, string(raw))
}

// An outcome that is unknown says what to do, whatever made it so, and no text speaks
// of types of Go.
func TestUnknownOutcomesSayWhatToDo(t *testing.T) {
	for _, body := range []string{`{"success":false}`, `{"success":false,"error":{"code":"INTERNAL_ERROR","message":"boom"}}`, `["ok"]`, `{"success":true,"data":"ok"}`} {
		c, _ := scripted(t, []httpmock.Responder{answer(200, body)}, once())
		res, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.Equal(t, StatusUnknown, res.Status, body)
		assert.Regexp(t, `; (sync the record again|check that the base URL)`, err.Error(), body)
		assert.NotContains(t, err.Error(), "Go ", body)
	}
	c, _ := scripted(t, []httpmock.Responder{refusal(500, "INTERNAL_ERROR", `duplicate key value violates unique constraint "idx_jobs_external_sync"`)}, once())
	res, err := c.ERP.Sync(t.Context(), ERPRequest{Jobs: jobs(1)})
	require.Error(t, err)
	assert.ErrorContains(t, res.Jobs[0].Err, "sync the record again")
}

// Complaints about fields are read in every form; a plan's limit is none.
func TestComplaintsInEveryForm(t *testing.T) {
	for details, want := range map[string]string{
		`[{"field":"due_date","message":"bad"}]`: "; due_date: bad",
		`{"field":"due_date","message":"bad"}`:   "; due_date: bad",
		`{"due_date":["bad","worse"]}`:           "; due_date: bad; worse",
		`{"due_date":"bad"}`:                     "; due_date: bad",
		`["due_date: bad"]`:                      "; due_date: bad",
		`"due_date: bad"`:                        "; due_date: bad",
	} {
		c, _ := scripted(t, []httpmock.Responder{answer(422, `{"success":false,"error":{"code":"VALIDATION_ERROR","message":"1 error","details":`+details+`}}`)}, once())
		_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
		require.ErrorIs(t, err, ErrValidation, details)
		assert.ErrorContains(t, err, want, details)
	}
	c, _ := scripted(t, []httpmock.Responder{answer(402, `{"success":false,"error":{"code":"QUOTA_EXCEEDED","message":"full","details":{"limitType":"jobs","currentUsage":5,"limit":5}}}`)}, once())
	_, err := c.Jobs.Sync(t.Context(), job("SO-1"))
	require.ErrorIs(t, err, ErrQuotaExceeded)
	assert.NotContains(t, err.Error(), "limitType")
}

// What a database adds to its complaint is none about a field: the text tells the kind.
func TestADatabasesDetailsHideNoKind(t *testing.T) {
	for _, details := range []string{`null`, `"Key (tenant_id, job_number)=(t, A) already exists."`, `{"code":"23505","hint":"none"}`, `["x"]`} {
		c, _ := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"total":2,"created":1,"updated":0,"errors":1,"results":[
			{"external_id":"A","action":"error","error":{"code":"23505","details":`+details+`,"message":"duplicate key value violates unique constraint \"jobs_tenant_id_job_number_key\""}},
			{"external_id":"B","id":"u","action":"created"}]}}`)}, once())
		_, err := c.Jobs.BulkSync(t.Context(), []Job{job("A"), job("B")})
		require.ErrorIs(t, err, ErrNaturalKeyTaken, details)
		require.NotErrorIs(t, err, ErrValidation, details)
	}
}

// A transport's own cancellation of one call ends no run.
func TestATransportsOwnCancellationEndsNoRun(t *testing.T) {
	canceled := &APIError{Message: "canceled", kind: ErrConnection, cause: context.Canceled}
	assert.False(t, endsSending(canceled))
	assert.True(t, endsSending(&APIError{Message: "not sent", cause: context.Canceled}))
}
