package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/eryxon/eryxon-go"
)

const csvFiles = "cells.csv, resources.csv, jobs.csv, parts.csv and operations.csv"

// readCSV reads a folder of files such as jobs.csv, whose first line names the
// fields. A file of another name is refused: misspelt, its records would be
// missing without a word.
func readCSV(folder string) (export, error) {
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	tables := make(export)
	for _, file := range files {
		name, ext := file.Name(), filepath.Ext(file.Name())
		if !strings.EqualFold(ext, ".csv") {
			continue
		}
		e := eryxon.Entity(strings.TrimSuffix(name, ext))
		if columns[e] == nil {
			return nil, fmt.Errorf("%s: want %s only", name, csvFiles)
		}
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		if tables[e], err = parseCSV(name, data); err != nil {
			return nil, err
		}
	}
	if len(tables) == 0 {
		return nil, fmt.Errorf("%s: no CSV files there: want %s", folder, csvFiles)
	}
	return tables, nil
}

func parseCSV(name string, data []byte) (*table, error) {
	t := &table{name: name}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	for {
		cells, err := r.Read()
		var broken *csv.ParseError
		switch {
		case errors.Is(err, io.EOF) && t.columns == nil:
			return nil, fmt.Errorf("%s: is empty: want a first line with the names of the fields", name)
		case errors.Is(err, io.EOF):
			return t, nil
		case errors.As(err, &broken):
			return nil, fmt.Errorf("%s:%d: %w", name, broken.StartLine, broken.Err)
		case err != nil:
			return nil, err
		case t.columns == nil:
			t.columns = cells
		default:
			line, _ := r.FieldPos(0)
			t.rows = append(t.rows, row{fmt.Sprintf("%s:%d", name, line), cells})
		}
	}
}
