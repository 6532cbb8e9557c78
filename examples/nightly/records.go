package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/eryxon/eryxon-go"
)

// export is what the ERP has: a table of each entity that it tells of.
type export map[eryxon.Entity]*table

// table is the records of one entity, as text.
type table struct {
	name    string   // of the file or query
	columns []string // the wire names of fields
	rows    []row
}

type row struct {
	place string // such as jobs.csv:3
	cells []string
}

// kind is what the text of a column stands for.
type kind int

const (
	text kind = iota
	integer
	number
	boolean
)

// columns are those of the API reference.
var columns = map[eryxon.Entity]map[string]kind{
	eryxon.EntityCells: {"external_id": text, "external_source": text, "name": text, "color": text, "sequence": integer, "active": boolean},
	eryxon.EntityResources: {"external_id": text, "external_source": text, "name": text, "type": text, "description": text,
		"identifier": text, "location": text, "status": text, "active": boolean},
	eryxon.EntityJobs: {"external_id": text, "external_source": text, "job_number": text, "customer": text, "due_date": text,
		"priority": integer, "notes": text, "status": text},
	eryxon.EntityParts: {"external_id": text, "external_source": text, "job_external_id": text, "job_id": text, "part_number": text,
		"material": text, "quantity": integer, "notes": text, "status": text},
	eryxon.EntityOperations: {"external_id": text, "external_source": text, "part_external_id": text, "part_id": text, "operation_name": text,
		"cell_name": text, "cell_id": text, "sequence": integer, "estimated_time_minutes": number, "notes": text, "status": text},
}

// dataset makes records of the export. What can't be read is an error, and the
// run ends before anything is sent; records that break a rule of the API are
// left to the SDK, which tells one by one.
func (x export) dataset(extra bool) (data eryxon.Dataset, err error) {
	var errs [5]error
	data.Cells, errs[0] = records[eryxon.Cell](x, eryxon.EntityCells, extra)
	data.Resources, errs[1] = records[eryxon.Resource](x, eryxon.EntityResources, extra)
	data.Jobs, errs[2] = records[eryxon.Job](x, eryxon.EntityJobs, extra)
	data.Parts, errs[3] = records[eryxon.Part](x, eryxon.EntityParts, extra)
	data.Operations, errs[4] = records[eryxon.Operation](x, eryxon.EntityOperations, extra)
	return data, errors.Join(errs[:]...)
}

// records makes a JSON object of each row, by the names of the columns, and
// has the record read it.
func records[R any](x export, e eryxon.Entity, extra bool) (none eryxon.Input[R], err error) {
	t := x[e]
	if t == nil {
		return none, nil
	}
	if err := t.checkColumns(e, extra); err != nil {
		return none, err
	}
	list := make([]R, len(t.rows))
	for i, r := range t.rows {
		object := make(map[string]any, len(t.columns))
		for c, name := range t.columns {
			if r.cells[c] == "" {
				continue // left alone on the server
			}
			if object[name], err = value(r.cells[c], columns[e][name]); err != nil {
				return none, fmt.Errorf("%s: %s: %w", r.place, name, err)
			}
		}
		raw, err := json.Marshal(object)
		if err == nil {
			err = json.Unmarshal(raw, &list[i])
		}
		if err != nil {
			return none, fmt.Errorf("%s: %s", r.place, strings.ReplaceAll(err.Error(), "eryxon: ", ""))
		}
	}
	return eryxon.FromSlice(list), nil
}

func (t *table) checkColumns(e eryxon.Entity, extra bool) error {
	for i, name := range t.columns {
		_, ok := columns[e][name]
		switch {
		case !ok && !extra:
			return fmt.Errorf("%s: column %q is not in the API reference: correct its name, or say -extra", t.name, name)
		case slices.Contains(t.columns[:i], name):
			return fmt.Errorf("%s: column %q is there twice", t.name, name)
		}
	}
	if !slices.Contains(t.columns, "external_id") {
		return fmt.Errorf("%s: no column external_id", t.name)
	}
	return nil
}

// null is the text that clears a field; an empty one leaves it alone.
const null = `\N`

func value(s string, k kind) (v any, err error) {
	switch {
	case !utf8.ValidString(s):
		return nil, errors.New("not UTF-8: export it as UTF-8")
	case s == null:
		return nil, nil
	case k == integer:
		if v, err = strconv.Atoi(s); err != nil {
			return nil, fmt.Errorf("%.40q is not a whole number", s)
		}
	case k == number:
		f, err := strconv.ParseFloat(s, 64)
		if v = f; err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return nil, fmt.Errorf("%.40q is not a number such as 12.5", s)
		}
	case k == boolean:
		if v, err = strconv.ParseBool(s); err != nil {
			return nil, fmt.Errorf("%.40q is not true or false", s)
		}
	default:
		v = s
	}
	return v, nil
}
