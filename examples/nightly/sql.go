package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the sample's driver: import that of your database in its place
)

// readSQL asks a database the queries of a folder, such as jobs.sql, whose
// columns are named after the fields. All see the database as it is at one
// moment, so that no part comes without its job.
func readSQL(ctx context.Context, db *sql.DB, queries fs.FS) (export, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // there is nothing to keep
	tables := make(export)
	for e := range columns {
		name := string(e) + ".sql"
		query, err := fs.ReadFile(queries, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			tables[e], err = ask(ctx, tx, name, string(query))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(tables) == 0 {
		return nil, errors.New("the folder of queries has none")
	}
	return tables, nil
}

func ask(ctx context.Context, tx *sql.Tx, name, query string) (*table, error) {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	t := &table{name: name}
	if t.columns, err = rows.Columns(); err != nil {
		return nil, err
	}
	values := make([]any, len(t.columns))
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		cells := make([]string, len(values))
		for i, v := range values {
			cells[i] = asText(v)
		}
		t.rows = append(t.rows, row{fmt.Sprintf("%s, row %d", name, len(t.rows)+1), cells})
	}
	return t, rows.Err()
}

// asText is what a CSV file would have: nothing for NULL.
func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []byte:
		return string(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case time.Time:
		return v.Format(time.DateOnly)
	default:
		return fmt.Sprint(v)
	}
}
