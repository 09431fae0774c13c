// heimdall's own command. Its go.mod replaces a module, so `go install` refuses to build it directly.
package main

import "github.com/dadrus/heimdall/cmd"

func main() {
	cmd.Execute()
}
