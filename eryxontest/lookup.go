package eryxontest

import (
	"net/url"
	"slices"
	"strings"
)

// Where a release in the field looks many rows up at once, it hands the
// database their external ids, or names, as a list in a URL: in.(a,"b,c",d).

// maxRows is how many rows the database returns at most.
const maxRows = 1000

// lookUp finds the live rows of those external ids in any of the sources, in
// order of creation.
func (s *Server) lookUp(e Entity, sources, ids []string) []*record {
	var found []*record
	for id := range s.listed(ids) {
		for _, source := range sources {
			if r := s.live(e, key{source, id}); r != nil {
				found = append(found, r)
			}
		}
	}
	return returned(found)
}

// lookUpCells finds the cells of those names, deleted ones too.
func (s *Server) lookUpCells(names []string) []*record {
	var found []*record
	for name := range s.listed(names) {
		found = append(found, s.table(Cells).byName[name]...)
	}
	return returned(found)
}

// returned is what the database returns of those rows.
func returned(rows []*record) []*record {
	slices.SortFunc(rows, func(x, y *record) int { return x.n - y.n })
	return rows[:min(len(rows), maxRows)]
}

// listed is the values that reach the database where the server lists those.
func (s *Server) listed(values []string) map[string]bool {
	if len(values) == 0 {
		return nil
	}
	list := writeList(values)
	if n := s.refusals.maxLookUp; n > 0 && len(url.QueryEscape(list)) > n {
		return nil
	}
	return readList(list)
}

// writeList writes the list as the server's client library does: a value that
// holds one of ",()" in quotes, with nothing in it escaped.
func writeList(values []string) string {
	var b strings.Builder
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		if seen[v] {
			continue
		}
		seen[v] = true
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		if strings.ContainsAny(v, ",()") {
			b.WriteString(`"` + v + `"`)
		} else {
			b.WriteString(v)
		}
	}
	return b.String()
}

// readList reads the list as the gateway of the database does: quotes delimit
// a value and a backslash escapes in them, unless something else follows the
// closing quote; a parenthesis outside of quotes ends the list.
func readList(list string) map[string]bool {
	list += ")"
	out := map[string]bool{}
	for {
		v, n := quotedValue(list)
		if n == 0 {
			n = strings.IndexAny(list, ",)")
			v = list[:n]
		}
		out[v] = true
		if list[n] == ')' {
			return out
		}
		list = list[n+1:]
	}
}

// quotedValue is the value in quotes that the list begins with, and how long it
// is there; 0 if the list begins with none.
func quotedValue(list string) (v string, n int) {
	if list[0] != '"' {
		return "", 0
	}
	var b strings.Builder
	for i := 1; i < len(list)-1; i++ {
		switch list[i] {
		case '"':
			if next := list[i+1]; next != ',' && next != ')' {
				return "", 0
			}
			return b.String(), i + 1
		case '\\':
			i++
		}
		b.WriteByte(list[i])
	}
	return "", 0
}
