package eryxontest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

func speaking(r eryxontest.Release) caller {
	return in(eryxontest.New(eryxontest.WithRelease(r)))
}

var inTheField = []eryxontest.Release{eryxontest.V01, eryxontest.V08, eryxontest.V08AsMigrated, eryxontest.V011}

// The exchanges in testdata say how each release answers; these tests say what
// one exchange cannot.

func TestBulkLimitsOfReleases(t *testing.T) {
	cells := func(n int) (out []any) {
		for i := range n {
			out = append(out, cell(fmt.Sprint("C", i), fmt.Sprint("N", i), object{"sequence": 1}))
		}
		return out
	}
	for _, tc := range []struct {
		release eryxontest.Release
		n       int
		want    string
	}{
		{eryxontest.V01, 100, ""},
		{eryxontest.V01, 101, "Maximum 100 cells per bulk-sync request"},
		{eryxontest.V08, 1000, ""},
		{eryxontest.V08, 1001, "Maximum 1000 items per bulk-sync request"},
		{eryxontest.V011, 1000, ""},
		{eryxontest.V011, 1001, "Maximum 1000 items per bulk-sync request"},
	} {
		c := speaking(tc.release)
		r := c.bulk(eryxontest.Cells, cells(tc.n)...)
		if tc.want == "" {
			assert.Equal(t, 200, r.status)
			assert.Len(t, c.srv.Rows(eryxontest.Cells), tc.n)
			continue
		}
		assert.Equal(t, 400, r.status)
		assert.Equal(t, tc.want, r.fault()["message"])
		assert.Empty(t, c.srv.Rows(eryxontest.Cells))
	}
}

func TestDeletedRowsInReleases(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08, eryxontest.V011} {
		c := speaking(release)
		require.Equal(t, 201, c.put("/api-jobs/sync", job("1")).status)
		require.Equal(t, 201, c.put("/api-cells/sync", cell("1", "c", object{"sequence": 1})).status)
		require.True(t, c.srv.Delete(eryxontest.Jobs, "SAP", "1"))
		require.True(t, c.srv.Delete(eryxontest.Cells, "SAP", "1"))
		r := c.put("/api-jobs/sync", job("1"))
		assert.Equal(t, 500, r.status)
		assert.Contains(t, r.fault()["message"], `duplicate key value violates unique constraint "idx_jobs_external_sync"`)
		r = c.put("/api-cells/sync", cell("1", "c", object{"sequence": 1}))
		if release != eryxontest.V01 {
			assert.Equal(t, 200, r.status, "v0.8 and v0.11 do not look whether a cell is deleted")
			_, ok := c.srv.Row(eryxontest.Cells, "SAP", "1")
			assert.False(t, ok, "and it stays deleted")
			r = c.do(t.Context(), "GET", "/api-cells", nil)
			assert.Len(t, r.data()["cells"], 1, "though it is listed")
		} else {
			assert.Equal(t, 500, r.status)
		}
	}
}

func TestListsOfDeletedRows(t *testing.T) {
	lists := []eryxontest.Entity{eryxontest.Jobs, eryxontest.Parts, eryxontest.Cells, eryxontest.Resources}
	for release, want := range map[eryxontest.Release][]eryxontest.Entity{
		eryxontest.Documented: nil,
		eryxontest.V01:        {eryxontest.Jobs, eryxontest.Parts, eryxontest.Cells},
		eryxontest.V08:        {eryxontest.Cells},
		eryxontest.V011:       {eryxontest.Cells},
	} {
		c := speaking(release)
		c.srv.Seed(eryxontest.Jobs, job("gone"))
		c.srv.Seed(eryxontest.Parts, part("gone", ""))
		c.srv.Seed(eryxontest.Cells, cell("gone", "gone"))
		c.srv.Seed(eryxontest.Resources, resource("gone"))
		var shown []eryxontest.Entity
		for _, e := range lists {
			require.True(t, c.srv.Delete(e, "SAP", "gone"))
			r := c.do(t.Context(), "GET", "/api-"+string(e), nil)
			require.Equal(t, 200, r.status)
			if strings.Contains(r.text, "gone") {
				shown = append(shown, e)
			}
		}
		assert.Equal(t, want, shown, release)
	}
}

func TestV08CountsABurntKeyAsCreatedEachTime(t *testing.T) {
	c := speaking(eryxontest.V08)
	require.Equal(t, 201, c.put("/api-jobs/sync", job("1")).status)
	c.srv.Delete(eryxontest.Jobs, "SAP", "1")
	for range 2 {
		r := c.bulk(eryxontest.Jobs, job("1"))
		assert.Equal(t, object{"created": 1.0, "updated": 0.0, "failed": 0.0, "errors": []any{}}, r.data()["results"])
	}
	r := c.do(t.Context(), "POST", "/api-erp-sync/diff", object{"jobs": []any{job("1")}})
	assert.Contains(t, r.text, `"status":"create"`)
	r = c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": []any{job("1"), job("2")}})
	assert.Equal(t, 2, strings.Count(r.text, "idx_jobs_external_sync"), "it fails the creates beside it")
	assert.Empty(t, c.srv.Rows(eryxontest.Jobs))
}

func TestV08FailedUpdateIsCountedAsUpdated(t *testing.T) {
	c := speaking(eryxontest.V08)
	require.Equal(t, 200, c.bulk(eryxontest.Jobs, job("1"), job("2")).status)
	for range 2 {
		r := c.bulk(eryxontest.Jobs, job("2", object{"job_number": "N-1"}))
		assert.Equal(t, object{"created": 0.0, "updated": 1.0, "failed": 0.0, "errors": []any{}}, r.data()["results"])
	}
	row, _ := c.srv.Row(eryxontest.Jobs, "SAP", "2")
	assert.Equal(t, "N-2", row["job_number"])
}

func TestV08HashAgreesWhenKeysAreSorted(t *testing.T) {
	diff := func(c caller) string {
		r := c.do(t.Context(), "POST", "/api-erp-sync/diff", object{"jobs": []any{job("1")}})
		records := r.data()["entities"].(object)["jobs"].(object)["records"].([]any)
		return records[0].(object)["status"].(string)
	}
	c := speaking(eryxontest.V08)
	c.bulk(eryxontest.Jobs, job("1")) // encoding/json sorts keys
	assert.Equal(t, "unchanged", diff(c))

	c = speaking(eryxontest.V08)
	c.do(t.Context(), "POST", "/api-jobs/bulk-sync", `{"jobs":[{"job_number":"N-1","external_source":"SAP","external_id":"1"}]}`)
	require.Len(t, c.srv.Rows(eryxontest.Jobs), 1)
	assert.Equal(t, "update", diff(c))

	// The unified endpoint itself sorts them.
	r := c.do(t.Context(), "POST", "/api-erp-sync/sync", `{"jobs":[{"job_number":"N-1","external_source":"SAP","external_id":"1"}]}`)
	assert.Contains(t, r.text, `"action":"updated"`)
	assert.Equal(t, "unchanged", diff(c))

	// A change made in the MES leaves the hash, so /sync passes the row over.
	c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": []any{job("1")}})
	r = c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": []any{job("1")}})
	assert.Contains(t, r.text, `"action":"skipped"`)
	r = c.do(t.Context(), "GET", "/api-erp-sync/status?limit=1", nil)
	assert.Contains(t, r.text, `"successful":1,"failed":0`)
	r = c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": []any{job("1")}, "options": object{"skip_unchanged": false}})
	assert.Contains(t, r.text, `"action":"updated"`)
}

func TestUnifiedSyncOverwritesAndDrops(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08, eryxontest.V011} {
		c := speaking(release)
		jobID := c.srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "J", "external_id": "J", "external_source": "SAP"})
		sync := func(p object) {
			r := c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"parts": []any{p}})
			require.Contains(t, r.text, `"errors":0`)
		}
		sync(part("P", "J", object{"material": "Steel", "quantity": 9, "notes": "n", "drawing_no": "D", "status": "on_hold"}))
		row, _ := c.srv.Row(eryxontest.Parts, "SAP", "P")
		assert.Equal(t, jobID, row["job_id"])
		assert.Nil(t, row["drawing_no"], "dropped without a word")
		assert.Equal(t, "on_hold", row["status"])
		sync(part("P", "J", object{"quantity": 0, "notes": nil, "status": "completed"}))
		row, _ = c.srv.Row(eryxontest.Parts, "SAP", "P")
		assert.Equal(t, "Unknown", row["material"])
		assert.InDelta(t, 1, row["quantity"], 0)
		assert.Equal(t, "n", row["notes"], "null does not clear")
		assert.Equal(t, "on_hold", row["status"])
	}
}

func TestUnifiedSyncResolvesJobsByTheFirstPartsSource(t *testing.T) {
	c := speaking(eryxontest.V08)
	for _, source := range []string{"SAP", "Odoo"} {
		c.srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": source, "external_id": "J-" + source, "external_source": source})
	}
	r := c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"parts": []any{
		part("1", "J-SAP"), part("2", "J-Odoo", object{"external_source": "Odoo"}),
	}})
	assert.Contains(t, r.text, `{"external_id":"2","action":"error","error":"job_id or valid job_external_id required"}`)
	assert.Len(t, c.srv.Rows(eryxontest.Parts), 1)
}

func TestUnifiedSyncAsMigratedUpdatesJobsWithoutPriority(t *testing.T) {
	c := speaking(eryxontest.V08AsMigrated)
	require.Equal(t, 201, c.put("/api-jobs/sync", job("1")).status)
	sync := func(jobs ...any) []any {
		r := c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": jobs})
		require.Equal(t, 200, r.status)
		return r.data()["entities"].(object)["jobs"].(object)["results"].([]any)
	}
	const noPriority = "Could not find the 'priority' column of 'jobs' in the schema cache"
	row, _ := c.srv.Row(eryxontest.Jobs, "SAP", "1")
	assert.Equal(t, []any{
		object{"external_id": "2", "action": "error", "error": noPriority},
		object{"external_id": "1", "action": "updated", "id": row["id"]},
	}, sync(job("1", object{"customer": "c"}), job("2")), "a create names the column in any case")
	row, _ = c.srv.Row(eryxontest.Jobs, "SAP", "1")
	assert.Equal(t, "c", row["customer"])
	for _, priority := range []any{5, 0} {
		assert.Equal(t, []any{object{"external_id": "1", "action": "error", "error": noPriority}},
			sync(job("1", object{"customer": "d", "priority": priority})), "so does an update that gives it")
	}
	row, _ = c.srv.Row(eryxontest.Jobs, "SAP", "1")
	assert.Equal(t, "c", row["customer"])
	assert.Len(t, c.srv.Rows(eryxontest.Jobs), 1)
}

func TestUnifiedSyncTakesAnyNumberAndIgnoresOtherEntities(t *testing.T) {
	c := speaking(eryxontest.V08)
	jobs := make([]any, 3000)
	for i := range jobs {
		jobs[i] = job(fmt.Sprint(i))
	}
	r := c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": jobs, "cells": []any{cell("c", "c")}})
	assert.Equal(t, 200, r.status)
	assert.Len(t, c.srv.Rows(eryxontest.Jobs), 3000)
	assert.Empty(t, c.srv.Rows(eryxontest.Cells))
	assert.NotContains(t, r.data()["entities"], "cells")
}

func TestV01BulkIgnoresStatusOnUpdate(t *testing.T) {
	c := speaking(eryxontest.V01)
	c.bulk(eryxontest.Jobs, job("1", object{"status": "in_progress"}))
	r := c.bulk(eryxontest.Jobs, job("1", object{"status": "completed"}))
	assert.InDelta(t, 1, r.data()["updated"], 0)
	row, _ := c.srv.Row(eryxontest.Jobs, "SAP", "1")
	assert.Equal(t, "in_progress", row["status"])
	c.put("/api-jobs/sync", job("1", object{"status": "completed"}))
	row, _ = c.srv.Row(eryxontest.Jobs, "SAP", "1")
	assert.Equal(t, "completed", row["status"])
}

func TestV01DropsNestedRecordsOfAmbiguousCells(t *testing.T) {
	c := speaking(eryxontest.V01)
	c.srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Twin", "sequence": 1})
	c.srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Twin", "sequence": 2})
	nested := job("1", object{"parts": []any{object{"external_id": "P", "part_number": "p", "operations": []any{
		object{"external_id": "O", "operation_name": "o", "cell_name": "Twin"},
	}}}})
	require.Equal(t, 201, c.put("/api-jobs/sync", nested).status)
	assert.Len(t, c.srv.Rows(eryxontest.Parts), 1)
	assert.Empty(t, c.srv.Rows(eryxontest.Operations))
}

func TestWrongMethodsInReleases(t *testing.T) {
	for _, release := range inTheField {
		c := speaking(release)
		require.Equal(t, 201, c.put("/api-jobs/sync", job("1")).status)
		r := c.do(t.Context(), "GET", "/api-jobs/sync", nil)
		assert.Equal(t, 200, r.status, "a PUT that a redirect turned into a GET looks like a success")
		assert.Contains(t, r.text, "N-1")
		r = c.do(t.Context(), "POST", "/api-jobs/sync", object{"job_number": "posted"})
		assert.Equal(t, 201, r.status)
		assert.Len(t, c.srv.Rows(eryxontest.Jobs), 2)
		r = c.do(t.Context(), "GET", "/api-operations", nil)
		assert.Equal(t, 500, r.status)
		r = c.do(t.Context(), "GET", "/api-jobs?offset=3", nil)
		assert.Equal(t, 500, r.status)
		r = c.do(t.Context(), "GET", "/api-jobs?offset=2", nil)
		assert.Equal(t, 200, r.status)
	}
}

func TestRowsOfReleasesHaveEveryColumn(t *testing.T) {
	for release, want := range map[eryxontest.Release][5]int{
		eryxontest.V01:           {29, 32, 30, 22, 18},
		eryxontest.V08:           {29, 32, 31, 22, 18},
		eryxontest.V08AsMigrated: {28, 32, 30, 21, 17},
		eryxontest.V011:          {29, 32, 31, 22, 18},
	} {
		srv := eryxontest.New(eryxontest.WithRelease(release))
		for i, e := range []eryxontest.Entity{eryxontest.Jobs, eryxontest.Parts, eryxontest.Operations, eryxontest.Cells, eryxontest.Resources} {
			srv.Seed(e, eryxontest.Row{"external_id": "1", "external_source": "SAP"})
			row, ok := srv.Row(e, "SAP", "1")
			require.True(t, ok)
			assert.Len(t, row, want[i], "%s %s", release, e)
		}
	}
}

func TestReadsAreFilteredAndPaged(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V08, eryxontest.V011} {
		c := speaking(release)
		for i, customer := range []string{"Acme", "acme", "Other"} {
			c.put("/api-jobs/sync", job(fmt.Sprint(i), object{"customer": customer}))
			c.put("/api-resources/sync", resource(fmt.Sprint(i)))
			c.srv.Seed(eryxontest.Cells, eryxontest.Row{"name": fmt.Sprint(9 - i), "sequence": i})
		}
		list := func(path, column string) (out []any, pagination any) {
			r := c.do(t.Context(), "GET", path, nil)
			require.Equal(t, 200, r.status, r.text)
			name, _, _ := strings.Cut(strings.TrimPrefix(path, "/api-"), "?")
			for _, row := range r.data()[name].([]any) {
				out = append(out, row.(object)[column])
			}
			return out, r.data()["pagination"]
		}
		got, page := list("/api-jobs?customer=ACME", "job_number")
		assert.Equal(t, []any{"N-1", "N-0"}, got, "the newest first")
		assert.Equal(t, object{"total": 2.0, "offset": 0.0, "limit": 100.0}, page)
		got, page = list("/api-jobs?sort=job_number&order=asc&limit=1&offset=1", "job_number")
		assert.Equal(t, []any{"N-1"}, got)
		assert.Equal(t, object{"total": 3.0, "offset": 1.0, "limit": 1.0}, page)
		got, _ = list("/api-jobs?search=ther", "customer")
		assert.Equal(t, []any{"Other"}, got)
		got, _ = list("/api-jobs?external_id=1&limit=0", "customer")
		assert.Equal(t, []any{"Other"}, got, "that filter is ignored, the limit is at least 1")
		got, _ = list("/api-resources?external_id=1&external_source=SAP", "external_id")
		assert.Equal(t, []any{"1"}, got)
		got, _ = list("/api-cells", "name")
		assert.Equal(t, []any{"9", "8", "7"}, got)

		row, _ := c.srv.Row(eryxontest.Jobs, "SAP", "1")
		r := c.do(t.Context(), "GET", "/api-jobs?id="+row["id"].(string), nil)
		assert.Equal(t, "acme", r.data()["job"].(object)["customer"])
		r = c.do(t.Context(), "GET", "/api-jobs?id=00000000-0000-4000-8000-000000000000", nil)
		assert.Equal(t, 404, r.status)
		r = c.do(t.Context(), "GET", "/api-jobs?id=1", nil)
		assert.Equal(t, 500, r.status)
	}
}

func TestV01ReadsOnlyResourcesByID(t *testing.T) {
	c := speaking(eryxontest.V01)
	const unknown = "00000000-0000-4000-8000-000000000000"
	for i := range 3 {
		job := c.srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": fmt.Sprint(i)})
		c.srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": fmt.Sprint(i), "job_id": job})
		c.srv.Seed(eryxontest.Cells, eryxontest.Row{"name": fmt.Sprint(i), "sequence": i})
		c.srv.Seed(eryxontest.Resources, eryxontest.Row{"name": fmt.Sprint(i), "type": "tooling"})
	}
	for _, path := range []string{"/api-jobs?limit=2", "/api-parts?limit=2", "/api-cells?limit=2"} {
		page := c.do(t.Context(), "GET", path, nil)
		for _, id := range []string{c.srv.Rows(eryxontest.Jobs)[0]["id"].(string), unknown, "1"} {
			r := c.do(t.Context(), "GET", path+"&id="+id, nil)
			assert.Equal(t, 200, r.status)
			assert.Equal(t, page.text, r.text, "the plain first page")
		}
	}
	r := c.do(t.Context(), "GET", "/api-resources?id="+c.srv.Rows(eryxontest.Resources)[1]["id"].(string), nil)
	assert.Equal(t, "1", r.data()["resource"].(object)["name"])
	r = c.do(t.Context(), "GET", "/api-resources?id="+unknown, nil)
	assert.Equal(t, 404, r.status)
	assert.Equal(t, "resource with ID "+unknown+" not found", r.fault()["message"])
	r = c.do(t.Context(), "GET", "/api-resources?id=1", nil)
	assert.Equal(t, 500, r.status)
}

func TestOrdersOfTheTestInReleases(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08, eryxontest.V011} {
		c := speaking(release)
		c.srv.FailRecord(eryxontest.Jobs, "2", "no luck")
		r := c.bulk(eryxontest.Jobs, job("1"), job("2"))
		assert.Contains(t, r.text, `"error":"no luck"`)
		assert.Len(t, c.srv.Rows(eryxontest.Jobs), 1)
		r = c.put("/api-jobs/sync", job("2"))
		assert.Equal(t, 500, r.status)
		assert.Equal(t, "no luck", r.fault()["message"])
		r = c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": []any{job("3"), job("2"), job("1", object{"notes": "x"})}})
		assert.Equal(t, 2, strings.Count(r.text, `"error":"no luck"`))
		assert.Len(t, c.srv.Rows(eryxontest.Jobs), 1, "all creates are one insert")
		assert.Contains(t, r.text, `"action":"updated"`)

		c.srv.RefuseWhole(400, "BAD_REQUEST", "no")
		r = c.bulk(eryxontest.Jobs, job("4"), job("2"))
		assert.Equal(t, 400, r.status)
		assert.Len(t, c.srv.Rows(eryxontest.Jobs), 1)
		c.srv.FailRecord(eryxontest.Jobs, "2", "")
		c.srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "N-5"})
		r = c.bulk(eryxontest.Jobs, job("4"), job("5"))
		assert.Equal(t, 400, r.status, "the database's refusal counts as well")
		assert.Len(t, c.srv.Rows(eryxontest.Jobs), 2)
	}
}

func TestPlanLimitsOfReleases(t *testing.T) {
	for release, want := range map[eryxontest.Release]int{eryxontest.V01: 402, eryxontest.V08: 201, eryxontest.V011: 201} {
		c := speaking(release)
		c.srv.SetQuotaExceeded(eryxontest.Jobs, true)
		assert.Equal(t, want, c.put("/api-jobs/sync", job("1")).status)
	}
}

func TestSpoiledAnswersOfReleases(t *testing.T) {
	c := speaking(eryxontest.V08)
	c.srv.Script("", eryxontest.OmitRecord(), eryxontest.ContradictCounts(), eryxontest.InventRecord())
	bad := object{"external_id": "x"}
	r := c.bulk(eryxontest.Jobs, bad, job("1"))
	assert.Equal(t, object{"created": 1.0, "updated": 0.0, "failed": 1.0, "errors": []any{}}, r.data()["results"])
	r = c.bulk(eryxontest.Jobs, bad, job("1"))
	assert.InDelta(t, 1, r.data()["results"].(object)["created"], 0)
	r = c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": []any{job("1"), job("2")}})
	assert.Contains(t, r.text, "INVENTED-1")
}

func TestUnknownReleaseIsDocumented(t *testing.T) {
	r := speaking("v9").put("/api-jobs/sync", job(""))
	assert.Equal(t, object{"code": "VALIDATION_ERROR", "message": "external_id is required for sync operations"}, r.fault())
}

func TestDocumentedHasNoUnifiedEndpoint(t *testing.T) {
	r := in(eryxontest.New()).do(t.Context(), "POST", "/api-erp-sync/diff", object{})
	assert.Equal(t, 404, r.status)
	r = speaking(eryxontest.V08).do(t.Context(), "GET", "/api-erp-sync/diff", nil)
	assert.Equal(t, 405, r.status)
	r = speaking(eryxontest.V08).do(t.Context(), "POST", "/api-erp-sync/other", object{})
	assert.Equal(t, 404, r.status)
}

// FuzzRequests looks for a body that the server does not survive, or that
// makes it claim what it did not do.
func FuzzRequests(f *testing.F) {
	paths := []string{
		"/api-jobs/sync", "/api-jobs/bulk-sync", "/api-parts/sync", "/api-parts/bulk-sync", "/api-operations/bulk-sync",
		"/api-cells/bulk-sync", "/api-resources/bulk-sync", "/api-erp-sync/diff", "/api-erp-sync/sync", "/api-cells/sync",
	}
	for i := range len(paths) * 4 {
		f.Add(uint8(i), `{"external_id":"1","external_source":"S","job_number":"n","name":"n","type":"t","parts":[{"external_id":"p","part_number":"n"}]}`)
		f.Add(uint8(i), `{"jobs":[{"external_id":1,"external_source":"S","job_number":"n","priority":-1.5,"due_date":[],"status":{}},null,[],"",0],"cells":[{}],"items":{}}`)
		f.Add(uint8(i), `{"parts":[{"external_id":"p","external_source":"S","part_number":"n","job_id":{},"quantity":"9","metadata":[1]}],"resources":[1],"jobs":null}`)
	}
	releases := append([]eryxontest.Release{eryxontest.Documented}, inTheField...)
	f.Fuzz(func(t *testing.T, n uint8, body string) {
		path := paths[int(n)%len(paths)]
		c := speaking(releases[int(n)/len(paths)%len(releases)])
		method := http.MethodPost
		if strings.HasSuffix(path, "/sync") && !strings.Contains(path, "erp") {
			method = http.MethodPut
		}
		for range 2 { // create, then update
			r := c.do(t.Context(), method, path, body)
			if r.err != nil || !json.Valid([]byte(r.text)) {
				t.Fatalf("%v: %s", r.err, r.text)
			}
			if r.body["success"] != (r.status < 300) {
				t.Fatalf("%d: %s", r.status, r.text)
			}
		}
		for _, e := range []eryxontest.Entity{eryxontest.Jobs, eryxontest.Parts, eryxontest.Cells, eryxontest.Resources} {
			if r := c.do(t.Context(), "GET", "/api-"+string(e), nil); r.status != 200 || r.body == nil {
				t.Fatalf("%d: %s", r.status, r.text)
			}
			c.srv.Rows(e)
		}
	})
}
