// Command csvsync brings a folder of CSV files into Eryxon MES: cells.csv,
// resources.csv, jobs.csv, parts.csv and operations.csv, as far as they are
// there.
//
//	go run . -source DEMO sample
//
// On its own it starts the SDK's built-in server and talks to that. Where
// ERYXON_BASE_URL and ERYXON_API_KEY are set it talks to the installation they
// name. The README tells the rest.
package main

import (
	"context"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
