// Builds Traefik itself. It replaces two libraries by forks that no module proxy serves; their originals stand in here,
// each with the file beside this one that it lacks (the `build` above puts them together).
module authgate.dev/tests/traefik

go 1.26

require github.com/traefik/traefik/v3 v3.6.12

tool github.com/traefik/traefik/v3/cmd/traefik

replace (
	github.com/abbot/go-http-auth => ./auth
	github.com/gorilla/mux => ./mux
)

exclude github.com/tencentcloud/tencentcloud-sdk-go v3.0.83+incompatible
