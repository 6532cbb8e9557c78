package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRunServesAndEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan error)
	go func() {
		err := run(ctx, []string{"-addr", "127.0.0.1:0", "-key", "ery_live_mine", "-release", "v0.1", "-quota", "1"}, w, io.Discard)
		_ = w.Close()
		ended <- err
	}()
	buf := make([]byte, 4096)
	n, err := r.Read(buf)
	require.NoError(t, err)
	banner := string(buf[:n])
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/functions/v1`).FindString(banner)
	require.NotEmpty(t, url)
	assert.Contains(t, banner, "Key  ery_live_mine\n")
	assert.Contains(t, banner, "release v0.1")
	assert.Contains(t, banner, "curl -X PUT "+url+"/api-jobs/sync")

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i, want := range []int{201, 429} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, url+"/api-jobs/sync",
			strings.NewReader(`{"external_id":"1","external_source":"SAP","job_number":"J"}`))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer ery_live_mine")
		res, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, want, res.StatusCode, "request %d", i)
	}
	cancel()
	assert.NoError(t, <-ended)
}

func TestRunRefusesNonsense(t *testing.T) {
	for want, args := range map[string][]string{
		"unknown release":         {"-release", "v9"},
		"unexpected argument":     {"start"},
		"must not be negative":    {"-quota", "-1"},
		"flag provided but not":   {"-nope"},
		"listen tcp":              {"-addr", "127.0.0.1:99999"},
		"flag: help requested":    {"-h"},
		"invalid value \"x\" for": {"-quota", "x"},
	} {
		var out, usage bytes.Buffer
		err := run(t.Context(), args, &out, &usage)
		require.ErrorContains(t, err, want)
		assert.Empty(t, out.String())
	}
}
