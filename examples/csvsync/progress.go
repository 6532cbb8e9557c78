package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/eryxon/eryxon-go"
)

// progressOn shows progress on w: as a bar where w is a terminal, else as
// lines.
func progressOn(w io.Writer) func(eryxon.Progress) {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return progressBar(w)
	}
	return progressLines(w)
}

func progressBar(w io.Writer) func(eryxon.Progress) {
	var bar *progressbar.ProgressBar
	return func(p eryxon.Progress) {
		if bar == nil {
			bar = progressbar.NewOptions(max(p.Total, 1),
				progressbar.OptionSetWriter(w),
				progressbar.OptionSetWidth(30),
				progressbar.OptionShowCount(),
				progressbar.OptionShowDescriptionAtLineEnd(),
			)
		}
		bar.Describe(" " + p.Counts.String())
		_ = bar.Set(p.Done) // a bar that can't be drawn is no reason to end the run
		if p.Final {
			fmt.Fprintln(w)
		}
	}
}

// lineEvery is the least time between two lines of progress: a log is read
// afterwards.
const lineEvery = 5 * time.Second

func progressLines(w io.Writer) func(eryxon.Progress) {
	last := time.Duration(0)
	return func(p eryxon.Progress) {
		if !p.Final && p.Elapsed-last < lineEvery {
			return
		}
		last = p.Elapsed
		fmt.Fprintf(w, "%d of %d records: %s; %d requests\n", p.Done, p.Total, p.Counts, p.Requests)
	}
}
