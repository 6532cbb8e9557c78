package eryxon

import (
	"errors"
	"log/slog"
	"time"
)

// Progress is how far a [Client.SyncAll] has come.
type Progress struct {
	Done      int           // records that have an outcome
	Total     int           // records of the dataset, 0 where an input's end is not known
	Counts    Counts        // of Done
	Requests  int           // bulk requests made
	StillNeed int           // bulk requests that the rest needs at least, 0 where Total is
	Elapsed   time.Duration // since the start
	Rate      float64       // records a second since the start
	Final     bool          // the run is over
}

// progressEvery is the least time between two reports of progress.
const progressEvery = 250 * time.Millisecond

// WithProgress reports the progress of [Client.SyncAll] to show at most four
// times a second, and once in the end. Show runs on a goroutine of its own: a
// slow one gets fewer reports and does not slow the run, a panicking one gets
// no more. SyncAll returns after its last call has.
func WithProgress(show func(Progress)) SyncAllOption {
	return syncAllOption(func(c *config) error {
		if show == nil {
			return errors.New("eryxon: WithProgress: nil function")
		}
		c.onProgress = show
		return nil
	})
}

// progressReporter hands snapshots to the goroutine that shows them.
type progressReporter struct {
	report *Report
	limit  int
	last   time.Time
	latest chan Progress // room for one; a newer one replaces it
	over   chan struct{} // closed when the goroutine has ended
}

func startProgress(cfg *config, report *Report) *progressReporter {
	p := &progressReporter{report: report, limit: cfg.maxRecords, last: report.Started}
	if cfg.onProgress == nil {
		return p
	}
	p.latest, p.over = make(chan Progress, 1), make(chan struct{})
	go func() {
		defer close(p.over)
		defer func() {
			if panicked := recover(); panicked != nil {
				cfg.logger.Error("eryxon: the progress function panicked", slog.Any("panic", panicked))
			}
		}()
		for s := range p.latest {
			cfg.onProgress(s)
		}
	}()
	return p
}

// update shows how far the run is, unless that was done just now.
func (p *progressReporter) update(final bool) {
	if p.latest == nil {
		return
	}
	now := time.Now()
	if !final && now.Sub(p.last) < progressEvery {
		return
	}
	p.last = now
	s := p.snapshot(now)
	s.Final = final
	select {
	case <-p.latest: // an older one that nobody has seen
	default:
	}
	select {
	case p.latest <- s:
	default:
	}
}

func (p *progressReporter) snapshot(now time.Time) Progress {
	t := p.report.Total()
	s := Progress{Done: t.Read, Total: t.expected, Counts: t.Counts, Requests: t.Requests, Elapsed: now.Sub(p.report.Started)}
	for _, e := range entityOrder {
		if r := p.report.of(e); r.expected > r.Read {
			s.StillNeed += (r.expected - r.Read + p.limit - 1) / p.limit
		}
	}
	if seconds := s.Elapsed.Seconds(); seconds > 0 {
		s.Rate = float64(s.Done) / seconds
	}
	return s
}

// stop shows the end and waits for the last call.
func (p *progressReporter) stop() {
	if p.latest == nil {
		return
	}
	p.update(true)
	close(p.latest)
	<-p.over
}
