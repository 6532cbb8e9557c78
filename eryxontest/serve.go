package eryxontest

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// arrival is a request as it came in, whichever transport brought it.
type arrival struct {
	ctx    context.Context
	method string
	path   string
	query  url.Values
	header http.Header // only to be read until the request has arrived
	body   []byte
}

// call is an arrival understood: what it addresses and what it carries.
type call struct {
	arrival
	entity        Entity // "" on the unified endpoint and on unknown paths
	action        string // "", "sync", "bulk-sync"; "diff", "sync", "status" if erp
	erp           bool
	known         bool   // the path is one the server has
	text          string // the body
	doc           any    // the decoded body
	bad           bool   // there is a body and it is not JSON
	authorization string
	requestID     string
	keys          []Key
	records       int
}

// answer is what goes back.
type answer struct {
	status int
	header http.Header
	body   []byte
	drop   bool          // close the connection instead of answering
	cut    bool          // close the connection in the middle of the body
	stall  time.Duration // pause in the middle of the body
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		abort(w)
		return
	}
	defer s.end()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest) // cut off, or not HTTP: nothing arrived
		return
	}
	a, _ := s.serve(context.Background(), arrival{r.Context(), r.Method, r.URL.Path, r.URL.Query(), r.Header, body})
	if a.drop {
		abort(w)
		return
	}
	h := w.Header()
	maps.Copy(h, a.header)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.cut || a.stall > 0 {
		half := len(a.body) / 2
		if a.cut && len(a.body) == 0 {
			h.Set("Content-Length", "1") // an empty body has no middle
		}
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body[:half])
		_ = http.NewResponseController(w).Flush()
		if _, closed := s.sleep(r.Context(), a.stall); a.cut || closed {
			abort(w)
			return
		}
		_, _ = w.Write(a.body[half:])
		return
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// abort closes the connection under the client.
func abort(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
		return
	}
	panic(http.ErrAbortHandler) // HTTP/2 and after the header: net/http's own way
}

// errand is the way of one request: logged, charged, delayed, spoiled or
// answered. It can be left while it waits, and goes on by itself then: the
// server does not notice that a client has given up.
type errand struct {
	s      *Server
	call   call
	flight *flight
	fault  Fault
	answer answer
	next   int // the step to take
}

// serve takes a request through all its steps; false means that ctx ended
// meanwhile.
func (s *Server) serve(ctx context.Context, in arrival) (answer, bool) {
	e := &errand{s: s, call: understand(in)}
	refused := (*answer)(nil)
	e.flight, e.fault, refused = s.arrive(&e.call)
	if refused != nil {
		e.answer = *refused
	}
	if !e.run(ctx) {
		return answer{}, false // the errand may still be under way
	}
	return e.answer, true
}

// run takes the steps that are left. Where it has to wait and ctx ends, it
// leaves the rest to a timer, so that no goroutine stays behind.
func (e *errand) run(ctx context.Context) bool {
	for ; e.next < len(errandSteps); e.next++ {
		left, closed := e.s.sleep(ctx, errandSteps[e.next](e))
		switch {
		case closed:
			e.answer = answer{drop: true}
			e.next = len(errandSteps) - 2 // only the bookkeeping is left
		case left > 0:
			e.next++
			time.AfterFunc(left, func() {
				if e.s.begin() {
					defer e.s.end()
					e.run(ctx)
				}
			})
			return false
		}
	}
	return ctx.Err() == nil
}

// errandSteps are the steps of a request. Each returns how long to wait after.
var errandSteps = [...]func(*errand) time.Duration{
	func(e *errand) time.Duration {
		d := e.s.cfg.perRequest + e.fault.wait
		if e.answer.status == 0 {
			d += time.Duration(e.call.records) * e.s.cfg.perRecord
			if e.fault.kind == faultDelay && !e.fault.after {
				d += e.fault.delay
			}
		}
		return d
	},
	func(e *errand) time.Duration {
		if e.answer.status != 0 {
			return 0 // refused on arrival
		}
		if e.fault.works() {
			e.s.mu.Lock()
			e.answer = e.s.handle(&e.call)
			e.s.mu.Unlock()
		}
		e.answer = e.fault.instead(e.s, &e.call, e.answer)
		if e.fault.kind == faultDelay && e.fault.after {
			return e.fault.delay
		}
		return 0
	},
	func(e *errand) time.Duration {
		if e.answer.header == nil {
			e.answer.header = http.Header{}
		}
		e.s.finish(&e.call, e.flight, &e.answer)
		return 0
	},
}

// handle routes a request to the rules of the release; s.mu is held.
func (s *Server) handle(c *call) answer {
	if a, refused := s.authorize(c); refused {
		return a
	}
	if a, refused := s.tooLarge(c); refused {
		return a
	}
	switch {
	case !c.known:
		return s.fail(c, http.StatusNotFound, "NOT_FOUND", "Endpoint not found")
	case c.erp:
		return s.erp(c)
	case c.method == http.MethodGet:
		return s.read(c)
	case c.action == "bulk-sync" && c.method == http.MethodPost:
		return s.bulk(c)
	case c.action == "sync" && (c.method == http.MethodPut || c.method == http.MethodPost):
		return s.single(c)
	case c.action == "" && c.method == http.MethodPost:
		return s.single(c)
	}
	return s.wrongMethod(c)
}

func (s *Server) wrongMethod(c *call) answer {
	switch {
	case !s.v08():
		return s.fail(c, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "Method "+c.method+" not allowed")
	case c.method == http.MethodPut || c.method == http.MethodPatch:
		return s.badRequest(c, "ID parameter is required for updates")
	case c.method == http.MethodDelete:
		return s.badRequest(c, "ID parameter is required for deletion")
	}
	return s.badRequest(c, "Method "+c.method+" not allowed")
}

func (s *Server) authorize(c *call) (answer, bool) {
	token, ok := strings.CutPrefix(c.authorization, "Bearer ")
	switch {
	case !ok || token == "":
		return s.fail(c, http.StatusUnauthorized, "UNAUTHORIZED", "Missing or invalid authorization header"), true
	case token != s.Key || s.revoked:
		return s.fail(c, http.StatusUnauthorized, "UNAUTHORIZED", "Invalid API key"), true
	}
	return answer{}, false
}

// understand parses path and body; it needs no lock.
func understand(in arrival) call {
	c := call{arrival: in}
	c.authorization = in.header.Get("Authorization")
	c.requestID = in.header.Get("X-Request-Id")
	path := strings.TrimPrefix(in.path, basePath)
	name, action, nested := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	c.action = action
	if name == "api-erp-sync" {
		c.erp = true
		c.known = action == "diff" || action == "sync" || action == "status"
	} else if e, ok := strings.CutPrefix(name, "api-"); ok && Entity(e).index() >= 0 {
		c.entity = Entity(e)
		c.known = !nested || action == "sync" || action == "bulk-sync"
	}
	if !strings.HasPrefix(path, "/") {
		c.known = false
	}
	if len(in.body) > 0 {
		c.text = string(in.body)
		doc, ok := parseJSON(c.text)
		c.doc, c.bad = doc, !ok
	}
	c.inventory()
	return c
}

// inventory lists the keys of the records in the body.
func (c *call) inventory() {
	object, _ := c.doc.(map[string]any)
	if object == nil {
		return
	}
	add := func(e Entity, list []any) {
		if c.keys == nil {
			c.keys = make([]Key, 0, len(list))
		}
		c.records += len(list)
		for _, v := range list {
			m, _ := v.(map[string]any)
			if ext := idText(m["external_id"]); ext != "" {
				c.keys = append(c.keys, Key{e, idText(m["external_source"]), ext})
			}
		}
	}
	switch {
	case c.erp:
		for _, e := range allEntities {
			if list, ok := object[string(e)].([]any); ok {
				add(e, list)
			}
		}
	case c.entity == "":
	case c.action == "bulk-sync":
		list, ok := object["items"].([]any)
		if !ok {
			list, _ = object[string(c.entity)].([]any)
		}
		add(c.entity, list)
	default:
		add(c.entity, []any{c.doc})
	}
}
