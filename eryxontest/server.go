package eryxontest

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Entity is one of the five kinds of row. Its value is also the container key
// of a bulk request and the end of the path ("/api-jobs").
type Entity string

// The five entities.
const (
	Jobs       Entity = "jobs"
	Parts      Entity = "parts"
	Operations Entity = "operations"
	Cells      Entity = "cells"
	Resources  Entity = "resources"
)

// singular is the entity's name in a single sync's answer.
func (e Entity) singular() string { return string(e[:len(e)-1]) }

// Release selects whose behaviour the server shows.
type Release string

const (
	// Documented is the vendor's API reference to the letter. The default.
	Documented Release = "documented"
	// V01 is the release of January 2026: the documented bulk answer, whole
	// rows in single answers, defaults written over omitted fields.
	V01 Release = "v0.1"
	// V08 is the release of July 2026 with every column it writes present in
	// the database: bulk answers without ids, and false "created" counts.
	V08 Release = "v0.8"
	// V08AsMigrated is the same release on the database that its migrations
	// make: jobs lack priority; cells, operations and resources lack
	// sync_hash, so that every sync of them is lost or refused.
	V08AsMigrated Release = "v0.8-as-migrated"
	// V011 is the release of September 2026, with the columns of V08: its bulk
	// counts are true, and it refuses fields that are not on its list and
	// references that are none, in single and bulk syncs.
	V011 Release = "v0.11"
)

// defaultKey is the key of a server that was given none.
const defaultKey = "ery_live_eryxontest"

// basePath is where the functions of the hosted product live.
const basePath = "/functions/v1"

// TB is the part of *testing.T that [NewServer] needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Server is an in-memory Eryxon server. Make one with [New] or [NewServer].
// It is an [http.Handler], so it can also be mounted in another server, under
// "/functions/v1" or, with the prefix stripped, under "/".
type Server struct {
	// URL is the base URL for a client, path included and without a trailing
	// slash. Start changes it.
	URL string
	// Key is the API key that the server accepts.
	Key string

	cfg config

	mu       sync.Mutex
	tables   [5]table
	ids      uint64
	undo     []func() // set while a bulk may yet be refused as a whole
	undoing  bool
	imports  []importEntry
	log      accessLog
	faults   faultPlan
	quota    quotaState
	refusals refusals
	revoked  bool

	closed   bool
	serving  int
	idle     chan struct{}
	sleepers map[chan struct{}]struct{}
	http     *http.Server
	served   chan struct{}
}

// config is what the options set; it never changes after New.
type config struct {
	release       Release
	tenant        string
	idsFrom       uint64
	quota         int
	window        time.Duration
	reset         ResetFormat
	headersAlways bool
	headersSet    bool
	perRequest    time.Duration
	perRecord     time.Duration
	keepRequests  int
}

// Option changes how a server is made.
type Option func(*Server)

// WithRelease selects the release whose behaviour is shown: [Documented]
// unless said otherwise. An unknown release behaves as Documented.
func WithRelease(r Release) Option {
	return func(s *Server) { s.cfg.release = r }
}

// WithKey sets the API key that the server accepts. An empty key leaves the
// default.
func WithKey(key string) Option {
	return func(s *Server) {
		if key != "" {
			s.Key = key
		}
	}
}

// WithTenant sets the tenant, a UUID, that the rows are of. The ids of its rows
// are not those of another tenant's.
func WithTenant(id string) Option {
	return func(s *Server) {
		h := fnv.New64a()
		_, _ = h.Write([]byte(id)) // never fails
		s.cfg.tenant, s.cfg.idsFrom = id, h.Sum64()
	}
}

// WithLatency makes every request take perRequest, and perRecord more for each
// record in it. Inside a testing/synctest bubble the time is virtual.
func WithLatency(perRequest, perRecord time.Duration) Option {
	return func(s *Server) { s.cfg.perRequest, s.cfg.perRecord = perRequest, perRecord }
}

// WithRequestLog keeps only the last n requests for [Server.Requests]; 0 keeps
// none. Without it all are kept, bodies included: a long benchmark wants a
// bound. Overlaps are found all the same.
func WithRequestLog(n int) Option {
	return func(s *Server) { s.cfg.keepRequests = max(n, 0) }
}

// New makes a server that does not listen: use it as an [http.Handler], or
// through [Server.Client]. Its URL is "http://localhost/functions/v1".
func New(opts ...Option) *Server {
	s := &Server{
		URL: "http://localhost" + basePath,
		Key: defaultKey,
		cfg: config{release: Documented, tenant: defaultTenant, keepRequests: -1},
	}
	for _, opt := range opts {
		opt(s)
	}
	if extraText[s.cfg.release] == nil {
		s.cfg.release = Documented
	}
	if !s.cfg.headersSet {
		s.cfg.headersAlways = s.cfg.release == Documented
	}
	return s
}

// NewServer makes a server that listens on a free port of the loopback
// interface until the test ends.
func NewServer(t TB, opts ...Option) *Server {
	t.Helper()
	s := New(opts...)
	if _, err := s.Start(); err != nil {
		t.Fatalf("eryxontest: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start listens on a free port of the loopback interface, sets URL, and
// returns it. Call it once, before the server is used; Close ends it.
func (s *Server) Start() (string, error) {
	if s.http != nil {
		return "", errors.New("already started")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.URL = "http://" + l.Addr().String() + basePath
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	s.served = make(chan struct{})
	go func() {
		defer close(s.served)
		_ = s.http.Serve(l) // always http.ErrServerClosed after Close
	}()
	return s.URL, nil
}

// Close stops listening, wakes requests that are being delayed, which then
// fail without having written, and waits until none is being served. Later
// requests fail. Closing twice does nothing.
func (s *Server) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	for wake := range s.sleepers {
		close(wake)
	}
	s.sleepers = nil
	var idle chan struct{}
	if s.serving > 0 {
		idle = make(chan struct{})
		s.idle = idle
	}
	s.mu.Unlock()
	if s.http != nil {
		_ = s.http.Close()
		<-s.served
	}
	if idle != nil {
		<-idle
	}
}

// begin counts a request that is being served; false means closed.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.serving++
	return true
}

func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving--
	if s.serving == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// sleep waits for d. It returns early if ctx ends, with what is left of d, or
// if the server is closed. The channel is made here, so that in a synctest
// bubble it belongs to the bubble.
func (s *Server) sleep(ctx context.Context, d time.Duration) (left time.Duration, closed bool) {
	if d <= 0 {
		return 0, false
	}
	wake := make(chan struct{})
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return d, true
	}
	if s.sleepers == nil {
		s.sleepers = map[chan struct{}]struct{}{}
	}
	s.sleepers[wake] = struct{}{}
	s.mu.Unlock()
	start := time.Now()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-wake:
		return d, true
	case <-ctx.Done():
		left = max(d-time.Since(start), 1)
	case <-timer.C:
	}
	s.mu.Lock()
	delete(s.sleepers, wake)
	s.mu.Unlock()
	return left, false
}
