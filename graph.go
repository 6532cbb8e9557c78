package eryxon

import (
	"context"
	"errors"
	"fmt"
)

// graph is a dataset of slices with its dependencies. All of it lives in one
// goroutine.
type graph struct {
	run                     *syncRun
	cfg                     *config
	flight                  *flight
	nodes                   []*node // in the order of their precedence
	edges                   []edge
	jobs, cells, parts, ops *node
}

// node is one entity's lane in the graph.
type node struct {
	lane     lane
	own      int    // records of the input itself; the lifted ones follow
	queue    queue  // records whose parents are through
	placed   []bool // given to the lane, or withheld from it
	placings int
	waits    []int32 // parents that are not through yet, by record
	kids     []int32 // first edge by record, -1 without
	halted   bool
}

// edge leads from a parent to a child.
type edge struct {
	child *node
	at    int32
	next  int32
}

func (g *graph) add(l lane, own int) *node {
	n := &node{lane: l, own: own, placed: make([]bool, l.size()), waits: make([]int32, l.size()), kids: make([]int32, l.size())}
	for i := range n.kids {
		n.kids[i] = -1
	}
	g.nodes = append(g.nodes, n)
	return n
}

// missing collects references that no record of the dataset answers, so that
// they can be told before the first request.
type missing struct {
	n     int
	first string
}

func (m *missing) add(what string) {
	if m.n++; m.n == 1 {
		m.first = what
	}
}

func (m *missing) warn(r *syncRun, text string) {
	if m.n > 0 {
		r.warn(fmt.Sprintf("%s (%d, the first is %s)", text, m.n, m.first))
	}
}

// link finds each record's parents. The lists are those of the lanes.
func (g *graph) link(jobs []Job, cells []Cell, parts []Part, ops []Operation) {
	source := g.cfg.source
	jobAt, jobIDs := indexKeys[Job, *Job](jobs, source)
	partAt, partIDs := indexKeys[Part, *Part](parts, source)
	cellAt := make(map[string][]int32)
	for i := range cells {
		cellAt[cells[i].Name] = append(cellAt[cells[i].Name], int32(i))
	}
	var noJob, otherJob, noPart, otherPart, noCell missing
	for i := range parts {
		p := &parts[i]
		if p.JobID != "" || p.JobExternalID == "" {
			continue
		}
		key := Key{p.recordKey(source).Source, p.JobExternalID}
		g.refer(g.jobs, jobAt, jobIDs, key, g.parts, i, "job_external_id", &noJob, &otherJob)
	}
	for i := range ops {
		o := &ops[i]
		if o.PartID == "" && o.PartExternalID != "" {
			key := Key{o.recordKey(source).Source, o.PartExternalID}
			g.refer(g.parts, partAt, partIDs, key, g.ops, i, "part_external_id", &noPart, &otherPart)
		}
		if o.CellID != "" || o.CellName == "" {
			continue
		}
		at, ok := cellAt[o.CellName]
		for _, c := range at {
			g.depend(g.cells, c, g.ops, i)
		}
		if !ok {
			g.unanswered(g.cells, g.ops, i, "cell_name", o.CellName, &noCell)
		}
	}
	noJob.warn(g.run, "parts name a job that is not in the dataset; left to the server")
	otherJob.warn(g.run, "parts name a job that the dataset has under another source only; left to the server")
	noPart.warn(g.run, "operations name a part that is not in the dataset; left to the server")
	otherPart.warn(g.run, "operations name a part that the dataset has under another source only; left to the server")
	noCell.warn(g.run, "operations name a cell that is not in the dataset; left to the server")
}

// begin queues what waits for nothing.
func (g *graph) begin() {
	for _, n := range g.nodes {
		for i := range n.waits {
			if n.waits[i] == 0 && !n.placed[i] {
				n.queue.put(int32(i))
			}
		}
	}
}

// indexKeys finds records by key; of a repeated one, the last. The external
// ids tell a key of another source from one that is nowhere.
func indexKeys[R any, P recordPtr[R]](records []R, source string) (map[Key]int32, map[string]struct{}) {
	at := make(map[Key]int32, len(records))
	ids := make(map[string]struct{}, len(records))
	for i := range records {
		k := P(&records[i]).recordKey(source)
		at[k] = int32(i)
		ids[k.ExternalID] = struct{}{}
	}
	return at, ids
}

func (g *graph) refer(parents *node, at map[Key]int32, ids map[string]struct{}, key Key, children *node, i int, field string, none, other *missing) {
	if parent, ok := at[key]; ok {
		g.depend(parents, parent, children, i)
		return
	}
	m := none
	if _, elsewhere := ids[key.ExternalID]; elsewhere {
		m = other
	}
	g.unanswered(parents, children, i, field, key.String(), m)
}

// unanswered notes a reference to a record that is not in the dataset.
func (g *graph) unanswered(parents, children *node, i int, field, value string, m *missing) {
	if g.cfg.parentsInDataset && !children.placed[i] {
		var c checker
		c.complain(field, "FOREIGN_KEY", fmt.Sprintf("names %q, which is not in the dataset: add it, or leave WithParentsInDataset out", value), value)
		children.place(i)
		children.lane.withhold(i, StatusFailed, c.err(i, children.lane.key(i)))
		return
	}
	// A dataset without any parents is an increment, not a mistake.
	if parents.lane.size() > 0 {
		m.add(value)
	}
}

func (g *graph) depend(parents *node, parent int32, children *node, child int) {
	g.edges = append(g.edges, edge{child: children, at: int32(child), next: parents.kids[parent]})
	parents.kids[parent] = int32(len(g.edges) - 1)
	children.waits[child]++
}

func (n *node) place(i int) {
	n.placed[i] = true
	n.placings++
}

// execute sends what is free to go until nothing is left.
func (g *graph) execute() {
	defer func() { // also where a sink of the caller's panics
		g.flight.stop()
		for g.flight.running > 0 {
			g.finish(g.flight.receive())
		}
	}()
	for {
		g.settle()
		if err := g.flight.goOn.Err(); err != nil {
			g.halt(fmt.Errorf("eryxon: the run was ended: %w", err))
		}
		started, wait := g.start(false)
		if !started && g.flight.running == 0 {
			started, wait = g.start(true)
		}
		switch {
		case started:
		case g.flight.running > 0:
			g.finish(g.flight.receive())
		case wait != nil: // another call of this client holds a key
			select {
			case <-wait:
			case <-g.flight.goOn.Done():
			}
		case !g.settle():
			return
		}
	}
}

// start launches one chunk, of the first lane that has one, and reports whether
// anything moved. A chunk that is
// not full goes only when no more can come to it, or nothing else moves.
func (g *graph) start(flush bool) (bool, <-chan struct{}) {
	var waiting <-chan struct{}
	if g.flight.running == cap(g.flight.finished) {
		return false, nil
	}
	for _, n := range g.nodes {
		for n.lane.idle() && n.queue.Len() > 0 {
			if n.lane.settled() >= maxRecords {
				return true, nil // they are taken in first
			}
			i := n.queue.take()
			if !n.placed[i] {
				n.place(i)
				n.lane.feed(i)
			}
		}
		started, wait := n.lane.next(flush || n.placings == n.lane.size())
		if started {
			return true, nil
		}
		if wait != nil {
			waiting = wait
		}
	}
	return false, waiting
}

func (g *graph) finish(f *finishedChunk) {
	n := g.of(f.lane.entity())
	n.lane.finish(f)
	g.run.report.of(n.lane.entity()).setCost(n.lane.cost(), g.run.report.Started)
	if err := n.lane.ending(); err != nil {
		if endsEntityOnly(err) {
			g.haltNode(n, err)
			return
		}
		g.halt(err)
	}
}

func (g *graph) of(e Entity) *node {
	for _, n := range g.nodes {
		if n.lane.entity() == e {
			return n
		}
	}
	return nil
}

// halt settles everything that is not in flight as not sent.
func (g *graph) halt(cause error) {
	g.run.ended(cause)
	for _, n := range g.nodes {
		g.haltNode(n, cause)
	}
}

func (g *graph) haltNode(n *node, cause error) {
	g.run.ended(cause)
	if n.halted {
		return
	}
	n.halted, n.queue.places = true, nil
	n.lane.halt(cause)
	for i, placed := range n.placed {
		if !placed {
			n.place(i)
			n.lane.withhold(i, StatusNotSent, cause)
		}
	}
}

// settle takes in outcomes until there are none, and sets free or settles the
// children of each. It reports whether there were any.
func (g *graph) settle() bool {
	came := false
	for again := true; again; {
		again = false
		for _, n := range g.nodes {
			for _, o := range n.lane.outcomes() {
				again, came = true, true
				g.release(n, &o)
				if o.Index >= n.own {
					o.moved(-1)
				}
				g.run.account(&o)
			}
		}
	}
	return came
}

// release tells an outcome to the children of its record.
func (g *graph) release(n *node, o *Outcome) {
	status, cause := childStatus(o, g.cfg.strictParents)
	for at := n.kids[o.Index]; at >= 0; {
		e := g.edges[at]
		at = e.next
		switch {
		case e.child.placed[e.at]:
		case cause != nil:
			e.child.place(int(e.at))
			e.child.lane.withhold(int(e.at), status, cause)
		default:
			if e.child.waits[e.at]--; e.child.waits[e.at] == 0 {
				e.child.queue.put(e.at)
			}
		}
	}
}

// isParent reports whether records of the run belong to the node's i-th.
func (n *node) isParent(i int) bool { return n.kids[i] >= 0 }

// endsSending reports an error after which no more is sent: the run's own, or what the
// server says to all requests.
func endsSending(err error) bool {
	return errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrRateLimited) || errors.Is(err, ErrRequestBudget) ||
		(errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) && !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrConnection)
}

// childStatus is what a record's outcome means for its children: nothing, or
// that they are not sent.
func childStatus(parent *Outcome, strict bool) (Status, error) {
	switch {
	case parent.Err == nil:
		return 0, nil
	case parent.Status == StatusNotSent:
		return StatusNotSent, parent.Err
	case (parent.there || parent.Status == StatusFailed && parent.ID != "") && !errors.Is(parent.Err, ErrDeletedOnServer) && !strict:
		return 0, nil // its row is there
	case parent.Status == StatusUnknown && endsSending(parent.Err):
		return StatusNotSent, parent.Err // the parent is not at fault
	default:
		return StatusParentFailed, parent.Err
	}
}
