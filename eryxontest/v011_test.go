package eryxontest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

func TestV011CountsAreTrue(t *testing.T) {
	c := speaking(eryxontest.V011)
	c.srv.Seed(eryxontest.Jobs, job("1"))
	bad := []object{
		job("2", object{"job_number": "N-1"}),
		job("3", object{"due_date": "2025-02-30"}),
		job("1", object{"job_number": "N-4"}),
		job("5", object{"priority": 1.0}),
		{"external_source": "SAP"},
	}
	records := []any{job("4"), job("1", object{"customer": "c"})}
	for _, b := range bad {
		records = append(records, b)
	}
	r := c.bulk(eryxontest.Jobs, append(records, nil, 5)...)
	require.Equal(t, 200, r.status)
	const taken = `Failed to sync jobs: duplicate key value violates unique constraint "jobs_tenant_id_job_number_key"`
	assert.Equal(t, object{
		"created": 1.0, "updated": 1.0, "failed": 7.0,
		"errors": []any{
			object{"item": bad[0], "error": taken},
			object{"item": bad[1], "error": `Failed to sync jobs: date/time field value out of range: "2025-02-30"`},
			object{"item": bad[2], "error": taken},
			object{"item": bad[3], "error": "Field priority is not writable"},
			object{"item": bad[4], "error": "external_id is required"},
			object{"item": nil, "error": "Request body must be an object"},
			object{"item": 5.0, "error": "Request body must be an object"},
		},
	}, r.data()["results"])
	assert.Len(t, c.srv.Rows(eryxontest.Jobs), 2)
}

func TestV011RefusesFieldsAndReferences(t *testing.T) {
	c := speaking(eryxontest.V011)
	const nobody = "00000000-0000-4000-8000-000000000000"
	jobID := c.srv.Seed(eryxontest.Jobs, job("J"))
	for _, tc := range []struct {
		path, body, want string
	}{
		{"/api-jobs/sync", `{"zz":1,"aa":1,"external_id":"1"}`, "Field zz is not writable"},
		{"/api-jobs/sync", `{"job_number":"1"}`, "external_id is required for sync operations"},
		{"/api-jobs/sync", `[]`, "Request body must be an object"},
		{"/api-jobs/sync", `null`, "Request body must be an object"},
		{"/api-jobs/sync", `{"current_cell_id":"x"}`, "current_cell_id must be a UUID"},
		{"/api-parts/sync", `{"job_id":5}`, "job_id must be a UUID"},
		{"/api-parts/sync", `{"job_id":"` + nobody + `"}`, "job_id does not reference a record in this tenant"},
		{"/api-parts/sync", `{"job_external_id":"J"}`, "Field job_external_id is not writable"},
		{"/api-operations/sync", `{"status":"completed"}`, "Field status is not writable"},
		{"/api-cells/sync", `{"id":"` + nobody + `"}`, "Field id is not writable"},
		{"/api-resources/sync", `{"sync_hash":""}`, "Field sync_hash is not writable"},
	} {
		r := c.do(t.Context(), "PUT", tc.path, tc.body)
		assert.Equal(t, 400, r.status, tc.body)
		assert.Equal(t, "BAD_REQUEST", r.fault()["code"])
		assert.Equal(t, tc.want, r.fault()["message"])
	}
	r := c.bulk(eryxontest.Parts, part("1", "J"))
	assert.Contains(t, r.text, `"error":"Field job_external_id is not writable"`)

	p := object{"external_id": "1", "external_source": "SAP", "part_number": "1", "material": "m", "job_id": jobID}
	assert.Equal(t, 201, c.put("/api-parts/sync", p).status)
	c.srv.Delete(eryxontest.Jobs, "SAP", "J")
	assert.Equal(t, 200, c.put("/api-parts/sync", p).status, "a deleted row may be referred to")
	assert.Len(t, c.srv.Rows(eryxontest.Parts), 1)

	r = c.do(t.Context(), "POST", "/api-cells", object{"name": "c", "sequence": 1, "zz": 1})
	assert.Equal(t, 400, r.status, "creating refuses as well")
	r = c.do(t.Context(), "POST", "/api-jobs", object{"job_number": "c", "zz": 1})
	assert.Equal(t, 500, r.status, "but for jobs")
}

func TestV011WantsWholePageNumbers(t *testing.T) {
	c := speaking(eryxontest.V011)
	c.srv.Seed(eryxontest.Jobs, job("1"))
	for query, want := range map[string]int{
		"limit=x": 400, "limit=5.5": 400, "offset=-1": 400, "offset=x": 400, "offset=9": 500,
		"limit=0": 200, "limit=": 200, "limit=1e1": 200, "offset=": 200, "limit=2000": 200,
	} {
		assert.Equal(t, want, c.do(t.Context(), "GET", "/api-jobs?"+query, nil).status, query)
	}
}
