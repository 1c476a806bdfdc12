// Serves S3 on a free port of localhost for tests, with buckets in memory, until its standard input ends. The protocol is
// gofakes3's; added is who may do what: everybody must show the key "test", and in the bucket "readonly" nobody writes.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

func main() {
	backend := s3mem.New()
	for _, bucket := range os.Args[1:] {
		if err := backend.CreateBucket(bucket); err != nil {
			log.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.Serve(listener, guarded(gofakes3.New(backend).Server())))
}

func guarded(server http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writes := r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodDelete
		switch {
		case !strings.Contains(r.Header.Get("Authorization"), "Credential=test/"):
			refuse(w, "InvalidAccessKeyId", "The access key is not known here.")
		case writes && strings.HasPrefix(r.URL.Path, "/readonly/"):
			refuse(w, "AccessDenied", "Access Denied.")
		default:
			server.ServeHTTP(w, r)
		}
	})
}

func refuse(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}
