package eryxon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// found is the finding of that name; there is exactly one.
func found(t testing.TB, d *Diagnosis, name string) Finding {
	t.Helper()
	var hits []Finding
	for _, f := range d.Findings {
		if f.Name == name {
			hits = append(hits, f)
		}
	}
	require.Len(t, hits, 1, "%s", d)
	return hits[0]
}

// healths are those of all findings, in their order.
func healths(d *Diagnosis) string {
	letters := map[Health]string{HealthNotChecked: "-", HealthOK: "o", HealthWarning: "w", HealthProblem: "P"}
	var b strings.Builder
	for _, f := range d.Findings {
		b.WriteString(letters[f.Health])
	}
	return b.String()
}

// sound are the rules that hold for every diagnosis.
func sound(t testing.TB, d *Diagnosis) {
	t.Helper()
	names := make([]string, 0, len(d.Findings))
	for _, f := range d.Findings {
		names = append(names, f.Name)
		assert.NotEmpty(t, f.Detail, f.Name)
		assert.NotContains(t, f.Detail+f.Next, "\n")
		assert.Equal(t, f.Health == HealthWarning || f.Health == HealthProblem, f.Next != "", "%s: a next step where there is one to take: %+v", f.Name, f)
	}
	assert.Equal(t, []string{"base URL", "TLS", "API key", "release", "columns", "quota", "clock", "sync state"}, names)
	assert.LessOrEqual(t, d.Requests, 3)
	assert.Equal(t, d.Err() == nil, d.Healthy())
	raw, err := json.Marshal(d)
	require.NoError(t, err)
	texts := d.String() + string(raw)
	if err := d.Err(); err != nil {
		texts += err.Error()
		assert.True(t, strings.HasPrefix(err.Error(), "eryxon: "), "%s", err)
		assert.NotContains(t, err.Error(), "\n")
	} else {
		assert.NotContains(t, healths(d), "P")
	}
	for _, key := range []string{testKey, "ery_live_eryxontest"} {
		assert.NotContains(t, texts, key)
	}
}

func diagnose(t testing.TB, c *Client, opts ...BulkOption) *Diagnosis {
	t.Helper()
	d := c.Doctor(t.Context(), opts...)
	sound(t, d)
	return d
}

func TestDoctorOnEachRelease(t *testing.T) {
	for _, release := range []eryxontest.Release{eryxontest.Documented, eryxontest.V01, eryxontest.V08, eryxontest.V08AsMigrated} {
		t.Run(string(release), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := eryxontest.New(eryxontest.WithRelease(release))
				c := onServer(t, srv)
				d := diagnose(t, c)
				assert.Equal(t, "ooo"+"o-oo-", healths(d), "%s", d)
				require.NoError(t, d.Err())
				assert.Equal(t, srv.URL, d.BaseURL)
				requests := srv.Requests()
				assert.Len(t, requests, d.Requests)
				assert.Equal(t, 3, d.Requests)
				for _, r := range requests {
					assert.Equal(t, http.MethodGet, r.Method)
					if release != eryxontest.Documented {
						assert.Equal(t, 200, r.Status, r.Path)
					}
				}
				assert.Empty(t, d.Release, "reads don't prove it")
				assert.Equal(t, ReleaseUnknown, c.Release())
				looks := ReleaseV08
				if release == eryxontest.V01 {
					looks = ReleaseV01
				}
				assert.Contains(t, found(t, d, "release").Detail, string(looks))
				assert.Equal(t, release == eryxontest.V01, c.core.knownToFill(), "it learned what the next sync would ask")
				assert.Contains(t, found(t, d, "TLS").Detail, "does not leave this machine")
			})
		})
	}
}

func TestDoctorLearnsNoMoreThanTheSyncWould(t *testing.T) {
	for release, want := range map[eryxontest.Release]filling{eryxontest.Documented: fillingNo, eryxontest.V01: fillingYes, eryxontest.V08: fillingNo} {
		srv := eryxontest.New(eryxontest.WithRelease(release))
		doctored, asked := onServer(t, srv), onServer(t, srv)
		diagnose(t, doctored)
		cfg := asked.core.cfg
		_, _, _, err := asked.core.fills(t.Context(), &cfg, newSightings())
		require.NoError(t, err)
		assert.Equal(t, want, asked.core.shared.dialect.known())
		assert.Equal(t, want, doctored.core.shared.dialect.known())
	}
	// A list in another form teaches nothing.
	c, _ := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":[]}`)})
	d := diagnose(t, c)
	assert.Equal(t, fillingUnknown, c.core.shared.dialect.known())
	assert.Equal(t, HealthNotChecked, found(t, d, "release").Health)
	assert.Equal(t, HealthOK, found(t, d, "API key").Health)
}

func TestDoctorTellsTheReleaseThatIsKnown(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08))
	c := onServer(t, srv)
	_, err := c.Jobs.BulkSync(t.Context(), jobs(2))
	require.NoError(t, err)
	d := diagnose(t, c)
	assert.Equal(t, ReleaseV08, d.Release)
	assert.Equal(t, "recognised as "+string(ReleaseV08)+" by an earlier answer", found(t, d, "release").Detail)

	for release, health := range map[eryxontest.Release]Health{eryxontest.V08: HealthOK, eryxontest.V01: HealthWarning} {
		d = diagnose(t, onServer(t, eryxontest.New(eryxontest.WithRelease(release)), WithRelease(ReleaseV08)))
		f := found(t, d, "release")
		assert.Equal(t, health, f.Health, "%+v", f)
		assert.Contains(t, f.Detail, "WithRelease")
		assert.Equal(t, ReleaseV08, d.Release)
	}
}

func TestDoctorSeesMissingColumnsInTheRows(t *testing.T) {
	equipment := eryxontest.Row{"name": "Saw", "type": "equipment"}
	for _, tt := range []struct {
		release eryxontest.Release
		opts    []Option
		health  Health
	}{
		{eryxontest.V08AsMigrated, nil, HealthProblem},
		{eryxontest.V08AsMigrated, []Option{WithRelease(ReleaseV08)}, HealthProblem},
		{eryxontest.V08AsMigrated, []Option{WithRelease(ReleaseV01)}, HealthWarning}, // nobody has seen that one
		{eryxontest.V08, nil, HealthOK},
		{eryxontest.V01, nil, HealthOK},
		{eryxontest.Documented, nil, HealthNotChecked}, // its rows don't show all columns
	} {
		srv := eryxontest.New(eryxontest.WithRelease(tt.release))
		srv.Seed(eryxontest.Resources, equipment)
		srv.Seed(eryxontest.Jobs, eryxontest.Row{"job_number": "J-1"})
		srv.Seed(eryxontest.Cells, eryxontest.Row{"name": "Cutting", "sequence": 1.0})
		d := diagnose(t, onServer(t, srv, tt.opts...))
		f := found(t, d, "columns")
		assert.Equal(t, tt.health, f.Health, "%s: %+v", tt.release, f)
		switch tt.health {
		case HealthProblem:
			require.ErrorIs(t, d.Err(), ErrMissingColumn)
			assert.Contains(t, f.Detail, "resources lacks sync_hash")
			assert.Contains(t, f.Detail, "most likely cells and operations too")
			assert.Contains(t, f.Next, "sync_hash (text)")
			assert.NotContains(t, f.Detail, "priority", "lists of jobs don't show it, there or not")
		case HealthWarning:
			require.NoError(t, d.Err())
			require.ErrorIs(t, f.Err, ErrMissingColumn)
			assert.NotContains(t, f.Detail, "most likely")
		case HealthOK:
			assert.Contains(t, f.Detail, "shown: cells, operations, jobs (priority)")
		}
	}
}

func TestDoctorSeesMissingColumnsInPastImports(t *testing.T) {
	request := ERPRequest{
		Jobs:      []Job{{ExternalID: "SO-1", JobNumber: "J-1", Priority: Some(3)}},
		Resources: []Resource{{ExternalID: "R-1", Name: "Saw", Type: ResourceEquipment}},
	}
	for release, health := range map[eryxontest.Release]Health{eryxontest.V08: HealthOK, eryxontest.V08AsMigrated: HealthProblem} {
		srv := eryxontest.New(eryxontest.WithRelease(release))
		_, err := onServer(t, srv).ERP.Sync(t.Context(), request)
		assert.Equal(t, health == HealthProblem, err != nil)
		f := found(t, diagnose(t, onServer(t, srv)), "columns")
		assert.Equal(t, health, f.Health, "%+v", f)
		if health == HealthProblem {
			assert.Regexp(t, `resources lacks sync_hash \(the import of 20\S+Z failed for it\).* jobs lacks priority \(the import of`, f.Detail)
			assert.Contains(t, f.Next, "WithMissingColumnsOmitted")
		} else {
			assert.Contains(t, f.Detail, "reads show: resources, jobs (priority); not shown: cells, operations")
		}
	}

	// The latest import counts, and rows count more.
	const failed = `{"entity_type":"%s","created_count":0,"created_at":"2026-11-23T10:52:59.30132+00:00","errors":[{"error":"Could not find the '%s' column of '%s' in the schema cache"}]}`
	const worked = `{"entity_type":"%s","created_count":2,"errors":null}`
	const nothing = `{"entity_type":"%s","created_count":0,"updated_count":3,"errors":[]}`
	past := func(entries ...string) httpmock.Responder {
		return answer(200, `{"success":true,"data":{"history":[`+strings.Join(entries, ",")+`]}}`)
	}
	cells := answer(200, `{"success":true,"data":{"cells":[],"pagination":{"total":0,"offset":0,"limit":1}}}`)
	none := answer(200, `{"success":true,"data":{"resources":[],"pagination":{"total":0,"offset":0,"limit":1}}}`)
	whole := answer(200, `{"success":true,"data":{"resources":[{"tenant_id":"t","synced_at":null,"sync_hash":null}],"pagination":{"total":1,"offset":0,"limit":1}}}`)
	badResources, badJobs := fmt.Sprintf(failed, "resources", "sync_hash", "resources"), fmt.Sprintf(failed, "jobs", "priority", "jobs")
	goodResources, goodJobs := fmt.Sprintf(worked, "resources"), fmt.Sprintf(worked, "jobs")
	for _, tt := range []struct {
		resources, history httpmock.Responder
		health             Health
	}{
		{none, past(badJobs), HealthWarning},
		{none, past(goodJobs, badJobs), HealthOK},
		{none, past(badJobs, goodJobs), HealthWarning},
		{none, past(badResources, goodResources), HealthProblem},
		{none, past(goodResources, badResources), HealthOK},
		{whole, past(badResources), HealthOK},
		{answer(200, `{"success":true,"data":{"resources":[{"tenant_id":"t"}]}}`), past(), HealthNotChecked}, // not all of its columns
		{answer(200, `{"success":true,"data":{"resources":[{"synced_at":null}]}}`), past(), HealthNotChecked},
		{answer(200, `{"success":true,"data":{"resources":[7]}}`), past(), HealthNotChecked},
		{none, past(fmt.Sprintf(nothing, "jobs"), badJobs), HealthWarning}, // the later one wrote no priority
		{none, past(fmt.Sprintf(nothing, "resources"), badResources), HealthOK},
		{none, past(fmt.Sprintf(failed, "resources", "color", "resources")), HealthNotChecked},
		{none, past(fmt.Sprintf(failed, "parts", "sync_hash", "parts")), HealthNotChecked},
		{none, refusal(404, "NOT_FOUND", "no such endpoint"), HealthNotChecked},
		{none, answer(200, `{"success":true,"data":{"history":[7,null,{"entity_type":4}]}}`), HealthNotChecked},
		{none, broken(), HealthNotChecked},
	} {
		c, s := scripted(t, []httpmock.Responder{cells, tt.resources, tt.history})
		d := diagnose(t, c)
		f := found(t, d, "columns")
		assert.Equal(t, tt.health, f.Health, "%+v", f)
		require.Len(t, s.requests(), 3)
		assert.Equal(t, "/api-cells?limit=1", s.requests()[0].path)
		assert.Equal(t, "/api-resources?limit=1", s.requests()[1].path)
		assert.Equal(t, "/api-erp-sync/status?limit=20", s.requests()[2].path)
		assert.NotErrorIs(t, d.Err(), context.Canceled)
	}

	c, _ := scripted(t, []httpmock.Responder{cells, refusal(500, "INTERNAL_ERROR", "column resources.zzz does not exist")})
	d := diagnose(t, c)
	f := found(t, d, "columns")
	assert.Equal(t, HealthWarning, f.Health)
	assert.Contains(t, f.Detail, "column resources.zzz does not exist")
	require.ErrorIs(t, f.Err, ErrMissingColumn)
	assert.Equal(t, 2, d.Requests)
}

func TestDoctorRecallsWhatSyncsHaveMet(t *testing.T) {
	srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08AsMigrated))
	c := onServer(t, srv, WithMissingColumnsOmitted())
	_, err := c.Cells.BulkSync(t.Context(), []Cell{{ExternalID: "C-1", Name: "Cutting"}})
	require.ErrorIs(t, err, ErrMissingColumn)
	_, err = c.Jobs.Sync(t.Context(), Job{ExternalID: "SO-1", JobNumber: "J-1", Priority: Some(3)})
	require.NoError(t, err)
	d := diagnose(t, c)
	f := found(t, d, "columns")
	assert.Equal(t, HealthProblem, f.Health)
	assert.Contains(t, f.Detail, "cells lacks sync_hash (a sync of this client was refused for it)")
	assert.Contains(t, f.Detail, "jobs lacks priority (a sync of this client")

	// The owner has added the column, and the client does not know yet.
	repaired := answer(200, `{"success":true,"data":{"resources":[{"tenant_id":"t","synced_at":null,"sync_hash":null}]}}`)
	c, _ = scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"cells":[],"pagination":{}}}`), repaired, broken()})
	dialect := &c.core.shared.dialect
	mark(dialect, &dialect.lacking, EntityResources, ErrMissingColumn)
	f = found(t, diagnose(t, c), "columns")
	assert.Equal(t, HealthWarning, f.Health)
	assert.Contains(t, f.Next, "new client")

	c, s := scripted(t, []httpmock.Responder{answer(200, `{"success":true,"data":{"cells":[],"pagination":{}}}`), repaired})
	dialect = &c.core.shared.dialect
	for _, e := range hashless {
		mark(dialect, &dialect.proven, e, true)
	}
	mark(dialect, &dialect.absent, "jobs.priority", true)
	f = found(t, diagnose(t, c), "columns")
	assert.Equal(t, HealthWarning, f.Health)
	assert.Contains(t, f.Next, "priority (integer)")
	assert.Len(t, s.requests(), 2, "past imports can add nothing")
}

func TestDoctorOnAnAnswerThatIsNone(t *testing.T) {
	html := httpmock.NewStringResponder(200, "<!DOCTYPE html><title>Sign in</title>")
	for name, tt := range map[string]struct {
		answer  httpmock.Responder
		healths string
		kind    error
		detail  string // of the first problem
		next    string
	}{
		"unauthorized":  {refusal(401, "UNAUTHORIZED", "Invalid API key"), "o-P--oo-", ErrUnauthorized, "Invalid API key", "revoked"},
		"by a gateway":  {answer(401, `{"message":"Missing authorization header"}`), "o-P--oo-", ErrUnauthorized, "gateway", "gateway"},
		"on a 200":      {refusal(200, "UNAUTHORIZED", "Invalid API key"), "o-P--oo-", ErrUnauthorized, "Invalid API key", "revoked"},
		"forbidden":     {refusal(403, "FORBIDDEN", "read scope missing"), "o-P--oo-", ErrForbidden, "read scope missing", "owner"},
		"firewall":      {httpmock.NewStringResponder(403, "<html>blocked</html>"), "P----oo-", ErrForbidden, "403 Forbidden", "firewall"},
		"wrong path":    {answer(404, `{"msg":"Requested function was not found"}`), "P----oo-", ErrNotFound, "404", "ends where /api-jobs begins"},
		"HTML":          {html, "P----oo-", ErrBadAnswer, "answer is HTML", "login page"},
		"empty":         {answer(200, ""), "P----oo-", ErrBadAnswer, "empty answer", "login page"},
		"other JSON":    {answer(200, `{"success":true,"data":{"hello":1}}`), "P----oo-", ErrBadAnswer, "holds no list of cells", "login page"},
		"redirect":      {answer(301, "", "Location", "https://mes.example/login?next=/"), "P----oo-", ErrRedirect, "to https://mes.example/login refused", "redirected to"},
		"server":        {refusal(500, "INTERNAL_ERROR", "boom"), "P----oo-", ErrServer, "boom (request id ", "later"},
		"gateway":       {httpmock.NewStringResponder(503, "<html>"), "P----oo-", ErrServer, "503 Service Unavailable", "later"},
		"gateway slow":  {httpmock.NewStringResponder(504, "upstream request timeout"), "P----oo-", ErrTimeout, "504", "later"},
		"teapot":        {answer(418, `{}`), "P----oo-", nil, "418", "later"},
		"plan":          {refusal(402, "QUOTA_EXCEEDED", "plan full"), "o----Po-", ErrQuotaExceeded, "plan full", "raise its plan"},
		"limit":         {refusal(429, "RATE_LIMIT_EXCEEDED", "too many"), "o----Po-", ErrRateLimited, "no request is left", "wait"},
		"limit by name": {answer(429, "", "Retry-After", "7200"), "o----Po-", ErrRateLimited, ", for 2h0m", "wait"},
	} {
		t.Run(name, func(t *testing.T) {
			dated := func(r *http.Request) (*http.Response, error) {
				resp, err := tt.answer(r)
				if err == nil {
					resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
				}
				return resp, err
			}
			c, s := scripted(t, []httpmock.Responder{dated})
			d := diagnose(t, c)
			assert.Equal(t, tt.healths, healths(d), "%s", d)
			assert.Len(t, s.requests(), 1, "what failed is not repeated")
			assert.Equal(t, 1, d.Requests)
			require.Error(t, d.Err())
			if tt.kind != nil {
				require.ErrorIs(t, d.Err(), tt.kind)
			}
			for _, f := range d.Findings {
				if f.Health == HealthProblem {
					assert.Contains(t, f.Detail, tt.detail)
					assert.Contains(t, f.Next, tt.next)
					assert.Contains(t, d.Err().Error(), f.Next)
					assert.Contains(t, d.String(), "-> "+f.Next+"\n")
				}
			}
		})
	}
}

func TestDoctorWithoutAConnection(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for name, tt := range map[string]struct {
		err          error
		healths      string
		detail, next string
	}{
		"no name":      {dial(&net.DNSError{Err: "no such host", Name: "erp.example", IsNotFound: true}), "P------", "no such host: erp.example", "spelling"},
		"no DNS":       {dial(&net.DNSError{Err: "i/o timeout", Name: "erp.example", IsTimeout: true}), "P------", "can't be looked up: i/o timeout", "name server"},
		"closed":       {dial(errors.New("connect: connection refused")), "P------", "can't connect to erp.example: connect: connection refused", "host and port"},
		"proxy":        {&net.OpError{Op: "proxyconnect", Net: "tcp", Err: dial(&net.DNSError{Err: "no such host", Name: "proxy", IsNotFound: true})}, "P------", "the proxy can't be reached: dial tcp: lookup proxy", "HTTPS_PROXY"},
		"reset":        {errors.New("read: connection reset by " + testKey), "P------", "connection reset by [key struck out]", "network"},
		"timeout":      {dial(context.DeadlineExceeded), "P------", "no answer in time, from erp.example", "firewall"},
		"unverified":   {&tls.CertificateVerificationError{Err: errors.New("pin does not match")}, "oP-----", "pin does not match", "TLS version"},
		"plain":        {http.ErrSchemeMismatch, "oP-----", "does not speak TLS", "http://"},
		"records":      {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "oP-----", "does not speak TLS", "http://"},
		"wrong host":   {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "erp.example"}, "oP-----", "is for no host, not for erp.example", "check the base URL's host"},
		"hostile":      {x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"mes", "a\nb"}}, Host: "erp.example"}, "oP-----", "is for mes, a b, not", "check"},
		"no issuer":    {x509.UnknownAuthorityError{}, "oP-----", "signed by an authority, which", "root certificate"},
		"not an IP CN": {x509.CertificateInvalidError{Reason: x509.TooManyIntermediates}, "oP-----", "too many intermediates", "certificate are in order"},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(t, []httpmock.Responder{httpmock.NewErrorResponder(tt.err)})
			d := diagnose(t, c)
			assert.Equal(t, tt.healths+"-", healths(d), "%s", d)
			assert.Len(t, s.requests(), 1)
			require.Error(t, d.Err())
			for _, f := range d.Findings {
				if f.Health == HealthProblem {
					assert.Contains(t, f.Detail, tt.detail)
					assert.Contains(t, f.Next, tt.next)
				}
			}
			var api *APIError
			require.ErrorAs(t, d.Err(), &api)
		})
	}
}

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-1000 * 24 * time.Hour), NotAfter: time.Now().Add(1000 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	a := &authority{key: key, pool: x509.NewCertPool()}
	a.cert, err = x509.ParseCertificate(raw)
	require.NoError(t, err)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate of that time for hosts and for 127.0.0.1.
func (a *authority) sign(t testing.TB, from, to time.Time, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "mes"}, NotBefore: from, NotAfter: to,
		DNSNames: []string{"mes.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if change != nil {
		change(template)
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

func TestDoctorOnCertificates(t *testing.T) {
	root := newAuthority(t)
	now, day := time.Now(), 24*time.Hour
	for name, tt := range map[string]struct {
		from, to     time.Time
		change       func(*x509.Certificate)
		trust        *x509.CertPool
		skip         bool
		h2           bool
		health       Health
		detail, next string
		as           any
	}{
		"good":     {from: now.Add(-day), to: now.Add(90*day + time.Hour), trust: root.pool, health: HealthOK, detail: "TLS 1.3, certificate valid until " + moment(now.Add(90*day+time.Hour)) + ", for 90 days"},
		"good h2":  {from: now.Add(-day), to: now.Add(90 * day), trust: root.pool, h2: true, health: HealthOK, detail: "for 89 days"},
		"ending":   {from: now.Add(-day), to: now.Add(3*day + time.Hour), trust: root.pool, health: HealthWarning, detail: "for 3 days", next: "renewed"},
		"expired":  {from: now.Add(-9 * day), to: now.Add(-5*day - time.Hour), trust: root.pool, health: HealthProblem, detail: "5 days ago by this machine's clock", next: "renew", as: &x509.CertificateInvalidError{}},
		"not yet":  {from: now.Add(day), to: now.Add(9 * day), trust: root.pool, health: HealthProblem, detail: "valid from " + moment(now.Add(day)), next: "set this machine's clock", as: &x509.CertificateInvalidError{}},
		"unknown":  {from: now.Add(-day), to: now.Add(90 * day), trust: x509.NewCertPool(), health: HealthProblem, detail: "signed by CN=Test Root, which this machine does not trust", next: "root certificate", as: &x509.UnknownAuthorityError{}},
		"host":     {from: now.Add(-day), to: now.Add(90 * day), change: func(c *x509.Certificate) { c.IPAddresses = nil }, trust: root.pool, health: HealthProblem, detail: "is for mes.example, not for 127.0.0.1", next: "base URL's host", as: &x509.HostnameError{}},
		"skipping": {from: now.Add(-day), to: now.Add(90 * day), trust: x509.NewCertPool(), skip: true, health: HealthWarning, detail: "InsecureSkipVerify", next: "InsecureSkipVerify"},
	} {
		t.Run(name, func(t *testing.T) {
			inner := eryxontest.New()
			srv := httptest.NewUnstartedServer(inner)
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{root.sign(t, tt.from, tt.to, tt.change)}}
			srv.EnableHTTP2 = tt.h2
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.StartTLS()
			defer srv.Close()
			transport := &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: tt.trust, InsecureSkipVerify: tt.skip},
				ForceAttemptHTTP2: tt.h2,
			}
			defer transport.CloseIdleConnections()
			c, err := New(srv.URL+"/functions/v1", inner.Key, WithHTTPClient(&http.Client{Transport: transport}))
			require.NoError(t, err)
			for i := range 2 { // the second time over the same connection
				d := diagnose(t, c)
				assert.Equal(t, HealthOK, found(t, d, "base URL").Health, "%s", d)
				assert.Contains(t, found(t, d, "base URL").Detail, srv.Listener.Addr().String())
				f := found(t, d, "TLS")
				assert.Equal(t, tt.health, f.Health, "%d: %+v", i, f)
				assert.Contains(t, f.Detail, tt.detail)
				assert.Contains(t, f.Next, tt.next)
				if tt.as != nil {
					switch want := tt.as.(type) {
					case *x509.CertificateInvalidError:
						require.ErrorAs(t, d.Err(), want)
					case *x509.UnknownAuthorityError:
						require.ErrorAs(t, d.Err(), want)
					case *x509.HostnameError:
						require.ErrorAs(t, d.Err(), want)
					}
					require.ErrorIs(t, d.Err(), ErrConnection)
					assert.Equal(t, "oP------", healths(d))
				}
			}
		})
	}
}

// The chain that holds longest counts, and holds as long as its first link.
func TestACertificateIsValidAsLongAsItsBestChain(t *testing.T) {
	at := func(days int) *x509.Certificate {
		return &x509.Certificate{NotAfter: time.Unix(0, 0).Add(time.Duration(days) * 24 * time.Hour)}
	}
	state := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{at(90), at(5)}, {at(90), at(40), at(900)}, {at(30)}}}
	assert.Equal(t, at(40).NotAfter, validUntil(state))
}

// listen takes connections and hands them to serve; it returns the address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestDoctorOnSockets(t *testing.T) {
	closed := func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, l.Close())
		return l.Addr().String()
	}
	silent := func(t *testing.T) string {
		return listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	}
	answering := func(text string) func(*testing.T) string {
		return func(t *testing.T) string {
			return listen(t, func(c net.Conn) {
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, text)
			})
		}
	}
	secure := func(t *testing.T) string {
		srv := httptest.NewUnstartedServer(http.NotFoundHandler())
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
	byName := func(address func(*testing.T) string) func(*testing.T) string {
		return func(t *testing.T) string { return strings.Replace(address(t), "127.0.0.1", "localhost", 1) }
	}
	for name, tt := range map[string]struct {
		address      func(*testing.T) string
		scheme       string
		name         string
		detail, next string
	}{
		"closed port":        {closed, "http", "base URL", "can't connect to 127.0.0.1:", "host and port"},
		"closed port, name":  {byName(closed), "http", "base URL", "can't connect to localhost:", "host and port"},
		"closed port, TLS":   {closed, "https", "base URL", "connection refused", "host and port"},
		"silent":             {silent, "http", "base URL", "and no answer within 100ms", "stuck or overloaded"},
		"silent handshake":   {silent, "https", "TLS", "the handshake did not end in time", "firewall"},
		"hanging up":         {answering(""), "http", "base URL", "waiting for an answer from 127.0.0.1:", "HTTP server"},
		"hanging up, TLS":    {answering(""), "https", "TLS", "the handshake failed: EOF", "TLS version"},
		"another protocol":   {answering("SSH-2.0-OpenSSH_9.6\r\n"), "http", "base URL", "malformed HTTP", "HTTP server"},
		"no TLS, other":      {answering("SSH-2.0-OpenSSH_9.6\r\n"), "https", "TLS", "does not speak TLS", "http://"},
		"no TLS":             {answering("HTTP/1.1 400 Bad Request\r\n\r\n"), "https", "TLS", "does not speak TLS", "http://"},
		"TLS and plain http": {secure, "http", "base URL", "400 Bad Request", "https://"},
	} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			c, err := New(tt.scheme+"://"+tt.address(t), testKey, WithHTTPClient(&http.Client{Transport: transport}))
			require.NoError(t, err)
			d := diagnose(t, c, WithAttemptTimeout(100*time.Millisecond))
			f := found(t, d, tt.name)
			assert.Equal(t, HealthProblem, f.Health, "%s", d)
			assert.Contains(t, f.Detail, tt.detail)
			assert.Contains(t, f.Next, tt.next)
			assert.Equal(t, 1, strings.Count(healths(d), "P"), "%s", d)
			require.NoError(t, d.Ended)
		})
	}
}

func TestDoctorOnPlainHTTPToAnotherMachine(t *testing.T) {
	wire := httpmock.NewMockTransport()
	wire.RegisterNoResponder(answer(200, `{"success":true,"data":{"cells":[],"pagination":{}}}`))
	c, err := New("http://mes.example/functions/v1", testKey, WithHTTPClient(&http.Client{Transport: wire}), WithPlainHTTPAllowed())
	require.NoError(t, err)
	d := diagnose(t, c)
	f := found(t, d, "TLS")
	assert.Equal(t, HealthWarning, f.Health)
	assert.Equal(t, "use https", f.Next)
	require.NoError(t, d.Err(), "a warning is no problem")
	assert.Equal(t, HealthNotChecked, found(t, diagnose(t, mustScript(t, answer(200, `{"success":true,"data":{"cells":[]}}`))), "TLS").Health,
		"the transport does not show the certificate")
}

func mustScript(t *testing.T, answers ...httpmock.Responder) *Client {
	c, _ := scripted(t, answers)
	return c
}

const emptyCells = `{"success":true,"data":{"cells":[],"pagination":{"total":0,"offset":0,"limit":1}}}`

func TestDoctorOnTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reset := time.Now().Add(3*time.Hour + 10*time.Minute).UTC()
		for _, tt := range []struct {
			limit     string
			remaining int // after the first request
			health    Health
			detail    string
			requests  int
		}{
			{"100", 57, HealthOK, "55 requests left of 100 until " + moment(reset) + ", for 3h10m", 3},
			{"", 12, HealthOK, "10 requests left until", 3},
			{"100", 11, HealthWarning, "9 requests left", 3},
			{"100", 9, HealthWarning, "9 requests left of", 1},
			{"100", 1, HealthWarning, "1 request left of", 1},
			{"100", 0, HealthProblem, "no request is left of 100 until " + moment(reset), 1},
		} {
			left := tt.remaining
			respond := func(r *http.Request) (*http.Response, error) {
				defer func() { left-- }()
				return answer(200, strings.Replace(emptyCells, "cells", r.URL.Path[len("/functions/v1/api-"):], 1), "Date", time.Now().UTC().Format(http.TimeFormat),
					"X-RateLimit-Limit", tt.limit, "X-RateLimit-Remaining", strconv.Itoa(left), "X-RateLimit-Reset", reset.Format(time.RFC3339))(r)
			}
			c, _ := scripted(t, []httpmock.Responder{respond})
			d := diagnose(t, c)
			f := found(t, d, "quota")
			assert.Equal(t, tt.requests, d.Requests)
			assert.Equal(t, HealthNotChecked, found(t, d, "columns").Health)
			assert.Equal(t, tt.requests == 1, strings.Contains(found(t, d, "columns").Detail, "few requests"))
			assert.Equal(t, tt.health, f.Health, "%+v", f)
			assert.Contains(t, f.Detail, tt.detail)
			if tt.health == HealthProblem {
				require.ErrorIs(t, d.Err(), ErrRateLimited)
				var limited *RateLimitError
				require.ErrorAs(t, d.Err(), &limited)
				assert.Equal(t, reset, limited.Reset.UTC())
			}
		}
	})
}

func TestDoctorLeavesTheReserveToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, []httpmock.Responder{answer(200, emptyCells)}, WithDailyQuota(30))
		d := diagnose(t, c, WithQuotaReserve(20))
		assert.Len(t, s.requests(), 1)
		f := found(t, d, "quota")
		assert.Equal(t, HealthWarning, f.Health)
		assert.Contains(t, f.Detail, "29 requests left of 30 until")
		assert.Contains(t, f.Detail, "20 of them for others")
		d = diagnose(t, c, WithQuotaReserve(29))
		assert.Len(t, s.requests(), 1, "none is left for this")
		assert.Equal(t, "-----P--", healths(d))
		f = found(t, d, "quota")
		assert.Contains(t, f.Detail, "29 requests left of 30")
		assert.Contains(t, f.Detail, "for 24h0m, and WithQuotaReserve leaves 29 to others")
		require.ErrorIs(t, d.Err(), ErrRateLimited)
	})
}

func TestDoctorSendsNothingWhereTheQuotaIsKnownToBeUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New(eryxontest.WithRelease(eryxontest.V08), eryxontest.WithQuota(2, time.Hour))
		c := onServer(t, srv, WithMaxWait(2*time.Hour))
		d := diagnose(t, c)
		assert.Equal(t, "ooo"+"o-Po-", healths(d), "the third request was turned away: %s", d)
		assert.Equal(t, 3, d.Requests)
		started := time.Now()
		d = diagnose(t, c)
		assert.Equal(t, "-----P--", healths(d), "%s", d)
		assert.Zero(t, d.Requests)
		assert.Len(t, srv.Requests(), 3)
		assert.Equal(t, started, time.Now(), "it does not wait for the window, whatever the client does")
		assert.Contains(t, found(t, d, "quota").Detail, "for 1h0m")
		require.ErrorIs(t, d.Err(), ErrRateLimited)
		require.NoError(t, d.Ended)

		srv = eryxontest.New(eryxontest.WithQuota(1, time.Hour), eryxontest.WithHeadersAlways(false))
		d = diagnose(t, onServer(t, srv))
		assert.Equal(t, HealthProblem, found(t, d, "quota").Health)
		assert.Equal(t, HealthWarning, found(t, d, "columns").Health)
		require.ErrorIs(t, found(t, d, "columns").Err, ErrRateLimited)
	})
}

func TestDoctorComparesTheClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			skew, took time.Duration
			health     Health
			detail     string
		}{
			{0, 0, HealthOK, "agrees with the server's to within 1s"},
			{12 * time.Second, 28 * time.Second, HealthOK, "agrees with the server's to within 27s"},
			{-12 * time.Second, 28 * time.Second, HealthOK, "agrees"},
			{40 * time.Second, 28 * time.Second, HealthOK, "behind"}, // it may be 26 s
			{45 * time.Second, 28 * time.Second, HealthWarning, "behind"},
			{5 * time.Second, 0, HealthOK, "behind the server's"},
			{30 * time.Second, 0, HealthOK, "behind"},
			{31 * time.Second, 0, HealthWarning, "this machine's is 32s behind the server's, give or take 500ms"},
			{-32 * time.Second, 0, HealthWarning, "ahead of the server's"},
			{5 * time.Minute, 0, HealthWarning, "behind"},
			{5*time.Minute + time.Second, 0, HealthProblem, "behind"},
			{-30 * time.Hour, 4 * time.Second, HealthProblem, "this machine's is 30h0m ahead of the server's, give or take 3s"},
		} {
			respond := func(r *http.Request) (*http.Response, error) {
				time.Sleep(tt.took / 2)
				resp, err := answer(200, emptyCells, "Date", time.Now().Add(tt.skew).UTC().Format(http.TimeFormat))(r)
				time.Sleep(tt.took - tt.took/2)
				return resp, err
			}
			c, _ := scripted(t, []httpmock.Responder{respond})
			d := diagnose(t, c)
			f := found(t, d, "clock")
			assert.Equal(t, tt.health, f.Health, "%s: %+v", tt.skew, f)
			assert.Contains(t, f.Detail, tt.detail)
			assert.Equal(t, tt.health == HealthProblem, d.Err() != nil)
		}
		for name, headers := range map[string][]string{"no date": {}, "no time": {"Date", "noon"}, "a cache": {"Date", "Mon, 23 Nov 2026 10:54:16 GMT", "Age", "60"}} {
			c, _ := scripted(t, []httpmock.Responder{answer(200, emptyCells, headers...)})
			f := found(t, diagnose(t, c), "clock")
			assert.Equal(t, HealthNotChecked, f.Health, name)
			assert.Equal(t, name == "a cache", strings.Contains(f.Detail, "cache"))
		}
	})
}

func TestTheQuickestAnswerTellsTheTimeBest(t *testing.T) {
	start := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	dated := func(at time.Time) *result {
		return &result{status: 200, header: http.Header{"Date": {at.Format(http.TimeFormat)}}}
	}
	var r clockReading
	r.read(&result{}, &wireSight{}, start, start)
	assert.False(t, r.known)
	r.read(dated(start.Add(time.Minute)), &wireSight{}, start, start.Add(10*time.Second))
	assert.Equal(t, clockReading{known: true, offset: 55*time.Second + 500*time.Millisecond, doubt: 5*time.Second + 500*time.Millisecond}, r)
	r.read(dated(start.Add(time.Minute)), &wireSight{}, start, start)
	assert.Equal(t, clockReading{known: true, offset: 60*time.Second + 500*time.Millisecond, doubt: 500 * time.Millisecond}, r)
	r.read(dated(start), &wireSight{}, start, start.Add(time.Second))
	assert.Equal(t, 500*time.Millisecond, r.doubt)
	// Where the transport tells, connecting is no part of the round trip.
	w := &wireSight{sent: start.Add(8 * time.Second), came: start.Add(9 * time.Second)}
	sent, came := w.times(start, start.Add(10*time.Second))
	assert.Equal(t, time.Second, came.Sub(sent))
	w = &wireSight{sent: start.Add(-time.Second), came: start.Add(time.Hour)}
	sent, came = w.times(start, start.Add(10*time.Second))
	assert.Equal(t, 10*time.Second, came.Sub(sent))
}

func TestDoctorWhoseContextEnds(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	c, s := scripted(t, []httpmock.Responder{answer(200, emptyCells)})
	d := c.Doctor(ended)
	sound(t, d)
	assert.Equal(t, "--------", healths(d))
	assert.Empty(t, s.requests())
	assert.False(t, d.Healthy(), "nothing was found to be well")
	require.ErrorIs(t, d.Err(), context.Canceled)
	require.ErrorIs(t, d.Ended, context.Canceled)
	assert.Contains(t, d.String(), "not finished: context canceled\n")

	// After the first answer.
	ctx, cancel := context.WithCancel(t.Context())
	c, s = scripted(t, []httpmock.Responder{answer(200, emptyCells)})
	d = c.Doctor(ctx, WithObserver(func(context.Context, Attempt) { cancel() }))
	sound(t, d)
	assert.Equal(t, "o-oo-o--", healths(d), "%s", d)
	assert.Len(t, s.requests(), 1)
	require.ErrorIs(t, d.Err(), context.Canceled)

	// In the middle of a later one.
	ctx, cancel = context.WithCancel(t.Context())
	c, _ = scripted(t, []httpmock.Responder{answer(200, emptyCells), func(*http.Request) (*http.Response, error) {
		cancel()
		return nil, context.Canceled
	}})
	d = c.Doctor(ctx)
	sound(t, d)
	assert.Equal(t, "o-oo-o--", healths(d), "%s", d)
	require.ErrorIs(t, d.Ended, context.Canceled)

	// While the server keeps silent: it tells how far it got.
	address := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, err := New("http://"+address, testKey, WithHTTPClient(&http.Client{Transport: transport}))
	require.NoError(t, err)
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	d = c.Doctor(ctx)
	sound(t, d)
	assert.Equal(t, "--------", healths(d))
	assert.Equal(t, "broken off: context deadline exceeded, waiting for an answer from "+address, found(t, d, "base URL").Detail)
}

func TestDoctorIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := eryxontest.New()
		defer srv.Close()
		srv.Script("", eryxontest.Delay(time.Hour))
		started := time.Now()
		d := diagnose(t, onServer(t, srv, WithRetryPolicy(DefaultRetryPolicy())))
		assert.Equal(t, 30*time.Second, time.Since(started))
		assert.Equal(t, 30*time.Second, d.Duration)
		assert.Equal(t, started, d.Started)
		require.ErrorIs(t, d.Err(), ErrTimeout)
		assert.Equal(t, 1, d.Requests)
	})
}

func TestDoctorWithOptions(t *testing.T) {
	c, s := scripted(t, []httpmock.Responder{answer(200, emptyCells)})
	d := diagnose(t, c, WithConcurrency(0))
	assert.Equal(t, "--------", healths(d))
	assert.Empty(t, s.requests())
	require.ErrorContains(t, d.Err(), "WithConcurrency")

	d = diagnose(t, c, WithRequestBudget(1))
	assert.Len(t, s.requests(), 1)
	assert.Equal(t, HealthWarning, found(t, d, "columns").Health)
	assert.Contains(t, found(t, d, "columns").Detail, "request budget spent")

	w := &watch{}
	diagnose(t, c, w.option())
	assert.Len(t, w.all(), 2)
}

// shelf is a sync state for tests.
type shelf struct {
	lock, unlock, header, entries error
	kept                          map[Entity][]StateEntry
	calls                         []string
}

func (s *shelf) Lock() error   { s.calls = append(s.calls, "lock"); return s.lock }
func (s *shelf) Unlock() error { s.calls = append(s.calls, "unlock"); return s.unlock }
func (s *shelf) Header() ([]byte, error) {
	s.calls = append(s.calls, "header")
	return nil, s.header
}
func (s *shelf) Get(Entity, Key) (StateEntry, bool, error) { return StateEntry{}, false, nil }
func (s *shelf) Put([]byte, []StateEntry) error            { s.calls = append(s.calls, "put"); return nil }
func (s *shelf) Entries(e Entity) iter.Seq2[StateEntry, error] {
	return func(yield func(StateEntry, error) bool) {
		for _, entry := range s.kept[e] {
			if !yield(entry, nil) {
				return
			}
		}
		if s.entries != nil {
			yield(StateEntry{}, s.entries)
		}
	}
}

func TestDoctorOnTheSyncState(t *testing.T) {
	at := func(day int) time.Time { return time.Date(2026, 11, day, 3, 0, 0, 0, time.UTC) }
	kept := map[Entity][]StateEntry{
		EntityJobs:  {{Time: at(5)}, {Time: at(2)}, {}},
		EntityParts: {{Time: at(9)}},
	}
	all := []string{"lock", "header", "unlock"}
	for name, tt := range map[string]struct {
		st           *shelf
		health       Health
		kind         error
		detail, next string
		calls        []string
	}{
		"fine":            {&shelf{kept: kept}, HealthOK, nil, "3 jobs, 1 part; acknowledged between 2026-11-02T03:00:00Z and 2026-11-09T03:00:00Z", "", all},
		"new":             {&shelf{}, HealthOK, nil, "empty", "", all},
		"nothing known":   {&shelf{kept: map[Entity][]StateEntry{EntityCells: {{}}}}, HealthOK, nil, "1 cell; none was acknowledged yet", "", all},
		"in use":          {&shelf{lock: fmt.Errorf("eryxon: %w", ErrStateInUse)}, HealthWarning, ErrStateInUse, "another run has it", "wait until it has ended", []string{"lock"}},
		"damaged":         {&shelf{lock: fmt.Errorf("eryxon: a.db: %w", ErrStateDamaged)}, HealthProblem, ErrStateDamaged, "can't be opened: a.db: sync state damaged", "backup", []string{"lock"}},
		"mismatch":        {&shelf{header: ErrStateMismatch}, HealthProblem, ErrStateMismatch, "of another installation", "of its own", all},
		"unreadable":      {&shelf{lock: errors.New("permission denied")}, HealthProblem, nil, "permission denied", "read and write", []string{"lock"}},
		"damaged entries": {&shelf{kept: kept, entries: ErrStateDamaged}, HealthProblem, ErrStateDamaged, "can't be read after 0 cells", "backup", all},
		"not given back":  {&shelf{unlock: errors.New("disk full")}, HealthProblem, nil, "can't be given back: disk full", "file", all},
		"first cause":     {&shelf{header: ErrStateDamaged, unlock: errors.New("disk full")}, HealthProblem, ErrStateDamaged, "can't be read", "backup", all},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := diagnoseState(t.Context(), tt.st, testURL)
			assert.Equal(t, "sync state", f.Name)
			assert.Equal(t, tt.health, f.Health, "%+v", f)
			assert.Contains(t, f.Detail, tt.detail)
			assert.Contains(t, f.Next, tt.next)
			assert.Equal(t, f.Health == HealthOK, f.Next == "")
			assert.Equal(t, tt.calls, tt.st.calls)
			if tt.kind != nil {
				require.ErrorIs(t, f.Err, tt.kind)
			}
		})
	}
	none, _ := diagnoseState(t.Context(), nil, testURL)
	assert.Equal(t, HealthNotChecked, none.Health)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	st := &shelf{}
	f, _ := diagnoseState(ctx, st, testURL)
	assert.Equal(t, HealthNotChecked, f.Health)
	assert.Empty(t, st.calls)
	require.ErrorIs(t, f.Err, context.Canceled)

	// A context that ends while a long state is read ends the reading.
	ctx, cancel = context.WithCancel(t.Context())
	st = &shelf{kept: kept}
	f, _ = diagnoseState(ctx, &fadingShelf{st, cancel}, testURL)
	assert.Equal(t, HealthNotChecked, f.Health)
	assert.Equal(t, all, st.calls)
}

// fadingShelf is a state whose header is the last that is read in time.
type fadingShelf struct {
	*shelf
	end func()
}

func (s *fadingShelf) Header() ([]byte, error) {
	s.end()
	return s.shelf.Header()
}

func TestAWireSightTellsHowFarARequestGot(t *testing.T) {
	assert.Empty(t, (&wireSight{}).stage())
	w := &wireSight{}
	trace := w.trace()
	trace.DNSStart(httptrace.DNSStartInfo{Host: "erp.example"})
	assert.Equal(t, "looking up the name erp.example", w.stage())
	trace.DNSDone(httptrace.DNSDoneInfo{})
	trace.ConnectStart("tcp", "192.0.2.1:443")
	assert.Equal(t, "connecting to 192.0.2.1:443", w.stage())
	trace.ConnectDone("tcp", "192.0.2.1:443", errors.New("refused"))
	assert.False(t, w.connected())
	trace.ConnectStart("tcp", "192.0.2.2:443")
	trace.ConnectDone("tcp", "192.0.2.2:443", nil)
	trace.ConnectStart("tcp", "192.0.2.3:443") // late, and to no effect
	trace.ConnectDone("tcp", "192.0.2.3:443", nil)
	assert.Equal(t, "after connecting to 192.0.2.2:443", w.stage())
	assert.Equal(t, " at 192.0.2.2:443", w.where())
	trace.TLSHandshakeStart()
	assert.Equal(t, "in the TLS handshake with 192.0.2.2:443", w.stage())
	assert.True(t, w.handshakeFailed(io.EOF))
	trace.TLSHandshakeDone(tls.ConnectionState{Version: tls.VersionTLS13}, nil)
	assert.False(t, w.handshakeFailed(io.EOF))
	assert.Equal(t, uint16(tls.VersionTLS13), w.state().Version)
	trace.WroteRequest(httptrace.WroteRequestInfo{})
	assert.Equal(t, "waiting for an answer from 192.0.2.2:443", w.stage())
}

func TestTheDiagnosisAsATableAndAsJSON(t *testing.T) {
	d := &Diagnosis{BaseURL: testURL, Requests: 2, Findings: []Finding{
		{"base URL", HealthOK, "answers", "", nil},
		{"API key", HealthProblem, "not accepted", "check it", ErrUnauthorized},
		{"quota", HealthWarning, "3 requests left", "wait", nil},
		{"sync state", HealthProblem, "damaged", "restore it", ErrStateDamaged},
		{"clock", HealthNotChecked, "no answer", "", nil},
	}}
	assert.Equal(t, `ok           base URL    answers
problem      API key     not accepted
                         -> check it
warning      quota       3 requests left
                         -> wait
problem      sync state  damaged
                         -> restore it
not checked  clock       no answer
`, d.String())
	err := d.Err()
	require.EqualError(t, err, "eryxon: diagnosis: 2 problems: API key: not accepted; check it | sync state: damaged; restore it")
	require.ErrorIs(t, err, ErrUnauthorized)
	require.ErrorIs(t, err, ErrStateDamaged)
	assert.NotErrorIs(t, err, ErrRateLimited)
	d.Findings = d.Findings[:3]
	require.EqualError(t, d.Err(), "eryxon: diagnosis: API key: not accepted; check it")
	d.Ended = context.Canceled
	require.ErrorIs(t, d.Err(), context.Canceled)
	require.ErrorIs(t, d.Err(), ErrUnauthorized)
	d.Ended, d.Findings = nil, append(d.Findings[:1:1], d.Findings[2])
	require.NoError(t, d.Err())
	assert.True(t, d.Healthy())

	raw, err := json.Marshal(d)
	require.NoError(t, err)
	assert.JSONEq(t, `{"base_url":"`+testURL+`","started":"0001-01-01T00:00:00Z","duration_ns":0,"requests":2,"release":"","findings":[
		{"name":"base URL","health":"ok","detail":"answers"},{"name":"quota","health":"warning","detail":"3 requests left","next":"wait"}]}`, string(raw))
	var back Diagnosis
	require.NoError(t, json.Unmarshal(raw, &back))
	assert.Equal(t, *d, back)

	var h Health
	require.Error(t, h.UnmarshalText([]byte("well")))
	assert.Equal(t, "Health(9)", Health(9).String())
	assert.Equal(t, HealthNotChecked, Health(0))
}

func TestSpansAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 120 * time.Millisecond: "120ms", 1500 * time.Millisecond: "2s", 90 * time.Second: "1m30s",
		3*time.Hour + 12*time.Minute + 9*time.Second: "3h12m", 47 * time.Hour: "47h0m", 48 * time.Hour: "2 days", 100 * 24 * time.Hour: "100 days",
	} {
		assert.Equal(t, want, span(d))
	}
}

func TestDoctorLooksAtTheStateOfEarlierRuns(t *testing.T) {
	srv := eryxontest.New()
	st := newMemState()
	c := onServer(t, srv, WithDailyQuota(5))
	_, err := c.Jobs.BulkSync(t.Context(), jobs(2), WithState(st))
	require.NoError(t, err)
	header := string(st.header)

	find := func(d *Diagnosis, name string) Finding {
		for _, f := range d.Findings {
			if f.Name == name {
				return f
			}
		}
		return Finding{}
	}
	d := onServer(t, srv, WithDailyQuota(5)).Doctor(t.Context(), WithState(st))
	require.NoError(t, d.Err())
	assert.Contains(t, find(d, "sync state").Detail, "2 jobs")
	assert.Contains(t, find(d, "quota").Detail, "left of 5", "what the earlier run has spent counts")
	assert.Equal(t, header, string(st.header), "the state stays as it is")

	other, err := New("https://other.example/functions/v1", testKey, WithHTTPClient(srv.Client()))
	require.NoError(t, err)
	d = other.Doctor(t.Context(), WithState(st))
	require.ErrorIs(t, d.Err(), ErrStateMismatch)
	require.NoError(t, st.Lock())
	d = onServer(t, srv).Doctor(t.Context(), WithState(st))
	assert.Equal(t, HealthWarning, find(d, "sync state").Health)
}
