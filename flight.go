package eryxon

import (
	"context"
	"sync/atomic"
	"time"
)

// flight is the requests of a run that are in flight, and how long they may
// go on. It belongs to one goroutine.
type flight struct {
	goOn     context.Context // while it lives, more requests are made
	stop     func()          // ends goOn
	wire     context.Context // bounds the requests in flight
	cut      func()          // ends wire
	patience time.Duration   // between the two
	grace    *time.Timer     // runs from the end of goOn on
	keys     *inFlight
	seen     *sightings
	mute     atomic.Bool // the server does not tell what it is
	running  int
	finished chan *finishedChunk // has room for all that are running
}

func newFlight(ctx context.Context, co *core, cfg *config) *flight {
	f := &flight{patience: cfg.grace, seen: cfg.seen, keys: &co.shared.inFlight, finished: make(chan *finishedChunk, cfg.concurrency)}
	if f.seen == nil {
		f.seen = newSightings()
	}
	f.seen.readAgain()
	f.goOn, f.stop = context.WithCancel(ctx)
	f.wire, f.cut = context.WithCancel(context.WithoutCancel(ctx))
	return f
}

// launch starts a worker. Its chunk's keys are held already; the worker lets go
// of them itself, for whoever is to receive it may be waiting for one of them.
func (f *flight) launch(work func() *finishedChunk) {
	f.running++
	go func() {
		c := work()
		f.keys.release(c.holder)
		f.finished <- c
	}()
}

// receive waits for a worker. Once no more requests are to be made, those in
// flight have the grace period to finish.
func (f *flight) receive() *finishedChunk {
	ended := f.goOn.Done()
	for {
		var cut <-chan time.Time
		if f.grace != nil {
			cut = f.grace.C
		}
		select {
		case c := <-f.finished:
			return f.landed(c)
		case <-ended:
			ended = nil
			if f.grace == nil {
				f.grace = time.NewTimer(f.patience)
			}
		case <-cut:
			f.cut()
		}
	}
}

// landed takes a finished chunk off the count.
func (f *flight) landed(c *finishedChunk) *finishedChunk {
	f.running--
	return c
}

// close lets go of contexts and timer. No worker is running any more.
func (f *flight) close() {
	f.stop()
	f.cut()
	if f.grace != nil {
		f.grace.Stop()
	}
}

// sizes is how large requests may be: what servers complain of brings it down.
type sizes struct{ records, bytes atomic.Int64 }

// lower brings a limit down, never up.
func lower(limit *atomic.Int64, to int) {
	for {
		now, want := limit.Load(), int64(max(1, to))
		if want >= now || limit.CompareAndSwap(now, want) {
			return
		}
	}
}

// finishedChunk is what a worker hands back.
type finishedChunk struct {
	lane     lane // that it belongs to, where there are several
	holder   keyHolder
	outcomes []Outcome
	requests int   // that carried records
	bytes    int64 // of their bodies, retries included
	end      error // no further request can succeed
	barren   error // why nothing of the chunk landed, where that may be the server's doing
}
