package eryxon

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// columns tells whether the database lacks columns that the server writes.
func (x *examination) columns(ctx context.Context, cells *page) {
	if cells == nil {
		x.add(unchecked(checkColumns, "there is no usable answer to tell it by"))
		return
	}
	if err := ctx.Err(); err != nil {
		x.add(brokenOff(checkColumns, err))
		return
	}
	seen := columnSight{}
	seen.recall(&x.co.shared.dialect)
	later := x.co.hashesAll(x.cells)
	if limit := x.limit(time.Now()); limit.Known && limit.Remaining-x.cfg.reserve < quotaWarning {
		f, told := seen.finding(later)
		if !told {
			f = unchecked(checkColumns, "the few requests that are left are not spent on it")
		}
		x.add(f)
		return
	}
	var resources *page
	out, _ := x.get(ctx, "/api-resources?limit=1", func(body []byte) (*envelope, error) {
		var err error
		resources, err = readPage(body, EntityResources)
		return &resources.envelope, err
	})
	if out.fate == fateAnswered {
		seen.readResources(resources.rows)
		if !seen.complete() {
			x.history(ctx, &seen)
		}
	}
	f, told := seen.finding(later)
	if !told {
		switch err := ctx.Err(); {
		case err != nil:
			f = brokenOff(checkColumns, err)
		case out.fate != fateAnswered:
			f = warning(checkColumns, "can't be told, for the list of resources can't be read: "+cmpOr(messageOf(out.err), "the request quota is used up"),
				"see whether syncs of resources fail too", out.err)
		}
	}
	x.add(f)
}

// history reads past imports for what lists don't show. Where there is none,
// nothing is missed.
func (x *examination) history(ctx context.Context, seen *columnSight) {
	var data struct {
		History []json.RawMessage `json:"history"` // the latest first
	}
	out, _ := x.get(ctx, erpStatusPath+"?limit=20", func(body []byte) (*envelope, error) {
		env, err := readEnvelope(body)
		if err == nil && env.succeeded() {
			err = env.decodeData(&data)
		}
		return &env, err
	})
	if out.fate != fateAnswered {
		return
	}
	for _, raw := range data.History {
		if entry := decodeRow[ERPImport](raw); entry != nil {
			seen.readImport(entry)
		}
	}
}

// cellsShape is how a server lists its cells.
type cellsShape uint8

const (
	cellsOther   cellsShape = iota // in no way that tells
	cellsPaged                     // with its paging among the data
	cellsUnpaged                   // without any: only a server that fills does
)

// pagedInside reports a list that tells its paging among the data.
func (p *page) pagedInside() bool {
	var data struct {
		Pagination json.RawMessage `json:"pagination"`
	}
	return json.Unmarshal(p.data, &data) == nil && data.Pagination != nil
}

// sawCells tells how the server lists its cells, and learns what fills would
// of the same answer.
func (d *dialect) sawCells(p *page) cellsShape {
	var data struct {
		Cells []json.RawMessage `json:"cells"`
	}
	switch {
	case json.Unmarshal(p.data, &data) != nil || data.Cells == nil:
		return cellsOther
	case p.pagedInside():
		d.learn(fillingNo)
		return cellsPaged
	}
	d.learn(fillingYes)
	return cellsUnpaged
}

// columnFact is what is known of a column.
type columnFact struct {
	known, there bool
	how          string // it is known that the column is not there
}

// columnSight is what can be known, without writing, of the columns that
// servers write and no migration of theirs makes: sync_hash, without which no
// record of the entity can be stored, and the priority of jobs, which a record
// can do without. Lists of cells and jobs show neither, whether they are there
// or not, and operations can't be listed.
type columnSight struct {
	hash     map[Entity]columnFact
	priority columnFact
	outdated bool // the client goes on to refuse what the server takes by now
}

// hashless are the tables that no migration gives a sync_hash.
var hashless = [...]Entity{EntityCells, EntityResources, EntityOperations}

// recall takes what the client has met in its own syncs.
func (s *columnSight) recall(d *dialect) {
	const how = "a sync of this client was refused for it"
	s.hash = make(map[Entity]columnFact)
	for _, e := range hashless {
		if marked(d, &d.lacking, e) != nil {
			s.hash[e] = columnFact{known: true, how: how}
		} else if marked(d, &d.proven, e) {
			s.hash[e] = columnFact{known: true, there: true}
		}
	}
	if marked(d, &d.absent, jobPriority) {
		s.priority = columnFact{known: true, how: how}
	}
}

// readResources looks at the rows of a list that shows all columns, as that of
// resources does.
func (s *columnSight) readResources(rows []json.RawMessage) {
	var row map[string]json.RawMessage
	if len(rows) == 0 || json.Unmarshal(rows[0], &row) != nil || row["synced_at"] == nil || row["tenant_id"] == nil {
		return // not all of them
	}
	known := s.hash[EntityResources]
	there := row["sync_hash"] != nil
	s.outdated = there && known.known && !known.there
	s.hash[EntityResources] = columnFact{known: true, there: there, how: "its rows don't have it"}
}

// readImport looks at a past import, the latest first: the first that tells of
// a column counts. Whatever created a row has written all columns, and an
// update the sync_hash at least; errors name one that was not there.
func (s *columnSight) readImport(entry *ERPImport) {
	column, fact := "sync_hash", s.hash[entry.Entity]
	written, _ := entry.Created.Get()
	switch entry.Entity {
	case EntityJobs:
		column, fact = "priority", s.priority
	case EntityResources:
		updated, _ := entry.Updated.Get()
		written += updated
	default:
		return
	}
	if fact.known {
		return
	}
	if written > 0 {
		fact = columnFact{known: true, there: true}
	}
	for _, e := range entry.Errors {
		if said := understand(e.Error); said.kind == ErrMissingColumn && said.field == column {
			fact = columnFact{known: true, how: "the latest import failed for it"}
			if at, ok := entry.CreatedAt.Get(); ok {
				fact.how = "the import of " + moment(at) + " failed for it"
			}
			break
		}
	}
	if entry.Entity == EntityJobs {
		s.priority = fact
	} else {
		s.hash[entry.Entity] = fact
	}
}

// complete reports that no past import can add anything.
func (s *columnSight) complete() bool { return s.hash[EntityResources].known && s.priority.known }

// finding is what all of it comes to, and whether it tells anything. Later is a
// server that writes a sync_hash to all three tables; earlier ones, as far as
// known, to resources only.
func (s *columnSight) finding(later bool) (f Finding, told bool) {
	var lacking, guessed, there, hidden []string
	for _, e := range hashless {
		switch fact := s.hash[e]; {
		case fact.known && fact.there:
			there = append(there, string(e))
		case fact.known:
			lacking = append(lacking, fmt.Sprintf("table %s lacks sync_hash (%s)", e, fact.how))
		default:
			guessed = append(guessed, string(e))
			hidden = append(hidden, string(e))
		}
	}
	const addHash = "ask the server's owner to add the column sync_hash (text) to the tables cells, resources and operations: no sync of a table that lacks it arrives"
	const addPriority = "ask the server's owner to add the column priority (integer) to the table jobs, or leave it out with WithMissingColumnsOmitted"
	priority := ""
	switch {
	case s.priority.known && s.priority.there:
		there = append(there, "jobs (priority)")
	case s.priority.known:
		priority = fmt.Sprintf("table jobs lacks priority (%s)", s.priority.how)
	default:
		hidden = append(hidden, "jobs (priority)")
	}
	if len(lacking) > 0 {
		detail := strings.Join(lacking, ", ")
		next := addHash
		if later && len(guessed) > 0 {
			detail += "; most likely " + strings.Join(guessed, " and ") + " too, which no list shows"
		}
		if priority != "" {
			detail, next = detail+"; "+priority, next+"; "+addPriority
		}
		err := &errReference{ErrMissingColumn, "", detail}
		if !later {
			return warning(checkColumns, detail, "where syncs of these fail, "+addHash, err), true
		}
		return problem(checkColumns, detail, next, err), true
	}
	switch {
	case s.outdated:
		return warning(checkColumns, "sync_hash of resources is there by now, and this client goes on to refuse them", "make a new client, or start the program again", nil), true
	case priority != "":
		return warning(checkColumns, priority, addPriority, &errReference{ErrMissingColumn, "priority", priority}), true
	case len(there) == 0:
		return unchecked(checkColumns, "no row and no past import tells; the first syncs will"), false
	case len(hidden) > 0:
		return fine(checkColumns, "complete as far as reads show: "+strings.Join(there, ", ")+"; not shown: "+strings.Join(hidden, ", ")), true
	}
	return fine(checkColumns, "complete: "+strings.Join(there, ", ")), true
}
