package eryxontest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

func TestSingleSyncCreatesThenUpdates(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	r := c.put("/api-jobs/sync", job("SO-1", object{"customer": "Acme", "due_date": "2024-12-31", "priority": 5, "zzz": object{"a": 1}}))
	require.Equal(t, 201, r.status)
	id := r.data()["id"]
	assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, id)
	assert.Equal(t, object{"action": "created", "id": id, "external_id": "SO-1"}, r.data())
	assert.Equal(t, true, r.body["success"])

	// What is left out stays, null clears, zero is a value.
	r = c.put("/api-jobs/sync", job("SO-1", object{"due_date": nil, "priority": 0}))
	assert.Equal(t, 200, r.status)
	assert.Equal(t, object{"action": "updated", "id": id, "external_id": "SO-1"}, r.data())
	row, ok := srv.Row(eryxontest.Jobs, "SAP", "SO-1")
	require.True(t, ok)
	assert.Equal(t, id, row["id"])
	assert.Equal(t, "SO-1", row["external_id"])
	assert.Equal(t, "SAP", row["external_source"])
	assert.Equal(t, "Acme", row["customer"])
	assert.Contains(t, row, "due_date")
	assert.Nil(t, row["due_date"])
	assert.InDelta(t, 0, row["priority"], 0)
	assert.Equal(t, object{"a": 1.0}, row["zzz"], "unknown fields are stored as they are")
	assert.NotEmpty(t, row["created_at"])

	// The same id from another system is another record.
	r = c.put("/api-jobs/sync", job("SO-1", object{"external_source": "Odoo", "job_number": "O-1"}))
	assert.Equal(t, 201, r.status)
	assert.Len(t, srv.Rows(eryxontest.Jobs), 2)
}

func TestRowsAreCopies(t *testing.T) {
	srv := eryxontest.New()
	in(srv).put("/api-jobs/sync", job("1", object{"zzz": []any{object{"a": "b"}}}))
	row, _ := srv.Row(eryxontest.Jobs, "SAP", "1")
	row["job_number"] = "changed"
	row["zzz"].([]any)[0].(object)["a"] = "changed"
	again := srv.Rows(eryxontest.Jobs)[0]
	assert.Equal(t, "N-1", again["job_number"])
	assert.Equal(t, []any{object{"a": "b"}}, again["zzz"])
}

func TestSingleSyncRefusals(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	require.Equal(t, 201, c.put("/api-jobs/sync", job("J")).status)
	require.Equal(t, 201, c.put("/api-parts/sync", part("P", "J")).status)
	require.Equal(t, 201, c.put("/api-cells/sync", cell("C1", "Twin")).status)
	require.Equal(t, 201, c.put("/api-cells/sync", cell("C2", "Twin")).status)
	without := func(rec object, name string) object { delete(rec, name); return rec }
	for _, tc := range []struct {
		path    string
		rec     any
		message string
	}{
		{"/api-jobs/sync", without(job("1"), "external_id"), "external_id is required for sync operations"},
		{"/api-jobs/sync", job(""), "external_id is required for sync operations"},
		{"/api-jobs/sync", without(job("1"), "external_source"), "external_source is required for sync operations"},
		{"/api-jobs/sync", job("1", object{"external_source": ""}), "external_source is required for sync operations"},
		{"/api-jobs/sync", without(job("1"), "job_number"), "job_number is required"},
		{"/api-jobs/sync", job("1", object{"job_number": nil}), "job_number is required"},
		{"/api-jobs/sync", job("1", object{"due_date": "not-a-date"}), "Invalid due_date format"},
		{"/api-jobs/sync", job("1", object{"due_date": "2025-02-30"}), "Invalid due_date format"},
		{"/api-jobs/sync", job("1", object{"due_date": ""}), "Invalid due_date format"},
		{"/api-jobs/sync", job("1", object{"due_date": 20250101}), "Invalid due_date format"},
		{"/api-jobs/sync", job("1", object{"priority": "high"}), "Invalid priority format"},
		{"/api-jobs/sync", job("1", object{"priority": 3e9}), "Invalid priority format"},
		{"/api-jobs/sync", job("1", object{"priority": 1.5}), "Invalid priority format"},
		{"/api-parts/sync", without(part("1", "J"), "part_number"), "part_number is required"},
		{"/api-parts/sync", without(part("1", "J"), "job_external_id"), "job_external_id is required"},
		{"/api-parts/sync", part("1", "NOPE"), `Job with external_id "NOPE" not found`},
		{"/api-parts/sync", part("1", "J", object{"external_source": "Odoo"}), `Job with external_id "J" not found`},
		{"/api-parts/sync", part("1", "J", object{"quantity": "25"}), "Invalid quantity format"},
		{"/api-operations/sync", without(operation("1", "P", "Twin"), "operation_name"), "operation_name is required"},
		{"/api-operations/sync", without(operation("1", "P", "Twin"), "part_external_id"), "part_external_id is required"},
		{"/api-operations/sync", operation("1", "NOPE", "Twin"), `Part with external_id "NOPE" not found`},
		{"/api-operations/sync", without(operation("1", "P", "Twin"), "cell_name"), "cell_name is required"},
		{"/api-operations/sync", operation("1", "P", "NOPE"), `Cell with name "NOPE" not found`},
		{"/api-operations/sync", operation("1", "P", "Twin"), `Cell name "Twin" is not unique`},
		{"/api-cells/sync", without(cell("1", "x"), "name"), "name is required"},
		{"/api-cells/sync", cell("1", "x", object{"active": "yes"}), "Invalid active format"},
		{"/api-resources/sync", without(resource("1"), "name"), "name is required"},
		{"/api-resources/sync", without(resource("1"), "type"), "type is required"},
		{"/api-jobs/sync", "{", "Invalid JSON in request body"},
		{"/api-jobs/sync", "[]", "The request body must be an object"},
	} {
		r := c.put(tc.path, tc.rec)
		assert.Equal(t, 400, r.status, tc.message)
		assert.Equal(t, object{"code": "VALIDATION_ERROR", "message": tc.message}, r.fault())
		assert.Equal(t, false, r.body["success"])
	}
	assert.Len(t, srv.Rows(eryxontest.Jobs), 1)
	assert.Len(t, srv.Rows(eryxontest.Parts), 1)
	assert.Empty(t, srv.Rows(eryxontest.Operations))
	assert.Equal(t, []string{
		"parts SAP/1: job NOPE", "parts Odoo/1: job J",
		"operations SAP/1: part NOPE", "operations SAP/1: cell NOPE",
	}, srv.Orphans())
}

func TestParentsAreResolved(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	jobID := c.put("/api-jobs/sync", job("J")).data()["id"]
	partID := c.put("/api-parts/sync", part("P", "J", object{"material": "Steel", "quantity": 25})).data()["id"]
	cellID := c.put("/api-cells/sync", cell("C", "Bending")).data()["id"]
	r := c.put("/api-operations/sync", operation("O", "P", "Bending", object{"estimated_time_minutes": 12.5}))
	require.Equal(t, 201, r.status)
	row, _ := srv.Row(eryxontest.Parts, "SAP", "P")
	assert.Equal(t, jobID, row["job_id"])
	row, _ = srv.Row(eryxontest.Operations, "SAP", "O")
	assert.Equal(t, partID, row["part_id"])
	assert.Equal(t, cellID, row["cell_id"])
	assert.InDelta(t, 12.5, row["estimated_time"], 0)
	assert.NotContains(t, row, "estimated_time_minutes")

	// By row id as well.
	r = c.put("/api-parts/sync", object{"external_id": "P2", "external_source": "SAP", "job_id": jobID, "part_number": "x"})
	assert.Equal(t, 201, r.status)
	r = c.put("/api-operations/sync", object{"external_id": "O2", "external_source": "SAP", "part_id": partID, "cell_id": cellID, "operation_name": "x"})
	assert.Equal(t, 201, r.status)
	assert.Empty(t, srv.Orphans())
}

func TestBulkAnswersInOrder(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	require.Equal(t, 201, c.put("/api-jobs/sync", job("2")).status)
	r := c.bulk(eryxontest.Jobs, job("1"), job("2"), job("3", object{"due_date": "nope"}), object{"external_source": "SAP"}, nil, job("1"))
	require.Equal(t, 200, r.status)
	assert.Equal(t, true, r.body["success"])
	one, _ := srv.Row(eryxontest.Jobs, "SAP", "1")
	two, _ := srv.Row(eryxontest.Jobs, "SAP", "2")
	assert.Equal(t, object{"total": 6.0, "created": 1.0, "updated": 2.0, "errors": 3.0, "results": []any{
		object{"external_id": "1", "id": one["id"], "action": "created"},
		object{"external_id": "2", "id": two["id"], "action": "updated"},
		object{"external_id": "3", "action": "error", "error": "Invalid due_date format"},
		object{"action": "error", "error": "external_id is required for sync operations"},
		object{"action": "error", "error": "The record must be an object"},
		object{"external_id": "1", "id": one["id"], "action": "updated"},
	}}, r.data())
}

func TestBulkOfAllFailedIs200(t *testing.T) {
	r := in(eryxontest.New()).bulk(eryxontest.Parts, part("1", "NOPE"))
	assert.Equal(t, 200, r.status)
	assert.InDelta(t, 1, r.data()["errors"], 0)
	r = in(eryxontest.New()).bulk(eryxontest.Parts)
	assert.Equal(t, object{"total": 0.0, "created": 0.0, "updated": 0.0, "errors": 0.0, "results": []any{}}, r.data())
}

func TestBulkLimits(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	many := make([]any, 1001)
	for i := range many {
		many[i] = cell(strings.Repeat("x", i+1), "n")
	}
	r := c.bulk(eryxontest.Cells, many...)
	assert.Equal(t, 400, r.status)
	assert.Equal(t, "Maximum 1000 cells per bulk-sync request", r.fault()["message"])
	assert.Empty(t, srv.Rows(eryxontest.Cells))
	r = c.bulk(eryxontest.Cells, many[:1000]...)
	assert.Equal(t, 200, r.status)
	assert.Len(t, srv.Rows(eryxontest.Cells), 1000)
	r = c.do(t.Context(), "POST", "/api-jobs/bulk-sync", object{"items": []any{job("1")}})
	assert.Equal(t, 400, r.status)
	assert.Equal(t, "jobs must be an array", r.fault()["message"])
}

func TestNumbersThatAreTaken(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "TYPED"})
	r := c.put("/api-jobs/sync", job("1", object{"job_number": "TYPED"}))
	assert.Equal(t, 500, r.status)
	assert.Equal(t, `duplicate key value violates unique constraint "jobs_tenant_id_job_number_key"`, r.fault()["message"])
	require.Equal(t, 201, c.put("/api-jobs/sync", job("1")).status)
	require.Equal(t, 201, c.put("/api-jobs/sync", job("2")).status)
	r = c.put("/api-jobs/sync", job("2", object{"job_number": "N-1"}))
	assert.Equal(t, 500, r.status, "an update may not take it either")
	// Renaming frees the old number.
	require.Equal(t, 200, c.put("/api-jobs/sync", job("1", object{"job_number": "new"})).status)
	require.Equal(t, 200, c.put("/api-jobs/sync", job("2", object{"job_number": "N-1"})).status)

	// A part's number is unique within its job only, a cell's name not at all.
	require.Equal(t, 201, c.put("/api-parts/sync", part("a", "1", object{"part_number": "X"})).status)
	require.Equal(t, 201, c.put("/api-parts/sync", part("b", "2", object{"part_number": "X"})).status)
	r = c.bulk(eryxontest.Parts, part("c", "1", object{"part_number": "X"}))
	assert.Equal(t, `duplicate key value violates unique constraint "parts_job_id_part_number_key"`, r.results()[0].(object)["error"])
	require.Equal(t, 201, c.put("/api-resources/sync", resource("r")).status)
	r = c.put("/api-resources/sync", resource("s", object{"name": "R-r"}))
	assert.Contains(t, r.fault()["message"], "resources_tenant_id_name_key")
}

func TestDeletedRowsBurnTheirKey(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	require.Equal(t, 201, c.put("/api-jobs/sync", job("1")).status)
	assert.False(t, srv.Delete(eryxontest.Jobs, "SAP", "other"))
	assert.True(t, srv.Delete(eryxontest.Jobs, "SAP", "1"))
	assert.False(t, srv.Delete(eryxontest.Jobs, "SAP", "1"))
	_, ok := srv.Row(eryxontest.Jobs, "SAP", "1")
	assert.False(t, ok)
	assert.Empty(t, srv.Rows(eryxontest.Jobs))
	r := c.put("/api-jobs/sync", job("1"))
	assert.Equal(t, 500, r.status)
	assert.Equal(t, `duplicate key value violates unique constraint "idx_jobs_external_sync"`, r.fault()["message"])
	r = c.put("/api-parts/sync", part("P", "1"))
	assert.Equal(t, 400, r.status, "a deleted job is no parent")
}

func TestNestedRecords(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	c.put("/api-cells/sync", cell("C", "Cutting"))
	nested := job("J", object{"parts": []any{
		object{"external_id": "P1", "part_number": "BRACKET-A", "quantity": 25, "operations": []any{
			object{"external_id": "O1", "operation_name": "Laser Cut", "cell_name": "Cutting", "estimated_time_minutes": 30},
			object{"external_id": "O2", "operation_name": "Bend", "cell_name": "NOPE"},
			object{"operation_name": "no id", "cell_name": "Cutting"},
		}},
		object{"part_number": "no id"},
		object{"external_id": "P2"},
		nil,
	}})
	r := c.bulk(eryxontest.Jobs, nested)
	require.Equal(t, 200, r.status)
	assert.InDelta(t, 0, r.data()["errors"], 0)
	assert.Len(t, r.results(), 1)
	j, _ := srv.Row(eryxontest.Jobs, "SAP", "J")
	assert.NotContains(t, j, "parts")
	p, ok := srv.Row(eryxontest.Parts, "SAP", "P1")
	require.True(t, ok, "it inherits the source")
	assert.Equal(t, j["id"], p["job_id"])
	o, ok := srv.Row(eryxontest.Operations, "SAP", "O1")
	require.True(t, ok)
	assert.Equal(t, p["id"], o["part_id"])
	assert.Len(t, srv.Rows(eryxontest.Parts), 1, "bad nested records are dropped without a word")
	assert.Len(t, srv.Rows(eryxontest.Operations), 1)

	// A nested record that is gone from the next payload stays.
	require.Equal(t, 200, c.put("/api-jobs/sync", job("J", object{"parts": []any{}})).status)
	assert.Len(t, srv.Rows(eryxontest.Parts), 1)
}

func TestOrderedFailures(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	srv.FailRecord(eryxontest.Jobs, "2", "no luck")
	r := c.bulk(eryxontest.Jobs, job("1"), job("2"))
	assert.Equal(t, object{"external_id": "2", "action": "error", "error": "no luck"}, r.results()[1])
	r = c.put("/api-jobs/sync", job("2"))
	assert.Equal(t, 400, r.status)
	assert.Equal(t, "no luck", r.fault()["message"])
	srv.FailRecord(eryxontest.Jobs, "2", "")
	assert.Equal(t, 201, c.put("/api-jobs/sync", job("2")).status)
}

func TestRefuseWholeWritesNothing(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	c.put("/api-cells/sync", cell("C", "Cutting"))
	c.put("/api-jobs/sync", job("1", object{"customer": "before"}))
	srv.RefuseWhole(422, "VALIDATION_ERROR", "one is bad")
	before := srv.Rows(eryxontest.Jobs)
	r := c.bulk(eryxontest.Jobs,
		job("1", object{"customer": "after", "job_number": "renamed"}),
		job("1", object{"customer": "later", "job_number": "renamed again"}),
		job("2", object{"parts": []any{object{"external_id": "P", "part_number": "p"}}}),
		job("3", object{"due_date": "bad"}))
	assert.Equal(t, 422, r.status)
	assert.Equal(t, object{"code": "VALIDATION_ERROR", "message": "one is bad"}, r.fault())
	assert.Equal(t, before, srv.Rows(eryxontest.Jobs))
	assert.Empty(t, srv.Rows(eryxontest.Parts))
	// Neither keys nor numbers stay behind.
	r = c.bulk(eryxontest.Jobs, job("1"), job("2"), job("4", object{"job_number": "renamed"}))
	require.Equal(t, 200, r.status)
	assert.InDelta(t, 2, r.data()["created"], 0)
	srv.RefuseWhole(0, "", "")
	r = c.bulk(eryxontest.Jobs, job("3", object{"due_date": "bad"}))
	assert.Equal(t, 200, r.status)
}

func TestRefuseTooLarge(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	srv.RefuseOverRecords(2, 546)
	r := c.bulk(eryxontest.Jobs, job("1"), job("2"), job("3"))
	assert.Equal(t, 546, r.status)
	assert.Nil(t, r.body, "a gateway sends no envelope")
	assert.Empty(t, srv.Rows(eryxontest.Jobs))
	assert.Equal(t, 200, c.bulk(eryxontest.Jobs, job("1"), job("2")).status)
	srv.RefuseOverRecords(0, 0)
	srv.RefuseOverBytes(100, 413)
	r = c.bulk(eryxontest.Jobs, job("1"), job("2"))
	assert.Equal(t, 413, r.status)
	assert.Contains(t, r.text, "<html>")
	assert.Contains(t, r.header.Get("Content-Type"), "text/html")
	assert.Equal(t, 200, c.bulk(eryxontest.Jobs, job("1")).status)
}

func TestPlanLimitStopsCreatesOnly(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	c.put("/api-jobs/sync", job("1"))
	srv.SetQuotaExceeded(eryxontest.Jobs, true)
	assert.Equal(t, 200, c.put("/api-jobs/sync", job("1")).status)
	r := c.bulk(eryxontest.Jobs, job("1", object{"customer": "x"}), job("2"))
	assert.Equal(t, 402, r.status)
	assert.Equal(t, "QUOTA_EXCEEDED", r.fault()["code"])
	assert.Equal(t, object{"limitType": "job", "currentUsage": 1.0, "limit": 1.0}, r.fault()["details"])
	row, _ := srv.Row(eryxontest.Jobs, "SAP", "1")
	assert.NotContains(t, row, "customer")
	assert.Equal(t, 201, c.put("/api-cells/sync", cell("C", "x")).status)
	srv.SetQuotaExceeded(eryxontest.Jobs, false)
	assert.Equal(t, 201, c.put("/api-jobs/sync", job("2")).status)
}
