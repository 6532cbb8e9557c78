package eryxon_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

// failedLine is a line of a failed-records file as its readers see it.
type failedLine struct {
	Entity    string         `json:"entity"`
	Status    string         `json:"status"`
	Error     string         `json:"error"`
	Code      string         `json:"code"`
	Fields    []any          `json:"fields"`
	RequestID string         `json:"request_id"`
	Record    map[string]any `json:"record"`
}

func linesOf[L any](t *testing.T, text string) []L {
	t.Helper()
	var lines []L
	for line := range strings.Lines(text) {
		require.True(t, strings.HasSuffix(line, "\n"), "a line is whole")
		var l L
		require.NoError(t, json.Unmarshal([]byte(line), &l), line)
		lines = append(lines, l)
	}
	return lines
}

func TestFailedRecordsAreCorrectedAndSyncedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		srv.FailRecord(eryxontest.Jobs, "SO-2", "Invalid priority")
		data := eryxon.Dataset{
			Cells:     eryxon.FromSlice([]eryxon.Cell{{ExternalID: "C-1", Name: "Cutting"}, {ExternalID: "C-2"}}),
			Resources: eryxon.FromSlice([]eryxon.Resource{{ExternalID: "R-1", Name: "Mill", ExternalSource: "Tools"}}),
			Jobs: eryxon.FromSlice([]eryxon.Job{{ExternalID: "SO-1", JobNumber: "J-1"},
				{ExternalID: "SO-2", JobNumber: "J-2", Customer: eryxon.Null[string](), Priority: eryxon.Some(0), Extra: map[string]any{"weight": 12345678901234567}},
				{ExternalID: "SO-3", JobNumber: "J-3", Parts: []eryxon.Part{{ExternalID: "P-3", PartNumber: "3", Quantity: eryxon.Some(0),
					Operations: []eryxon.Operation{{ExternalID: "O-3", OperationName: "Cut", CellName: "Cutting"}}}}}}),
			Parts:      eryxon.FromSlice([]eryxon.Part{{ExternalID: "P-2", PartNumber: "2", JobExternalID: "SO-2"}}),
			Operations: eryxon.FromSlice([]eryxon.Operation{{ExternalID: "O-2", OperationName: "Cut", PartExternalID: "P-2", CellName: "Cutting", EstimatedTimeMinutes: eryxon.Some(1.5)}}),
		}
		var file bytes.Buffer
		report, err := client.SyncAll(t.Context(), data, eryxon.WithFailedRecords(&file))
		require.ErrorIs(t, err, eryxon.ErrValidation)
		total := report.Total().Counts
		assert.Equal(t, eryxon.Counts{Created: 3, Failed: 4, ParentFailed: 3}, total)

		byID := map[string]failedLine{}
		for _, l := range linesOf[failedLine](t, file.String()) {
			id, _ := l.Record["external_id"].(string)
			byID[l.Entity+" "+id] = l
			source := "SAP"
			if id == "R-1" {
				source = "Tools"
			}
			assert.Equal(t, source, l.Record["external_source"], "the source that it was synced under")
			assert.NotEmpty(t, l.Error)
			if l.Status == "parent failed" {
				assert.Empty(t, l.Fields, "the parent's faults are not the child's")
				assert.Empty(t, l.Code)
				assert.Empty(t, l.RequestID, "it was not sent")
			}
		}
		require.Len(t, byID, 7)
		assert.Equal(t, "failed", byID["jobs SO-2"].Status)
		assert.NotEmpty(t, byID["jobs SO-2"].RequestID)
		assert.Equal(t, "VALIDATION_ERROR", byID["jobs SO-2"].Code)
		assert.InDelta(t, 0, byID["parts P-3"].Record["quantity"], 0, "a value that a rule refuses is kept to be corrected")
		assert.Equal(t, "SO-3", byID["parts P-3"].Record["job_external_id"], "a lifted record says where it belongs")
		assert.Len(t, byID["parts P-3"].Fields, 1)
		assert.Equal(t, "parent failed", byID["operations O-3"].Status)
		assert.Equal(t, "parent failed", byID["parts P-2"].Status)
		assert.Equal(t, "parent failed", byID["operations O-2"].Status)

		// As it is, it fails again, and nothing else does.
		again, err := eryxon.ReadFailedRecords(strings.NewReader(file.String()))
		require.NoError(t, err)
		assert.Equal(t, eryxon.RecordCounts{Cells: 1, Resources: 1, Jobs: 1, Parts: 2, Operations: 2}, again.Count())
		var second bytes.Buffer
		_, err = client.SyncAll(t.Context(), again, eryxon.WithFailedRecords(&second))
		require.Error(t, err)
		assert.Len(t, linesOf[failedLine](t, second.String()), 7)

		// Corrected, it is accepted, by a client that has no source at all.
		srv.FailRecord(eryxontest.Jobs, "SO-2", "")
		text := strings.NewReplacer(`"quantity":0`, `"quantity":5`, `"external_id":"C-2"`, `"external_id":"C-2","name":"Welding"`,
			`"external_id":"R-1"`, `"external_id":"R-1","type":"equipment"`).Replace(file.String())
		again, err = eryxon.ReadFailedRecords(strings.NewReader(text))
		require.NoError(t, err)
		bare, err := eryxon.New(srv.URL, srv.Key, eryxon.WithHTTPClient(srv.Client()))
		require.NoError(t, err)
		report, err = bare.SyncAll(t.Context(), again)
		require.NoError(t, err)
		assert.Equal(t, eryxon.Counts{Created: 7}, report.Total().Counts)
		assert.Empty(t, srv.Orphans())
		row, ok := srv.Row(eryxontest.Jobs, "SAP", "SO-2")
		require.True(t, ok)
		assert.Contains(t, row, "customer", "null stays null")
		assert.Nil(t, row["customer"])
		assert.InDelta(t, 0, row["priority"], 0, "zero stays zero")
		_, ok = srv.Row(eryxontest.Resources, "Tools", "R-1")
		assert.True(t, ok)
		requests := srv.Requests()
		sent := ""
		for _, r := range requests {
			sent += string(r.Body)
		}
		assert.Contains(t, sent, "12345678901234567", "large numbers keep their digits")
	})
}

func TestWhatJSONCannotHoldIsWrittenAsItsKey(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		var file bytes.Buffer
		report, err := client.SyncAll(t.Context(), eryxon.Dataset{
			Jobs: eryxon.FromSlice([]eryxon.Job{
				{ExternalID: "latin-1", JobNumber: "J-1", Customer: eryxon.Some("M\xfcller")},
				{ExternalID: "nul", JobNumber: "J-2", Customer: eryxon.Some("a\x00b")},
				{ExternalID: "hidden", JobNumber: "J-3", Extra: map[string]any{"job_number": "J-4"}},
				{ExternalID: "deep", JobNumber: "J-5", Extra: map[string]any{"x": []any{"\xff"}}},
				{ExternalID: "channel", JobNumber: "J-6", Extra: map[string]any{"x": make(chan int)}},
				{ExternalID: "replaced", JobNumber: "", Customer: eryxon.Some("M\ufffdller")},
			}),
			Operations: eryxon.FromSlice([]eryxon.Operation{{ExternalID: "nan", OperationName: "Cut", PartID: "p", CellID: "c", EstimatedTimeMinutes: eryxon.Some(math.NaN())}}),
		}, eryxon.WithFailedRecords(&file))
		require.ErrorIs(t, err, eryxon.ErrValidation)
		assert.Equal(t, 7, report.Total().Counts.Failed)
		assert.Empty(t, srv.Requests())
		keyOnly := map[string]bool{}
		for _, l := range linesOf[failedLine](t, file.String()) {
			id, _ := l.Record["external_id"].(string)
			keyOnly[id] = len(l.Record) == 2
			assert.NotEmpty(t, l.Fields, "what is wrong is told: %s", id)
		}
		assert.Equal(t, map[string]bool{"latin-1": true, "nul": false, "hidden": true, "deep": true, "channel": true, "replaced": false, "nan": true}, keyOnly)
		// None of them is accepted uncorrected, in a form that was never meant.
		again, err := eryxon.ReadFailedRecords(&file)
		require.NoError(t, err)
		report, err = client.SyncAll(t.Context(), again)
		require.Error(t, err)
		assert.Equal(t, 7, report.Total().Counts.Failed)
		assert.Empty(t, srv.Requests())
	})
}

func TestSupersededRecordsAreNotAmongTheFailedOnes(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		srv.FailRecord(eryxontest.Jobs, "SO-1", "Invalid priority")
		j := eryxon.Job{ExternalID: "SO-1", JobNumber: "J-1"}
		for _, data := range []eryxon.Dataset{{Jobs: eryxon.FromSlice([]eryxon.Job{j, j})}, {Jobs: eryxon.FromSeq(seqOf([]eryxon.Job{j, j}))}} {
			var file bytes.Buffer
			report, err := client.SyncAll(t.Context(), data, eryxon.WithFailedRecords(&file))
			require.Error(t, err)
			assert.Equal(t, eryxon.Counts{Failed: 1, Superseded: 1}, report.Jobs.Counts)
			assert.Len(t, linesOf[failedLine](t, file.String()), 1)
		}
	})
}

func TestReadFailedRecordsTakesWhatEditorsLeave(t *testing.T) {
	line := `{"entity":"jobs","status":"failed","error":"x","record":{"external_id":"SO-1","external_source":"SAP","job_number":"J-1"}}`
	for name, text := range map[string]string{
		"as written":            line + "\n",
		"no last line end":      line,
		"a byte order mark":     "\ufeff" + line + "\n",
		"Windows line ends":     line + "\r\n\r\n",
		"empty lines":           "\n\n" + line + "\n\n",
		"lines of blanks":       "  \n" + line + "\n\t",
		"a mark and no content": "\ufeff\n" + line,
	} {
		data, err := eryxon.ReadFailedRecords(strings.NewReader(text))
		require.NoError(t, err, name)
		assert.Equal(t, 1, data.Count().Jobs, name)
	}
	data, err := eryxon.ReadFailedRecords(strings.NewReader(""))
	require.NoError(t, err)
	assert.Zero(t, data.Count().Total())
	long := strings.Replace(line, `"J-1"`, `"J-1","notes":"`+strings.Repeat("x", 1<<20)+`"`, 1)
	data, err = eryxon.ReadFailedRecords(iotest.OneByteReader(strings.NewReader(long)))
	require.NoError(t, err, "a line may be long")
	assert.Equal(t, 1, data.Count().Jobs)
}

func TestReadFailedRecordsTellsTheBadLine(t *testing.T) {
	good := `{"entity":"jobs","record":{"external_id":"SO-1","job_number":"J-1"}}` + "\n"
	for bad, says := range map[string]string{
		`{"entity":"jobs","record":`:                           "unexpected end",
		`{"entity":"orders","record":{"external_id":"x"}}`:     `"orders"`,
		`{"record":{"external_id":"x"}}`:                       "want cells, resources, jobs, parts or operations",
		`{"entity":"jobs"}`:                                    "no record",
		`{"entity":"jobs","record":null}`:                      "no record",
		`{"entity":"jobs","record":{"external_id":5}}`:         "external_id",
		`{"entity":"jobs","record":{"due_date":"2025-02-30"}}`: "due_date",
		`{"entity":"jobs","record":{"external_id":"SO-9","external_source":"SAP","due_date":"soon"}}`: "line 3 (job SAP/SO-9)",
		`{"entity":"jobs","status":"lost","record":{"external_id":"x"}}`:                              "lost",
		`{"entity":"parts","record":{"operations":[{"sequence":"second"}]}}`:                          "operations",
		`SO-1;J-1`: "invalid character",
	} {
		data, err := eryxon.ReadFailedRecords(strings.NewReader(good + "\n" + bad + "\n" + good))
		require.Error(t, err, bad)
		assert.Contains(t, err.Error(), "line 3", bad)
		assert.Contains(t, err.Error(), says)
		assert.Zero(t, data.Count().Total(), "no part of a file that can't be read is taken for all of it")
	}
	broken := errors.New("the disk is gone")
	_, err := eryxon.ReadFailedRecords(io.MultiReader(strings.NewReader(good), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
	assert.Contains(t, err.Error(), "line 2")
}

func TestTheAuditLogHasALineForEachAcknowledgedRecord(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		srv.FailRecord(eryxontest.Jobs, "SO-0001", "Invalid priority")
		var log bytes.Buffer
		start := time.Now()
		report, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice(someJobs(3))}, eryxon.WithAuditLog(&log))
		require.Error(t, err)
		type entry struct {
			RunID     string    `json:"run_id"`
			Time      time.Time `json:"time"`
			Source    string    `json:"external_source"`
			ID        string    `json:"external_id"`
			Entity    string    `json:"entity"`
			Status    string    `json:"status"`
			RowID     string    `json:"id"`
			RequestID string    `json:"request_id"`
		}
		lines := linesOf[entry](t, log.String())
		require.Len(t, lines, 2)
		for i, id := range []string{"SO-0000", "SO-0002"} {
			row, ok := srv.Row(eryxontest.Jobs, "SAP", id)
			require.True(t, ok)
			assert.Equal(t, entry{RunID: report.RunID, Time: start.UTC(), Source: "SAP", ID: id, Entity: "jobs", Status: "created",
				RowID: row["id"].(string), RequestID: srv.Requests()[0].RequestID}, lines[i])
		}
	})
}

// brokenWriter fails on some writes.
type brokenWriter struct {
	err    error
	writes int
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.writes++; w.writes%2 == 1 {
		return 0, w.err
	}
	return len(p), nil
}

func TestAWriterThatFailsDoesNotEndTheRun(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		srv.FailRecord(eryxontest.Jobs, "SO-0001", "Invalid priority")
		full, gone := errors.New("the disk is full"), errors.New("the log server is gone")
		audit, failed := &brokenWriter{err: full}, &brokenWriter{err: gone}
		sunk := errors.New("the sink")
		for _, data := range []eryxon.Dataset{{Jobs: eryxon.FromSlice(someJobs(400))}, {Jobs: eryxon.FromSeq(seqOf(someJobs(400)))}} {
			audit.writes, failed.writes = 0, 0
			report, err := client.SyncAll(t.Context(), data, eryxon.WithMaxRequestRecords(100), eryxon.WithAuditLog(audit), eryxon.WithFailedRecords(failed),
				eryxon.WithOutcomes(func(eryxon.Outcome) error { return sunk }))
			require.ErrorIs(t, err, full)
			require.ErrorIs(t, err, gone)
			require.ErrorIs(t, err, sunk)
			var partial *eryxon.PartialError
			require.ErrorAs(t, err, &partial)
			assert.Equal(t, 399, report.Jobs.Counts.Succeeded())
			assert.Equal(t, 399, audit.writes, "every line is tried")
			require.NoError(t, report.Ended)
			assert.Contains(t, err.Error(), "WithAuditLog: outcome of job SAP/", "which of them it is")
			assert.Contains(t, err.Error(), "not written: the disk is full (and 199 more)", "how much is missing in the log is told, once")
			assert.Less(t, len(err.Error()), 1000, "the text stays short")
		}
	})
	client, err := eryxon.New("https://erp.example/v1", "key")
	require.NoError(t, err)
	for _, opt := range []eryxon.SyncAllOption{eryxon.WithAuditLog(nil), eryxon.WithFailedRecords(nil), eryxon.WithOutcomes(nil), eryxon.WithProgress(nil)} {
		report, err := client.SyncAll(t.Context(), eryxon.Dataset{}, opt)
		require.Error(t, err)
		assert.NotNil(t, report)
	}
}

func TestAFailedRecordNamesTheFieldAtFault(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *eryxontest.Server, client *eryxon.Client) {
		srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TAKEN"})
		var file bytes.Buffer
		_, err := client.SyncAll(t.Context(), eryxon.Dataset{Jobs: eryxon.FromSlice([]eryxon.Job{{ExternalID: "SO-1", JobNumber: "TAKEN"}})}, eryxon.WithFailedRecords(&file))
		require.ErrorIs(t, err, eryxon.ErrNaturalKeyTaken)
		lines := linesOf[failedLine](t, file.String())
		require.Len(t, lines, 1)
		require.Len(t, lines[0].Fields, 1)
		assert.Equal(t, "job_number", lines[0].Fields[0].(map[string]any)["field"])
	}, eryxontest.WithRelease(eryxontest.V01))
}
