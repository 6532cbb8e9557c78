package eryxon

import (
	"context"
	"slices"
)

// keepFloor gives records, from which the shop floor's fields were left out,
// these fields as the server has them now: a server that fills what an update
// leaves out would overwrite them. It returns the records that are safe to send
// then.
func (d *delivery[R, P]) keepFloor(list []*sentRecord[R], ambiguous bool) (safe, others []*sentRecord[R]) {
	var wanted []*sentRecord[R]
	for _, s := range list {
		if d.lacksFloor(s) && !slices.ContainsFunc(d.hazards(s), always) { // no row would help those
			wanted = append(wanted, s)
		} else {
			others = append(others, s)
		}
	}
	if len(wanted) == 0 {
		return nil, others
	}
	rows, err := d.floorOf(wanted)
	d.mind(err)
	for _, s := range wanted {
		row, there := rows[s]
		switch {
		case err != nil:
			d.settleUndelivered(s, err, ambiguous)
			continue
		case !there && s.memory != nil && s.memory.entry.ID == "" && s.memory.entry.flags()&flagExists != 0:
			// It is there under another name: nothing tells what it holds.
		case !there: // and nothing to overwrite
			s.record, s.vetted = s.given(), true
		default:
			d.setFloor(s, row)
		}
		if d.hazards(s) != nil {
			others = append(others, s)
			continue
		}
		if own, err := P(&s.record).appendJSON(nil, d.e.cfg.source); err == nil {
			s.own = own
			safe = append(safe, s)
		} else {
			others = append(others, s)
		}
	}
	return safe, others
}

// lacksFloor reports an update that leaves out fields which the shop floor owns
// and some servers fill.
func (d *delivery[R, P]) lacksFloor(s *sentRecord[R]) bool {
	if s.memory == nil || s.memory.whole {
		// It is no field of the documentation's, and every update would turn it on.
		r, ok := any(P(&s.record)).(*Resource)
		return ok && leavesActive(r) && !s.vetted && !d.e.cfg.overwrite && d.e.co.knownToFill()
	}
	switch r := any(P(&s.record)).(type) {
	case *Cell:
		return !r.Active.IsSet()
	case *Resource:
		return !r.Status.IsSet() || !r.Active.IsSet()
	}
	return false
}

// leavesActive reports a resource that leaves out nothing but what no
// documentation tells of.
func leavesActive(r *Resource) bool { return r.Status.IsSet() && !r.Active.IsSet() }

// floorFields are the fields of the shop floor that servers fill.
type floorFields struct {
	active Opt[bool]
	status Opt[ResourceStatus]
}

// floorOf reads what the shop floor has made of records' rows. Only cells and
// resources have fields that the shop floor owns and servers fill; both are few.
func (d *delivery[R, P]) floorOf(list []*sentRecord[R]) (map[*sentRecord[R]]floorFields, error) {
	ctx, cfg := d.e.flight.goOn, d.e.cfg
	found := make(map[*sentRecord[R]]floorFields)
	take := func(row rowIdentity, name string, f floorFields) {
		for _, s := range list {
			if s.isRow(row, name, naturalName(P(&s.record))) {
				found[s] = f
			}
		}
	}
	switch d.c.entity {
	case EntityCells:
		rows, err := d.e.co.allCells(ctx, cfg)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			take(row.identity(), row.Name, floorFields{active: row.Active})
		}
		d.cells = rows // what is not among them by name may turn out to be by id
	case EntityResources:
		var only ResourceListOptions
		if len(list) == 1 {
			only.ExternalID, only.ExternalSource = list[0].key.ExternalID, list[0].key.Source
		}
		for row, err := range newClient(d.e.co).Resources.List(ctx, only, withConfig(cfg)) {
			if err != nil {
				return nil, err
			}
			take(row.identity(), row.Name, floorFields{active: row.Active, status: row.Status})
		}
	default:
		return nil, ErrUnsupported
	}
	return found, nil
}

// isRow reports whether a row is the record's: by id, by the key that rows
// show, or, where neither is known, by its name.
func (s *sentRecord[R]) isRow(row rowIdentity, rowName, name string) bool {
	switch {
	case s.memory != nil && s.memory.entry.ID != "":
		return s.memory.entry.ID == row.id
	case row.shown():
		return row.is(s.key)
	default:
		return rowName == name
	}
}

func naturalName(r any) string {
	switch r := r.(type) {
	case *Cell:
		return r.Name
	case *Resource:
		return r.Name
	}
	return ""
}

// setFloor sets what a row has where the record leaves it out.
func (d *delivery[R, P]) setFloor(s *sentRecord[R], row floorFields) {
	switch r := any(P(&s.record)).(type) {
	case *Cell:
		if !r.Active.IsSet() {
			r.Active = row.active
		}
	case *Resource:
		if !r.Active.IsSet() {
			r.Active = row.active
		}
		if !r.Status.IsSet() {
			r.Status = row.status
		}
	}
}

// cellRows are the server's cells by id.
type cellRows map[string]*CellRow

// named reports whether a cell has that name.
func (rows cellRows) named(name string) bool {
	for _, row := range rows {
		if row.Name == name {
			return true
		}
	}
	return false
}

func (co *core) allCells(ctx context.Context, cfg *config) (cellRows, error) {
	rows := make(cellRows)
	for row, err := range newClient(co).Cells.List(ctx, CellListOptions{}, withConfig(cfg)) {
		if err != nil {
			return nil, err
		}
		rows[row.ID] = &row
	}
	return rows, nil
}

// restores has a cell that was taken for a new one, and was there under another name,
// go once more with what its row of the given id held before. It reports whether it
// has to.
func (d *delivery[R, P]) restores(s *sentRecord[R], id string) bool {
	copied := s.record
	if !d.cells.restore(any(P(&copied)), id) {
		return false
	}
	own, err := P(&copied).appendJSON(nil, d.e.cfg.source)
	if err == nil {
		s.own, s.vetted = own, false
	}
	return err == nil
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
