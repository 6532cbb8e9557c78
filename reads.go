package eryxon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/go-querystring/query"
)

// ListOptions is what all lists have in common.
type ListOptions struct {
	Search string    `url:"search,omitempty"` // part of a number or name, whatever the case
	Sort   string    `url:"sort,omitempty"`   // a column such as created_at; servers pass over one they don't know
	Order  SortOrder `url:"order,omitempty"`
	// PageSize is the number of rows to ask for in one request, at most and by
	// default 1000. Every page costs a request of the quota.
	PageSize int `url:"-"`
}

// SortOrder is the direction of a list.
type SortOrder string

// The directions. Without one, each list has its own.
const (
	Ascending  SortOrder = "asc"
	Descending SortOrder = "desc"
)

// EncodeValues puts a value into a URL's query and leaves an unset Opt out, as
// github.com/google/go-querystring asks for it. A query can't hold null.
func (o Opt[T]) EncodeValues(name string, v *url.Values) error {
	switch o.state {
	case optNull:
		return fmt.Errorf("eryxon: %s: a query can't hold null: leave it unset", name)
	case optValue:
		v.Set(name, fmt.Sprint(o.value))
	}
	return nil
}

// rowIdentity is what tells rows apart. External id and source are unset where
// the row does not show them.
type rowIdentity struct {
	id, tenant     string
	source, extern Opt[string]
	deleted        bool
}

// shown reports whether the row tells its key.
func (i rowIdentity) shown() bool { return i.source.IsSet() && i.extern.IsSet() }

// is reports whether the row is the one of that key.
func (i rowIdentity) is(key Key) bool {
	return i.source == Some(key.Source) && i.extern == Some(key.ExternalID)
}

func (r *JobRow) identity() rowIdentity {
	return rowIdentity{r.ID, r.TenantID, r.ExternalSource, r.ExternalID, r.DeletedAt.state == optValue}
}

func (r *PartRow) identity() rowIdentity {
	return rowIdentity{r.ID, r.TenantID, r.ExternalSource, r.ExternalID, r.DeletedAt.state == optValue}
}

func (r *OperationRow) identity() rowIdentity {
	return rowIdentity{r.ID, r.TenantID, r.ExternalSource, r.ExternalID, r.DeletedAt.state == optValue}
}

func (r *CellRow) identity() rowIdentity {
	return rowIdentity{r.ID, r.TenantID, r.ExternalSource, r.ExternalID, r.DeletedAt.state == optValue}
}

func (r *ResourceRow) identity() rowIdentity {
	return rowIdentity{r.ID, r.TenantID, r.ExternalSource, r.ExternalID, r.DeletedAt.state == optValue}
}

func identityOf[Row any](row *Row) rowIdentity {
	if r, ok := any(row).(interface{ identity() rowIdentity }); ok {
		return r.identity()
	}
	return rowIdentity{}
}

// list reads all pages of a list.
func (s *syncer[R, P, Row]) list(ctx context.Context, filters any, pageSize int, opts []CallOption) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		fail := func(err error) {
			var none Row
			yield(none, err)
		}
		cfg, err := s.co.callConfig(opts)
		if err != nil {
			fail(err)
			return
		}
		values, err := query.Values(filters)
		if err != nil {
			fail(err)
			return
		}
		for l, err := range s.rows(ctx, &cfg, values, pageSize) {
			if err != nil {
				fail(err)
				return
			}
			if !yield(*l.row, nil) {
				return
			}
		}
	}
}

// listed is a row of a list, also as the server wrote it.
type listed[Row any] struct {
	rowIdentity
	row    *Row
	raw    json.RawMessage
	offset int // of the page that showed it
}

// rows reads all pages of a list, each row once. It puts the paging into the
// query's values. An error is the last that it yields.
func (s *syncer[R, P, Row]) rows(ctx context.Context, cfg *config, values url.Values, pageSize int) iter.Seq2[listed[Row], error] {
	return func(yield func(listed[Row], error) bool) {
		fail := func(err error) { yield(listed[Row]{}, err) }
		if pageSize == 0 {
			pageSize = maxRecords
		}
		limit, offset := min(max(pageSize, 1), maxRecords), 0
		seen := make(map[string]struct{})
		for {
			values.Set("limit", strconv.Itoa(limit))
			values.Set("offset", strconv.Itoa(offset))
			p, err := s.page(ctx, cfg, s.entity.path()+"?"+values.Encode(), offset)
			if err != nil {
				fail(err)
				return
			}
			fresh := 0
			for i, raw := range p.rows {
				row := decodeRow[Row](raw)
				if row == nil {
					fail(p.bad(fmt.Sprintf("row %d of the page at offset %d is not an object", i, offset)))
					return
				}
				// Rows that were added meanwhile push others to the next page.
				identity := identityOf(row)
				id := cmpOr(identity.id, string(raw))
				if err := cfg.run.sawTenant(identity.tenant); err != nil {
					fail(err)
					return
				}
				if _, ok := seen[id]; ok {
					continue
				}
				seen[id] = struct{}{}
				fresh++
				if !yield(listed[Row]{identity, row, raw, offset}, nil) {
					return
				}
			}
			if len(p.rows) > 0 && fresh == 0 {
				if p.silent() && len(p.rows) != limit {
					return // the first page was all there is
				}
				fail(p.bad(fmt.Sprintf("the page at offset %d repeats rows that were read already: the server seems to ignore the offset, so the rest can't be read", offset)))
				return
			}
			offset += len(p.rows)
			if p.last(limit, offset) {
				return
			}
			if p.silent() {
				// All rows, or a page that is full? A server that pays no
				// attention to the limit shows it when the limit changes.
				if limit--; limit == 0 {
					limit = 2
				}
			}
		}
	}
}

var (
	reNoCall      = regexp.MustCompile(`(?i)\bendpoint\b|\broute\b|\bmethod not allowed\b|\bfunction was not found\b`)
	reBrokenQuery = regexp.MustCompile(`(?i)\bcolumn \S+ does not exist\b|in the schema cache\b`)
)

// unsupported turns the error of a read into one that says that the server
// can't do it, where that is what it means, so that nobody takes it for
// an answer about the row.
func (co *core) unsupported(entity Entity, out *result) error {
	var api *APIError
	if !errors.As(out.err, &api) {
		return out.err
	}
	why := ""
	switch {
	case out.status == http.StatusInternalServerError && out.own && (entity == EntityOperations || reBrokenQuery.MatchString(api.Message)):
		why = "the server's own query for " + cmpOr(string(entity), "this") + " fails"
	case out.status == http.StatusNotFound || out.status == http.StatusMethodNotAllowed || out.status == http.StatusNotImplemented:
		why = "the server has no such call, or the base URL is not the API's"
	default:
		return out.err
	}
	told := *api
	told.kind = ErrUnsupported
	told.Message = why + ": " + api.Message
	return &told
}

// get reads one row by its UUID.
func (s *syncer[R, P, Row]) get(ctx context.Context, id string, opts []CallOption) (*Row, error) {
	cfg, err := s.co.callConfig(opts)
	if err != nil {
		return nil, err
	}
	if !isUUID(id) {
		var rules checker
		rules.complain("id", "UUID", fmt.Sprintf("is %.60q: want the row's UUID, such as 550e8400-e29b-41d4-a716-446655440000; Find takes external ids", id), id)
		return nil, rules.err(0, Key{})
	}
	return s.fetch(ctx, &cfg, id)
}

func (s *syncer[R, P, Row]) fetch(ctx context.Context, cfg *config, id string) (*Row, error) {
	var env envelope
	cl := call{method: http.MethodGet, path: s.entity.path() + "?id=" + url.QueryEscape(id), repeatable: true,
		decode: func(body []byte) (*envelope, error) {
			var err error
			if env, err = readEnvelope(body); err == nil && env.succeeded() && env.data == nil {
				err = errors.New("a success without data")
			}
			return &env, err
		}}
	out := s.co.do(ctx, cfg, &cl)
	if out.fate != fateAnswered {
		var api *APIError
		if out.kind == ErrNotFound && out.own && errors.As(out.err, &api) && !reNoCall.MatchString(api.Message) {
			gone := *api
			gone.kind, gone.cause = nil, ErrNotFound // without advice about the base URL
			return nil, &gone
		}
		return nil, s.co.unsupported(s.entity, out)
	}
	candidates, listed := s.candidates(env.data)
	for _, raw := range candidates {
		if row := decodeRow[Row](raw); row != nil && strings.EqualFold(identityOf(row).id, id) {
			return row, nil
		}
	}
	switch {
	case listed && len(candidates) == 0:
		return nil, s.co.apiError(&cl, out, nil, "", "the list is empty", ErrNotFound, nil)
	case listed: // the server has passed over the id and begun to list all rows
		for l, err := range s.rows(ctx, cfg, url.Values{}, 0) {
			if err != nil {
				return nil, err
			}
			if strings.EqualFold(l.id, id) {
				return l.row, nil
			}
		}
		return nil, s.co.apiError(&cl, out, nil, "", "the list shows no row of that id", ErrNotFound, nil)
	}
	return nil, s.co.apiError(&cl, out, ErrBadAnswer, "", "the answer holds no row of that id", nil, nil)
}

// candidates are the rows that the answer to a read by id may hold, listed or
// not; nil where it holds nothing like a row.
func (s *syncer[R, P, Row]) candidates(data json.RawMessage) (rows []json.RawMessage, listed bool) {
	if json.Unmarshal(data, &rows) == nil {
		return rows, rows != nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return nil, false
	}
	if raw, ok := members[s.entity.singular()]; ok && members["id"] == nil {
		return []json.RawMessage{raw}, false
	}
	if raw, ok := members[string(s.entity)]; ok && members["id"] == nil && json.Unmarshal(raw, &rows) == nil {
		return rows, rows != nil
	}
	return []json.RawMessage{data}, false
}

// find reads one row by its key, where the server can tell which one it is.
func (s *syncer[R, P, Row]) find(ctx context.Context, key Key, opts []CallOption) (*Row, error) {
	cfg, err := s.co.callConfig(opts)
	if err != nil {
		return nil, err
	}
	key.Source = cmpOr(key.Source, cfg.source)
	var rules checker
	rules.required("external_id", key.ExternalID)
	rules.required("external_source", key.Source)
	rules.text("external_id", key.ExternalID)
	rules.text("external_source", key.Source)
	if err := rules.err(0, key); err != nil {
		return nil, err
	}
	switch s.entity {
	case EntityJobs, EntityParts:
		return s.findAsked(ctx, &cfg, key)
	case EntityResources:
		return s.findListed(ctx, key, opts)
	default:
		return nil, fmt.Errorf("eryxon: find %s %s: %w: its API neither shows nor filters external ids of %s, so it can't be told which row it is; keep the ID and Row that Sync returns",
			s.entity.singular(), key, ErrUnsupported, s.entity)
	}
}

func (s *syncer[R, P, Row]) notFound(key Key) error {
	return fmt.Errorf("eryxon: %s %s: %w: the server holds no row of this key; a deleted one is not found either", s.entity.singular(), key, ErrNotFound)
}

// findAsked asks the unified endpoint for the row's id.
func (s *syncer[R, P, Row]) findAsked(ctx context.Context, cfg *config, key Key) (*Row, error) {
	found, out, err := s.co.diffKeys(ctx, cfg, s.entity, []Key{key}, false)
	if err != nil {
		return nil, s.co.unsupported("", out)
	}
	complain := func(kind error, message string) error {
		return s.co.apiError(&call{method: http.MethodPost, path: erpDiffPath}, out, kind, "", fmt.Sprintf("%s %s: %s", s.entity.singular(), key, message), nil, nil)
	}
	switch r := found[key]; {
	case r.status == DiffCreate:
		return nil, s.notFound(key)
	case r.status == DiffError:
		return nil, complain(understand(r.message).kind, cmpOr(r.message, "the server gave no reason"))
	case r.blind:
		return nil, fmt.Errorf("eryxon: find %s %s: %w: there is a row of the key, but the server, whose database lacks a column that it looks for, does not tell which; keep the ID that Sync returns",
			s.entity.singular(), key, ErrUnsupported)
	case !r.exists():
		return nil, complain(ErrBadAnswer, r.doubt)
	case !isUUID(r.id):
		return nil, complain(ErrBadAnswer, fmt.Sprintf("the answer says that there is a row, and gives its id as %.60q", r.id))
	default:
		row, err := s.fetch(ctx, cfg, r.id)
		if err != nil {
			return nil, err
		}
		if i := identityOf(row); i.shown() && !i.is(key) {
			return nil, complain(ErrBadAnswer, fmt.Sprintf("the row with its id, %s, is that of another key", r.id))
		}
		return row, nil
	}
}

// findListed asks a list that filters by key and believes what the rows say.
func (s *syncer[R, P, Row]) findListed(ctx context.Context, key Key, opts []CallOption) (*Row, error) {
	hidden := false
	filter := ResourceListOptions{ExternalSource: key.Source, ExternalID: key.ExternalID}
	for row, err := range s.list(ctx, filter, 0, opts) {
		if err != nil {
			return nil, err
		}
		i := identityOf(&row)
		if i.is(key) && !i.deleted {
			return &row, nil
		}
		hidden = hidden || !i.shown()
	}
	if hidden {
		return nil, fmt.Errorf("eryxon: find %s %s: %w: its rows don't show their external ids, so it can't be told which row it is; keep the ID and Row that Sync returns",
			s.entity.singular(), key, ErrUnsupported)
	}
	return nil, s.notFound(key)
}

// isUUID reports whether s has the form of a UUID.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch hex := c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'; i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !hex {
				return false
			}
		}
	}
	return true
}
