package eryxon

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Version is the SDK's, as told in the User-Agent header.
const Version = "0.1.0"

// Environment variables that [NewFromEnv] reads.
const (
	EnvBaseURL = "ERYXON_BASE_URL"
	EnvAPIKey  = "ERYXON_API_KEY" //nolint:gosec // the variable's name, not a key
)

// Client speaks the ERP sync API of one installation with one API key. It is
// safe for concurrent use and never changes; [Client.With] makes variants. Make one with
// [New] or [NewFromEnv]: the zero value is of no use.
type Client struct {
	Jobs       *JobsService
	Parts      *PartsService
	Operations *OperationsService
	Cells      *CellsService
	Resources  *ResourcesService
	ERP        *ERPService // jobs, parts and resources in one request

	core *core
}

// core is what the services of a client share.
type core struct {
	base   string // without a trailing slash
	auth   func(*http.Request)
	redact func([]byte) []byte
	// fingerprint tells one API key from another and can't be turned back.
	fingerprint func(salt []byte) string
	http        *http.Client
	own         *http.Transport // where no http.Client was given
	cfg         config
	shared      *shared
}

// shared is what all variants of a client have in common.
type shared struct {
	limiter  limiter
	budget   retryBudget
	inFlight inFlight
	dialect  dialect
	states   stateRuns
}

// New returns a client for the installation at baseURL, such as
// https://PROJECT.supabase.co/functions/v1, with or without a trailing slash.
// There is no default host. New makes no request; it fails on a URL that is
// empty, relative, not http or https, or holds user info, query or fragment;
// on plain http to another machine, unless [WithPlainHTTPAllowed] says
// otherwise; and on a key that is empty or holds white space or line breaks.
func New(baseURL, apiKey string, opts ...Option) (*Client, error) {
	cfg := defaultConfig()
	if err := applyAll(&cfg, opts); err != nil {
		return nil, err
	}
	base, err := checkBaseURL(baseURL, cfg.plainHTTP)
	if err != nil {
		return nil, err
	}
	if err := checkKey(apiKey); err != nil {
		return nil, err
	}
	co := &core{
		base: base,
		// The key lives in these closures alone: no print verb, encoder
		// or debugger dump of the client shows it.
		auth:   func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+apiKey) },
		redact: func(b []byte) []byte { return strike(b, apiKey) },
		fingerprint: func(salt []byte) string {
			h := hmac.New(sha256.New, []byte(apiKey))
			_, _ = h.Write(append(salt[:len(salt):len(salt)], base...)) // never fails
			return hex.EncodeToString(h.Sum(nil)[:8])
		},
		shared: &shared{
			dialect: dialect{asking: make(chan struct{}, 1), making: make(chan struct{}, 1)},
			states:  stateRuns{opening: make(chan struct{}, 1)},
		},
	}
	if err := co.configure(cfg); err != nil {
		return nil, err
	}
	return newClient(co), nil
}

// NewFromEnv is [New] with ERYXON_BASE_URL and ERYXON_API_KEY.
func NewFromEnv(opts ...Option) (*Client, error) {
	baseURL, apiKey := os.Getenv(EnvBaseURL), os.Getenv(EnvAPIKey)
	switch {
	case baseURL == "" && apiKey == "":
		return nil, fmt.Errorf("eryxon: the environment has neither %s nor %s: set both", EnvBaseURL, EnvAPIKey)
	case baseURL == "":
		return nil, fmt.Errorf("eryxon: the environment has no %s: set it to the installation's API, such as https://PROJECT.supabase.co/functions/v1", EnvBaseURL)
	case apiKey == "":
		return nil, fmt.Errorf("eryxon: the environment has no %s: set it to an API key (ery_live_…)", EnvAPIKey)
	}
	return New(baseURL, apiKey, opts...)
}

// With returns a variant of c with further options. It shares the quota
// tracker, the retry budget and the connections with c, which does not change.
func (c *Client) With(opts ...Option) (*Client, error) {
	cfg := c.core.cfg
	if err := applyAll(&cfg, opts); err != nil {
		return nil, err
	}
	co := *c.core
	if err := co.configure(cfg); err != nil {
		return nil, err
	}
	return newClient(&co), nil
}

func newClient(co *core) *Client {
	return &Client{
		Jobs:       &JobsService{newSyncer[Job, *Job, JobRow](co)},
		Parts:      &PartsService{newSyncer[Part, *Part, PartRow](co)},
		Operations: &OperationsService{newSyncer[Operation, *Operation, OperationRow](co)},
		Cells:      &CellsService{newSyncer[Cell, *Cell, CellRow](co)},
		Resources:  &ResourcesService{newSyncer[Resource, *Resource, ResourceRow](co)},
		ERP:        &ERPService{co},
		core:       co,
	}
}

// RateLimit returns what is known of the request quota, without a request.
func (c *Client) RateLimit() RateLimit {
	return c.core.shared.limiter.snapshot(c.core.cfg.allowance(), time.Now())
}

// CloseIdleConnections closes connections that are kept open for reuse. Calls
// in flight are not affected, and the client can still be used.
func (c *Client) CloseIdleConnections() {
	switch hc := c.core.cfg.httpClient; {
	case hc != nil:
		hc.CloseIdleConnections()
	case c.core.own != nil:
		c.core.own.CloseIdleConnections()
	}
}

// Do makes a call that the SDK does not cover, with all of its machinery:
// key, limits, retries, request id, errors. The path is relative to the base
// URL and may hold a query. A body that is nil is not sent, a [json.RawMessage]
// or []byte is sent as it is, anything else as its JSON. Where out is not nil,
// the "data" of the answer is decoded into it. After an attempt that the server
// may have carried out, GET, HEAD, PUT and DELETE are retried, other methods
// are not.
func (c *Client) Do(ctx context.Context, method, path string, body, out any, opts ...CallOption) (*Response, error) {
	cfg, err := c.core.callConfig(opts)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("eryxon: Do: path %.80q: want one that begins with a slash, relative to the base URL", path)
	}
	if _, err := http.NewRequestWithContext(ctx, method, c.core.base+path, nil); err != nil {
		return nil, fmt.Errorf("eryxon: Do: %.80q %.80q: want an HTTP method, and a path that can stand in a URL", method, path)
	}
	cl := call{method: method, path: path, bodiless: out == nil}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete:
		cl.repeatable = true
	}
	switch b := body.(type) {
	case nil:
	case json.RawMessage:
		cl.body = b
	case []byte:
		cl.body = b
	default:
		if cl.body, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("eryxon: Do: body: %w", err)
		}
	}
	var env envelope
	cl.decode = func(body []byte) (*envelope, error) {
		var err error
		if env, err = readEnvelope(body); err == nil && out != nil && env.succeeded() {
			err = env.decodeData(out)
		}
		return &env, err
	}
	res := c.core.do(ctx, &cfg, &cl)
	return res.response(), res.err
}

// Response is what is told of the answer to a call.
type Response struct {
	StatusCode int           // HTTP status, 0 if no answer came
	Header     http.Header   // of the answer
	RequestID  string        // of the call, as the server's log has it
	Attempts   int           // requests made, at least 1 if anything was sent
	Duration   time.Duration // from the first attempt to the answer, waits included
}

// configure builds the HTTP client for cfg: middleware outermost, the key
// innermost.
func (co *core) configure(cfg config) error {
	var hc http.Client
	if cfg.httpClient != nil {
		hc = *cfg.httpClient
	} else {
		if t, ok := http.DefaultTransport.(*http.Transport); ok && co.own == nil {
			co.own = t.Clone()
			co.own.MaxIdleConnsPerHost = 16
		}
		if co.own != nil {
			hc.Transport = co.own
		}
	}
	var rt http.RoundTripper = &authTransport{next: hc.Transport, auth: co.auth}
	for i := len(cfg.middleware) - 1; i >= 0; i-- {
		if rt = cfg.middleware[i](rt); rt == nil {
			return errors.New("eryxon: WithMiddleware: the middleware returned no http.RoundTripper")
		}
	}
	hc.Transport = rt
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	co.http, co.cfg = &hc, cfg
	return nil
}

func (co *core) callConfig(opts []CallOption) (config, error) {
	cfg := co.cfg
	return cfg, applyAll(&cfg, opts)
}

// authTransport sets the key on a copy of the request that nobody else gets to
// see.
type authTransport struct {
	next http.RoundTripper
	auth func(*http.Request)
}

func (t *authTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	withKey := req.Clone(req.Context())
	t.auth(withKey)
	resp, err := next.RoundTrip(withKey)
	if resp != nil {
		resp.Request = req
		// http.Client fails on a Location that it can't parse before it asks
		// whether to follow it; without one it hands out the answer.
		if _, err := url.Parse(resp.Header.Get("Location")); err != nil {
			resp.Header.Del("Location")
		}
	}
	return resp, err
}

func checkBaseURL(raw string, plainHTTP bool) (string, error) {
	const example = "want one such as https://PROJECT.supabase.co/functions/v1"
	if strings.TrimSpace(raw) == "" {
		return "", errors.New("eryxon: empty base URL: " + example)
	}
	// A URL that does not parse may hold a password: it is not repeated.
	u, err := url.Parse(raw)
	if err != nil {
		return "", errors.New("eryxon: base URL can't be parsed: " + example)
	}
	switch {
	case u.User != nil:
		return "", errors.New("eryxon: base URL holds user info: give the key as New's second argument")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		// Not repeated either: it may be the key, where the arguments were
		// swapped.
		return "", errors.New("eryxon: base URL is not an absolute http or https URL: " + example)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fmt.Errorf("eryxon: base URL of %s holds a query or fragment: %s", u.Host, example)
	case u.Scheme == "http" && !plainHTTP && !loopback(u.Hostname()):
		return "", fmt.Errorf("eryxon: base URL of %s is plain http, which shows the API key to the network: use https, or say WithPlainHTTPAllowed", u.Host)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func checkKey(key string) error {
	switch {
	case key == "":
		return errors.New("eryxon: empty API key: want one such as ery_live_…")
	case !visibleASCII(key, false):
		return errors.New("eryxon: API key holds white space, a line break or another character that no key has: was it copied or read from a file whole?")
	}
	return nil
}
