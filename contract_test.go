package eryxon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exchange is one line of testdata/exchanges: what a call sends, what a server
// of the release in the file's name answers, and what that proves. The answers
// have the shapes of those servers; where a file says nothing of a member, it
// is not asserted.
type exchange struct {
	Name    string            `json:"name"`
	Call    string            `json:"call"` // sync, bulk or do
	Entity  Entity            `json:"entity"`
	Records []json.RawMessage `json:"records"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    json.RawMessage   `json:"body"`
	Text    string            `json:"text"` // an answer that is not JSON
	Want    struct {
		Statuses []string `json:"statuses"`
		Nested   []string `json:"nested"`
		Kind     string   `json:"kind"`
		Field    string   `json:"field"`
		Message  string   `json:"message"`
		IDs      []string `json:"ids"`
		Row      bool     `json:"row"` // a row came whose columns are all known
		Requests int      `json:"requests"`
		Method   string   `json:"method"`
		Path     string   `json:"path"`
	} `json:"want"`
}

var kindsByName = map[string]error{
	"ErrValidation": ErrValidation, "ErrUnauthorized": ErrUnauthorized, "ErrQuotaExceeded": ErrQuotaExceeded, "ErrNotFound": ErrNotFound,
	"ErrNaturalKeyTaken": ErrNaturalKeyTaken, "ErrDeletedOnServer": ErrDeletedOnServer, "ErrParentNotFound": ErrParentNotFound,
	"ErrMissingColumn": ErrMissingColumn, "ErrTooLarge": ErrTooLarge, "ErrRateLimited": ErrRateLimited, "ErrServer": ErrServer,
	"ErrTimeout": ErrTimeout, "ErrRedirect": ErrRedirect, "ErrBadAnswer": ErrBadAnswer, "ErrUnknownOutcome": ErrUnknownOutcome,
}

func TestExchangesWithServersInTheField(t *testing.T) {
	files, err := filepath.Glob("testdata/exchanges/*.jsonl")
	require.NoError(t, err)
	require.Len(t, files, 5)
	total := 0
	for _, file := range files {
		for _, ex := range readExchanges(t, file) {
			total++
			t.Run(strings.TrimSuffix(filepath.Base(file), ".jsonl")+"/"+ex.Call+"/"+ex.Name, func(t *testing.T) { ex.replay(t) })
		}
	}
	assert.GreaterOrEqual(t, total, 60)
}

func readExchanges(t *testing.T, file string) []exchange {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	var list []exchange
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		var ex exchange
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.DisallowUnknownFields()
		require.NoErrorf(t, dec.Decode(&ex), "%s: %s", file, lines.Text())
		list = append(list, ex)
	}
	return list
}

// callsOf are the calls of one service, for records in JSON.
type callsOf struct {
	sync func(context.Context, json.RawMessage) (Outcome, any, map[string]json.RawMessage, error)
	bulk func(context.Context, []json.RawMessage) (*BulkResult, error)
}

func calls[R, Row any](t *testing.T, sync func(context.Context, R, ...CallOption) (*SyncResult[Row], error),
	bulk func(context.Context, []R, ...BulkOption) (*BulkResult, error), unknown func(*Row) map[string]json.RawMessage) callsOf {
	read := func(raw json.RawMessage) (r R) {
		require.NoError(t, json.Unmarshal(raw, &r))
		return r
	}
	return callsOf{
		func(ctx context.Context, raw json.RawMessage) (Outcome, any, map[string]json.RawMessage, error) {
			res, err := sync(ctx, read(raw))
			if res.Row == nil {
				return res.Outcome, nil, nil, err
			}
			return res.Outcome, res.Row, unknown(res.Row), err
		},
		func(ctx context.Context, raw []json.RawMessage) (*BulkResult, error) {
			var list []R
			for _, r := range raw {
				list = append(list, read(r))
			}
			return bulk(ctx, list)
		},
	}
}

func (ex *exchange) replay(t *testing.T) {
	var headers []string
	for name, value := range ex.Headers {
		headers = append(headers, name, value)
	}
	text := ex.Text
	if ex.Body != nil {
		text = string(ex.Body)
	}
	attempts := once()
	if ex.Want.Requests > 1 {
		attempts = hasty(ex.Want.Requests + 1)
	}
	// One answer is judged here, without asking the server for more.
	c, s := scripted(t, []httpmock.Responder{answer(ex.Status, text, headers...)}, attempts, WithoutChecks(), WithOverwritingUpdates())
	service := map[Entity]callsOf{
		EntityJobs:       calls(t, c.Jobs.Sync, c.Jobs.BulkSync, func(r *JobRow) map[string]json.RawMessage { return r.Unknown }),
		EntityParts:      calls(t, c.Parts.Sync, c.Parts.BulkSync, func(r *PartRow) map[string]json.RawMessage { return r.Unknown }),
		EntityOperations: calls(t, c.Operations.Sync, c.Operations.BulkSync, func(r *OperationRow) map[string]json.RawMessage { return r.Unknown }),
		EntityCells:      calls(t, c.Cells.Sync, c.Cells.BulkSync, func(r *CellRow) map[string]json.RawMessage { return r.Unknown }),
		EntityResources:  calls(t, c.Resources.Sync, c.Resources.BulkSync, func(r *ResourceRow) map[string]json.RawMessage { return r.Unknown }),
	}[ex.Entity]

	var outcomes []Outcome
	var err error
	method, path, body := "POST", "/api-"+string(ex.Entity)+"/bulk-sync", ""
	switch ex.Call {
	case "sync":
		var o Outcome
		var row any
		var unknown map[string]json.RawMessage
		o, row, unknown, err = service.sync(t.Context(), ex.Records[0])
		outcomes = []Outcome{o}
		method, path, body = "PUT", "/api-"+string(ex.Entity)+"/sync", string(ex.Records[0])
		if ex.Want.Row {
			require.NotNil(t, row)
			for name := range unknown {
				assert.Contains(t, []string{"search_vector", "status_before_hold"}, name, "a column that the row type lacks, or has of another type")
			}
		}
	case "bulk":
		var bulk *BulkResult
		bulk, err = service.bulk(t.Context(), ex.Records)
		outcomes = bulk.Outcomes
		all, merr := json.Marshal(map[Entity][]json.RawMessage{ex.Entity: ex.Records})
		require.NoError(t, merr)
		body = string(all)
	case "do":
		method, path = ex.Want.Method, ex.Want.Path
		var data any
		_, err = c.Do(t.Context(), method, path, nil, &data)
		if ex.Want.Kind == "" {
			assert.NotEmpty(t, data)
		}
	default:
		t.Fatalf("no call %q", ex.Call)
	}

	requests := len(s.requests())
	require.Equal(t, max(1, ex.Want.Requests), requests)
	for _, r := range s.requests() {
		assert.Equal(t, method, r.method)
		assert.Equal(t, path, r.path)
		if body != "" {
			assert.Equal(t, canonical(t, []byte(body)), canonical(t, []byte(r.body)), "no field added, none lost")
		}
	}
	require.Len(t, outcomes, len(ex.Want.Statuses))
	failed := false
	var nested []string
	for i, o := range outcomes {
		assert.Equal(t, ex.Want.Statuses[i], o.Status.String())
		assert.Equal(t, o.Status.Success(), o.Err == nil)
		failed = failed || !o.Status.Success()
		for _, n := range o.Nested {
			nested = append(nested, n.Status.String())
		}
		if ex.Want.IDs != nil {
			assert.Equal(t, ex.Want.IDs[i], o.ID)
		}
		if id := ex.Headers["x-request-id"]; id != "" {
			assert.Equal(t, id, o.RequestID)
		}
	}
	assert.Equal(t, ex.Want.Nested, nested)
	if ex.Call != "do" {
		assert.Equal(t, failed, err != nil)
	}
	if ex.Want.Kind == "" {
		return
	}
	kind, ok := kindsByName[ex.Want.Kind]
	require.True(t, ok, ex.Want.Kind)
	require.ErrorIs(t, err, kind)
	if ex.Want.Field != "" {
		fields := fieldsOf(err)
		assert.Contains(t, fields, ex.Want.Field)
	}
	assert.ErrorContains(t, err, ex.Want.Message)
}

// fieldsOf lists the fields that an error's records are told to fail for.
func fieldsOf(err error) []string {
	var fields []string
	for _, e := range unwrapAll(err) {
		if r, ok := e.(*RecordError); ok { //nolint:errorlint // each error of the tree is looked at
			fields = append(fields, r.Field)
		}
	}
	slices.Sort(fields)
	return fields
}
