package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/eryxon/eryxon-go"
)

// dryRun checks the records by the local rules and estimates the requests.
func dryRun(client *eryxon.Client, l *load, set *settings, stdout, stderr io.Writer) (int, error) {
	records := l.data.Count()
	estimate, err := client.EstimateRequests(records)
	if err != nil {
		return exitNothing, err
	}
	refused := make(map[eryxon.Entity]int)
	var failures []*eryxon.RecordError
	for _, err := range client.Validate(l.data) {
		var failure *eryxon.RecordError
		if !errors.As(err, &failure) {
			return exitNothing, err
		}
		failures = append(failures, failure)
		refused[failure.Entity]++
	}
	l.tellFailures(stderr, failures)
	read := make(map[eryxon.Entity]int)
	for _, j := range l.rejects {
		read[j.entity]++
		refused[j.entity]++
	}

	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\trecords\tnot to be sent\trequests\t")
	var total, bad int
	for _, e := range entities {
		read[e] += countOf(records, e)
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t\n", e, read[e], refused[e], countOf(estimate.Requests, e))
		total, bad = total+read[e], bad+refused[e]
	}
	fmt.Fprintf(w, "total\t%d\t%d\t%d\t\n", total, bad, estimate.Requests.Total())
	_ = w.Flush() // an error of stdout can't be told
	fmt.Fprintln(stdout)
	if set.budget > 0 && set.budget < estimate.Requests.Total() {
		fmt.Fprintf(stdout, "The budget of %d requests is too small.\n", set.budget)
	}
	fmt.Fprintln(stdout, "Nothing was sent. Retries, and parents that only the server can look for, are not in the estimate.")
	switch {
	case bad == 0:
		return exitDone, nil
	case bad < total:
		return exitPartial, nil
	default:
		return exitNothing, nil
	}
}

func countOf(n eryxon.RecordCounts, e eryxon.Entity) int {
	switch e {
	case eryxon.EntityCells:
		return n.Cells
	case eryxon.EntityResources:
		return n.Resources
	case eryxon.EntityJobs:
		return n.Jobs
	case eryxon.EntityParts:
		return n.Parts
	default:
		return n.Operations
	}
}
