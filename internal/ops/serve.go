package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	// A client that sends its header slowly, or nothing more, holds a connection and a goroutine.
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	// An import may be long; a handler that needs more, such as a stream, sets its own by http.ResponseController.
	readTimeout  = 2 * time.Minute
	writeTimeout = 5 * time.Minute
	// maxHeaderBytes holds the longest token four times.
	maxHeaderBytes = 32 << 10
)

// Serve answers on addr until ctx ends; then it takes no more requests, gives those under way shutdownTimeout, and returns
// nil. An error means that it couldn't listen or had to stop.
func Serve(ctx context.Context, addr string, handler http.Handler, log *slog.Logger, shutdownTimeout time.Duration) error {
	listener, err := Listen(ctx, addr)
	if err != nil {
		return err
	}
	return ServeListener(ctx, listener, handler, log, shutdownTimeout)
}

// Listen opens addr for ServeListener; the caller finds the port of ":0" in Addr.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return listener, nil
}

// ServeListener is Serve on a listener, which it closes.
func ServeListener(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger, shutdownTimeout time.Duration) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what clients do wrong
	}
	log.Info("listening", "addr", listener.Addr().String())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(ending)
	if err != nil {
		log.Warn("requests were cut off at the end", "addr", listener.Addr().String(), "error", err)
		_ = server.Close() // also closes the listener, and nothing is left to be told
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	}
	return nil
}
