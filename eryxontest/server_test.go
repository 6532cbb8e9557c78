package eryxontest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

type object = map[string]any

// reply is an answer as a client sees it.
type reply struct {
	status int
	header http.Header
	text   string
	body   object // nil if it is not a JSON object
	err    error  // of the request, or of reading the body
}

func (r reply) data() object {
	d, _ := r.body["data"].(object)
	return d
}

func (r reply) fault() object {
	d, _ := r.body["error"].(object)
	return d
}

// results are the results of a bulk answer.
func (r reply) results() []any {
	l, _ := r.data()["results"].([]any)
	return l
}

type caller struct {
	srv  *eryxontest.Server
	http *http.Client
}

// in calls the server without sockets.
func in(srv *eryxontest.Server) caller { return caller{srv, srv.Client()} }

func (c caller) do(ctx context.Context, method, path string, body any) reply {
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			panic(err)
		}
		rd = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.srv.URL+path, rd)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.srv.Key)
	res, err := c.http.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	r := reply{status: res.StatusCode, header: res.Header, text: string(raw), err: err}
	_ = json.Unmarshal(raw, &r.body)
	return r
}

func (c caller) put(path string, rec any) reply {
	return c.do(context.Background(), http.MethodPut, path, rec)
}

func (c caller) bulk(e eryxontest.Entity, records ...any) reply {
	if records == nil {
		records = []any{}
	}
	return c.do(context.Background(), http.MethodPost, "/api-"+string(e)+"/bulk-sync", object{string(e): records})
}

func job(id string, more ...object) object {
	return with(object{"external_id": id, "external_source": "SAP", "job_number": "N-" + id}, more)
}

func part(id, jobID string, more ...object) object {
	return with(object{"external_id": id, "external_source": "SAP", "job_external_id": jobID, "part_number": "P-" + id}, more)
}

func operation(id, partID, cell string, more ...object) object {
	return with(object{
		"external_id": id, "external_source": "SAP", "part_external_id": partID,
		"operation_name": "Bend", "cell_name": cell,
	}, more)
}

func cell(id, name string, more ...object) object {
	return with(object{"external_id": id, "external_source": "SAP", "name": name}, more)
}

func resource(id string, more ...object) object {
	return with(object{"external_id": id, "external_source": "SAP", "name": "R-" + id, "type": "equipment"}, more)
}

func with(rec object, more []object) object {
	for _, m := range more {
		maps.Copy(rec, m)
	}
	return rec
}

func TestServerListensOnLoopback(t *testing.T) {
	srv := eryxontest.NewServer(t)
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+/functions/v1$`, srv.URL)
	r := caller{srv, http.DefaultClient}.put("/api-jobs/sync", job("1"))
	assert.Equal(t, 201, r.status)
	assert.NotEmpty(t, r.header.Get("X-Request-Id"))
}

func TestStartAndCloseWithoutATest(t *testing.T) {
	srv := eryxontest.New()
	assert.Equal(t, "http://localhost/functions/v1", srv.URL)
	url, err := srv.Start()
	require.NoError(t, err)
	assert.Equal(t, srv.URL, url)
	_, err = srv.Start()
	require.Error(t, err)
	require.Equal(t, 201, in(srv).put("/api-jobs/sync", job("1")).status)
	srv.Close()
	srv.Close()
	require.Error(t, caller{srv, http.DefaultClient}.put("/api-jobs/sync", job("1")).err)
	require.Error(t, in(srv).put("/api-jobs/sync", job("1")).err)
}

func TestMountedWithStrippedPrefix(t *testing.T) {
	srv := eryxontest.New()
	outer := eryxontest.New() // only for its URL
	mux := http.NewServeMux()
	mux.Handle("/functions/v1/", http.StripPrefix("/functions/v1", srv))
	client := &http.Client{Transport: handlerTransport{mux}}
	r := caller{outer, client}.put("/api-jobs/sync", job("1"))
	assert.Equal(t, 201, r.status)
	_, ok := srv.Row(eryxontest.Jobs, "SAP", "1")
	assert.True(t, ok)
}

// handlerTransport is the least one can do to call a handler.
type handlerTransport struct{ h http.Handler }

func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &plainWriter{header: http.Header{}}
	t.h.ServeHTTP(w, r)
	return &http.Response{StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body)}, nil
}

type plainWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *plainWriter) Header() http.Header         { return w.header }
func (w *plainWriter) WriteHeader(s int)           { w.status = s }
func (w *plainWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

func TestRoutes(t *testing.T) {
	c := in(eryxontest.New())
	for path, want := range map[string]int{
		"/api-widgets/sync":      404,
		"/api-jobs/nowhere":      404,
		"/api-jobs/sync/":        404,
		"/api-jobs/sync/x":       404,
		"//api-jobs/sync":        404,
		"/functions/v1/api-jobs": 404,
	} {
		r := c.put(path, job("1"))
		assert.Equal(t, want, r.status, path)
		assert.Equal(t, "NOT_FOUND", r.fault()["code"], path)
		assert.Equal(t, false, r.body["success"], path)
	}
	r := c.do(t.Context(), "PATCH", "/api-jobs/sync", job("1"))
	assert.Equal(t, 405, r.status)
	r = c.put("/api-jobs/bulk-sync", object{"jobs": []any{}})
	assert.Equal(t, 405, r.status)
	assert.Empty(t, c.srv.Rows(eryxontest.Jobs))
}

func TestKey(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithKey("ery_live_mine"))
	assert.Equal(t, "ery_live_mine", srv.Key)
	send := func(auth string) reply {
		req, err := http.NewRequest("GET", srv.URL+"/api-jobs", nil)
		require.NoError(t, err)
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		res, err := srv.Client().Do(req)
		require.NoError(t, err)
		raw, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		r := reply{status: res.StatusCode}
		require.NoError(t, json.Unmarshal(raw, &r.body))
		return r
	}
	r := send("")
	assert.Equal(t, 401, r.status)
	assert.Equal(t, object{"code": "UNAUTHORIZED", "message": "Missing or invalid authorization header"}, r.fault())
	r = send("Bearer other")
	assert.Equal(t, 401, r.status)
	assert.Equal(t, object{"code": "UNAUTHORIZED", "message": "Invalid API key"}, r.fault())

	require.Equal(t, 201, in(srv).put("/api-jobs/sync", job("1")).status)
	srv.RevokeKey()
	assert.Equal(t, 401, in(srv).put("/api-jobs/sync", job("1")).status)
	srv.RestoreKey()
	assert.Equal(t, 200, in(srv).put("/api-jobs/sync", job("1")).status)
}

func TestLogOfRequests(t *testing.T) {
	srv := eryxontest.New()
	c := in(srv)
	c.bulk(eryxontest.Jobs, job("1"), job("2"), object{"external_source": "SAP"})
	req, err := http.NewRequest("PUT", srv.URL+"/api-cells/sync?x=y", strings.NewReader(`{"external_id":"C","external_source":"SAP","name":"Cut"}`))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+srv.Key)
	req.Header.Set("X-Request-Id", "mine-1")
	req.Header.Set("X-Other", "kept")
	res, err := srv.Client().Do(req)
	require.NoError(t, err)
	assert.Equal(t, "mine-1", res.Header.Get("X-Request-Id"))

	log := srv.Requests()
	require.Len(t, log, 2)
	assert.Equal(t, "POST", log[0].Method)
	assert.Equal(t, "/functions/v1/api-jobs/bulk-sync", log[0].Path)
	assert.Equal(t, eryxontest.Jobs, log[0].Entity)
	assert.Equal(t, []eryxontest.Key{{eryxontest.Jobs, "SAP", "1"}, {eryxontest.Jobs, "SAP", "2"}}, log[0].Keys)
	assert.Equal(t, 3, log[0].Records)
	assert.Equal(t, 200, log[0].Status)
	assert.Contains(t, string(log[0].Body), `"job_number":"N-1"`)
	assert.NotEmpty(t, log[0].RequestID)
	assert.False(t, log[0].End.Before(log[0].Start))
	assert.Equal(t, "mine-1", log[1].RequestID)
	assert.Equal(t, "y", log[1].Query.Get("x"))
	assert.Equal(t, "kept", log[1].Header.Get("X-Other"))
	assert.Empty(t, log[1].Header.Get("Authorization"), "the key is not kept")
	assert.Equal(t, 201, log[1].Status)

	srv.Reset()
	assert.Empty(t, srv.Requests())
	assert.Empty(t, srv.Rows(eryxontest.Jobs))
	assert.Equal(t, 201, c.put("/api-jobs/sync", job("1")).status)
}

func TestRequestLogIsBounded(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 1, 2: 2, 9: 4} {
		srv := eryxontest.New(eryxontest.WithRequestLog(n))
		for i := range 4 {
			in(srv).put("/api-jobs/sync", job(fmt.Sprint(i)))
		}
		log := srv.Requests()
		require.Len(t, log, want)
		if want > 0 {
			assert.Equal(t, "3", log[want-1].Keys[0].ExternalID, "the last is kept")
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		srv := eryxontest.New()
		_ = srv.Client()
	}
}

func BenchmarkBulk(b *testing.B) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08} {
		b.Run(string(release), func(b *testing.B) {
			srv := eryxontest.New(eryxontest.WithRelease(release), eryxontest.WithRequestLog(0))
			c := in(srv)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				var body bytes.Buffer
				body.WriteString(`{"jobs":[`)
				for i := range 1000 {
					if i > 0 {
						body.WriteByte(',')
					}
					n++
					fmt.Fprintf(&body, `{"external_id":"SO-%d","external_source":"SAP","job_number":"J-%d","customer":"Acme","due_date":"2024-12-31","notes":"x"}`, n, n)
				}
				body.WriteString(`]}`)
				if r := c.do(b.Context(), "POST", "/api-jobs/bulk-sync", body.String()); r.status != 200 {
					b.Fatal(r.status, r.text)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
		})
	}
}
