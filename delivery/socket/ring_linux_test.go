package socket

import (
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What somebody could do who can write into the memory of a ring: send, and nothing else that the kernel knows.
func TestARingCanOnlySend(t *testing.T) {
	r, err := newRing(1)
	if err != nil {
		t.Skip("the kernel doesn't give us an io_uring: ", err)
	}
	defer r.close()
	for name, opcode := range map[string]uint8{"nop": 0, "openat": 18, "read": 22, "write": 23, "connect": 16, "socket": 45} {
		tail := *r.tail
		at := tail & r.mask
		*(*ringEntry)(unsafe.Pointer(&r.entries[uintptr(at)*ringEntrySize])) = ringEntry{opcode: opcode, fd: -1}
		*(*uint32)(unsafe.Add(r.order, 4*uintptr(at))) = at
		atomic.StoreUint32(r.tail, tail+1)
		if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 1, 1, ringGetEvents, 0, 0); errno != 0 {
			t.Fatalf("%s: %v", name, errno)
		}
		answer := (*ringAnswer)(unsafe.Add(r.first, uintptr(*r.head&r.endMask)*ringAnswerSize))
		if *r.head == atomic.LoadUint32(r.end) || answer.result != -int32(unix.EACCES) {
			t.Errorf("%s answers %d, want EACCES", name, answer.result)
		}
		atomic.StoreUint32(r.head, atomic.LoadUint32(r.end))
	}
}
