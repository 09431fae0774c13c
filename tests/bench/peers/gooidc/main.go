// The verifier that most Go programs use, github.com/coreos/go-oidc, behind net/http. It answers 200 to a valid token
// and 401 to any other, and sends the user in one header. It caches no verdicts.
package main

import (
	"context"
	"crypto"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address")
	issuer := flag.String("issuer", "", "the tokens' iss")
	audience := flag.String("audience", "", "the tokens' aud")
	jwks := flag.String("jwks", "", "a file with a JWK Set")
	flag.Parse()

	document, err := os.ReadFile(*jwks)
	if err != nil {
		log.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(document, &set); err != nil {
		log.Fatal(err)
	}
	keys := &oidc.StaticKeySet{}
	for _, key := range set.Keys {
		keys.PublicKeys = append(keys.PublicKeys, crypto.PublicKey(key.Key))
	}
	verifier := oidc.NewVerifier(*issuer, keys, &oidc.Config{ClientID: *audience})

	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !found {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		token, err := verifier.Verify(context.Background(), raw)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Auth-Request-User", token.Subject)
		w.WriteHeader(http.StatusOK)
	})
	log.Fatal(http.ListenAndServe(*listen, handler))
}
