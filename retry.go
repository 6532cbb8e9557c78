package eryxon

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// RetryPolicy says how often and how fast a failed attempt is repeated.
// Repeated are connection errors, answers cut short, and the statuses 408,
// 425, 429, 502, 503, 504 and 546; a server's permanent refusal never is. The
// delay before the n-th retry is drawn evenly between 0 and
// min(MaxDelay, BaseDelay·2ⁿ⁻¹), and is at least what Retry-After, or the reset
// of a 429, asks for. Where that is above both MaxDelay and [WithMaxWait] the
// call ends with a [*RateLimitError] instead of waiting. A 429 that does not say
// how many requests are left holds the client's other calls back, too, and they
// wait or end by the same rule.
type RetryPolicy struct {
	MaxAttempts int           // requests a call in all, 1 to 20; 1 means no retry
	BaseDelay   time.Duration // greater than 0
	MaxDelay    time.Duration // at least BaseDelay, at most 10 minutes
}

// DefaultRetryPolicy is used where no other is given: 4 attempts, 500 ms
// doubled up to 30 s.
func DefaultRetryPolicy() RetryPolicy {
	return RetryPolicy{MaxAttempts: 4, BaseDelay: 500 * time.Millisecond, MaxDelay: 30 * time.Second}
}

func (p RetryPolicy) validate() error {
	switch {
	case p.MaxAttempts < 1 || p.MaxAttempts > 20:
		return fmt.Errorf("eryxon: retry policy: MaxAttempts is %d: want 1 to 20", p.MaxAttempts)
	case p.BaseDelay <= 0:
		return fmt.Errorf("eryxon: retry policy: BaseDelay is %s: want more than 0", p.BaseDelay)
	case p.MaxDelay < p.BaseDelay || p.MaxDelay > 10*time.Minute:
		return fmt.Errorf("eryxon: retry policy: MaxDelay is %s: want BaseDelay to 10 minutes", p.MaxDelay)
	}
	return nil
}

// backoff draws the delay before the given retry, from 1, with full jitter.
func (p RetryPolicy) backoff(retry int) time.Duration {
	ceiling := p.MaxDelay
	if shift := retry - 1; shift < 30 && p.BaseDelay<<shift > 0 {
		ceiling = min(ceiling, p.BaseDelay<<shift)
	}
	return rand.N(ceiling + 1) //nolint:gosec // jitter needs no secrecy
}

// retryBudget keeps a client from hammering a server that is down: each retry
// takes a token, each call that succeeds gives half of one back.
type retryBudget struct {
	mu    sync.Mutex
	spent float64
}

const (
	retryTokens = 50
	retryRefund = 0.5
)

func (b *retryBudget) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent+1 > retryTokens {
		return false
	}
	b.spent++
	return true
}

func (b *retryBudget) refund() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = max(0, b.spent-retryRefund)
}

// sleep waits for d or until ctx is done, whichever comes first.
func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
