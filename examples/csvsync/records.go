package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/eryxon/eryxon-go"
)

// input is the records of one file, and those that could not be made of it.
type input[R any] struct {
	schema  *schema[R]
	records []R
	lines   []int // of the records, one for one
	rejects []*reject
	extra   []string // columns that the SDK does not know
}

// reject is a record that is not handed to the SDK.
type reject struct {
	file       string
	line       int
	entity     eryxon.Entity
	status     eryxon.Status // failed, or parent failed
	key        eryxon.Key    // as far as it could be read
	cell       string        // the name of a cell, for operations refer to it
	complaints []complaint
	record     any // for the failed-records file; nil if it can't be told
}

// complaint is what is wrong with a record.
type complaint struct {
	column string // "" for the record as a whole
	text   string
}

func (c complaint) String() string {
	if c.column == "" {
		return c.text
	}
	return c.column + ": " + c.text
}

func place(file string, line int) string { return fmt.Sprintf("%s:%d", file, line) }

// readRecords makes records of a sheet. Its error is about the header: then
// there are none.
func readRecords[R any](s *sheet, sc *schema[R], source string) (*input[R], error) {
	in := &input[R]{schema: sc}
	columns := make([]column[R], len(s.header))
	for i, name := range s.header {
		folded := strings.ToLower(name)
		at := slices.IndexFunc(sc.columns, func(c column[R]) bool { return c.name == folded })
		switch {
		case at >= 0:
			columns[i] = sc.columns[at]
		case folded == sc.nested:
			return nil, s.headerError("column %q: records don't nest in a cell, put them into %s", name, fileName(eryxon.Entity(folded)))
		default:
			columns[i] = extraColumn(name, sc.extra)
			in.extra = append(in.extra, name)
		}
	}
	if err := checkNeeds(s, sc.needs, source); err != nil {
		return nil, err
	}
	for _, row := range s.rows {
		in.take(s, row, columns, source)
	}
	return in, nil
}

// extraColumn is one that the SDK does not know: its texts go to Extra.
func extraColumn[R any](name string, extra func(*R) *map[string]any) column[R] {
	return column[R]{name, func(r *R, v value) error {
		m := extra(r)
		if *m == nil {
			*m = make(map[string]any)
		}
		(*m)[name] = v.text
		if v.text == null {
			(*m)[name] = nil
		}
		return nil
	}}
}

func checkNeeds(s *sheet, needs []string, source string) error {
	has := func(name string) bool {
		return slices.ContainsFunc(s.header, func(h string) bool { return strings.EqualFold(h, name) })
	}
	var missing []string
	for _, need := range needs {
		if !slices.ContainsFunc(strings.Split(need, "|"), has) {
			missing = append(missing, strings.ReplaceAll(need, "|", " or "))
		}
	}
	if len(missing) > 0 {
		return s.headerError("no column named %s; there are %s", strings.Join(missing, ", "), strings.Join(s.header, ", "))
	}
	if source == "" && !has("external_source") {
		return s.headerError("no column named external_source: add it, or name the ERP system with -source")
	}
	return nil
}

// take makes a record of a row, or a reject.
func (in *input[R]) take(s *sheet, row row, columns []column[R], source string) {
	var r R
	bad := &reject{file: s.file, line: row.line, entity: in.schema.entity, status: eryxon.StatusFailed}
	raw := make(map[string]string) // what stands in the bad cells
	told := len(row.cells) == len(columns)
	if !told {
		bad.add("", "%d cells where the header has %d: is there a cell with a delimiter in it that should be in quotes?", len(row.cells), len(columns))
	}
	for i := range min(len(row.cells), len(columns)) {
		text, name := row.cells[i], columns[i].name
		switch {
		case !utf8.ValidString(text):
			told = false
			bad.add(name, "is not UTF-8: export the file as UTF-8, or convert it from the ERP's code page first")
		case strings.TrimSpace(text) == "":
		default:
			if err := columns[i].set(&r, value{text, s.semicolon}); err != nil {
				raw[name] = text
				bad.add(name, "%v", err)
			}
		}
	}
	if *in.schema.source(&r) == "" {
		*in.schema.source(&r) = source
	}
	if len(bad.complaints) == 0 {
		in.records = append(in.records, r)
		in.lines = append(in.lines, row.line)
		return
	}
	if len(row.cells) == len(columns) { // else nothing tells that it is the id
		noteName(bad, in.schema, &r)
	}
	if told {
		bad.record = withRaw(r, raw)
	}
	in.rejects = append(in.rejects, bad)
}

func (j *reject) add(column, format string, args ...any) {
	j.complaints = append(j.complaints, complaint{column, fmt.Sprintf(format, args...)})
}

// keyOf is the key of a record.
func keyOf[R any](sc *schema[R], r *R) eryxon.Key {
	return eryxon.Key{Source: *sc.source(r), ExternalID: *sc.id(r)}
}

// noteName keeps what other records may refer to the record by.
func noteName[R any](j *reject, sc *schema[R], r *R) {
	j.key = keyOf(sc, r)
	if cell, ok := any(r).(*eryxon.Cell); ok {
		j.cell = cell.Name
	}
}

// withRaw is the record as JSON, with the texts of its bad cells as they are,
// so that the failed-records file shows what has to be corrected and can't be
// replayed before.
func withRaw(r any, raw map[string]string) any {
	text, err := json.Marshal(r)
	if err != nil {
		return nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return nil
	}
	for name, text := range raw {
		members[name] = json.RawMessage("null") // refused in a field that can't be cleared
		if text != null {
			members[name], _ = json.Marshal(text) // a string always can be
		}
	}
	return members
}
