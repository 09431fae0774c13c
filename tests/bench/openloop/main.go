// An open-loop load: requests fall due at a fixed rate whether or not earlier ones were answered, and a request's
// latency counts from the moment at which it was due. So a server that stalls is charged for everything that had to
// wait, which a closed loop would leave out (coordinated omission).
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	address := flag.String("address", "", "host:port")
	path := flag.String("path", "/verify", "path")
	tokens := flag.String("tokens", "", "a file of tokens, one a line; the first is sent again and again")
	every := flag.Int64("every", 0, "send the next of the other tokens with every n-th request, each once; 0: never")
	rate := flag.Float64("rate", 1000, "requests per second in all")
	seconds := flag.Float64("seconds", 3, "how long")
	connections := flag.Int("connections", 16, "connections")
	flag.Parse()

	file, err := os.Open(*tokens)
	if err != nil {
		log.Fatal(err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		log.Fatal(err)
	}
	var requests [][]byte
	for _, token := range strings.Fields(string(text)) {
		requests = append(requests, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n",
			*path, *address, token))
	}
	var sent, fresh atomic.Int64
	next := func() []byte {
		if *every > 0 && sent.Add(1)%*every == 0 {
			if number := fresh.Add(1); number < int64(len(requests)) {
				return requests[number]
			}
		}
		return requests[0]
	}

	each := int(*rate * *seconds / float64(*connections))
	pause := time.Duration(float64(time.Second) * float64(*connections) / *rate)
	start := time.Now().Add(50 * time.Millisecond)
	latencies := make([][]time.Duration, *connections)
	var group sync.WaitGroup
	for number := range *connections {
		group.Add(1)
		go func() {
			defer group.Done()
			offset := pause * time.Duration(number) / time.Duration(*connections)
			latencies[number] = drive(*address, next, start.Add(offset), pause, each)
		}()
	}
	group.Wait()
	took := time.Since(start).Seconds()

	var all []time.Duration
	for _, some := range latencies {
		all = append(all, some...)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	micros := func(share float64) int64 { return all[int(share*float64(len(all)-1))].Microseconds() }
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"requests": len(all), "fresh": fresh.Load(), "rate": float64(len(all)) / took,
		"p50_us": micros(0.5), "p99_us": micros(0.99), "p999_us": micros(0.999), "max_us": micros(1),
	})
}

// drive sends a connection's share when each request is due, or at once where it is late already.
func drive(address string, next func() []byte, start time.Time, pause time.Duration, count int) []time.Duration {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 16384)
	latencies := make([]time.Duration, 0, count)
	for number := range count {
		due := start.Add(pause * time.Duration(number))
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		if _, err := connection.Write(next()); err != nil {
			log.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			log.Fatal(err)
		}
		if response.StatusCode != http.StatusOK {
			log.Fatalf("status %d", response.StatusCode)
		}
		latencies = append(latencies, time.Since(due))
	}
	return latencies
}
