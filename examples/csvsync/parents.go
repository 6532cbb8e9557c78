package main

import (
	"fmt"

	"github.com/eryxon/eryxon-go"
)

// keepBack takes out the records whose job, part or cell could not be read:
// the SDK, which never sees that parent, would leave them to the server, and
// they would land beside the parent's old state or be refused at the price of
// a request. This is what SyncAll does for children of records that fail.
func keepBack(cells *input[eryxon.Cell], jobs *input[eryxon.Job], parts *input[eryxon.Part], operations *input[eryxon.Operation]) {
	badCells := make(map[string]*reject)
	for _, j := range cells.rejects {
		if j.cell != "" {
			badCells[j.cell] = j
		}
	}
	for i := range cells.records {
		delete(badCells, cells.records[i].Name)
	}
	badJobs := badKeys(jobs)
	withhold(parts, func(p *eryxon.Part) *reject {
		if p.JobID != "" {
			return nil
		}
		return badJobs[eryxon.Key{Source: p.ExternalSource, ExternalID: p.JobExternalID}]
	})
	badParts := badKeys(parts)
	withhold(operations, func(o *eryxon.Operation) *reject {
		if o.PartID == "" {
			if parent := badParts[eryxon.Key{Source: o.ExternalSource, ExternalID: o.PartExternalID}]; parent != nil {
				return parent
			}
		}
		if o.CellID != "" {
			return nil
		}
		return badCells[o.CellName]
	})
}

// badKeys is the rejects that nothing that is sent stands for.
func badKeys[R any](in *input[R]) map[eryxon.Key]*reject {
	bad := make(map[eryxon.Key]*reject)
	for _, j := range in.rejects {
		if j.key.ExternalID != "" {
			bad[j.key] = j
		}
	}
	for i := range in.records {
		delete(bad, keyOf(in.schema, &in.records[i]))
	}
	return bad
}

// withhold makes rejects of the records that have a bad parent.
func withhold[R any](in *input[R], badParent func(*R) *reject) {
	var records []R
	var lines []int
	for i := range in.records {
		r, line := &in.records[i], in.lines[i]
		parent := badParent(r)
		if parent == nil {
			records, lines = append(records, *r), append(lines, line)
			continue
		}
		j := &reject{
			file: fileName(in.schema.entity), line: line, entity: in.schema.entity,
			status: eryxon.StatusParentFailed, record: *r,
		}
		noteName(j, in.schema, r)
		j.complaints = []complaint{{text: fmt.Sprintf("%s: its %s (%s) is not sent", j.status, singular(parent.entity), place(parent.file, parent.line))}}
		in.rejects = append(in.rejects, j)
	}
	in.records, in.lines = records, lines
}
