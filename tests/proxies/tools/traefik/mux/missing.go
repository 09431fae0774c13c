package mux

// What Traefik's fork adds: a key under which a request's context holds the path to route by. Traefik's own rules read
// it themselves; only the dashboard, which the tests leave off, asks this router to.

type contextKeyOfPath struct{}

// RoutingPathKey is that key.
var RoutingPathKey any = contextKeyOfPath{}

// UseRoutingPath leaves the router as it is.
func (router *Router) UseRoutingPath() *Router { return router }
