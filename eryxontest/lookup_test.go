package eryxontest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// statuses are those of an entity's records in a /diff.
func (c caller) statuses(t *testing.T, e eryxontest.Entity, records ...any) (out []any) {
	r := c.do(t.Context(), "POST", "/api-erp-sync/diff", object{string(e): records})
	require.Equal(t, 200, r.status, r.text)
	for _, record := range r.data()["entities"].(object)[string(e)].(object)["records"].([]any) {
		out = append(out, record.(object)["status"])
	}
	return out
}

// other is a job that is not as it was written.
func other(id string) object { return job(id, object{"customer": "c"}) }

// These are external ids that a look-up by list finds; that it does not; and
// that it does not, nor any after them.
var (
	foundIDs  = []string{"a,b", "a(b)", `a"b`, `a\b`, `"x`, `y"`, " lead", "a+b", "50%", "ä"}
	lostIDs   = []string{`a"b,c`, `a(b"`, `a\,b`, `"q"`, `"q,r"`, `tail\,`, `a,"b`}
	endingIDs = []string{`a")b`, `a"b)`, `q")`}
)

func TestLookUpsOfOddExternalIDs(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08, eryxontest.V011} {
		c := speaking(release)
		var all []any
		for _, ids := range [][]string{foundIDs, lostIDs, endingIDs, {"before", "after"}} {
			for _, id := range ids {
				all = append(all, job(id))
				require.Equal(t, 201, c.put("/api-jobs/sync", job(id)).status)
			}
		}
		jobs := map[bool]string{true: "update", false: "create"}
		parts := map[bool]string{true: "create", false: "error"}
		want := func(ids []string, odd, after bool) {
			for _, id := range ids {
				assert.Equal(t, []any{"update", jobs[odd], jobs[after]},
					c.statuses(t, eryxontest.Jobs, other("before"), other(id), other("after")), "%s %s", release, id)
				assert.Equal(t, []any{"create", parts[odd], parts[after]},
					c.statuses(t, eryxontest.Parts, part("1", "before"), part("2", id), part("3", "after")), "%s %s", release, id)
			}
		}
		want(foundIDs, true, true)
		want(lostIDs, false, true)
		want(endingIDs, false, false)
		assert.Empty(t, c.srv.Orphans(), "the jobs are there")

		// Two quotes make one value of all between them.
		assert.Equal(t, []any{"create", "create", "create"},
			c.statuses(t, eryxontest.Jobs, other(`"x`), other("after"), other(`y"`)))

		r := c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": []any{other("a,b"), other(`q")`), other("after")}})
		summary := r.data()["summary"].(object)
		assert.InDelta(t, 1, summary["total_updated"], 0)
		assert.InDelta(t, 2, summary["total_errors"], 0)
		assert.Contains(t, r.text, "idx_jobs_external_sync")

		for _, record := range all { // by the key itself they are found
			assert.Equal(t, 200, c.put("/api-jobs/sync", record).status)
		}
		r = c.bulk(eryxontest.Jobs, all...)
		assert.Contains(t, r.text, `"created":0`)
		assert.Len(t, c.srv.Rows(eryxontest.Jobs), len(all))
	}
}

func TestLookUpsDoNotRecogniseParentsByNumber(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08, eryxontest.V011} {
		c := speaking(release)
		require.Equal(t, 201, c.put("/api-jobs/sync", job("7", object{"external_id": 7})).status)
		assert.Equal(t, []any{"unchanged"}, c.statuses(t, eryxontest.Jobs, job("7", object{"external_id": 7})))
		assert.Equal(t, []any{"create", "error"},
			c.statuses(t, eryxontest.Parts, part("1", "7"), part("2", "", object{"job_external_id": 7})))
	}
}

func TestUnifiedEndpointConfusesKeysThatMeetAtAColon(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08, eryxontest.V011} {
		c := speaking(release)
		require.Equal(t, 201, c.put("/api-jobs/sync", job("1:2")).status)
		others := job("2", object{"external_source": "SAP:1"})
		assert.Equal(t, []any{"create"}, c.statuses(t, eryxontest.Jobs, others), "alone it is another job")
		r := c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": []any{job("1:2"), others}})
		row, _ := c.srv.Row(eryxontest.Jobs, "SAP", "1:2")
		assert.Equal(t, []any{
			object{"external_id": "1:2", "id": row["id"], "action": "skipped"},
			object{"external_id": "1:2", "id": row["id"], "action": "updated"},
		}, r.data()["entities"].(object)["jobs"].(object)["results"])
		assert.Equal(t, "N-2", row["job_number"])
		assert.Len(t, c.srv.Rows(eryxontest.Jobs), 1)
	}
}

func TestLookUpsReturnAThousandRows(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08, eryxontest.V011} {
		c := speaking(release)
		var jobs, parts []any
		for i := range 1003 {
			id := fmt.Sprint(i)
			jobs = append(jobs, job(id))
			parts = append(parts, part(id, id))
			c.srv.Seed(eryxontest.Jobs, job(id))
		}
		sum := func(path string, body object) object {
			r := c.do(t.Context(), "POST", "/api-erp-sync/"+path, body)
			require.Equal(t, 200, r.status)
			return r.data()["summary"].(object)
		}
		diff := sum("diff", object{"jobs": jobs})
		assert.InDelta(t, 3, diff["total_to_create"], 0)
		assert.InDelta(t, 1000, diff["total_to_update"], 0)
		diff = sum("diff", object{"jobs": jobs[3:]})
		assert.InDelta(t, 1000, diff["total_to_update"], 0)
		diff = sum("diff", object{"parts": parts})
		assert.InDelta(t, 1000, diff["total_to_create"], 0)
		assert.InDelta(t, 3, diff["total_errors"], 0)
		assert.Empty(t, c.srv.Orphans())

		for i := range 3 { // each source is looked up by itself
			jobs[i] = job("x"+fmt.Sprint(i), object{"external_source": "Odoo"})
			c.srv.Seed(eryxontest.Jobs, eryxontest.Row(jobs[i].(object)))
		}
		diff = sum("diff", object{"jobs": jobs})
		assert.InDelta(t, 1003, diff["total_to_update"], 0)

		for i := range 3 {
			jobs[i] = job(fmt.Sprint(i))
		}
		r := c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": jobs})
		assert.Equal(t, 3, strings.Count(r.text, "idx_jobs_external_sync"))
		assert.Equal(t, 1000, strings.Count(r.text, `"action":"updated"`))
	}
}

func TestRefuseLongLookUps(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.V01, eryxontest.V08, eryxontest.V011} {
		c := speaking(release)
		for _, id := range []string{"1", "2", "3"} {
			c.srv.Seed(eryxontest.Jobs, job(id))
		}
		one, two, three := job("1"), job("2"), job("3")
		c.srv.RefuseLongLookUps(len("1%2C2"))
		assert.Equal(t, []any{"update", "update"}, c.statuses(t, eryxontest.Jobs, one, two))
		assert.Equal(t, []any{"update", "update", "update"}, c.statuses(t, eryxontest.Jobs, one, two, one), "an id is listed once")
		assert.Equal(t, []any{"create", "create", "create"}, c.statuses(t, eryxontest.Jobs, one, two, three))
		assert.Equal(t, []any{"update", "update", "create"},
			c.statuses(t, eryxontest.Jobs, one, two, job("3", object{"external_source": "Odoo"})), "each source has its own look-up")
		assert.Equal(t, []any{"create", "create"}, c.statuses(t, eryxontest.Parts, part("1", "1"), part("2", "2")))
		assert.Equal(t, []any{"error", "error"}, c.statuses(t, eryxontest.Parts, part("1", "1"), part("2", "long id")))

		r := c.do(t.Context(), "POST", "/api-erp-sync/sync", object{"jobs": []any{one, two, three, job("4")}})
		assert.Equal(t, 200, r.status)
		assert.Equal(t, 4, strings.Count(r.text, "idx_jobs_external_sync"))
		assert.Len(t, c.srv.Rows(eryxontest.Jobs), 3)

		c.srv.RefuseLongLookUps(0)
		assert.Equal(t, []any{"update", "update", "update"}, c.statuses(t, eryxontest.Jobs, one, two, three))
	}
}

func TestV01BulkFindsParentsInAnySource(t *testing.T) {
	c := speaking(eryxontest.V01)
	in := func(source string) object { return object{"external_source": source} }
	var jobs [2]any
	for i, source := range []string{"SAP", "Odoo"} {
		jobs[i] = c.srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": source, "external_id": "J", "external_source": source})
	}
	for _, source := range []string{"SAP", "Odoo", "Neither"} {
		r := c.bulk(eryxontest.Parts, part("P-"+source, "J", in(source)))
		require.InDelta(t, 1, r.data()["created"], 0)
		row, _ := c.srv.Row(eryxontest.Parts, source, "P-"+source)
		assert.Equal(t, jobs[1], row["job_id"], "the later job, whose it is or not")
	}
	assert.Empty(t, c.srv.Orphans())
	require.Equal(t, 200, c.put("/api-parts/sync", part("P-SAP", "J", in("SAP"))).status)
	row, _ := c.srv.Row(eryxontest.Parts, "SAP", "P-SAP")
	assert.Equal(t, jobs[0], row["job_id"], "a single sync looks at the source")
	assert.Equal(t, 400, c.put("/api-parts/sync", part("P-Neither", "J", in("Neither"))).status)

	c.srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "C", "sequence": 1})
	r := c.bulk(eryxontest.Operations, operation("O", "P-SAP", "C", in("Odoo")))
	require.InDelta(t, 1, r.data()["created"], 0)
	op, _ := c.srv.Row(eryxontest.Operations, "Odoo", "O")
	assert.Equal(t, row["id"], op["part_id"])

	c.srv.Delete(eryxontest.Jobs, "Odoo", "J")
	c.bulk(eryxontest.Parts, part("P-Odoo", "J", in("Odoo")))
	row, _ = c.srv.Row(eryxontest.Parts, "Odoo", "P-Odoo")
	assert.Equal(t, jobs[0], row["job_id"])
}

func TestV01BulkLooksParentsUpByList(t *testing.T) {
	c := speaking(eryxontest.V01)
	const ending = `x")`
	for _, id := range []string{"1", ending, "7"} {
		job := c.srv.Seed(eryxontest.Jobs, job(id))
		c.srv.Seed(eryxontest.Parts, eryxontest.Row{"external_id": id, "external_source": "SAP", "part_number": id, "job_id": job})
		c.srv.Seed(eryxontest.Cells, eryxontest.Row{"name": id, "sequence": 1})
	}
	actions := func(r reply) (out []any) {
		require.Equal(t, 200, r.status)
		for _, result := range r.data()["results"].([]any) {
			out = append(out, result.(object)["action"])
		}
		return out
	}
	want := func(outcome ...any) {
		t.Helper()
		assert.Equal(t, outcome, actions(c.bulk(eryxontest.Parts, part("a", "1"), part("b", ending), part("c", "7"))))
		assert.Equal(t, outcome, actions(c.bulk(eryxontest.Operations,
			operation("a", "1", "1"), operation("b", ending, "1"), operation("c", "7", "1"))))
		assert.Equal(t, outcome, actions(c.bulk(eryxontest.Operations,
			operation("A", "1", "1"), operation("B", "1", ending), operation("C", "1", "7"))), "cells' names as well")
	}
	want("created", "error", "error")
	assert.Empty(t, c.srv.Orphans())
	c.srv.RefuseLongLookUps(3)
	want("error", "error", "error")
	assert.Equal(t, []any{"updated"}, actions(c.bulk(eryxontest.Parts, part("a", "1"))))
	c.srv.RefuseLongLookUps(0)

	assert.Equal(t, []any{"error"}, actions(c.bulk(eryxontest.Parts, part("c", "", object{"job_external_id": 7}))),
		"a number is not recognised in what comes back")
	assert.Equal(t, 201, c.put("/api-parts/sync", part("c", "", object{"job_external_id": 7})).status)

	for i := range 1000 {
		c.srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": fmt.Sprint("s", i), "external_id": "1", "external_source": fmt.Sprint("s", i)})
	}
	c.srv.Seed(eryxontest.Jobs, job("8"))
	assert.Equal(t, []any{"created"}, actions(c.bulk(eryxontest.Parts, part("d", "8"))))
	assert.Equal(t, []any{"error", "created"}, actions(c.bulk(eryxontest.Parts, part("e", "8"), part("f", "1"))),
		"the thousand rows of the other id come first")
}

func TestV01BulkOfChildrenBreaksOffAtANullBeforeItWrites(t *testing.T) {
	c := speaking(eryxontest.V01)
	c.srv.Seed(eryxontest.Jobs, job("1"))
	r := c.bulk(eryxontest.Parts, part("1", "1"), nil)
	assert.Equal(t, 500, r.status)
	assert.Equal(t, "Cannot read properties of null (reading 'job_external_id')", r.fault()["message"])
	assert.Empty(t, c.srv.Rows(eryxontest.Parts))
	r = c.bulk(eryxontest.Operations, nil)
	assert.Equal(t, "Cannot read properties of null (reading 'part_external_id')", r.fault()["message"])
	r = c.bulk(eryxontest.Jobs, job("2"), nil)
	assert.Equal(t, 500, r.status)
	assert.Len(t, c.srv.Rows(eryxontest.Jobs), 2, "jobs before the null stay")
}
