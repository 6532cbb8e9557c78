package syncstate_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/eryxon/eryxon-go"
	"github.com/eryxon/eryxon-go/syncstate"
)

// What the SDK has kept of a run can be looked at between two runs.
func Example() {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)

	state, err := syncstate.Open(filepath.Join(folder, "eryxon.state"))
	if err != nil {
		log.Fatal(err)
	}
	defer state.Close()

	for e, err := range state.Entries(eryxon.EntityJobs) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Key, e.ID, e.Time)
	}
	_, found, err := state.Get(eryxon.EntityJobs, eryxon.Key{Source: "SAP", ExternalID: "SO-12345"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("acknowledged before:", found)
	// Output: acknowledged before: false
}

// Two runs never have the same file.
func ExampleOpen() {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "eryxon.state")

	first, err := syncstate.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer first.Close()
	_, err = syncstate.Open(path)
	fmt.Println(err != nil)
	// Output: true
}
