package eryxontest_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/eryxon/eryxon-go/eryxontest"
)

func TestManyClientsAtOnce(t *testing.T) {
	both(t, func(t *testing.T, c caller) {
		c.srv.Chaos(7, 0.2, eryxontest.CloseBefore(), eryxontest.LoseAnswer(), eryxontest.Status(503), eryxontest.OmitRecord())
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 20 {
					jobs := []any{job(fmt.Sprintf("%d-%d", w, i)), job("shared", object{"priority": i})}
					for c.bulk(eryxontest.Jobs, jobs...).status != 200 {
						c.srv.Requests()
					}
					c.srv.Rows(eryxontest.Jobs)
					c.srv.FailRecord(eryxontest.Parts, fmt.Sprint(i), "x")
				}
			})
		}
		wg.Wait()
		assert.Len(t, c.srv.Rows(eryxontest.Jobs), 161)
	})
}

func TestMakingAServerIsCheap(t *testing.T) {
	for _, release := range append([]eryxontest.Release{eryxontest.Documented}, inTheField...) {
		allocs := testing.AllocsPerRun(100, func() {
			_ = eryxontest.New(eryxontest.WithRelease(release), eryxontest.WithQuota(5, time.Hour)).Client()
		})
		assert.LessOrEqual(t, allocs, 10.0)
	}
}
