package syncstate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/eryxon/eryxon-go"
)

// What someone who reads an error can do.
const (
	nextWait    = "wait until it has ended; every run needs the state for itself"
	nextRestore = "restore the file from a backup, or move it away: the next run then sends everything once"
	nextReopen  = "end the run, then open the file again"
)

// problem is every error of this package: where, what, what next.
type problem struct {
	path  string // "" until it is known
	what  string
	next  string
	kind  error // nil where no sentinel fits
	cause error
}

// Error tells the file, what is wrong with it, and what to do next.
func (p *problem) Error() string {
	s := "syncstate: "
	if p.path != "" {
		s += p.path + ": "
	}
	s += p.what
	if p.next != "" {
		s += "; " + p.next
	}
	return s
}

// Unwrap gives the kind and, where a lower layer failed, its error.
func (p *problem) Unwrap() []error {
	var errs []error
	for _, err := range []error{p.kind, p.cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// at says which file an error is about.
func at(path string, err error) error {
	var p *problem
	if errors.As(err, &p) && p.path == "" {
		located := *p
		located.path = path
		return &located
	}
	return err
}

func damaged(format string, args ...any) error {
	return &problem{what: "damaged: " + fmt.Sprintf(format, args...), next: nextRestore, kind: eryxon.ErrStateDamaged}
}

// unreadable is a failure of the disk while reading, or of the database where
// it can only mean damage.
func unreadable(cause error) error {
	var known *problem
	if errors.As(cause, &known) {
		return known
	}
	return &problem{what: "can't be read: " + cause.Error(), next: nextRestore, kind: eryxon.ErrStateDamaged, cause: cause}
}

func foreign() error {
	return &problem{what: "is not a sync state", next: "check the path; if it is right, " + nextRestore, kind: eryxon.ErrStateDamaged}
}

func otherFormat(version uint32) error {
	return &problem{
		what: fmt.Sprintf("is of format %d, and this release of the SDK knows format %d", version, formatVersion),
		next: "use the release that has written it, or a state of its own for this one",
		kind: eryxon.ErrStateMismatch,
	}
}

func inUse(what string) error {
	return &problem{what: what, next: nextWait, kind: eryxon.ErrStateInUse}
}

func closed() error {
	return &problem{what: "is closed", next: "keep it open until the run has ended", cause: os.ErrClosed}
}

func unlocked() error {
	return &problem{what: "unlocked without a lock", next: "call Lock first, and Unlock once"}
}

func refused(format string, args ...any) error {
	return &problem{what: fmt.Sprintf(format, args...), next: "correct it and put all of them again: none is kept"}
}

// notOpened is a failure of the system, by what helps against it.
func notOpened(cause error) error {
	next := "check the path and the disk"
	switch {
	case errors.Is(cause, fs.ErrNotExist):
		next = "create the folder first"
	case errors.Is(cause, fs.ErrPermission):
		next = "give this user the right to read and write the file and its folder"
	}
	var p *fs.PathError
	if errors.As(cause, &p) {
		return &problem{what: fmt.Sprintf("can't be opened: %v", p.Err), next: next, cause: cause}
	}
	return &problem{what: fmt.Sprintf("can't be opened: %v", cause), next: next, cause: cause}
}
