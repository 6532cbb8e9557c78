package eryxon

import (
	"context"
	"slices"
	"sync"
	"time"
)

// sightings are what a run has seen of the server: its cells by name, the ids of
// parts and cells that are known to be rows, and the parts that the run has made.
// They are not kept beyond the run: cells are renamed on the shop floor too.
type sightings struct {
	began  time.Time // of the run
	mu     sync.Mutex
	byName map[string][]string // ids; nil while not asked, empty where there is none
	rows   map[rowID]bool
	made   map[Key]bool        // parts; nil where nothing asks for them
	names  map[string]string   // of cells, by id
	named  map[string][]string // their ids by name
	all    bool                // names has all cells that there are
	single bool                // a single sync's, for which names will do that were read a moment ago
	place  int                 // of the last cell on the board; 0: not known
}

func newSightings() *sightings { return &sightings{began: time.Now()} }

// rowID is a row by its id.
type rowID struct {
	entity Entity
	id     string
}

func (l *sightings) sawRow(e Entity, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rows == nil || len(l.rows) >= knownIDs {
		l.rows = make(map[rowID]bool)
	}
	l.rows[rowID{e, id}] = true
}

func (l *sightings) isRow(e Entity, id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows[rowID{e, id}]
}

// sawMade remembers a part that the run has made, where its operations are of the
// same run (keepMade): none was there before, but for one that moves.
func (l *sightings) sawMade(part Key) {
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

// keepMade has sawMade remember from now on.
func (l *sightings) keepMade() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil {
		l.made = make(map[Key]bool)
	}
}

func (l *sightings) isMade(part Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made[part]
}

// sawName learns of a cell's name, for servers that would pick one of two.
func (l *sightings) sawName(id, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.names == nil {
		l.names, l.named = make(map[string]string), make(map[string][]string)
	}
	if before, ok := l.names[id]; ok {
		l.named[before] = slices.DeleteFunc(l.named[before], func(other string) bool { return other == id })
	}
	l.names[id] = name
	l.named[name] = append(l.named[name], id)
}

// sawNames learns of cells' names that were read a moment ago.
func (l *sightings) sawNames(byName map[string][]string) {
	for name, ids := range byName {
		for _, id := range ids {
			l.sawName(id, name)
		}
	}
}

// sawAll learns of all the cells that a server has.
func (l *sightings) sawAll(rows cellRows) {
	for _, row := range rows {
		l.sawName(row.ID, row.Name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = true
}

func (l *sightings) hasAll() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// lookForTwins makes sure that all cells are known, those of the names at least.
func (co *core) lookForTwins(ctx context.Context, cfg *config, list *sightings, names []string) error {
	select {
	case co.shared.dialect.asking <- struct{}{}:
		defer func() { <-co.shared.dialect.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if list.hasAll() {
		return nil
	}
	if known := co.shared.dialect.recentCells(names); list.single && known != nil {
		list.sawNames(known)
		return nil
	}
	changes := co.shared.dialect.cellChanges()
	rows, err := co.allCells(ctx, cfg)
	if err != nil {
		return err
	}
	list.sawAll(rows)
	byName := make(map[string][]string)
	for id, row := range rows {
		byName[row.Name] = append(byName[row.Name], id)
	}
	co.shared.dialect.sawCellNames(byName, changes)
	return nil
}

// isTwin reports the name of more than one cell.
func (l *sightings) isTwin(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.named[name]) > 1
}

// ownCell is the one cell that the run has seen to have the name; there may be others
// that it has not seen.
func (l *sightings) ownCell(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ids := l.named[name]; len(ids) == 1 {
		return ids[0]
	}
	return ""
}

// readAgain makes what the run has read of the server's cells old: a stream of a run
// that goes on for hours looks at them again. What the run has synced stays.
func (l *sightings) readAgain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byName, l.all = nil, false
}

// forget makes the run's next look-up ask again.
func (l *sightings) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byName = nil
}

// has returns the list if it tells of all the names.
func (l *sightings) has(names []string) map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		if _, asked := l.byName[name]; !asked {
			return nil
		}
	}
	return l.byName
}

// cellsByName lists the cells, once a run and again for a name that was not
// asked for before.
func (co *core) cellsByName(ctx context.Context, cfg *config, list *sightings, names []string) (map[string][]string, error) {
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
	known, changes := make(map[string][]string), co.shared.dialect.cellChanges()
	for row, err := range newClient(co).Cells.List(ctx, CellListOptions{}, withConfig(cfg)) {
		if err != nil {
			return nil, err
		}
		known[row.Name] = append(known[row.Name], row.ID)
	}
	for _, name := range names {
		known[name] = append([]string{}, known[name]...)
	}
	if co.shared.dialect.sawCellNames(known, changes) {
		list.mu.Lock()
		defer list.mu.Unlock()
		list.byName = known
	}
	return known, nil
}

// recentNames is for how long single syncs take the names of cells to be what they
// were: each would have to list them else.
const recentNames = time.Minute

// cellChanges counts the calls that may have changed cells.
func (d *dialect) cellChanges() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cellCalls
}

func (d *dialect) changedCells() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cells = nil
	d.cellCalls++
}

// sawCellNames remembers the names of cells, unless some may have changed while they
// were read. It reports whether it has.
func (d *dialect) sawCellNames(byName map[string][]string, changes int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cellCalls != changes {
		return false
	}
	d.cells, d.cellsRead = byName, time.Now()
	return true
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

// forgetCells makes the next look-up ask again: cells were changed.
func (d *delivery[R, P]) forgetCells() {
	d.e.flight.seen.forget()
	d.dialect().changedCells()
}
