package eryxon

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// cellList is what a run has seen of the server's cells, the ids of parts and cells
// that are known to be rows, and the parts that it has made. It is not kept beyond
// the run: cells are renamed on the shop floor too.
type cellList struct {
	mu     sync.Mutex
	rows   cellRows            // all cells as they were read; nil while that is not known
	names  map[string]string   // by id, those that the run has synced since included
	named  map[string][]string // ids by name
	absent map[string]bool     // names that were looked for, and that no cell has
	untold map[Key]bool        // cells that were synced since, by an answer that does not tell their rows
	seen   map[rowID]bool      // rows that are there
	made   map[Key]bool        // parts; nil where nothing asks for them
	single bool                // a single sync's, for which names will do that were read a moment ago
	place  int                 // of the last cell on the board
}

// rowID is a row by its id.
type rowID struct {
	entity Entity
	id     string
}

func (l *cellList) sawRow(e Entity, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil || len(l.seen) >= knownIDs {
		l.seen = make(map[rowID]bool)
	}
	l.seen[rowID{e, id}] = true
}

func (l *cellList) isRow(e Entity, id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[rowID{e, id}]
}

// sawMade remembers a part that the run has made, where its operations are of the
// same run: none was there before, but for one that moves.
func (l *cellList) sawMade(part Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil {
		return
	}
	if len(l.made) >= knownIDs {
		clear(l.made)
	}
	l.made[part] = true
}

func (l *cellList) isMade(part Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made[part]
}

// synced learns of a cell that the run has synced; the id is "" while it is not told.
func (l *cellList) synced(key Key, id, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id != "" {
		delete(l.untold, key)
		l.name(id, name)
		return
	}
	if l.untold == nil {
		l.untold = make(map[Key]bool)
	}
	l.untold[key] = true
}

func (l *cellList) name(id, name string) {
	if l.names == nil {
		l.names, l.named = make(map[string]string), make(map[string][]string)
	}
	if before, ok := l.names[id]; ok {
		l.named[before] = slices.DeleteFunc(l.named[before], func(other string) bool { return other == id })
	}
	l.names[id] = name
	l.named[name] = append(l.named[name], id)
}

// sawAll learns of all the cells that a server has.
func (l *cellList) sawAll(rows cellRows) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows, l.names, l.absent, l.untold = rows, nil, nil, nil
	for _, row := range rows {
		l.name(row.ID, row.Name)
		l.place = max(l.place, row.Sequence)
	}
}

// all returns all the cells that there are, as they were read, nil where they were
// not.
func (l *cellList) all() cellRows {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.untold) > 0 {
		return nil
	}
	return l.rows
}

// forget makes the run's next look-up ask again.
func (l *cellList) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = nil
}

// isTwin reports the name of more than one cell.
func (l *cellList) isTwin(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.named[name]) > 1
}

// has returns the ids by name if the list tells of all the names.
func (l *cellList) has(names []string) map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rows == nil || len(l.untold) > 0 {
		return nil
	}
	ids := make(map[string][]string, len(names))
	for _, name := range names {
		if ids[name] = slices.Clone(l.named[name]); len(ids[name]) == 0 && !l.absent[name] {
			return nil
		}
	}
	return ids
}

// seeCells returns all cells, once a run and again after changes that it can't follow.
func (co *core) seeCells(ctx context.Context, cfg *config, list *cellList) (cellRows, error) {
	select {
	case co.shared.dialect.asking <- struct{}{}:
		defer func() { <-co.shared.dialect.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if rows := list.all(); rows != nil {
		return rows, nil
	}
	return co.readCells(ctx, cfg, list)
}

func (co *core) readCells(ctx context.Context, cfg *config, list *cellList) (cellRows, error) {
	rows := make(cellRows)
	for row, err := range newClient(co).Cells.List(ctx, CellListOptions{}, withConfig(cfg)) {
		if err != nil {
			return nil, err
		}
		rows[row.ID] = &row
	}
	list.sawAll(rows)
	return rows, nil
}

// cellsByName returns the ids of cells. A name that no cell had when it was read is
// looked for once more.
func (co *core) cellsByName(ctx context.Context, cfg *config, list *cellList, names []string) (map[string][]string, error) {
	select {
	case co.shared.dialect.asking <- struct{}{}:
		defer func() { <-co.shared.dialect.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if known := list.has(names); known != nil {
		return known, nil
	}
	if known := co.shared.dialect.recentCells(names); list.single && known != nil {
		return known, nil
	}
	rows, err := co.readCells(ctx, cfg, list)
	if err != nil {
		return nil, err
	}
	co.shared.dialect.sawCellNames(rows.byName())
	list.mu.Lock()
	list.absent = make(map[string]bool)
	for _, name := range names {
		list.absent[name] = len(list.named[name]) == 0
	}
	list.mu.Unlock()
	return list.has(names), nil
}

// recentNames is for how long single syncs take the names of cells to be what they
// were: each would have to list them else.
const recentNames = time.Minute

func (d *dialect) sawCellNames(byName map[string][]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cells, d.cellsRead = byName, time.Now()
}

// recentCells returns the cells by name, if they were read a moment ago and all the
// names were among them.
func (d *dialect) recentCells(names []string) map[string][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.cellsRead) >= recentNames || slices.ContainsFunc(names, func(name string) bool { return len(d.cells[name]) == 0 }) {
		return nil
	}
	return d.cells
}

// forgetCells makes the next look-up ask again.
func (d *delivery[R, P]) forgetCells() {
	d.e.flight.cells.forget()
	d.dialect().sawCellNames(nil)
}

// sawCell follows what becomes of a cell; the id is "" while its row is not told.
func (d *delivery[R, P]) sawCell(s *sentRecord[R], id string) {
	if cell, ok := any(P(&s.record)).(*Cell); ok {
		d.e.flight.cells.synced(s.key, id, cell.Name)
		d.dialect().sawCellNames(nil)
	}
}

// nextPlace is the place on the board after those of all cells.
func (d *delivery[R, P]) nextPlace() int {
	l := &d.e.flight.cells
	l.mu.Lock()
	known := l.place > 0
	l.mu.Unlock()
	if !known {
		_, _ = d.e.co.seeCells(d.e.flight.goOn, d.e.cfg, l) // in doubt the first place will do
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.place++
	return l.place
}

// cellRows are the server's cells by id.
type cellRows map[string]*CellRow

func decodeCells(list []json.RawMessage) cellRows {
	rows := make(cellRows, len(list))
	for _, raw := range list {
		if row := decodeRow[CellRow](raw); row != nil {
			rows[row.ID] = row
		}
	}
	return rows
}

func (rows cellRows) byName() map[string][]string {
	ids := make(map[string][]string, len(rows))
	for _, row := range rows {
		ids[row.Name] = append(ids[row.Name], row.ID)
	}
	return ids
}

// named reports whether a cell has that name.
func (rows cellRows) named(name string) bool {
	for _, row := range rows {
		if row.Name == name {
			return true
		}
	}
	return false
}

// restore gives a cell back what its row of the given id held before an update
// that was taken for the making of a new cell. It reports whether there was
// anything to give back.
func (rows cellRows) restore(r any, id string) bool {
	cell, ok := r.(*Cell)
	row := rows[id]
	if !ok || row == nil || cell.Color.IsSet() && cell.Active.IsSet() {
		return false
	}
	if !cell.Color.IsSet() {
		cell.Color = row.Color
	}
	if !cell.Active.IsSet() {
		cell.Active = row.Active
	}
	return true
}
