package eryxon

import (
	"errors"
	"slices"
	"strings"
)

// maxSingleCells is up to how many updates of cells in a chunk are synced one by
// one: only a row shows that its cell was deleted under an older release. Such a
// cell is alive to servers that count, their lists and their screens show it: of
// many cells it is not looked for. Up to maxMixedCells go one by one where a search
// for those that were lost would find not all.
const (
	maxSingleCells = 20
	maxMixedCells  = 100
)

// sharedRefusal returns the first of refusals that the same content meets
// every time; nil if any outcome is not one, or none was seen.
func sharedRefusal(outcomes []Outcome) *RecordError {
	var first *RecordError
	for i := range outcomes {
		e, ok := outcomes[i].recordError()
		if !ok || outcomes[i].Status != StatusFailed || !refusesContent(e) {
			return nil
		}
		if first == nil {
			first = e
		}
	}
	return first
}

// shareRefusal settles records that are known not to be there, as others of
// their kind.
func (d *delivery[R, P]) shareRefusal(list []*sentRecord[R], refused *RecordError) {
	for _, s := range list {
		d.settle(s, &result{requestID: refused.RequestID}, StatusFailed, &lostLike{refused})
	}
}

// settleListed settles what a counting answer names as failed and returns the
// others.
func (d *delivery[R, P]) settleListed(list []*sentRecord[R], out *result, answer *bulkAnswer) []*sentRecord[R] {
	found := reconcile(list, answer, out.ambiguous)
	var bare []*sentRecord[R]
	rest := list[:0:0]
	for i, s := range list {
		switch f := &found[i]; {
		case f.status != StatusFailed:
			rest = append(rest, s)
		case d.provenNew(s, f.message):
			bare = append(bare, s)
		default:
			d.fail(s, out, f.status, recordError(f, false, d.e.co.redact))
		}
	}
	d.deliverBare(bare)
	return rest
}

// deliverBare delivers new records once more that lacked fields, which they have now.
func (d *delivery[R, P]) deliverBare(list []*sentRecord[R]) {
	switch {
	case d.done.end != nil:
		d.settleUnsent(list, true)
	case len(list) <= singleRecords:
		d.deliverSingly(list, false)
	default:
		d.deliverBlindly(list, false)
	}
}

// doubt settles records that were sent and can't be checked.
func (d *delivery[R, P]) doubt(list []*sentRecord[R], out *result, cause error) {
	text := "the answer gives counts only, and the check of them brought no answer that tells"
	if cause != nil {
		text += ": " + cause.Error()
	}
	for _, s := range list {
		d.unknown(s, out, "", &RecordError{Message: text, kind: ErrBadAnswer})
	}
}

// findLost settles records of which the given number did not arrive, by asking
// again for halves, of the largest group first, so that what it can't search it
// has at least made small. Single syncs of a few lost ones give the reason, which
// the others of their group share.
func (d *delivery[R, P]) findLost(list []*sentRecord[R], out *result, lost int, status Status) {
	type group struct {
		list []*sentRecord[R]
		out  *result
		lost int
	}
	open := []group{{list, out, lost}}
	var bare []*sentRecord[R] // lost for lack of a field
	for len(open) > 0 {
		at := 0
		for i := range open {
			// The last requests are spent on few, so that every run finds some.
			if more := len(open[i].list) > len(open[at].list); more == (d.doubts > lastDoubts) {
				at = i
			}
		}
		g := open[at]
		open = slices.Delete(open, at, at+1)
		switch {
		case len(g.list) == 0:
		case d.done.end != nil:
			d.doubt(g.list, g.out, d.done.end)
		case g.lost == 0:
			for _, s := range g.list {
				d.arrive(s, g.out, status, "")
			}
		case g.lost == len(g.list):
			lacking, others := partition(g.list, d.asNew)
			bare = append(bare, lacking...)
			d.settleLost(others)
		case d.take(1) == 0:
			for _, s := range g.list {
				s.suspect = true
			}
			d.doubt(g.list, g.out, errTooManyLost)
		default:
			some, others := d.divide(g.list)
			if g.lost > len(g.list) { // it has stored meanwhile what it lost before
				some, others = g.list, nil
			}
			again, answer := d.send(some, false)
			if again.fate != fateAnswered || !answer.counted() || answer.created > min(len(some), g.lost) || answer.created+answer.updated != len(some) {
				d.doubt(g.list, g.out, again.err)
				continue
			}
			open = append(open, group{some, again, answer.created}, group{others, g.out, g.lost - answer.created})
		}
	}
	d.deliverBare(bare)
}

// lastDoubts is how many of a search's requests go to its smallest groups.
const lastDoubts = 6

// divide splits records of which some were lost so that these are likely to be on
// one side: those that are new and lack a field, those of a part that is new, those
// that stand together.
func (d *delivery[R, P]) divide(list []*sentRecord[R]) (some, others []*sentRecord[R]) {
	for _, likely := range []func(*sentRecord[R]) bool{
		func(s *sentRecord[R]) bool { return !s.isNew && len(d.required(s)) > 0 },
		d.madeWithParent,
	} {
		if some, others = partition(list, likely); len(some) > 0 && len(others) > 0 {
			return some, others
		}
	}
	return list[:len(list)/2], list[len(list)/2:]
}

// settleLost settles records that the server claimed and did not store.
func (d *delivery[R, P]) settleLost(list []*sentRecord[R]) {
	few := d.take(min(len(list), singleRecords+1))
	first := len(d.done.outcomes)
	stale := d.stale
	d.knownLost = true
	d.deliverSingly(list[:few], true)
	d.knownLost = false
	rest := list[few:]
	if len(rest) == 0 {
		return
	}
	if d.stale && !stale {
		// What they were linked to is another row now, as it was for these.
		d.deliverTwice(d.translateAll(rest, true), true)
		return
	}
	refused := sharedRefusal(d.done.outcomes[first:])
	if refused == nil {
		d.giveReason(rest, &result{}, errTooManyLost)
		return
	}
	// The last bulk may have written what the one before it lost: only what is
	// counted as new once more is known not to be there.
	if d.take(1) == 0 {
		d.doubt(rest, &result{}, errTooManyLost)
		return
	}
	again, answer := d.send(rest, true)
	if again.fate != fateAnswered || !answer.counted() || answer.created != len(rest) {
		d.doubt(rest, again, again.err)
		return
	}
	d.shareRefusal(rest, refused)
}

var errTooManyLost = errors.New("too many records were lost to look for each")

// lostLike is why a record is not there that the server claimed to have stored.
type lostLike struct{ other *RecordError }

func (e *lostLike) Error() string {
	return "the server claimed to store it and did not, as with others of the same request, of which one was refused by itself: " +
		strings.TrimPrefix(e.other.Error(), "eryxon: ")
}

// Unwrap gives the other's error where it may be this one's, too: a number that is
// taken, a row that was deleted and a parent that is not there are a record's own.
func (e *lostLike) Unwrap() error {
	for _, own := range []error{ErrNaturalKeyTaken, ErrDeletedOnServer, ErrParentNotFound} {
		if errors.Is(e.other, own) {
			return nil
		}
	}
	return e.other
}

// refusesContent reports an error that the same content meets every time.
func refusesContent(err error) bool {
	for _, kind := range contentKinds {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
