package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/eryxon/eryxon-go"
)

// load is what a run has to bring to the server, and where each record of it
// stands.
type load struct {
	from    string
	data    eryxon.Dataset
	at      map[eryxon.Entity]*origins
	rejects []*reject
	notes   []string
}

// origins tells where the records of an entity stand.
type origins struct {
	file  string
	lines []int                // by the record's index in the dataset
	keys  map[eryxon.Key][]int // the lines of a key
}

// place is the file and line of a record.
func (l *load) place(e eryxon.Entity, index int) string {
	at := l.at[e]
	if at == nil || index < 0 || index >= len(at.lines) {
		return fileName(e)
	}
	return place(at.file, at.lines[index])
}

func (l *load) line(e eryxon.Entity, index int) int {
	if at := l.at[e]; at != nil && index >= 0 && index < len(at.lines) {
		return at.lines[index]
	}
	return 0
}

// readFolder reads the five files, as far as they are there. Files that can't
// be read as a whole are told all at once.
func readFolder(dir, source string) (*load, error) {
	names, err := csvFiles(dir)
	if err != nil {
		return nil, err
	}
	l := &load{from: dir, at: make(map[eryxon.Entity]*origins)}
	var errs []error
	cells := readFile(l, &errs, dir, names, &cellSchema, source)
	resources := readFile(l, &errs, dir, names, &resourceSchema, source)
	jobs := readFile(l, &errs, dir, names, &jobSchema, source)
	parts := readFile(l, &errs, dir, names, &partSchema, source)
	operations := readFile(l, &errs, dir, names, &operationSchema, source)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(l.at) == 0 {
		return nil, fmt.Errorf("%s: none of the five files is there (cells.csv, resources.csv, jobs.csv, parts.csv, operations.csv)", dir)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		l.note("%s is none of the five files: not read", name)
	}
	keepBack(cells, jobs, parts, operations)
	add(l, cells, &l.data.Cells)
	add(l, resources, &l.data.Resources)
	add(l, jobs, &l.data.Jobs)
	add(l, parts, &l.data.Parts)
	add(l, operations, &l.data.Operations)
	return l, nil
}

func (l *load) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

// csvFiles lists what is in the folder, so that a misspelt name is not taken
// for a file that is not there.
func csvFiles(dir string) (map[string]bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			return nil, fmt.Errorf("%s: %w", dir, path.Err)
		}
		return nil, err
	}
	names := make(map[string]bool)
	for _, entry := range entries {
		if strings.EqualFold(filepath.Ext(entry.Name()), ".csv") {
			names[entry.Name()] = true
		}
	}
	return names, nil
}

// readFile reads the file of an entity, if it is there.
func readFile[R any](l *load, errs *[]error, dir string, names map[string]bool, sc *schema[R], source string) *input[R] {
	name := fileName(sc.entity)
	nothing := &input[R]{schema: sc}
	if !names[name] {
		return nothing
	}
	delete(names, name)
	in, err := func() (*input[R], error) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		s, err := readSheet(name, data)
		if err != nil {
			return nil, err
		}
		return readRecords(s, sc, source)
	}()
	if err != nil {
		*errs = append(*errs, err)
		return nothing
	}
	l.at[sc.entity] = &origins{file: name}
	if len(in.extra) > 0 {
		l.note("%s: not in the API reference, sent as they are: %s", name, strings.Join(in.extra, ", "))
	}
	return in
}

// add puts what was read of a file into the load.
func add[R any](l *load, in *input[R], to *eryxon.Input[R]) {
	*to = eryxon.FromSlice(in.records)
	if at := l.at[in.schema.entity]; at != nil {
		at.lines = in.lines
		at.keys = make(map[eryxon.Key][]int)
		for i := range in.records {
			k := keyOf(in.schema, &in.records[i])
			at.keys[k] = append(at.keys[k], in.lines[i])
		}
	}
	slices.SortStableFunc(in.rejects, func(a, b *reject) int { return cmp.Compare(a.line, b.line) })
	l.rejects = append(l.rejects, in.rejects...)
}
