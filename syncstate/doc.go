// Package syncstate keeps what a server has acknowledged from one run to the
// next, for [eryxon.WithState]: in one file, or in memory for tests.
//
//	state, err := syncstate.Open("/var/lib/erp-sync/eryxon.state")
//	if err != nil {
//		return err
//	}
//	defer state.Close()
//
// One file belongs to one installation and tenant. It holds keys, UUIDs and
// digests of records, neither their content nor an API key. A file that is lost
// costs one run that sends everything; nothing else is lost with it.
//
// # The file
//
// It is a bbolt database. Each Put is on the disk when it returns, and is there
// whole or not at all after a crash of the process or of the machine. An entry
// takes 100 to 200 bytes of the file, and none of the Go heap. Copy the file for a
// backup only while nothing has it open.
//
// Open reads the whole file and refuses one that is damaged, so that damage
// never passes for a record's state. That takes a fraction of a second for a
// million entries.
//
// # Errors
//
// They match [eryxon.ErrStateInUse] where another run has the file,
// [eryxon.ErrStateMismatch] where another version of the SDK has written it,
// [eryxon.ErrStateDamaged] where it is damaged or no state at all, and
// [os.ErrClosed] after Close. A file that Open refuses is left as it is.
package syncstate
