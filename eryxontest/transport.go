package eryxontest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Client returns an HTTP client whose requests go to the server directly,
// without sockets; each call makes a new one. It knows no other host than that
// of the server's URL. What a real connection would do is kept: a cancelled
// request returns at once while the server works on, a connection closed
// before the answer is an error of the request, and one closed in the middle
// gives io.ErrUnexpectedEOF when the body is read.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: inProcess{s}}
}

type inProcess struct{ s *Server }

// RoundTrip implements [http.RoundTripper].
func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if err := t.refuse(req); err != nil {
		closeBody(req)
		return nil, err
	}
	defer t.s.end()
	body, err := readBody(ctx, req)
	if err != nil {
		return nil, err
	}
	a, done := t.s.serve(ctx, arrival{ctx, req.Method, req.URL.Path, req.URL.Query(), req.Header, body})
	switch {
	case !done:
		return nil, context.Cause(ctx)
	case a.drop:
		return nil, io.EOF // what net/http says of a connection that ends early
	}
	return response(ctx, req, a), nil
}

// refuse finds what a real transport would not send. If it returns nil, the
// request is counted as being served.
func (t inProcess) refuse(req *http.Request) error {
	if err := req.Context().Err(); err != nil {
		return context.Cause(req.Context())
	}
	own, err := url.Parse(t.s.URL)
	if err != nil {
		return err
	}
	if req.URL.Scheme != own.Scheme || req.URL.Host != own.Host {
		return fmt.Errorf("eryxontest: no server at %s://%s, only at %s://%s", req.URL.Scheme, req.URL.Host, own.Scheme, own.Host)
	}
	if !t.s.begin() {
		return errors.New("eryxontest: connection refused: the server is closed")
	}
	return nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// readBody reads the body; if ctx ends, it closes it, which ends a read that
// blocks.
func readBody(ctx context.Context, req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer closeBody(req)
	defer context.AfterFunc(ctx, func() { closeBody(req) })()
	var body []byte
	var err error
	if n := req.ContentLength; n > 0 {
		body = make([]byte, n)
		var got int
		if got, err = io.ReadFull(req.Body, body); err == nil {
			var more [1]byte
			extra, _ := io.ReadFull(req.Body, more[:])
			got += extra
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF || err == nil && got > len(body) {
			return nil, fmt.Errorf("http: ContentLength=%d with Body length %d", n, got)
		}
	} else {
		body, err = io.ReadAll(req.Body)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return body, err
}

func response(ctx context.Context, req *http.Request, a answer) *http.Response {
	h := a.header.Clone()
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	return &http.Response{
		Status:        strconv.Itoa(a.status) + " " + http.StatusText(a.status),
		StatusCode:    a.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        h,
		ContentLength: int64(len(a.body)),
		Request:       req,
		Body:          &body{ctx: ctx, rest: a.body, half: len(a.body) / 2, cut: a.cut, stall: a.stall},
	}
}

// body gives the answer's bytes as a connection would. One goroutine reads it.
type body struct {
	ctx    context.Context
	rest   []byte
	half   int // bytes before the place where the connection breaks or stalls
	cut    bool
	stall  time.Duration
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	if b.half == 0 && b.cut {
		return 0, io.ErrUnexpectedEOF
	}
	if b.half == 0 && b.stall > 0 {
		timer := time.NewTimer(b.stall)
		defer timer.Stop()
		b.stall = 0
		select {
		case <-b.ctx.Done():
			return 0, context.Cause(b.ctx)
		case <-timer.C:
		}
	}
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	limit := len(b.rest)
	if b.cut || b.stall > 0 {
		limit = b.half
	}
	n := copy(p, b.rest[:limit])
	b.rest = b.rest[n:]
	b.half = max(b.half-n, 0)
	return n, nil
}

func (b *body) Close() error {
	b.closed = true
	return nil
}
