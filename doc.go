// Package eryxon is the Go SDK for the ERP sync API of Eryxon MES, a
// manufacturing execution system. An ERP integration hands it jobs, parts,
// operations, cells and resources; it creates or updates them on the server and
// tells of each one what became of it.
//
//	client, err := eryxon.NewFromEnv(eryxon.WithSource("SAP"))
//	if err != nil {
//		return err
//	}
//	res, err := client.Jobs.Sync(ctx, eryxon.Job{
//		ExternalID: "SO-12345",
//		JobNumber:  "JOB-2024-001",
//		Customer:   eryxon.Some("Acme Corp"),
//		DueDate:    eryxon.Some(eryxon.NewDate(2024, time.December, 31)),
//	})
//	if err != nil {
//		return err
//	}
//	fmt.Println(res.Key, res.Status) // SAP/SO-12345 created
//
// # Entities and their order
//
// The API knows five kinds of record, the entities. A client has a service for
// each, and the services are alike: Sync for one record, BulkSync for a slice,
// Stream for an input of any length.
//
//	entity      in the ERP            needs to be on the server
//	Cell        work center
//	Resource    equipment, tooling
//	Job         sales order
//	Part        work order            its job: JobExternalID
//	Operation   routing step          its part: PartExternalID; its cell: CellName
//
// Sync them in this order. A record whose parent is missing fails with
// [ErrParentNotFound]. Parts may also be nested in their job, and operations in
// their part: they then inherit the source and need no link. The documented
// answer does not speak of nested records, so their outcome is unknown; what
// has to be known of them is known if they are synced on their own. Servers of
// release v0.8 take none, and those of v0.1 drop some without a word: there the
// SDK sends them as records of their own, once the one that carried them is
// through, and their outcomes are as true as any. [Outcome.Nested] accounts for them
// either way, and what is known to have failed is in the call's error.
//
// # Records, keys and rows
//
// What is handed in is a record, what the server stores is a row. They meet by
// the [Key]: the external source, which is the ERP system's name, and the
// external id, the record's identifier there. Syncing a key again updates its
// row, so repeating a sync is always safe. Most integrations speak for one
// system and name it once, with [WithSource].
//
// Numbers and names that people use, such as a job number, are unique in the
// installation across sources: one that another row has fails with
// [ErrNaturalKeyTaken].
//
// Optional fields are of type [Opt]. Left alone they are not sent, and the
// stored value stays; [Null] clears it; [Some] sends one, zero included. Where
// a server would do something else, the record is refused (see Servers). Due
// dates are of type [Date], which has no time and no zone. Fields that belong
// to the shop floor once work has begun, such as a status, are best left unset.
//
// # Outcomes
//
// Every record ends in exactly one [Status]:
//
//	created, updated   the server made or changed the row
//	synced             the row is there; created or updated can't be told
//	unchanged          the server had this content already; without a
//	                   RequestID: the state says so
//	failed             refused, by the server or a local rule; correct it
//	parent failed      never sent, because its parent failed
//	superseded         never sent, because a later record has the same key
//	not sent           never sent; it can be sent as it is
//	unknown            sent, and no trustworthy answer came; sync it again
//
// Only the first four are successes ([Status.Success]). An answer that leaves a
// record out, names it twice or contradicts itself proves nothing, and makes
// the record unknown rather than a success.
//
// Sync returns a [SyncResult] that is never nil; its error is nil if and only
// if the record is on the server and nothing nested in it is known to have failed. BulkSync returns a [BulkResult] with one
// [Outcome] for each record, in the order of the input, and a [*PartialError]
// if any of them did not succeed: the others have still arrived. Stream returns
// a [Stream]; its outcomes come in the order in which they become known, each
// with its own Err, and [Stream.Err] tells whether the input was read to its
// end.
//
// Bulk syncs and streams pack records into requests of at most 1000 records and
// 1 MiB ([WithMaxRequestRecords], [WithMaxRequestBytes]), and make them smaller
// where the server takes less. The same key twice in one slice is superseded
// where the content is the same and refused where it differs; in a stream the
// later one wins.
//
// # Whole datasets
//
// [Client.SyncAll] takes a [Dataset] of any of the five entities and minds
// their order:
//
//	report, err := client.SyncAll(ctx, eryxon.Dataset{
//		Jobs:  eryxon.FromSeq(orders), // nested parts and operations are lifted out
//		Parts: eryxon.FromSlice(parts),
//	})
//	fmt.Print(report) // also where err is not nil
//
// Inputs that are slices ([FromSlice]) are ordered record by record: a child
// goes as soon as its parents have arrived. One that is a sequence ([FromSeq])
// may be of any length; its dataset is synced entity after entity, in bounded
// memory. A child of a record that failed ends as parent failed, unless the server
// shows that record's row all the same.
//
// The [Report] is never nil and counts each record that was read in exactly one
// status. [WithFailedRecords] writes what did not succeed to a file, to be
// corrected there and read again by [ReadFailedRecords]; [WithAuditLog] writes
// what did; [WithOutcomes] and [WithProgress] tell while the run goes on.
// [Client.Validate] and [Client.EstimateRequests] tell beforehand, without a
// request, what is wrong and what the run costs; [WithRequestBudget] bounds it.
//
// # Only what changed
//
// With a state ([WithState]; package syncstate has one in a file) only records
// are sent whose content the server has not acknowledged yet. The others are
// unchanged and cost no request:
//
//	state, err := syncstate.Open("/var/lib/erp-sync/eryxon.state")
//	if err != nil {
//		return err
//	}
//	defer state.Close()
//	report, err := client.SyncAll(ctx, data, eryxon.WithState(state), eryxon.WithDailyQuota(100))
//
// A record is in the state once it was acknowledged, before its outcome is
// handed out, and in doubt from before it is sent until then: a run that
// crashed is finished by the next. Statuses and active are left out of updates,
// for they are the shop floor's ([WithCreateOnly]). [WithFull] and [WithMaxAge]
// send what is unchanged too, [Client.Check] looks for what the server has lost,
// [WithDryRun] tells what a run would do. [WithCompleteExport] finds what has
// disappeared from the ERP, and [Client.Deactivate] takes it out of use.
//
// A state knows what its own runs have sent. Records that reach the server past
// it, and rows that are changed there, it learns of by Check alone.
//
// # Reads
//
// Each service has List, Get by UUID and Find by key. Where a server can't tell
// which row a key has, as with cells and operations, Find fails with
// [ErrUnsupported] rather than guess. [Client.ERP] speaks the unified endpoint:
// Diff tells which rows exist and what a sync would do, Status shows past
// imports, and Sync is a faster way for jobs, parts and resources, with the
// traps that its documentation names.
//
// # Servers
//
// Servers in the field differ from the reference. The SDK recognises them by
// their answers ([Client.Release]) unless [WithRelease] says what they are.
//
// Release v0.8 counts records as created that it never wrote, and wants UUIDs
// for references. There the SDK translates references, and believes only what
// something proves: the unified endpoint's answer, the hash of a row's last sync
// that it compares, a single sync's answer, or the same bulk once more. That
// costs requests, which [WithoutChecks] saves at the price of unknown outcomes.
// What nothing proves is unknown: records whose check got no usable answer, and
// those among which lost ones were not found with 20 requests. A new row that
// lacks a value its table wants gets the one that the documented server gives. Columns
// that its database lacks fail records with [ErrMissingColumn];
// [WithMissingColumnsOmitted] leaves out a field that can be missed. Nothing of
// an entity can be stored where the server itself writes a column that is not
// there.
//
// Release v0.1 overwrites with defaults what an update leaves out, and keeps
// what null or an empty text should clear. Records that would suffer are refused, unless
// [WithOverwritingUpdates] accepts it.
//
// # Errors
//
// The error of a call answers to [errors.Is] for its kind (such as
// [ErrValidation] or [ErrRateLimited]) and to [errors.As] for its particulars:
//
//	*PartialError     a bulk in which records did not succeed
//	*RecordError      one record: key, index, status, code, field, message
//	*ValidationError  the rule that it breaks, field by field
//	*RateLimitError   the request quota is used up, until when
//	*APIError         the call: method, path, status, code, request id
//
// A RecordError wraps whichever of the last three is behind it. The texts say
// what to do next where that is known, and are safe to log: they hold neither
// the key nor a request's body.
//
// Many mistakes never reach the server. Required fields, links, dates that do
// not exist, text that is not UTF-8: local rules refuse them as the server
// would, without spending a request ([ValidationError].Local).
//
// # Request quota
//
// Installations allow a number of requests a day, retries and failures
// included. [Client.RateLimit] tells what is known of it and how many requests
// the client has made. Once the server has said that it is used up, calls fail
// at once with a [*RateLimitError] that says when requests are possible again;
// [WithMaxWait] lets them wait for short windows. One bulk of 1000 records
// costs what one single sync costs. [WithDailyQuota] says what servers tell only
// when it is too late; a state keeps what was spent from one process to the
// next, and runs that can't send everything send what is urgent
// ([WithUrgency]).
//
// # Retries and time
//
// Syncs are idempotent by key, so single and bulk ones alike are repeated after
// connection errors, answers cut short, and the statuses 408, 425, 429, 502,
// 503, 504 and 546: 4 attempts in all, with growing random delays, and never
// sooner than Retry-After or a 429's reset asks ([WithRetryPolicy]). A bulk
// request that takes too long is split instead. What the server refuses for good
// is not repeated.
//
// A context bounds the whole call, waits included; [WithAttemptTimeout] bounds
// each attempt, 3 minutes by default, because the hosting gateway may work for
// 150 s on a bulk. When the context of a bulk or stream ends, requests in
// flight get a grace period, 10 s by default, to come back with their outcomes
// ([WithGracePeriod]): a little patience saves records from being unknown.
//
// # Concurrency
//
// A [Client] never changes and is safe for concurrent use: make one and share
// it. [Client.With] makes variants that share its quota and connections. A
// stream keeps up to 4 requests in flight and a BulkSync one, which keeps the
// order of the input ([WithConcurrency]). No two requests of one client and its
// variants ever hold the same key, so that an old record can't overtake a newer
// one.
//
// # Looking inside
//
// [WithLogger] logs each attempt, [WithObserver] tells of it as plain data for
// metrics and traces, [WithMiddleware] wraps the transport. None of them sees
// the API key. [Client.Doctor] tells what is wrong where nothing works.
//
// # Tests
//
// Package github.com/eryxon/eryxon-go/eryxontest is a server in memory, with
// the real one's rules and with faults on demand, to test an integration
// against.
package eryxon
