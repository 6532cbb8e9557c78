package main

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/eryxontest"
)

//go:embed queries sample
var embedded embed.FS

// demonstrate shows three nights with a server of its own: the sample's CSV
// files, the same records from a database, and one order that has changed.
func (n *night) demonstrate(ctx context.Context) int {
	dir, err := os.MkdirTemp("", "nightly")
	if err != nil {
		return n.fail(exitUsage, err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // the system's own tidying does else
	n.source, n.state, n.quota = "DEMO", filepath.Join(dir, "nightly.state"), 100
	csv, erp := filepath.Join(dir, "sample"), filepath.Join(dir, "erp.db")
	if err := os.CopyFS(dir, embedded); err != nil {
		return n.fail(exitUsage, err)
	}
	if err := makeDatabase(ctx, erp); err != nil {
		return n.fail(exitUsage, err)
	}
	srv := eryxontest.New(eryxontest.WithQuota(n.quota, 24*time.Hour))
	defer srv.Close()
	if _, err := srv.Start(); err != nil {
		return n.fail(exitUsage, err)
	}
	connect := func(opts ...eryxon.Option) (*eryxon.Client, error) { return eryxon.New(srv.URL, srv.Key, opts...) }

	for _, night := range []struct{ title, csv, sql, change string }{
		{"The first night, from CSV files: everything is sent.", csv, "", ""},
		{"The second night, the same from a database: nothing is sent.", "", erp, ""},
		{"The third night, an order is due earlier: one record is sent.", "", erp, "UPDATE sales_orders SET due = '2026-12-07' WHERE no = 'SO-1002'"},
	} {
		if night.change != "" {
			if err := execute(ctx, erp, night.change); err != nil {
				return n.fail(exitUsage, err)
			}
		}
		before := len(srv.Requests())
		fmt.Fprintf(n.stdout, "%s\n\n", night.title)
		n.csv, n.sql = night.csv, night.sql
		if status := n.withClient(ctx, connect); status != exitDone {
			return status
		}
		fmt.Fprintf(n.stdout, "\nrequests: %d\n\n", len(srv.Requests())-before)
	}
	return exitDone
}

// makeDatabase makes the sample's database.
func makeDatabase(ctx context.Context, path string) error {
	for _, name := range []string{"sample/schema.sql", "sample/data.sql"} {
		script, err := embedded.ReadFile(name)
		if err == nil {
			err = execute(ctx, path, string(script))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func execute(ctx context.Context, path, script string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, script)
	return errors.Join(err, db.Close())
}
