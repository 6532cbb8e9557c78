package eryxontest

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Key names a record: the entity, the ERP system, and the identifier there.
type Key struct {
	Entity     Entity
	Source     string
	ExternalID string
}

// String is "jobs SAP/SO-1".
func (k Key) String() string { return string(k.Entity) + " " + k.Source + "/" + k.ExternalID }

// Request is one request that arrived.
type Request struct {
	Method    string
	Path      string // as sent, base path included
	Query     url.Values
	Header    http.Header // without Authorization
	Body      []byte
	RequestID string    // the X-Request-Id of the answer
	Entity    Entity    // "" on /api-erp-sync and on unknown paths
	Keys      []Key     // of the records in the body, nested ones not included
	Records   int       // how many records the body held, nested ones not included
	Status    int       // answered; 0 while it is in flight, or if the connection was closed instead
	Start     time.Time // arrived
	End       time.Time // the answer was ready; zero while it is in flight
}

// accessLog is what the server remembers of requests.
type accessLog struct {
	requests []*Request
	inFlight map[Key]*flight
	overlaps []string
	orphans  []string
}

// flight is a request between its arrival and its answer.
type flight struct {
	ctx     context.Context
	request *Request
}

// arrive logs a request, picks its fault and charges the quota. A non-nil
// answer means that it is refused before anything else.
func (s *Server) arrive(c *call) (*flight, Fault, *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.cfg.release != V01 && !validRequestID(c.requestID) {
		c.requestID = s.newID()
	}
	fl := &flight{ctx: c.ctx, request: &Request{
		Method: c.method, Path: c.path, Query: c.query, Body: c.body,
		RequestID: c.requestID, Entity: c.entity, Keys: c.keys, Records: c.records,
		Start: now,
	}}
	if s.cfg.keepRequests != 0 {
		fl.request.Header = c.header.Clone()
		fl.request.Header.Del("Authorization")
		if n := s.cfg.keepRequests; n > 0 && len(s.log.requests) >= n {
			s.log.requests = append(s.log.requests[:0], s.log.requests[len(s.log.requests)-n+1:]...)
		}
		s.log.requests = append(s.log.requests, fl.request)
	}
	s.takeOff(c, fl)
	f := s.pickFault(c)
	if f.kind == faultTooMany {
		return fl, f, nil
	}
	if !s.charge(now) {
		return fl, Fault{}, s.exceeded(c, now)
	}
	return fl, f, nil
}

// takeOff enters the keys of a writing request as being in flight.
func (s *Server) takeOff(c *call, fl *flight) {
	if c.method == http.MethodGet || c.action == "diff" {
		return
	}
	if s.log.inFlight == nil {
		s.log.inFlight = map[Key]*flight{}
	}
	for _, k := range c.keys {
		// A client that gave up on a request no longer has it in flight.
		if other := s.log.inFlight[k]; other != nil && other != fl && other.ctx.Err() == nil {
			s.log.overlaps = append(s.log.overlaps, k.String())
		}
		s.log.inFlight[k] = fl
	}
}

// finish completes the answer and the log.
func (s *Server) finish(c *call, fl *flight, a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !a.drop {
		a.header.Set("Date", now.UTC().Format(http.TimeFormat))
		if c.requestID != "" && s.cfg.release != V01 {
			a.header.Set("X-Request-Id", c.requestID)
		}
		s.quotaHeaders(a.header, a.status, now)
		fl.request.Status = a.status
	}
	fl.request.End = now
	for _, k := range c.keys {
		if s.log.inFlight[k] == fl {
			delete(s.log.inFlight, k)
		}
	}
}

// validRequestID says whether the server takes over a request id that a client
// sent: a short one of letters, digits and "-_.".
func validRequestID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// Requests returns what arrived, in order of arrival, requests in flight
// included. Bodies and headers are shared: do not change them.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Request, len(s.log.requests))
	for i, r := range s.log.requests {
		out[i] = *r
	}
	return out
}

// Overlaps returns the keys ("jobs SAP/SO-1") that were in two writing
// requests at once, once for each time, or nil. A request counts until the
// server has its answer ready or the client has given up on it. Through a real
// connection the server learns of the latter with a delay, so test that with
// [Server.Client].
func (s *Server) Overlaps() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log.overlaps...)
}

// Orphans returns the records ("parts SAP/SO-1-10: job SO-1") that arrived
// when their parent did not exist, once for each time, or nil.
func (s *Server) Orphans() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log.orphans...)
}

func (s *Server) orphan(e Entity, k key, parent string) {
	s.log.orphans = append(s.log.orphans, Key{e, k.source, k.ext}.String()+": "+parent)
}

// Reset forgets all rows, requests, overlaps and orphans, and the use of the
// quota. Faults, refusals and failing records stay.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables = [5]table{}
	s.imports = nil
	s.quota = quotaState{}
	inFlight := s.log.inFlight
	s.log = accessLog{inFlight: inFlight}
}
