package eryxon

import (
	"cmp"
	"container/heap"
	"errors"
	"slices"
)

// Pending is a record that is to be sent, as [WithUrgency] sees it.
type Pending struct {
	Entity Entity
	Key    Key
	New    bool      // the state knows of no row of it
	Due    Opt[Date] // a job's due date; of parts and operations their job's, where the dataset has it
	Record any       // a Job, Part, Operation, Cell or Resource
}

// WithUrgency says which records go first where a run may not have requests
// for all: compare returns a negative number where a goes before b. It takes
// effect in BulkSync and in a SyncAll of slices that have a state and a bound
// on their requests ([WithRequestBudget], [WithDailyQuota]), which go by
// urgency rather than in the order given. By default what is new goes before
// what has changed, and then what is due earlier. In SyncAll it orders the
// records of one entity among themselves; parents always go first.
func WithUrgency(compare func(a, b Pending) int) BulkOption {
	return bulkOption(func(c *config) error {
		if compare == nil {
			return errors.New("eryxon: WithUrgency: nil function")
		}
		c.urgency = compare
		return nil
	})
}

// rationed reports a run that may not have requests for all of its records, and
// can tell which are urgent.
func (c *config) rationed() bool { return c.run != nil && (c.budget > 0 || c.plan > 0) }

// byUrgency returns the places of records, the most urgent first.
func (c *config) byUrgency(list []Pending) []int {
	compare := c.urgency
	if compare == nil {
		compare = defaultUrgency
	}
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compare(list[a], list[b]) })
	return order
}

func defaultUrgency(a, b Pending) int {
	first := func(ok bool) int {
		if ok {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(first(a.New), first(b.New)), earlier(a.Due, b.Due))
}

// earlier compares due dates; none is the latest.
func earlier(a, b Opt[Date]) int {
	da, aOK := a.Get()
	db, bOK := b.Get()
	switch {
	case aOK && bOK:
		return da.compare(db)
	case aOK:
		return -1
	case bOK:
		return 1
	}
	return 0
}

// pending is how a record's urgency is judged.
func (d *delta[R, P]) pending(r P, key Key) (Pending, error) {
	entry, err := d.run.get(d.entity, key)
	p := Pending{Entity: d.entity, Key: key, New: entry.flags()&flagExists == 0, Record: *r}
	if j, ok := any(r).(*Job); ok {
		p.Due = j.DueDate
	}
	return p, err
}

// rank brings the records of a dataset into the order of their urgency.
func (g *graph) rank() error {
	due := make(map[*node][]Opt[Date])
	for _, n := range []*node{g.jobs, g.parts, g.ops} { // parents before children
		if due[n] == nil {
			due[n] = make([]Opt[Date], n.lane.size())
		}
		for i := range n.kids {
			p, err := n.lane.pending(i)
			if err != nil {
				return err
			}
			if earlier(p.Due, due[n][i]) < 0 {
				due[n][i] = p.Due
			}
			for at := n.kids[i]; at >= 0; at = g.edges[at].next {
				e := g.edges[at]
				if due[e.child] == nil {
					due[e.child] = make([]Opt[Date], e.child.lane.size())
				}
				if earlier(due[n][i], due[e.child][e.at]) < 0 {
					due[e.child][e.at] = due[n][i]
				}
			}
		}
	}
	for _, n := range g.nodes {
		list := make([]Pending, n.lane.size())
		for i := range list {
			var err error
			if list[i], err = n.lane.pending(i); err != nil {
				return err
			}
			if due[n] != nil {
				list[i].Due = due[n][i]
			}
		}
		n.queue.ranks = make([]int32, len(list))
		for rank, i := range g.cfg.byUrgency(list) {
			n.queue.ranks[i] = int32(rank)
		}
	}
	return nil
}

// queue holds records whose parents are through: in the order in which they
// came, or, with ranks, the lowest rank first.
type queue struct {
	places []int32
	ranks  []int32
}

func (q *queue) Len() int           { return len(q.places) }
func (q *queue) Less(i, j int) bool { return q.ranks[q.places[i]] < q.ranks[q.places[j]] }
func (q *queue) Swap(i, j int)      { q.places[i], q.places[j] = q.places[j], q.places[i] }

// Push and Pop are the heap's.
func (q *queue) Push(place any) {
	if i, ok := place.(int32); ok {
		q.places = append(q.places, i)
	}
}

// Pop takes the last.
func (q *queue) Pop() any {
	last := q.places[len(q.places)-1]
	q.places = q.places[:len(q.places)-1]
	return last
}

func (q *queue) put(i int32) {
	if q.ranks == nil {
		q.places = append(q.places, i)
		return
	}
	heap.Push(q, i)
}

func (q *queue) take() int {
	if q.ranks != nil {
		i, _ := heap.Pop(q).(int32)
		return int(i)
	}
	i := q.places[0]
	q.places = q.places[1:]
	return int(i)
}
