package eryxon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"
)

// contact makes the first request, and enters what it tells of base URL, TLS
// and API key. It returns the list of cells, nil where there is none.
func (x *examination) contact(ctx context.Context) *page {
	var list *page
	out, sight := x.get(ctx, "/api-cells?limit=1", func(body []byte) (*envelope, error) {
		var err error
		list, err = readPage(body, EntityCells)
		return &list.envelope, err
	})
	base, secure, key := x.judgeContact(ctx, out, sight)
	x.add(base)
	x.add(secure)
	x.add(key)
	if out.fate != fateAnswered {
		return nil
	}
	return list
}

func (x *examination) judgeContact(ctx context.Context, out *result, sight *wireSight) (base, secure, key Finding) {
	err, said := out.err, messageOf(out.err)
	secure = unchecked(checkTLS, "there was no connection")
	key = unchecked(checkKeyName, "the server did not get to look at it")
	if ended := ctx.Err(); ended != nil && out.kind == nil && out.fate != fateAnswered {
		base = brokenOff(checkBase, ended)
		if stage := sight.stage(); stage != "" {
			base.Detail += ", " + stage
		}
		return base, secure, key
	}
	if out.status == 0 {
		base, secure = x.noAnswer(out, sight, secure)
		return base, secure, key
	}
	secure = x.certificate(sight)
	base = fine(checkBase, fmt.Sprintf("%s answers%s", x.co.base, sight.where()))
	ill := func(next string) Finding {
		return problem(checkBase, fmt.Sprintf("%s answers%s, and not as it should: %d %s (request id %s)", x.co.base, sight.where(), out.status, said, out.requestID), next, err)
	}
	switch {
	case out.fate == fateAnswered:
		key = fine(checkKeyName, "accepted")
	case out.kind == ErrUnauthorized && !out.own:
		key = problem(checkKeyName, fmt.Sprintf("not accepted, it seems by a gateway before the server: %d %s", out.status, said),
			"check the API key and the base URL, and that the gateway lets API keys pass to the server", err)
	case out.kind == ErrUnauthorized:
		key = problem(checkKeyName, "not accepted: "+said, nextSteps[ErrUnauthorized], err)
	case out.kind == ErrForbidden && out.own:
		key = problem(checkKeyName, "known, and not allowed to read: "+said, nextSteps[ErrForbidden], err)
	case out.kind == ErrForbidden:
		base = ill("find out which firewall or proxy refuses, and let this machine pass")
	case out.kind == ErrRateLimited, out.kind == ErrQuotaExceeded:
		key = unchecked(checkKeyName, "the server turned the request away for the quota")
	case out.kind == ErrNotFound, out.kind == ErrRedirect, out.kind == ErrBadAnswer:
		base = ill(nextSteps[out.kind])
	case out.status == http.StatusBadRequest && !out.own && !x.https():
		base = ill("the port may speak https: try the base URL with https://")
	default:
		base = ill("the server, or a gateway before it, fails: try again later; its owner finds the request in the log by its id")
	}
	return base, secure, key
}

func (x *examination) https() bool { return strings.HasPrefix(x.co.base, "https:") }

// host is the base URL's.
func (x *examination) host() string {
	_, rest, _ := strings.Cut(x.co.base, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// noAnswer judges a first request that brought no answer at all.
func (x *examination) noAnswer(out *result, sight *wireSight, secure Finding) (base, tlsFinding Finding) {
	err, stage := out.err, sight.stage()
	if out.attempts == 0 { // no request was to be had
		return unchecked(checkBase, "no request is sent: the request quota is used up, or reserved"), secure
	}
	ill := func(detail, next string) Finding { return problem(checkBase, detail, next, err) }
	var op *net.OpError
	var name *net.DNSError
	switch {
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return ill("the proxy can't be reached: "+op.Err.Error(),
			"check HTTPS_PROXY, HTTP_PROXY and NO_PROXY in the environment, or the proxy of the HTTP client that was given"), secure
	case errors.As(err, &name) && name.IsNotFound:
		return ill("no such host: "+name.Name, "check the base URL's spelling, and that this machine's name server knows the host"), secure
	case errors.As(err, &name):
		return ill(fmt.Sprintf("the name of %s can't be looked up: %s", name.Name, name.Err), "check this machine's network and name server"), secure
	case x.https() && sight.handshakeFailed(err):
		base = fine(checkBase, x.host()+" is there"+sight.where())
		if out.kind == ErrTimeout {
			return base, problem(checkTLS, "the handshake did not end in time", "look for a firewall or proxy that holds TLS up, and whether the port speaks TLS", err)
		}
		return base, handshakeFinding(err)
	case out.kind == ErrTimeout && sight.connected():
		return ill(fmt.Sprintf("connected%s, and no answer within %s", sight.where(), x.cfg.attemptTimeout),
			"the server is stuck or overloaded: try again later, or ask its owner"), secure
	case out.kind == ErrTimeout:
		if stage == "" {
			stage = "from " + x.host()
		}
		return ill("no answer in time, "+stage, "check host and port, and whether a firewall drops what goes there"), secure
	case errors.As(err, &op) && op.Op == "dial":
		return ill(fmt.Sprintf("can't connect to %s: %s", x.host(), op.Err), "check host and port; the server is down, or a firewall is in between"), secure
	}
	detail := strings.TrimPrefix(messageOf(err), "no answer: ")
	if stage != "" {
		detail = stage + ": " + detail
	}
	return ill("the connection failed, "+detail, "check network, host and port, and that an HTTP server is what listens there"), secure
}

// handshakeFinding tells why a TLS handshake failed.
func handshakeFinding(err error) Finding {
	var unknown x509.UnknownAuthorityError
	var wrongHost x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	now := time.Now()
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil && now.Before(invalid.Cert.NotBefore):
		return problem(checkTLS, fmt.Sprintf("the certificate is valid from %s on, and this machine's clock says %s", moment(invalid.Cert.NotBefore), moment(now)),
			"set this machine's clock; if it is right, ask the server's owner for another certificate", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return problem(checkTLS, fmt.Sprintf("the certificate expired on %s, %s ago by this machine's clock", moment(invalid.Cert.NotAfter), span(now.Sub(invalid.Cert.NotAfter))),
			"ask the server's owner to renew it; if it is valid elsewhere, set this machine's clock", err)
	case errors.As(err, &wrongHost):
		names := "no host"
		if wrongHost.Certificate != nil && len(wrongHost.Certificate.DNSNames) > 0 {
			names = strings.Join(wrongHost.Certificate.DNSNames, ", ")
		}
		return problem(checkTLS, fmt.Sprintf("the certificate is for %s, not for %s", names, wrongHost.Host),
			"check the base URL's host; if it is right, another server or a proxy answers for it", err)
	case errors.As(err, &unknown):
		issuer := "an authority"
		if unknown.Cert != nil {
			issuer = cmpOr(unknown.Cert.Issuer.String(), issuer)
		}
		return problem(checkTLS, fmt.Sprintf("the certificate is signed by %s, which this machine does not trust", issuer),
			"if it is your own or your company proxy's, add its root certificate to this machine's, or to the RootCAs of the client for WithHTTPClient; if not, someone is in between", err)
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return problem(checkTLS, "what answers at this port does not speak TLS", "check the port; for a server on this machine without TLS the base URL begins with http://", err)
	}
	return problem(checkTLS, "the handshake failed: "+strings.TrimPrefix(messageOf(err), "no answer: "), "check that the server's TLS version and certificate are in order, and whether it asks for a client certificate", err)
}

// certificate judges the connection that an answer came through.
func (x *examination) certificate(sight *wireSight) Finding {
	if !x.https() {
		if u, err := url.Parse(x.co.base); err == nil && loopback(u.Hostname()) {
			return fine(checkTLS, "none: plain http, which does not leave this machine")
		}
		return warning(checkTLS, "none: the API key and all data travel unencrypted, as WithPlainHTTPAllowed lets them", "use https", nil)
	}
	state := sight.state()
	if state == nil || len(state.PeerCertificates) == 0 {
		return unchecked(checkTLS, "it is used, and the HTTP client's transport does not show the certificate")
	}
	if len(state.VerifiedChains) == 0 {
		return warning(checkTLS, tls.VersionName(state.Version)+", and the HTTP client that was given does not verify the certificate as usual (InsecureSkipVerify)",
			"unless it verifies it in its own way, leave InsecureSkipVerify away: anyone in between can read the API key", nil)
	}
	end := validUntil(state)
	left := time.Until(end)
	detail := fmt.Sprintf("%s, certificate valid until %s, for %s", tls.VersionName(state.Version), moment(end), span(left))
	if left < certWarning {
		return warning(checkTLS, detail, "see that the certificate is renewed before then: no sync works after it", nil)
	}
	return fine(checkTLS, detail)
}

// validUntil is when the last of the verified chains ends, a chain ending with
// the first of its certificates.
func validUntil(state *tls.ConnectionState) time.Time {
	var latest time.Time
	for _, chain := range state.VerifiedChains {
		end := chain[0].NotAfter
		for _, cert := range chain {
			if cert.NotAfter.Before(end) {
				end = cert.NotAfter
			}
		}
		if end.After(latest) {
			latest = end
		}
	}
	return latest
}

// wireSight is what the transport shows of a request under way. Its callbacks
// come from several goroutines, and may come after the request has ended.
type wireSight struct {
	mu         sync.Mutex
	lookingUp  string // host
	foundName  bool
	dialing    string // address
	dialed     bool
	shaking    bool
	shakeError error
	shaken     bool
	remote     string
	secure     *tls.ConnectionState
	sent, came time.Time
}

func (w *wireSight) trace() *httptrace.ClientTrace {
	note := func(f func()) {
		w.mu.Lock()
		defer w.mu.Unlock()
		f()
	}
	return &httptrace.ClientTrace{
		DNSStart: func(i httptrace.DNSStartInfo) { note(func() { w.lookingUp = i.Host }) },
		DNSDone:  func(i httptrace.DNSDoneInfo) { note(func() { w.foundName = i.Err == nil }) },
		ConnectStart: func(_, address string) {
			note(func() {
				if !w.dialed {
					w.dialing = address
				}
			})
		},
		ConnectDone: func(_, address string, err error) {
			note(func() {
				if err == nil && !w.dialed { // of several dialed at once the first counts
					w.dialed, w.dialing = true, address
				}
			})
		},
		TLSHandshakeStart: func() { note(func() { w.shaking = true }) },
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			note(func() {
				w.shaken, w.shakeError = true, err
				if err == nil {
					w.secure = &state
				}
			})
		},
		GotConn: func(i httptrace.GotConnInfo) {
			note(func() {
				w.dialed = true
				if a := i.Conn.RemoteAddr(); a != nil {
					w.remote = a.String()
				}
				// One that is used again made its handshake earlier.
				if c, ok := i.Conn.(*tls.Conn); ok {
					state := c.ConnectionState()
					w.secure = &state
				}
			})
		},
		WroteRequest:         func(httptrace.WroteRequestInfo) { note(func() { w.sent = time.Now() }) },
		GotFirstResponseByte: func() { note(func() { w.came = time.Now() }) },
	}
}

// stage tells how far a request without an answer got, "" where the transport
// shows nothing.
func (w *wireSight) stage() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	address := cmpOr(w.remote, w.dialing)
	switch {
	case !w.sent.IsZero():
		return "waiting for an answer from " + address
	case w.shaking && !w.shaken:
		return "in the TLS handshake with " + address
	case w.dialed:
		return "after connecting to " + address
	case w.dialing != "":
		return "connecting to " + address
	case w.lookingUp != "" && !w.foundName:
		return "looking up the name " + w.lookingUp
	}
	return ""
}

func (w *wireSight) connected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dialed
}

// where names the address at the other end, which may be a proxy's.
func (w *wireSight) where() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dialed {
		return ""
	}
	return " at " + cmpOr(w.remote, w.dialing)
}

func (w *wireSight) state() *tls.ConnectionState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.secure
}

// times are when the request was out and its answer began to come in, as
// exactly as the transport tells.
func (w *wireSight) times(before, after time.Time) (sent, came time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent, came = before, after
	if !w.came.IsZero() && w.came.After(sent) && w.came.Before(after) {
		came = w.came
	}
	if !w.sent.IsZero() && w.sent.After(sent) && w.sent.Before(came) {
		sent = w.sent
	}
	return sent, came
}

// handshakeFailed reports that a request failed in the TLS handshake, as the
// transport shows it or the error itself says.
func (w *wireSight) handshakeFailed(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shaking && (!w.shaken || w.shakeError != nil) {
		return true
	}
	var cert *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var wrongHost x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	return errors.As(err, &cert) || errors.As(err, &unknown) || errors.As(err, &wrongHost) || errors.As(err, &invalid) ||
		errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch)
}
