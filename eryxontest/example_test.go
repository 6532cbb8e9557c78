package eryxontest_test

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/eryxon/eryxon-go/eryxontest"
)

// A server without sockets, called with nothing but net/http.
func ExampleServer() {
	srv := eryxontest.New()
	req, err := http.NewRequest(http.MethodPut, srv.URL+"/api-jobs/sync",
		strings.NewReader(`{"external_id":"SO-1","external_source":"SAP","job_number":"JOB-1","customer":"Acme"}`))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+srv.Key)
	res, err := srv.Client().Do(req)
	if err != nil {
		panic(err)
	}
	defer res.Body.Close()

	row, _ := srv.Row(eryxontest.Jobs, "SAP", "SO-1")
	fmt.Println(res.StatusCode, row["customer"])
	// Output: 201 Acme
}

// The first request reaches the server, but its answer is lost; the second
// meets a gateway that has no server.
func ExampleServer_Script() {
	srv := eryxontest.New()
	srv.Script("/api-cells/sync", eryxontest.LoseAnswer(), eryxontest.Status(http.StatusBadGateway))
	for range 3 {
		req, err := http.NewRequest(http.MethodPut, srv.URL+"/api-cells/sync",
			strings.NewReader(`{"external_id":"C-1","external_source":"SAP","name":"Cutting"}`))
		if err != nil {
			panic(err)
		}
		req.Header.Set("Authorization", "Bearer "+srv.Key)
		res, err := srv.Client().Do(req)
		if err != nil {
			fmt.Println("failed, rows:", len(srv.Rows(eryxontest.Cells)))
			continue
		}
		_ = res.Body.Close()
		fmt.Println(res.Status)
	}
	// Output:
	// failed, rows: 1
	// 502 Bad Gateway
	// 200 OK
}
