package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/eryxon/eryxon-go"
)

// readReplay reads a failed-records file that was corrected.
func readReplay(path string) (*load, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, bom) // some editors leave one
	l := &load{from: path, at: make(map[eryxon.Entity]*origins)}
	if l.data, err = eryxon.ReadFailedRecords(bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("%s: %w (correct the line, or delete it)", path, err)
	}
	l.findLines(filepath.Base(path), data)
	return l, nil
}

// findLines finds out where the records of the dataset stand, which has them
// in the order of the file.
func (l *load) findLines(file string, data []byte) {
	for i, line := range bytes.Split(data, []byte("\n")) {
		var of struct {
			Entity eryxon.Entity `json:"entity"`
			Record eryxon.Key    `json:"record"`
		}
		if json.Unmarshal(line, &of) != nil {
			continue // an empty line: all others were read
		}
		at := l.at[of.Entity]
		if at == nil {
			at = &origins{file: file, keys: make(map[eryxon.Key][]int)}
			l.at[of.Entity] = at
		}
		at.lines = append(at.lines, i+1)
		at.keys[of.Record] = append(at.keys[of.Record], i+1)
	}
}
