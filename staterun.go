package eryxon

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// stateHeader is what a state keeps beside its entries.
type stateHeader struct {
	Format   int    `json:"format"`
	BaseURL  string `json:"base_url"`
	TenantID string `json:"tenant_id,omitempty"` // of the rows seen, "" until one was
	// Salt and KeyCheck tell another API key from the one before, and can't be
	// turned back into it.
	Salt     []byte    `json:"salt"`
	KeyCheck string    `json:"key_check"`
	LastRun  time.Time `json:"last_run"`
	Runs     int       `json:"runs"` // that have used it, dry ones not counted
	Server   profile   `json:"server"`
	Quota    spending  `json:"quota"`
}

// stateFormat is the version of the header and of what entries mean.
const stateFormat = 1

func readStateHeader(b []byte) (*stateHeader, error) {
	var h stateHeader
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, fmt.Errorf("eryxon: the sync state's header can't be read: %w: %w; %s", err, ErrStateDamaged, nextSteps[ErrStateDamaged])
	}
	if h.Format != stateFormat {
		return nil, fmt.Errorf("eryxon: the sync state has format %d, this version of the SDK writes %d: %w; use the version that wrote it, or a new state", h.Format, stateFormat, ErrStateMismatch)
	}
	return &h, nil
}

// stateRun is a state while runs of a client use it.
type stateRun struct {
	st      State
	limiter *limiter
	dialect *dialect

	mu     sync.Mutex
	header stateHeader
	failed error // after it nothing is written

	// Of the registry.
	users int
	whole bool // a run is among them: it wants the state for itself
}

// stateRuns are the states that a client's runs have open.
type stateRuns struct {
	opening chan struct{} // has room for the one call that opens or closes
	open    map[State]*stateRun
}

// beginState opens the call's state, if it has one, for as long as the call
// lasts. A run (whole) has it to itself; single syncs may join one another and
// a run of the same client.
func (co *core) beginState(ctx context.Context, cfg *config, whole bool) (end func() error, err error) {
	if cfg.state == nil || cfg.run != nil {
		return func() error { return nil }, nil
	}
	all := &co.shared.states
	select {
	case all.opening <- struct{}{}:
		defer func() { <-all.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	run := all.open[cfg.state]
	switch {
	case run == nil:
		if run, err = co.openState(ctx, cfg); err != nil {
			return nil, err
		}
		if all.open == nil {
			all.open = make(map[State]*stateRun)
		}
		all.open[cfg.state] = run
	case whole && run.whole:
		return nil, fmt.Errorf("eryxon: %w: %s", ErrStateInUse, nextSteps[ErrStateInUse])
	}
	run.users++
	run.whole = run.whole || whole
	cfg.run = run
	return func() error { return co.endState(run, whole, cfg.dryRun) }, nil
}

func (co *core) endState(run *stateRun, whole, dry bool) error {
	all := &co.shared.states
	all.opening <- struct{}{}
	defer func() { <-all.opening }()
	if run.users--; whole {
		run.whole = false
	}
	var err error
	if !dry {
		run.mu.Lock()
		run.header.LastRun = time.Now().UTC().Truncate(time.Second)
		if whole {
			run.header.Runs++
		}
		run.mu.Unlock()
		err = run.put(nil)
	}
	if run.users > 0 {
		return err
	}
	delete(all.open, run.st)
	return errors.Join(err, run.st.Unlock())
}

// openState locks a state and makes sure that it is the installation's.
func (co *core) openState(ctx context.Context, cfg *config) (run *stateRun, err error) {
	st := cfg.state
	if err := st.Lock(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.Unlock())
		}
	}()
	raw, err := st.Header()
	if err != nil {
		return nil, err
	}
	run = &stateRun{st: st, limiter: &co.shared.limiter, dialect: &co.shared.dialect}
	if raw == nil {
		salt := make([]byte, 16)
		_, _ = rand.Read(salt) // never fails
		run.header = stateHeader{Format: stateFormat, BaseURL: co.base, Salt: salt, KeyCheck: co.fingerprint(salt)}
		return run, nil
	}
	header, err := readStateHeader(raw)
	if err != nil {
		return nil, err
	}
	run.header = *header
	if header.BaseURL != co.base {
		return nil, fmt.Errorf("eryxon: the sync state is of %s, the client speaks to %s: %w; %s", header.BaseURL, co.base, ErrStateMismatch, nextSteps[ErrStateMismatch])
	}
	co.shared.dialect.assume(header.Server)
	co.shared.limiter.resume(header.Quota, time.Now())
	if check := co.fingerprint(header.Salt); check != header.KeyCheck {
		if err := co.sameTenant(ctx, cfg, run); err != nil {
			return nil, err
		}
		run.header.KeyCheck = check
	}
	return run, nil
}

// sameTenant makes sure that the state's rows are those that a new API key
// sees.
func (co *core) sameTenant(ctx context.Context, cfg *config, run *stateRun) error {
	const looks = 3 // an entity: rows may have been deleted
	known := false
	for _, e := range []Entity{EntityCells, EntityResources, EntityJobs, EntityParts, EntityOperations} {
		asked := 0
		for entry, err := range run.st.Entries(e) {
			if err != nil {
				return err
			}
			known = known || entry.flags()&flagExists != 0
			if e == EntityOperations {
				break // servers don't show them
			}
			if entry.ID == "" {
				continue
			}
			tenant, err := co.tenantOf(ctx, cfg, e, entry.ID)
			if err == nil { // where it does not show its tenant, its UUID tells enough
				return run.sawTenant(tenant)
			}
			if !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("eryxon: the API key is another than the sync state was written with, and whether it is of the same tenant could not be asked: %w", err)
			}
			if asked++; asked == looks {
				break
			}
		}
	}
	if !known {
		return nil
	}
	return fmt.Errorf("eryxon: the API key is another than the sync state was written with, and it sees none of the rows that the state knows: %w; %s", ErrStateMismatch, nextSteps[ErrStateMismatch])
}

// tenantOf reads whose a row is, "" where it does not show it.
func (co *core) tenantOf(ctx context.Context, cfg *config, e Entity, id string) (string, error) {
	switch e {
	case EntityCells:
		return readTenant[Cell, *Cell, CellRow](ctx, co, cfg, id)
	case EntityResources:
		return readTenant[Resource, *Resource, ResourceRow](ctx, co, cfg, id)
	case EntityJobs:
		return readTenant[Job, *Job, JobRow](ctx, co, cfg, id)
	default:
		return readTenant[Part, *Part, PartRow](ctx, co, cfg, id)
	}
}

func readTenant[R any, P recordPtr[R], Row any](ctx context.Context, co *core, cfg *config, id string) (string, error) {
	s := newSyncer[R, P, Row](co)
	row, err := s.get(ctx, id, []CallOption{withConfig(cfg)})
	if err != nil {
		return "", err
	}
	return identityOf(row).tenant, nil
}

// rowTenant returns the tenant that a row shows, "" where it shows none.
func rowTenant(row json.RawMessage) string {
	var r struct {
		TenantID string `json:"tenant_id"`
	}
	_ = json.Unmarshal(row, &r) // a row that can't be read shows none
	return r.TenantID
}

// sawTenant holds a row's tenant against the state's. After another tenant's
// row nothing more is written.
func (r *stateRun) sawTenant(id string) error {
	if r == nil || id == "" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.header.TenantID {
	case "":
		r.header.TenantID = id
	case id:
	default:
		r.failed = fmt.Errorf("eryxon: the sync state is of the tenant %s, the server's rows are of %s: %w; %s", r.header.TenantID, id, ErrStateMismatch, nextSteps[ErrStateMismatch])
	}
	return r.failed
}

func (r *stateRun) get(e Entity, k Key) (StateEntry, error) {
	entry, ok, err := r.st.Get(e, k)
	if err != nil || !ok {
		return StateEntry{Entity: e, Key: k}, err
	}
	return entry, nil
}

// runs is how many runs have used the state before this one.
func (r *stateRun) runs() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.header.Runs
}

// id returns the UUID of a row that the state knows, "" without a state.
func (r *stateRun) id(e Entity, k Key) string {
	if r == nil {
		return ""
	}
	entry, err := r.get(e, k)
	if err != nil || entry.flags()&flagExists == 0 {
		return ""
	}
	return entry.ID
}

// put writes entries, and the header with what the run has learned so far.
func (r *stateRun) put(entries []StateEntry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return r.failed
	}
	r.header.Server = r.dialect.profile()
	r.header.Quota = r.limiter.spending()
	header, err := json.Marshal(r.header)
	if err == nil {
		err = r.st.Put(header, storable(entries))
	}
	if err != nil {
		r.failed = fmt.Errorf("eryxon: the sync state could not be written, so the run can't go on: %w", err)
		return r.failed
	}
	r.limiter.keep(r.header.Quota)
	return nil
}

// What every state takes of an entry, in bytes.
const (
	maxStateKey    = 16 << 10
	maxStateID     = 1 << 10
	maxStateDetail = 64 << 10
)

// storable leaves out what a state need not take, so that one absurd record does
// not end the run of the others: it is sent every time.
func storable(entries []StateEntry) []StateEntry {
	return slices.DeleteFunc(entries, func(e StateEntry) bool {
		return len(e.Key.Source)+len(e.Key.ExternalID) > maxStateKey || len(e.ID) > maxStateID || len(e.Detail) > maxStateDetail
	})
}

// forget drops the ids of rows that the server does not know by them. Their
// records are sent again.
func (r *stateRun) forget(keys []entityKey) {
	if r == nil {
		return
	}
	var entries []StateEntry
	for _, k := range keys {
		if entry, err := r.get(k.entity, k.key); err == nil && entry.ID != "" {
			entry.ID, entry.Digest = "", digest{}
			entries = append(entries, entry)
		}
	}
	if len(entries) > 0 {
		_ = r.put(entries) // an error is kept, and ends the run
	}
}

// profile is what a state keeps of how its server answers, so that it need not
// be found out anew.
type profile struct {
	Seen      time.Time       `json:"seen"`
	Release   Release         `json:"release,omitempty"`
	Filling   filling         `json:"filling,omitempty"`
	NoUnified map[Entity]bool `json:"no_unified,omitempty"`
	Proven    map[Entity]bool `json:"proven,omitempty"`
	Absent    map[string]bool `json:"absent,omitempty"`
	Limits    map[Entity]int  `json:"limits,omitempty"`
}

// profileAge is how long a profile is believed: servers are upgraded.
const profileAge = 7 * 24 * time.Hour

// assume begins with what an earlier run has learned. It holds until the server
// answers otherwise.
func (d *dialect) assume(p profile) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if age := time.Since(p.Seen); age < 0 || age > profileAge || d.release != ReleaseUnknown {
		return
	}
	d.release, d.seen, d.assumed = p.Release, p.Seen, true
	if p.Filling == fillingYes { // that it does not, where it does now, would cost data
		d.filling = p.Filling
	}
	d.noUnified, d.proven, d.absent, d.limits = p.NoUnified, p.Proven, p.Absent, p.Limits
}

func (d *dialect) profile() profile {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen.IsZero() {
		d.seen = time.Now().UTC().Truncate(time.Second)
	}
	return profile{d.seen, d.release, d.filling, maps.Clone(d.noUnified), maps.Clone(d.proven), maps.Clone(d.absent), maps.Clone(d.limits)}
}
