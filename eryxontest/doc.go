// Package eryxontest is an in-memory Eryxon server to test an integration
// against.
//
// It keeps rows as the real server does: a record is found again by its
// external source and external id, parts need their job, operations need their
// part and their cell, numbers that are taken stay taken. It can also fail as
// real networks and gateways fail, by script or by chance, and it keeps a log
// of what arrived.
//
// In a test, listening on the loopback interface:
//
//	srv := eryxontest.NewServer(t)
//	client, err := eryxon.New(srv.URL, srv.Key)
//
// Without sockets, which is what a testing/synctest bubble needs, hand the
// client srv.Client(): its transport calls the server directly.
//
// A Server speaks one [Release]. [Documented] is the API as its reference
// describes it; [V01], [V08], [V08AsMigrated] and [V011] behave as the servers in
// the field do, with every quirk that was recorded of them.
//
// All methods of a Server may be called from several goroutines at once.
package eryxontest
