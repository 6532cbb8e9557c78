package eryxon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
)

// page is one answer to a list.
type page struct {
	envelope
	rows []json.RawMessage
	// What the answer tells of the paging, -1 where it does not.
	total, limit, offset int
	more                 *bool

	bad func(message string) error // an answer that can't be trusted
}

// silent reports an answer that tells nothing of paging.
func (p *page) silent() bool { return p.total < 0 && p.limit < 0 && p.offset < 0 && p.more == nil }

// last reports whether nothing follows a page that was asked for with limit
// and takes the number of rows read to next.
func (p *page) last(limit, next int) bool {
	switch {
	case len(p.rows) == 0:
		return true
	case p.total >= next:
		return p.total == next && (p.more == nil || !*p.more)
	// Less than what was read is no total.
	case p.more != nil:
		return !*p.more
	case p.limit > 0:
		return len(p.rows) < min(limit, p.limit)
	}
	return len(p.rows) != limit // more than asked for: the server does not page
}

// reNoRange is what a server says of an offset beyond the end.
var reNoRange = regexp.MustCompile(`(?i)range not satisfiable`)

// page makes one request of a list.
func (s *syncer[R, P, Row]) page(ctx context.Context, cfg *config, path string, offset int) (*page, error) {
	var p *page
	cl := call{method: http.MethodGet, path: path, repeatable: true,
		decode: func(body []byte) (*envelope, error) {
			var err error
			p, err = readPage(body, s.entity)
			return &p.envelope, err
		}}
	out := s.co.do(ctx, cfg, &cl)
	if out.fate != fateAnswered {
		if offset > 0 && out.own && reNoRange.MatchString(messageOf(out.err)) {
			return newPage(), nil // rows were deleted while the list was read
		}
		return nil, s.co.unsupported(s.entity, out)
	}
	p.bad = func(message string) error { return s.co.apiError(&cl, out, ErrBadAnswer, "", message, nil, nil) }
	switch {
	case p.offset >= 0 && p.offset != offset:
		return nil, p.bad(fmt.Sprintf("asked for the page at offset %d and got that at %d: the server seems to ignore the offset, so the rest can't be read", offset, p.offset))
	case offset == 0 && p.total > 0 && len(p.rows) == 0:
		return nil, p.bad(fmt.Sprintf("the answer speaks of %s and lists none", counted(p.total, "row")))
	}
	return p, nil
}

func newPage() *page { return &page{total: -1, limit: -1, offset: -1} }

// readPage reads a list in any of the shapes seen: rows as the data itself, or
// in it under the entity's name; the paging beside them, beside the data, or
// nowhere. The page is never nil.
func readPage(body []byte, e Entity) (*page, error) {
	p := newPage()
	var err error
	if p.envelope, err = readEnvelope(body); err != nil || !p.succeeded() {
		return p, err
	}
	if p.data == nil {
		return p, errors.New("a success without data")
	}
	var top, meta, data map[string]json.RawMessage
	_ = json.Unmarshal(body, &top)         // it has been read once
	_ = json.Unmarshal(top["meta"], &meta) // where there is one
	p.readPaging(top["pagination"])
	p.readPaging(meta["pagination"])
	if json.Unmarshal(p.data, &p.rows) == nil {
		return p, nil
	}
	if err := p.decodeData(&data); err != nil {
		return p, errors.New("data is neither a list nor an object")
	}
	p.readPaging(data["pagination"])
	for _, name := range []string{string(e), "items", "data", "results", "rows"} {
		if raw, ok := data[name]; ok && json.Unmarshal(raw, &p.rows) == nil && string(raw) != "null" {
			return p, nil
		}
	}
	if p.total == 0 && string(data[string(e)]) == "null" {
		return p, nil // as some servers write an empty list
	}
	return p, fmt.Errorf("data holds no list of %s", e)
}

func (p *page) readPaging(raw json.RawMessage) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return
	}
	for name, target := range map[string]*int{"total": &p.total, "limit": &p.limit, "offset": &p.offset} {
		var text looseText
		if json.Unmarshal(members[name], &text) != nil {
			continue
		}
		if n, ok := parseCount(string(text)); ok {
			*target = n
		}
	}
	var more bool
	if json.Unmarshal(members["has_more"], &more) == nil && string(members["has_more"]) != "null" {
		p.more = &more
	}
}
