package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// disk is a small file system of its own, so that it can be full; where this process may not make one, a folder.
type disk struct {
	folder string
	own    bool
}

// diskSize is in megabytes. It is memory as far as it is used.
const diskSize = 384

func newDisk(folder string) (*disk, error) {
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	d := &disk{folder: folder, own: isolated()}
	if d.own {
		return d, command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm,mode=755", diskSize), "chaos", folder)
	}
	return d, nil
}

func (d *disk) balloon() string { return filepath.Join(d.folder, "balloon") }

// fill leaves no block free.
func (d *disk) fill() error {
	if !d.own {
		return fmt.Errorf("%w: only root can make a disk of its own", errLeftOut)
	}
	file, err := os.OpenFile(d.balloon(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, size := range []int{1 << 20, 4 << 10} {
		block := make([]byte, size)
		for err = nil; err == nil; {
			_, err = file.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	return nil
}

// clear takes away what fill has written.
func (d *disk) clear() error {
	if err := os.Remove(d.balloon()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// end puts what is on the disk into a folder beside it. Nobody may use it any more.
func (d *disk) end() error {
	if !d.own {
		return nil
	}
	err := errors.Join(d.clear(), os.CopyFS(filepath.Join(filepath.Dir(d.folder), "data"), os.DirFS(d.folder)))
	return errors.Join(err, command("umount", d.folder))
}
