package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// sheet is a CSV file cut into rows of text.
type sheet struct {
	file      string
	line      int // of the header
	header    []string
	semicolon bool // in place of the comma
	rows      []row
}

// row is a line of a CSV file, or several where cells hold line breaks.
type row struct {
	line  int // the first
	cells []string
}

// fileError is why a whole file can't be read.
type fileError struct {
	file string
	line int // 0: of no line
	text string
}

func (e *fileError) Error() string {
	if e.line == 0 {
		return e.file + ": " + e.text
	}
	return fmt.Sprintf("%s:%d: %s", e.file, e.line, e.text)
}

var (
	bom     = []byte("\xef\xbb\xbf")
	utf16le = []byte("\xff\xfe")
	utf16be = []byte("\xfe\xff")
)

// readSheet cuts a file into rows. Where quotes are broken nothing tells
// where records end, so the file is refused as a whole.
func readSheet(file string, data []byte) (*sheet, error) {
	if bytes.HasPrefix(data, utf16le) || bytes.HasPrefix(data, utf16be) {
		return nil, &fileError{file, 0, "is UTF-16: export it as UTF-8"}
	}
	data = bytes.TrimPrefix(data, bom)
	s := &sheet{file: file}
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1 // counted row by row
	if r.Comma = delimiter(data); r.Comma == ';' {
		s.semicolon = true
	}
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, brokenQuotes(file, err)
		}
		line, _ := r.FieldPos(0)
		switch {
		case s.header == nil:
			s.header, s.line = cells, line
		case strings.TrimSpace(strings.Join(cells, "")) != "":
			s.rows = append(s.rows, row{line, cells})
		}
	}
	return s, s.checkHeader()
}

// delimiter is the one of comma and semicolon that the header has more of.
func delimiter(data []byte) rune {
	var commas, semicolons int
	quoted := false
	for _, c := range bytes.TrimLeft(data, "\r\n") {
		if c == '\n' && !quoted {
			break
		}
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			commas++
		case c == ';' && !quoted:
			semicolons++
		}
	}
	if semicolons > commas {
		return ';'
	}
	return ','
}

func brokenQuotes(file string, err error) error {
	var broken *csv.ParseError
	if !errors.As(err, &broken) {
		return &fileError{file, 0, err.Error()}
	}
	where := ""
	if broken.Line != broken.StartLine {
		where = fmt.Sprintf(" (found in line %d)", broken.Line)
	}
	return &fileError{file, broken.StartLine, fmt.Sprintf("a quote is missing or too many%s: put cells that hold quotes "+
		`into quotes and double the ones inside ("3/4"" bolt"); until then nothing tells where records end`, where)}
}

func (s *sheet) checkHeader() error {
	if s.header == nil {
		return &fileError{s.file, 0, "is empty: want a header line with the names of the columns"}
	}
	seen := make(map[string]int, len(s.header))
	for i, name := range s.header {
		name = strings.TrimSpace(name)
		s.header[i] = name
		switch folded := strings.ToLower(name); {
		case !utf8.ValidString(name):
			return s.headerError("the name of column %d is not UTF-8: export the file as UTF-8", i+1)
		case strings.ContainsAny(name, "\r\n"):
			return s.headerError("a line break in the name of column %d: want lines that end with LF or CRLF", i+1)
		case name == "" && len(s.header) == 1:
			return s.headerError("no columns")
		case name == "":
			return s.headerError("column %d has no name", i+1)
		case seen[folded] > 0:
			return s.headerError("columns %d and %d are both named %q", seen[folded], i+1, name)
		default:
			seen[folded] = i + 1
		}
	}
	if len(s.header) == 1 && strings.Contains(s.header[0], "\t") {
		return s.headerError("looks tab-separated: want commas or semicolons")
	}
	return nil
}

func (s *sheet) headerError(format string, args ...any) error {
	return &fileError{s.file, s.line, fmt.Sprintf(format, args...)}
}
