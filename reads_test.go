package eryxon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

var allReleases = []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08, eryxontest.V08AsMigrated}

// acrossReleases runs a test against each release.
func acrossReleases(t *testing.T, test func(t *testing.T, release eryxontest.Release, srv *eryxontest.Server, c *Client)) {
	t.Helper()
	for _, release := range allReleases {
		t.Run(string(release), func(t *testing.T) {
			srv := eryxontest.NewServer(t, eryxontest.WithRelease(release))
			test(t, release, srv, onServer(t, srv))
		})
	}
}

// collect reads a list to its end.
func collect[Row any](rows iter.Seq2[Row, error]) (list []Row, err error) {
	for row, rowErr := range rows {
		if rowErr != nil {
			return list, rowErr
		}
		list = append(list, row)
	}
	return list, nil
}

// read is a read of any service, in the terms of all of them.
type read struct {
	seed func(i int) eryxontest.Row
	ids  func(c *Client, options ListOptions, opts ...CallOption) ([]string, error)
	get  func(c *Client, id string) (string, error)
	find func(c *Client, key Key) (string, error)
}

func idsOf[Row any](rows iter.Seq2[Row, error]) ([]string, error) {
	list, err := collect(rows)
	var ids []string
	for i := range list {
		ids = append(ids, identityOf(&list[i]).id)
	}
	return ids, err
}

func idOf[Row any](row *Row, err error) (string, error) {
	if row == nil {
		return "", err
	}
	return identityOf(row).id, err
}

const seedParent = "10000000-0000-4000-8000-0000000000a1"

func seedKey(i int, more eryxontest.Row) eryxontest.Row {
	more["external_source"], more["external_id"] = "SAP", fmt.Sprintf("X-%d", i)
	return more
}

var reads = map[eryxontest.Entity]read{
	eryxontest.Jobs: {
		seed: func(i int) eryxontest.Row {
			return seedKey(i, eryxontest.Row{"job_number": fmt.Sprintf("J-%d", i), "customer": "Acme"})
		},
		ids: func(c *Client, o ListOptions, opts ...CallOption) ([]string, error) {
			return idsOf(c.Jobs.List(context.Background(), JobListOptions{ListOptions: o}, opts...))
		},
		get:  func(c *Client, id string) (string, error) { return idOf(c.Jobs.Get(context.Background(), id)) },
		find: func(c *Client, key Key) (string, error) { return idOf(c.Jobs.Find(context.Background(), key)) },
	},
	eryxontest.Parts: {
		seed: func(i int) eryxontest.Row {
			return seedKey(i, eryxontest.Row{"part_number": fmt.Sprintf("P-%d", i), "job_id": seedParent, "material": "Steel", "quantity": 1})
		},
		ids: func(c *Client, o ListOptions, opts ...CallOption) ([]string, error) {
			return idsOf(c.Parts.List(context.Background(), PartListOptions{ListOptions: o}, opts...))
		},
		get:  func(c *Client, id string) (string, error) { return idOf(c.Parts.Get(context.Background(), id)) },
		find: func(c *Client, key Key) (string, error) { return idOf(c.Parts.Find(context.Background(), key)) },
	},
	eryxontest.Cells: {
		seed: func(i int) eryxontest.Row {
			return seedKey(i, eryxontest.Row{"name": fmt.Sprintf("C-%d", i), "sequence": i, "active": true})
		},
		ids: func(c *Client, o ListOptions, opts ...CallOption) ([]string, error) {
			return idsOf(c.Cells.List(context.Background(), CellListOptions{ListOptions: o}, opts...))
		},
		get:  func(c *Client, id string) (string, error) { return idOf(c.Cells.Get(context.Background(), id)) },
		find: func(c *Client, key Key) (string, error) { return idOf(c.Cells.Find(context.Background(), key)) },
	},
	eryxontest.Resources: {
		seed: func(i int) eryxontest.Row {
			return seedKey(i, eryxontest.Row{"name": fmt.Sprintf("R-%d", i), "type": "mold", "status": "available", "active": true})
		},
		ids: func(c *Client, o ListOptions, opts ...CallOption) ([]string, error) {
			return idsOf(c.Resources.List(context.Background(), ResourceListOptions{ListOptions: o}, opts...))
		},
		get:  func(c *Client, id string) (string, error) { return idOf(c.Resources.Get(context.Background(), id)) },
		find: func(c *Client, key Key) (string, error) { return idOf(c.Resources.Find(context.Background(), key)) },
	},
}

// Every row once, whatever the page size, and no request beyond the end.
func TestListReadsEveryRowOnceInEveryRelease(t *testing.T) {
	acrossReleases(t, func(t *testing.T, release eryxontest.Release, srv *eryxontest.Server, c *Client) {
		for entity, r := range reads {
			for _, rows := range []int{0, 1, 2, 3, 7, 8} {
				for _, size := range []int{0, 1, 2, 3, 4, 7, 8, 1000, 5000, -1} {
					srv.Reset()
					var want []string
					for i := range rows {
						want = append(want, srv.Seed(entity, r.seed(i)))
					}
					before := len(srv.Requests())
					got, err := r.ids(c, ListOptions{PageSize: size, Sort: "created_at", Order: Ascending})
					name := fmt.Sprintf("%s: %d rows by %d", entity, rows, size)
					require.NoError(t, err, name)
					assert.Equal(t, want, got, name)

					asked := srv.Requests()[before:]
					for _, q := range asked {
						require.Equal(t, http.StatusOK, q.Status, name)
					}
					// Where paging is told, no request but those that are due.
					if !(release == eryxontest.V01 && entity == eryxontest.Cells) {
						page := size
						if size == 0 {
							page = 1000
						}
						page = min(max(page, 1), 1000)
						assert.Len(t, asked, max(1, (rows+page-1)/page), name)
					} else {
						assert.LessOrEqual(t, len(asked), 2, name)
					}
				}
			}
		}
	})
}

func TestGetAndFindInEveryRelease(t *testing.T) {
	acrossReleases(t, func(t *testing.T, release eryxontest.Release, srv *eryxontest.Server, c *Client) {
		unified := release != eryxontest.Documented
		for entity, r := range reads {
			id := srv.Seed(entity, r.seed(1))
			srv.Seed(entity, r.seed(2))
			key := Key{Source: "SAP", ExternalID: "X-1"}

			got, err := r.get(c, id)
			require.NoError(t, err, entity)
			assert.Equal(t, id, got)
			got, err = r.get(c, strings.ToUpper(id))
			require.NoError(t, err, entity)
			assert.Equal(t, id, got)

			_, err = r.get(c, "550e8400-e29b-41d4-a716-446655440000")
			assert.ErrorIs(t, err, ErrNotFound, entity)
			assert.NotContains(t, err.Error(), "base URL")

			before := len(srv.Requests())
			_, err = r.get(c, "X-1")
			var invalid *ValidationError
			require.ErrorAs(t, err, &invalid, entity)
			assert.True(t, invalid.Local)
			_, err = r.find(c, Key{Source: "SAP"})
			require.ErrorIs(t, err, ErrValidation, entity)
			assert.Len(t, srv.Requests(), before, "local rules spend no request")

			tells := entity == eryxontest.Resources || unified && (entity == eryxontest.Jobs || entity == eryxontest.Parts)
			got, err = r.find(c, key)
			if !tells {
				assert.ErrorIs(t, err, ErrUnsupported, entity)
				assert.NotErrorIs(t, err, ErrNotFound, "it says nothing of the row")
				if entity == eryxontest.Cells {
					assert.Len(t, srv.Requests(), before)
				}
				continue
			}
			if release == eryxontest.V08AsMigrated && entity == eryxontest.Jobs {
				assert.ErrorIs(t, err, ErrUnsupported, "a column that the look-up needs is missing")
			} else {
				require.NoError(t, err, entity)
				assert.Equal(t, id, got)
				got, err = r.find(c, Key{ExternalID: "X-2"})
				require.NoError(t, err, "the client's source is filled in")
				assert.NotEqual(t, id, got)
			}

			for _, none := range []Key{{"SAP", "X-3"}, {"Oracle", "X-1"}, {"SAP", "x-1"}} {
				_, err = r.find(c, none)
				assert.ErrorIs(t, err, ErrNotFound, none)
			}
			require.True(t, srv.Delete(entity, "SAP", "X-1"))
			_, err = r.find(c, key)
			assert.ErrorIs(t, err, ErrNotFound, "deleted")
		}
		for _, q := range srv.Requests() { // no hidden write
			assert.False(t, q.Method == http.MethodPut || q.Method == http.MethodPost && !strings.HasSuffix(q.Path, "/diff"), "%s %s", q.Method, q.Path)
		}
	})
}

func TestOperationsCantBeRead(t *testing.T) {
	acrossReleases(t, func(t *testing.T, _ eryxontest.Release, srv *eryxontest.Server, c *Client) {
		_, err := collect(c.Operations.List(t.Context(), OperationListOptions{}))
		assert.ErrorIs(t, err, ErrUnsupported)
		assert.NotErrorIs(t, err, ErrServer)
		assert.ErrorContains(t, err, "started_at")
		assert.ErrorContains(t, err, "keep the ID and Row that Sync returns")
		_, err = c.Operations.Get(t.Context(), seedParent)
		assert.ErrorIs(t, err, ErrUnsupported)
		assert.NotErrorIs(t, err, ErrNotFound)
		assert.Len(t, srv.Requests(), 2, "no retries")
		_, err = c.Operations.Find(t.Context(), Key{ExternalID: "OP-1"})
		assert.ErrorIs(t, err, ErrUnsupported)
		assert.Len(t, srv.Requests(), 2)
	})
}

func TestListFilters(t *testing.T) {
	acrossReleases(t, func(t *testing.T, _ eryxontest.Release, srv *eryxontest.Server, c *Client) {
		ctx := t.Context()
		a := srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "A-1", "customer": "Acme & Söhne", "status": "on_hold"})
		b := srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "B-2", "customer": "Bolt", "status": "not_started"})
		for want, o := range map[string]JobListOptions{
			a:                 {Status: WorkOnHold},
			b:                 {Customer: "bol"},
			b + " ":           {JobNumber: "B-2"},
			a + " ":           {Customer: "acme & s"},
			a + "  ":          {ListOptions: ListOptions{Search: "A-1"}},
			a + "," + b:       {ListOptions: ListOptions{Sort: "job_number", Order: Ascending}},
			b + "," + a:       {ListOptions: ListOptions{Sort: "job_number", Order: Descending, PageSize: 1}},
			"":                {Status: WorkCompleted},
			b + "," + a + " ": {},
		} {
			ids, err := idsOf(c.Jobs.List(ctx, o))
			require.NoError(t, err)
			assert.Equal(t, strings.TrimSpace(want), strings.Join(ids, ","), "%+v", o)
		}
		p := srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": "P-1", "job_id": a, "material": "Steel 304", "status": "not_started"})
		srv.Seed(eryxontest.Parts, eryxontest.Row{"part_number": "P-2", "job_id": b, "material": "Brass", "status": "not_started"})
		for _, o := range []PartListOptions{{JobID: a}, {Material: "steel"}, {JobID: a, Status: WorkNotStarted}} {
			ids, err := idsOf(c.Parts.List(ctx, o))
			require.NoError(t, err)
			assert.Equal(t, []string{p}, ids, "%+v", o)
		}
		on := srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "On", "sequence": 1, "active": true})
		off := srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Off", "sequence": 2, "active": false})
		for want, o := range map[string]CellListOptions{on: {Active: Some(true)}, off: {Active: Some(false)}, on + "," + off: {}} {
			ids, err := idsOf(c.Cells.List(ctx, o))
			require.NoError(t, err)
			assert.Equal(t, want, strings.Join(ids, ","), "%+v", o)
		}
		r := srv.Seed(eryxontest.Resources, eryxontest.Row{"name": "R", "type": "mold", "status": "in_use", "active": true, "external_source": "SAP", "external_id": "T/1"})
		srv.Seed(eryxontest.Resources, eryxontest.Row{"name": "S", "type": "tooling", "status": "available", "active": false})
		for _, o := range []ResourceListOptions{{Type: ResourceMold}, {Status: ResourceInUse}, {Active: Some(true)}, {ExternalSource: "SAP", ExternalID: "T/1"}} {
			rows, err := collect(c.Resources.List(ctx, o))
			require.NoError(t, err)
			require.Len(t, rows, 1, "%+v", o)
			assert.Equal(t, r, rows[0].ID)
			assert.Equal(t, Some("T/1"), rows[0].ExternalID)
		}
	})
}

func TestListEncodesItsOptions(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":[]}`)})
	ctx := t.Context()
	all := ListOptions{Search: "a&b", Sort: "created_at", Order: Ascending, PageSize: 5}
	for _, err := range c.Jobs.List(ctx, JobListOptions{Status: WorkOnHold, Customer: "Ä", JobNumber: "1", ListOptions: all}) {
		require.NoError(t, err)
	}
	for range c.Parts.List(ctx, PartListOptions{JobID: "j", Status: WorkCompleted, Material: "m", ListOptions: all}) {
	}
	for range c.Operations.List(ctx, OperationListOptions{PartID: "p", CellID: "c", Status: WorkCompleted, ListOptions: all}) {
	}
	for range c.Cells.List(ctx, CellListOptions{Active: Some(false), ListOptions: all}) {
	}
	for range c.Resources.List(ctx, ResourceListOptions{Type: "t", Status: "s", Active: Some(true), ExternalSource: "SAP", ExternalID: "1", ListOptions: all}) {
	}
	for range c.Cells.List(ctx, CellListOptions{}) {
	}
	common := url.Values{"search": {"a&b"}, "sort": {"created_at"}, "order": {"asc"}, "limit": {"5"}, "offset": {"0"}}
	for i, want := range []url.Values{
		{"status": {"on_hold"}, "customer": {"Ä"}, "job_number": {"1"}},
		{"job_id": {"j"}, "status": {"completed"}, "material": {"m"}},
		{"part_id": {"p"}, "cell_id": {"c"}, "status": {"completed"}},
		{"active": {"false"}},
		{"type": {"t"}, "status": {"s"}, "active": {"true"}, "external_source": {"SAP"}, "external_id": {"1"}},
	} {
		maps.Copy(want, common)
		sent := s.requests()[i]
		assert.Equal(t, http.MethodGet, sent.method)
		assert.Empty(t, sent.body)
		u, err := url.Parse(sent.path)
		require.NoError(t, err)
		assert.Equal(t, want, u.Query())
	}
	assert.Equal(t, "/api-cells?limit=1000&offset=0", s.requests()[5].path)

	_, err := collect(c.Cells.List(ctx, CellListOptions{Active: Null[bool]()}))
	assert.ErrorContains(t, err, "can't hold null")
	_, err = collect(c.Cells.List(ctx, CellListOptions{}, nil))
	assert.ErrorContains(t, err, "option 0 is nil")
	assert.Len(t, s.requests(), 6)
}

func jobRows(ids ...int) string {
	rows := make([]string, len(ids))
	for i, id := range ids {
		rows[i] = fmt.Sprintf(`{"id":"%08d-0000-4000-8000-000000000000","job_number":"J-%d"}`, id, id)
	}
	return "[" + strings.Join(rows, ",") + "]"
}

func numbers(list []JobRow) (n []string) {
	for _, row := range list {
		n = append(n, strings.TrimPrefix(row.JobNumber, "J-"))
	}
	return n
}

// What servers may answer to a list, two rows a page.
func TestListShapes(t *testing.T) {
	ok := func(data string) httpmock.Responder { return answer(200, `{"success":true,"data":`+data+`}`) }
	for _, test := range []struct {
		name     string
		answers  []httpmock.Responder
		want     string
		requests int
		err      string
	}{
		{"paging in data", []httpmock.Responder{
			ok(`{"jobs":` + jobRows(1, 2) + `,"pagination":{"total":3,"offset":0,"limit":2}}`),
			ok(`{"jobs":` + jobRows(3) + `,"pagination":{"total":3,"offset":2,"limit":2}}`),
		}, "1 2 3", 2, ""},
		{"paging in meta", []httpmock.Responder{
			answer(200, `{"success":true,"data":`+jobRows(1, 2)+`,"meta":{"pagination":{"total":"3","offset":0,"limit":2}}}`),
			answer(200, `{"success":true,"data":`+jobRows(3)+`,"meta":{"pagination":{"total":3,"offset":2,"limit":2}}}`),
		}, "1 2 3", 2, ""},
		{"paging beside data", []httpmock.Responder{
			answer(200, `{"pagination":{"has_more":true},"success":true,"data":{"items":`+jobRows(1, 2)+`}}`),
			answer(200, `{"pagination":{"has_more":false},"success":true,"data":{"items":`+jobRows(3, 4)+`}}`),
		}, "1 2 3 4", 2, ""},
		{"no paging told, but obeyed", []httpmock.Responder{ok(jobRows(1, 2)), ok(jobRows(3))}, "1 2 3", 3, ""},
		{"no paging, all of them: more than the limit", []httpmock.Responder{ok(`{"jobs":` + jobRows(1, 2, 3) + `}`)}, "1 2 3", 1, ""},
		{"no paging, all of them: as many as the limit", []httpmock.Responder{ok(`{"jobs":` + jobRows(1, 2) + `}`)}, "1 2", 2, ""},
		{"no paging, all of them: fewer", []httpmock.Responder{ok(`{"jobs":` + jobRows(1) + `}`)}, "1", 1, ""},
		{"the server takes fewer than asked for", []httpmock.Responder{
			ok(`{"jobs":` + jobRows(1) + `,"pagination":{"offset":0,"limit":1}}`),
			ok(`{"jobs":` + jobRows(2) + `,"pagination":{"offset":1,"limit":1}}`),
			ok(`{"jobs":[],"pagination":{"offset":2,"limit":1}}`),
		}, "1 2", 3, ""},
		{"a page shorter than the limit while the total says more", []httpmock.Responder{
			ok(`{"jobs":` + jobRows(1) + `,"pagination":{"total":2}}`),
			ok(`{"jobs":` + jobRows(2) + `,"pagination":{"total":2}}`),
		}, "1 2", 2, ""},
		{"rows added meanwhile", []httpmock.Responder{
			ok(`{"jobs":` + jobRows(1, 2) + `,"pagination":{"total":4}}`),
			ok(`{"jobs":` + jobRows(2, 3) + `,"pagination":{"total":5}}`),
			ok(`{"jobs":` + jobRows(4) + `,"pagination":{"total":5}}`),
		}, "1 2 3 4", 3, ""},
		{"rows deleted meanwhile", []httpmock.Responder{
			ok(`{"jobs":` + jobRows(1, 2) + `,"pagination":{"total":4}}`),
			refusal(500, "INTERNAL_ERROR", "Failed to fetch jobs: Requested range not satisfiable"),
		}, "1 2", 2, ""},
		{"offset ignored", []httpmock.Responder{ok(`{"jobs":` + jobRows(1, 2) + `,"pagination":{"total":4,"limit":2}}`)}, "1 2", 2, "ignore the offset"},
		{"offset ignored, and it says so", []httpmock.Responder{ok(`{"jobs":` + jobRows(1, 2) + `,"pagination":{"total":4,"offset":0,"limit":2}}`)}, "1 2", 2, "at offset 2 and got that at 0"},
		{"offset ignored, limit obeyed, no paging told", []httpmock.Responder{ok(jobRows(1, 2)), ok(jobRows(1))}, "1 2", 2, "ignore the offset"},
		{"rows without an id, offset ignored", []httpmock.Responder{ok(`{"jobs":[{"job_number":"J-1"},{"job_number":"J-2"}],"pagination":{"total":9}}`)}, "1 2", 2, "ignore the offset"},
		{"the same row twice on a page", []httpmock.Responder{ok(jobRows(1, 1, 2))}, "1 2", 1, ""},
		{"rows announced and none there", []httpmock.Responder{ok(`{"jobs":[],"pagination":{"total":4}}`)}, "", 1, "lists none"},
		{"empty", []httpmock.Responder{ok(`{"jobs":[],"pagination":{"total":0}}`)}, "", 1, ""},
		{"null instead of an empty list", []httpmock.Responder{ok(`{"jobs":null,"pagination":{"total":0}}`)}, "", 1, ""},
		{"null instead of a list of some", []httpmock.Responder{ok(`{"jobs":null,"pagination":{"total":3}}`)}, "", 1, "no list of jobs"},
		{"null instead of a list", []httpmock.Responder{ok(`{"jobs":null}`)}, "", 1, "no list of jobs"},
		{"data null", []httpmock.Responder{ok(`null`)}, "", 1, "without data"},
		{"data a number", []httpmock.Responder{ok(`7`)}, "", 1, "neither a list nor an object"},
		{"not a row", []httpmock.Responder{ok(`[{"id":"a","job_number":"J-1"},7]`)}, "1", 1, "row 1 of the page at offset 0"},
		{"null is no row", []httpmock.Responder{ok(`{"jobs":[` + strings.Trim(jobRows(1), "[]") + `,null]}`)}, "1", 1, "row 1 of the page at offset 0"},
		{"a total of 0 beside full pages", []httpmock.Responder{
			ok(`{"jobs":` + jobRows(1, 2) + `,"pagination":{"total":0,"offset":0,"limit":2}}`),
			ok(`{"jobs":` + jobRows(3) + `,"pagination":{"total":0,"offset":2,"limit":2}}`),
		}, "1 2 3", 2, ""},
		{"a total of 0 without a limit", []httpmock.Responder{
			ok(`{"jobs":` + jobRows(1, 2) + `,"pagination":{"total":0}}`),
			ok(`{"jobs":null,"pagination":{"total":0}}`),
		}, "1 2", 2, ""},
		{"a total of 0 beside all rows", []httpmock.Responder{ok(`{"jobs":` + jobRows(1, 2, 3) + `,"pagination":{"total":0}}`)}, "1 2 3", 1, ""},
		{"a total of 0, and the end is told", []httpmock.Responder{
			ok(`{"jobs":` + jobRows(1, 2) + `,"pagination":{"total":0,"has_more":false}}`),
		}, "1 2", 1, ""},
		{"a total that is less than what was read", []httpmock.Responder{
			ok(`{"jobs":` + jobRows(1, 2) + `,"pagination":{"total":1,"limit":2}}`),
			ok(`{"jobs":` + jobRows(3, 4) + `,"pagination":{"total":1,"limit":2}}`),
			refusal(500, "INTERNAL_ERROR", "Failed to fetch jobs: Requested range not satisfiable"),
		}, "1 2 3 4", 3, ""},
		{"HTML", []httpmock.Responder{answer(200, `<html>`)}, "", 1, "HTML"},
		{"an error in the middle", []httpmock.Responder{
			ok(`{"jobs":` + jobRows(1, 2) + `,"pagination":{"total":4}}`),
			refusal(401, "UNAUTHORIZED", "Invalid API key"),
		}, "1 2", 2, "Invalid API key"},
		{"no such call", []httpmock.Responder{refusal(404, "NOT_FOUND", "Endpoint not found")}, "", 1, "not supported|no such call"},
		{"odd paging", []httpmock.Responder{answer(200, `{"success":true,"data":{"jobs":`+jobRows(1)+`,"pagination":7},"meta":[]}`)}, "1", 1, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s := scripted(t, test.answers, once())
			if test.name == "no paging told, but obeyed" {
				// The changed limit is obeyed, too.
				s.answers = []httpmock.Responder{ok(jobRows(1, 2)), ok(jobRows(3)), ok(jobRows())}
			}
			rows, err := collect(c.Jobs.List(t.Context(), JobListOptions{ListOptions: ListOptions{PageSize: 2}}))
			assert.Equal(t, test.want, strings.Join(numbers(rows), " "))
			assert.Len(t, s.requests(), test.requests)
			if test.err == "" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Regexp(t, test.err, err.Error())
		})
	}
}

// A list that says nothing of paging is asked once more with another limit, by
// which a server that pays no attention to it shows itself.
func TestListWithoutPagingIsAskedWithAnotherLimit(t *testing.T) {
	for first, second := range map[int]string{2: "limit=1&offset=2", 1: "limit=2&offset=1"} {
		rows := []int{1, 2}[:first]
		c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":`+jobRows(rows...)+`}`)})
		got, err := collect(c.Jobs.List(t.Context(), JobListOptions{ListOptions: ListOptions{PageSize: first}}))
		require.NoError(t, err)
		assert.Len(t, got, first)
		require.Len(t, s.requests(), 2)
		assert.Equal(t, "/api-jobs?"+second, s.requests()[1].path)
	}
}

func TestListKeepsWhatItDoesNotKnow(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"jobs":[
		{"id":"a","job_number":"J-1","priority":"high","parts":[{"id":"p"}],"due_date":"2024-12-31T00:00:00+00:00","status":"not_started"}]}}`)})
	rows, err := collect(c.Jobs.List(t.Context(), JobListOptions{}))
	require.NoError(t, err)
	require.Len(t, rows, 1)
	assert.Equal(t, "J-1", rows[0].JobNumber)
	assert.Equal(t, Some(WorkNotStarted), rows[0].Status)
	assert.False(t, rows[0].Priority.IsSet())
	assert.JSONEq(t, `"high"`, string(rows[0].Unknown["priority"]))
	assert.JSONEq(t, `[{"id":"p"}]`, string(rows[0].Unknown["parts"]))
	due, ok := rows[0].DueDate.Get()
	assert.True(t, ok)
	assert.Equal(t, NewDate(2024, 12, 31), DateOf(due.UTC()))
}

// A time and a whole number are read in every form that servers and their
// databases print them in; what is neither is kept as it came.
func TestListReadsColumnsInEveryForm(t *testing.T) {
	list := func(t *testing.T, column, value string) JobRow {
		t.Helper()
		c, _ := scripted(t, []httpmock.Responder{answer(200, fmt.Sprintf(`{"success":true,"data":{"jobs":[{"id":"a",%q:%s}]}}`, column, value))})
		rows, err := collect(c.Jobs.List(t.Context(), JobListOptions{}))
		require.NoError(t, err)
		require.Len(t, rows, 1)
		return rows[0]
	}
	day := time.Date(2024, time.December, 31, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2024-12-31": day, "2024-12-31T00:00:00+00:00": day, "2024-12-31T00:00:00Z": day, "2024-12-31T00:00:00": day,
		"2024-12-31 00:00:00": day, "2024-12-31 00:00:00+00": day, "2024-12-31 00:00:00Z": day, "2024-12-31T02:00:00+0200": day,
		"2024-12-31 05:30:00+05:30": day, "2024-12-30T19:00:00-05:00": day,
		"2024-12-31 10:53:22.813+00": day.Add(10*time.Hour + 53*time.Minute + 22813*time.Millisecond),
		"2024-12-31T00:00:00.5":      day.Add(500 * time.Millisecond),
	} {
		row := list(t, "due_date", `"`+text+`"`)
		assert.Equal(t, Some(want), row.DueDate, text)
		assert.Empty(t, row.Unknown, text)
	}
	for _, value := range []string{`""`, `"soon"`, `"2025-02-30"`, `"31.12.2024"`, `"2024-12-31T00"`, `"2024-12-31 "`, `"infinity"`, `1735603200`, `true`, `{}`} {
		row := list(t, "due_date", value)
		assert.Zero(t, row.DueDate, value)
		assert.JSONEq(t, value, string(row.Unknown["due_date"]))
	}
	assert.Equal(t, Null[time.Time](), list(t, "due_date", "null").DueDate)

	for value, want := range map[string]int{"5": 5, "5.0": 5, "-5.00": -5, `"5"`: 5, `"5.0"`: 5, `"-5"`: -5, "0.0": 0, `"9007199254740993"`: 9007199254740993} {
		row := list(t, "priority", value)
		assert.Equal(t, Some(want), row.Priority, value)
		assert.Empty(t, row.Unknown, value)
		cell := decodeRow[CellRow](json.RawMessage(`{"sequence":` + value + `}`))
		assert.Equal(t, want, cell.Sequence, value)
		assert.Empty(t, cell.Unknown, value)
	}
	for _, value := range []string{"5.5", `"5.5"`, `""`, `" 5"`, `"5 "`, `"0x5"`, `"high"`, "4.9999999999999999999", "99999999999999999999", "1e999999999", `"NaN"`, "true", `["5"]`, `{}`} {
		row := list(t, "priority", value)
		assert.Zero(t, row.Priority, value)
		assert.Equal(t, value, string(row.Unknown["priority"]))
		cell := decodeRow[CellRow](json.RawMessage(`{"sequence":` + value + `}`))
		assert.Zero(t, cell.Sequence, value)
		assert.Equal(t, value, string(cell.Unknown["sequence"]))
	}
}

// The recordings of lists are read.
func TestListReadsRecordedAnswers(t *testing.T) {
	for _, body := range []string{
		`{"success":true,"data":[{"id":"811f3080-d789-48f3-a2df-ef7b4f9cd35f","job_number":"JOB-C5","priority":0,"parts":[]}],"meta":{"pagination":{"limit":3,"offset":0,"total":1}}}`,
		`{"success":true,"data":{"jobs":[{"id":"811f3080-d789-48f3-a2df-ef7b4f9cd35f","job_number":"JOB-C5","parts":[]}],"pagination":{"total":1,"offset":0,"limit":3}}}`,
	} {
		p, err := readPage([]byte(body), EntityJobs)
		require.NoError(t, err)
		assert.Len(t, p.rows, 1)
		assert.Equal(t, []int{1, 0, 3}, []int{p.total, p.offset, p.limit})
		assert.True(t, p.last(3, 1))
	}
	p, err := readPage([]byte(`{"success":true,"data":{"resources":[]},"meta":{"pagination":{"limit":100,"offset":0,"has_more":false}}}`), EntityResources)
	require.NoError(t, err)
	assert.False(t, *p.more)
	p, err = readPage([]byte(`{"success":true,"data":{"cells":[{"id":"a"}]}}`), EntityCells)
	require.NoError(t, err)
	assert.True(t, p.silent())
}

func TestListStopsWhereTheLoopDoes(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"jobs":`+jobRows(1, 2)+`,"pagination":{"total":100}}}`)})
	list := c.Jobs.List(t.Context(), JobListOptions{ListOptions: ListOptions{PageSize: 2}})
	assert.Empty(t, s.requests(), "nothing is asked before the loop")
	for range 2 { // and the list can be read again
		for row, err := range list {
			require.NoError(t, err)
			assert.Equal(t, "J-1", row.JobNumber)
			break
		}
	}
	assert.Len(t, s.requests(), 2)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := collect(c.Jobs.List(ctx, JobListOptions{}))
	assert.ErrorIs(t, err, context.Canceled)
	assert.Len(t, s.requests(), 2)
}

func TestListRetriesAPage(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{
		answer(200, `{"success":true,"data":{"jobs":`+jobRows(1, 2)+`,"pagination":{"total":3}}}`),
		broken(),
		answer(503, `busy`),
		answer(200, `{"success":true,"data":{"jobs":`+jobRows(3)+`,"pagination":{"total":3}}}`),
	}, hasty(4))
	rows, err := collect(c.Jobs.List(t.Context(), JobListOptions{ListOptions: ListOptions{PageSize: 2}}))
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "2", "3"}, numbers(rows))
	assert.Len(t, s.requests(), 4)
}

func TestGetShapes(t *testing.T) {
	const id = "550e8400-e29b-41d4-a716-446655440000"
	row := `{"id":"` + id + `","job_number":"J-1"}`
	other := `{"id":"650e8400-e29b-41d4-a716-446655440000","job_number":"J-2"}`
	data := func(data string) httpmock.Responder { return answer(200, `{"success":true,"data":`+data+`}`) }
	for name, test := range map[string]struct {
		answer httpmock.Responder
		is     error
	}{
		"row":                {data(`{"job":` + row + `}`), nil},
		"bare row":           {data(row), nil},
		"list":               {data(`{"jobs":[` + row + `],"pagination":{"total":1}}`), nil},
		"bare list":          {data(`[` + row + `]`), nil},
		"id ignored":         {data(`[` + other + `,` + row + `]`), nil},
		"another row":        {data(`{"job":` + other + `}`), ErrBadAnswer},
		"all but that row":   {data(`[` + other + `]`), ErrNotFound},
		"empty list":         {data(`[]`), ErrNotFound},
		"null row":           {data(`{"job":null}`), ErrBadAnswer},
		"null":               {data(`null`), ErrBadAnswer},
		"text":               {data(`"x"`), ErrBadAnswer},
		"not found":          {refusal(404, "NOT_FOUND", "jobs with ID "+id+" not found"), ErrNotFound},
		"not found on a 200": {answer(200, `{"success":false,"error":{"code":"NOT_FOUND","message":"jobs with ID not found"}}`), ErrNotFound},
		"no such endpoint":   {refusal(404, "NOT_FOUND", "Endpoint not found"), ErrUnsupported},
		"no such function":   {answer(404, `{"code":"NOT_FOUND","message":"Requested function was not found"}`), ErrUnsupported},
		"someone else's 404": {answer(404, `<html>nginx</html>`), ErrUnsupported},
		"wrong method":       {refusal(405, "METHOD_NOT_ALLOWED", "Method not allowed"), ErrUnsupported},
		"broken query":       {refusal(500, "INTERNAL_ERROR", "Failed to fetch jobs: column jobs.x does not exist"), ErrUnsupported},
		"server error":       {refusal(500, "INTERNAL_ERROR", "boom"), ErrServer},
		"unauthorized":       {refusal(401, "UNAUTHORIZED", "Invalid API key"), ErrUnauthorized},
		"rate limit":         {refusal(429, "RATE_LIMIT_EXCEEDED", "no more"), ErrRateLimited},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(t, []httpmock.Responder{test.answer}, once())
			got, err := c.Jobs.Get(t.Context(), id)
			if name != "all but that row" { // the server passes over the id: its list tells
				require.Len(t, s.requests(), 1)
			}
			assert.Equal(t, "/api-jobs?id="+id, s.requests()[0].path)
			if test.is == nil {
				require.NoError(t, err)
				assert.Equal(t, "J-1", got.JobNumber)
				return
			}
			assert.ErrorIs(t, err, test.is)
			assert.Nil(t, got)
			if !errors.Is(test.is, ErrNotFound) {
				assert.NotErrorIs(t, err, ErrNotFound)
			}
		})
	}
}

func TestGetChecksTheID(t *testing.T) {
	c, _ := onWire(t)
	for _, id := range []string{
		"", "SO-1", "550e8400e29b41d4a716446655440000", "550e8400-e29b-41d4-a716-44665544000g",
		"550e8400-e29b-41d4-a716-4466554400000", "{50e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716_446655440000",
		"550e8400-e29b-41d4-a716-446655440000&limit=1", strings.Repeat("é", 18),
	} {
		_, err := c.Parts.Get(t.Context(), id)
		var invalid *ValidationError
		require.ErrorAs(t, err, &invalid, id)
		assert.True(t, invalid.Local)
		assert.Equal(t, "id", invalid.Field)
	}
}

// Find believes nothing that the answer does not prove.
func TestFindNeverGuesses(t *testing.T) {
	const id = "550e8400-e29b-41d4-a716-446655440000"
	diff := func(records string) httpmock.Responder {
		return answer(200, `{"success":true,"data":{"summary":{},"entities":{"jobs":{"records":[`+records+`]}}}}`)
	}
	// What the answer says of a part of that job.
	parent := func(part string) httpmock.Responder {
		return answer(200, `{"success":true,"data":{"summary":{},"entities":{
			"jobs":{"records":[{"external_id":"SO-1","external_source":"SAP","status":"create"}]},
			"parts":{"records":[{"external_id":"SO-1","external_source":"SAP",`+part+`}]}}}}`)
	}
	row := func(more string) httpmock.Responder {
		return answer(200, `{"success":true,"data":{"job":{"id":"`+id+`","job_number":"J-1"`+more+`}}}`)
	}
	exists := diff(`{"external_id":"SO-1","external_source":"SAP","status":"update","existing_id":"` + id + `","changes":["x"]}`)
	for name, test := range map[string]struct {
		answers []httpmock.Responder
		is      error
	}{
		"found":            {[]httpmock.Responder{exists, row("")}, nil},
		"found, unchanged": {[]httpmock.Responder{diff(`{"external_id":"SO-1","status":"unchanged","existing_id":"` + id + `"}`), row(`,"external_id":"SO-1","external_source":"SAP"`)}, nil},
		"another key":      {[]httpmock.Responder{exists, row(`,"external_id":"SO-2","external_source":"SAP"`)}, ErrBadAnswer},
		"gone since":       {[]httpmock.Responder{exists, refusal(404, "NOT_FOUND", "jobs with ID not found")}, ErrNotFound},
		"no id":            {[]httpmock.Responder{diff(`{"external_id":"SO-1","external_source":"SAP","status":"update"}`)}, ErrBadAnswer},
		"no UUID":          {[]httpmock.Responder{diff(`{"external_id":"SO-1","status":"update","existing_id":"7"}`)}, ErrBadAnswer},
		"not mentioned":    {[]httpmock.Responder{diff(`{"external_id":"SO-2","external_source":"SAP","status":"create"}`)}, ErrBadAnswer},
		"mentioned twice":  {[]httpmock.Responder{diff(`{"external_id":"SO-1","status":"create"},{"external_id":"SO-1","status":"create"}`)}, ErrBadAnswer},
		"another source":   {[]httpmock.Responder{diff(`{"external_id":"SO-1","external_source":"Oracle","status":"create"}`)}, ErrBadAnswer},
		"contradiction":    {[]httpmock.Responder{diff(`{"external_id":"SO-1","status":"create","existing_id":"` + id + `"}`)}, ErrBadAnswer},
		"odd status":       {[]httpmock.Responder{diff(`{"external_id":"SO-1","status":"perhaps"}`)}, ErrBadAnswer},
		"empty":            {[]httpmock.Responder{answer(200, `{"success":true,"data":{"entities":{}}}`)}, ErrBadAnswer},
		"not a diff":       {[]httpmock.Responder{answer(200, `{"success":true,"data":{"jobs":[]}}`)}, ErrBadAnswer},
		"error":            {[]httpmock.Responder{diff(`{"external_id":"SO-1","status":"error","error":"job_number is required"}`)}, ErrValidation},
		"create":           {[]httpmock.Responder{diff(`{"external_id":"SO-1","external_source":"SAP","status":"create"}`)}, ErrNotFound},
		"no parent":        {[]httpmock.Responder{parent(`"status":"error","error":"Job with external_id \"SO-1\" not found"`)}, ErrNotFound},
		"a parent":         {[]httpmock.Responder{parent(`"status":"create"`)}, ErrUnsupported},
		"odd parent":       {[]httpmock.Responder{parent(`"status":"error","error":"boom"`)}, ErrBadAnswer},
		"no endpoint":      {[]httpmock.Responder{refusal(404, "NOT_FOUND", "Endpoint not found")}, ErrUnsupported},
		"server error":     {[]httpmock.Responder{refusal(500, "INTERNAL_ERROR", "boom")}, ErrServer},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(t, test.answers, once())
			got, err := c.Jobs.Find(t.Context(), Key{ExternalID: "SO-1"})
			assert.Len(t, s.requests(), len(test.answers))
			assert.Equal(t, erpDiffPath, s.requests()[0].path)
			assert.JSONEq(t, `{"jobs":[{"external_id":"SO-1","external_source":"SAP","job_number":"-"}],
				"parts":[{"external_id":"SO-1","external_source":"SAP","part_number":"-","job_external_id":"SO-1"}]}`, s.requests()[0].body)
			if test.is == nil {
				require.NoError(t, err)
				assert.Equal(t, id, got.ID)
				return
			}
			require.ErrorIs(t, err, test.is)
			if !errors.Is(test.is, ErrNotFound) {
				assert.NotErrorIs(t, err, ErrNotFound)
			}
		})
	}
}

func TestFindResourceVerifiesTheRow(t *testing.T) {
	resource := func(n int, key string) string {
		return fmt.Sprintf(`{"id":"%08d-0000-4000-8000-000000000000","name":"R%d","type":"mold"%s}`, n, n, key)
	}
	list := func(rows ...string) httpmock.Responder {
		return answer(200, `{"success":true,"data":{"resources":[`+strings.Join(rows, ",")+`]}}`)
	}
	other := resource(1, `,"external_id":"T-2","external_source":"SAP"`)
	byHand := resource(2, `,"external_id":null,"external_source":null`)
	right := resource(3, `,"external_id":"T-1","external_source":"SAP"`)
	deleted := resource(4, `,"external_id":"T-1","external_source":"SAP","deleted_at":"2026-11-23T10:53:22+00:00"`)
	for name, test := range map[string]struct {
		answer httpmock.Responder
		is     error
	}{
		"filters ignored":      {list(other, byHand, deleted, right), nil},
		"filters ignored, not": {list(other, byHand), ErrNotFound},
		"only a deleted one":   {list(deleted), ErrNotFound},
		"none":                 {list(), ErrNotFound},
		"rows don't tell":      {list(resource(1, "")), ErrUnsupported},
		"a numeric key":        {list(resource(1, `,"external_id":7,"external_source":"SAP"`)), ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(t, []httpmock.Responder{test.answer})
			row, err := c.Resources.Find(t.Context(), Key{ExternalID: "T-1"})
			require.Len(t, s.requests(), 1)
			assert.Equal(t, "/api-resources?external_id=T-1&external_source=SAP&limit=1000&offset=0", s.requests()[0].path)
			if test.is == nil {
				require.NoError(t, err)
				assert.Equal(t, "R3", row.Name)
				return
			}
			assert.ErrorIs(t, err, test.is)
			assert.Nil(t, row)
		})
	}
}

// What a sync has written is found and read back.
func TestReadsSeeWhatSyncsWrote(t *testing.T) {
	srv := eryxontest.NewServer(t, eryxontest.WithRelease(eryxontest.V01))
	c := onServer(t, srv)
	res, err := c.Jobs.Sync(t.Context(), Job{ExternalID: "SO-1", JobNumber: "J-1", Customer: Some("Acme")})
	require.NoError(t, err)
	row, err := c.Jobs.Find(t.Context(), res.Key)
	require.NoError(t, err)
	assert.Equal(t, res.Row.ID, row.ID)
	assert.Equal(t, Some("Acme"), row.Customer)
}

func TestReadsKeepTheKeyOutOfErrors(t *testing.T) {
	c, _ := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"entities":{"jobs":{"records":[
		{"external_id":"SO-1","status":"`+testKey+`","error":"`+testKey+`"}]}}}}`)}, once())
	_, err := c.Jobs.Find(t.Context(), Key{ExternalID: "SO-1"})
	require.Error(t, err)
	assert.NotContains(t, fmt.Sprintf("%v %+v", err, err), testKey)
	_, err = c.Jobs.Get(t.Context(), seedParent)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), testKey)
}

func FuzzReadPage(f *testing.F) {
	f.Add([]byte(`{"success":true,"data":{"jobs":[{"id":"a"}],"pagination":{"total":1,"offset":0,"limit":3}}}`))
	f.Add([]byte(`{"success":true,"data":{"jobs":[null,{"priority":"5.0","due_date":"2024-12-31 00:00:00+00"}],"pagination":{"total":0,"limit":2}}}`))
	f.Add([]byte(`{"success":true,"data":{"jobs":null,"pagination":{"total":0}}}`))
	f.Add([]byte(`{"success":true,"data":[],"meta":{"pagination":{"has_more":true,"limit":1e3}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := readPage(body, EntityJobs)
		if p == nil {
			t.Fatal("nil page")
		}
		if err == nil && p.succeeded() {
			for _, raw := range p.rows {
				row := decodeRow[JobRow](raw)
				if (row != nil) != (raw[0] == '{') {
					t.Errorf("%q was made the row %+v", raw, row)
				}
				if row == nil {
					continue
				}
				for name := range row.Unknown {
					if i, ok := jobColumns[name]; ok && !reflect.ValueOf(row).Elem().Field(i).IsZero() {
						t.Errorf("%s of %q is both read and unknown", name, raw)
					}
				}
			}
			n := len(p.rows)
			if last := p.last(n, n); last && n > 0 && p.total != n && p.more == nil && p.limit > 0 {
				t.Errorf("a full page of %d was taken for the last: %q", n, body)
			}
		}
	})
}

func BenchmarkListPage(b *testing.B) {
	rows := make([]int, 1000)
	for i := range rows {
		rows[i] = i
	}
	body := `{"success":true,"data":{"jobs":` + jobRows(rows...) + `,"pagination":{"total":1000,"offset":0,"limit":1000}}}`
	c, _ := scripted(b, []httpmock.Responder{answer(200, body)})
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range c.Jobs.List(b.Context(), JobListOptions{}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 1000 {
			b.Fatal(n)
		}
	}
}

func TestOptEncodesIntoQueries(t *testing.T) {
	v := url.Values{}
	require.NoError(t, Some(0).EncodeValues("n", &v))
	require.NoError(t, Opt[int]{}.EncodeValues("unset", &v))
	assert.Equal(t, "n=0", v.Encode())
	assert.Error(t, Null[int]().EncodeValues("n", &v))
}

// A server that keeps answering a page as if it were the first is left after
// the second, whatever the page size.
func TestListLeavesAServerThatIgnoresTheOffset(t *testing.T) {
	for size := 1; size <= 5; size++ {
		n := 0
		c, wire := onWire(t)
		wire.RegisterNoResponder(func(r *http.Request) (*http.Response, error) {
			if n++; n > 20 {
				return nil, errors.New("it loops")
			}
			var limit int
			_, err := fmt.Sscan(r.URL.Query().Get("limit"), &limit)
			require.NoError(t, err)
			all := []int{1, 2, 3, 4, 5, 6, 7}
			return answer(200, `{"success":true,"data":`+jobRows(all[:limit]...)+`}`)(r)
		})
		rows, err := collect(c.Jobs.List(t.Context(), JobListOptions{ListOptions: ListOptions{PageSize: size}}))
		require.ErrorIs(t, err, ErrBadAnswer, size)
		assert.ErrorContains(t, err, "ignore the offset")
		got := numbers(rows)
		slices.Sort(got)
		assert.Len(t, slices.Compact(slices.Clone(got)), len(got), "no row twice")
		assert.LessOrEqual(t, n, 4)
	}
}

// A page that says that there is more is not the last, whatever its total is.
func TestAPageThatSaysThereIsMore(t *testing.T) {
	page := func(rows, paging string) httpmock.Responder {
		return answer(200, `{"success":true,"data":[`+rows+`],"meta":{"pagination":`+paging+`}}`)
	}
	c, _ := scripted(t, []httpmock.Responder{
		page(`{"id":"1"},{"id":"2"}`, `{"limit":2,"offset":0,"total":2,"has_more":true}`),
		page(`{"id":"3"}`, `{"limit":2,"offset":2,"total":3,"has_more":false}`),
	}, once())
	n := 0
	for _, err := range c.Jobs.List(t.Context(), JobListOptions{ListOptions: ListOptions{PageSize: 2}}) {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 3, n)
}
