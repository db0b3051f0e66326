package socket

import (
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is an io_uring that can do one thing, send without waiting. So each call of write has all of its answers when it
// returns, and no thread of the kernel works for us. See io_uring(7); the structures are those of linux/io_uring.h.
type ring struct {
	fd int

	queue, entries, answers []byte // shared with the kernel

	tail    *uint32 // of the queue
	mask    uint32
	order   unsafe.Pointer // of uint32: places in entries
	head    *uint32        // of the answers
	end     *uint32
	endMask uint32
	first   unsafe.Pointer // of ringAnswer
}

type ringParams struct {
	entries, answers, flags, threadCPU, threadIdle, features, workers uint32
	_                                                                 [3]uint32
	queue                                                             struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	answered struct {
		head, tail, mask, entries, overflow, answers, flags, _ uint32
		_                                                      uint64
	}
}

type ringEntry struct {
	opcode, flags    uint8
	priority         uint16
	fd               int32
	offset, address  uint64
	length, msgFlags uint32
	user             uint64
	_                [3]uint64
}

type ringAnswer struct {
	user   uint64
	result int32
	flags  uint32
}

// ringRestriction is io_uring_restriction.
type ringRestriction struct {
	kind   uint16
	opcode uint8
	_      [13]uint8
}

// Of linux/io_uring.h.
const (
	ringSend            = 26      // IORING_OP_SEND
	ringDisabled        = 1 << 6  // IORING_SETUP_R_DISABLED
	ringRestrict        = 11      // IORING_REGISTER_RESTRICTIONS
	ringEnable          = 12      // IORING_REGISTER_ENABLE_RINGS
	ringMayDo           = 1       // IORING_RESTRICTION_SQE_OP
	ringQueueOffset     = 0       // IORING_OFF_SQ_RING
	ringAnswersOffset   = 1 << 27 // IORING_OFF_CQ_RING
	ringEntriesOffset   = 1 << 28 // IORING_OFF_SQES
	ringEntrySize       = unsafe.Sizeof(ringEntry{})
	ringAnswerSize      = unsafe.Sizeof(ringAnswer{})
	ringGetEvents       = 1 // IORING_ENTER_GETEVENTS
	ringSendImmediately = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
)

// newRing makes a ring for so many writes at once. It needs Linux 5.10, and whoever runs us may forbid it.
func newRing(depth uint32) (*ring, error) {
	p := ringParams{flags: ringDisabled}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(depth), uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r := &ring{fd: int(fd)}
	unix.CloseOnExec(r.fd)
	only := ringRestriction{kind: ringMayDo, opcode: ringSend}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, fd, ringRestrict, uintptr(unsafe.Pointer(&only)), 1, 0, 0); errno != 0 {
		r.close()
		return nil, os.NewSyscallError("io_uring_register", errno)
	}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, fd, ringEnable, 0, 0, 0, 0); errno != 0 {
		r.close()
		return nil, os.NewSyscallError("io_uring_register", errno)
	}
	for _, part := range []struct {
		memory *[]byte
		offset int64
		size   uintptr
	}{
		{&r.queue, ringQueueOffset, uintptr(p.queue.array) + 4*uintptr(p.entries)},
		{&r.answers, ringAnswersOffset, uintptr(p.answered.answers) + ringAnswerSize*uintptr(p.answers)},
		{&r.entries, ringEntriesOffset, ringEntrySize * uintptr(p.entries)},
	} {
		memory, err := unix.Mmap(r.fd, part.offset, int(part.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			r.close()
			return nil, os.NewSyscallError("mmap", err)
		}
		*part.memory = memory
	}
	word := func(memory []byte, at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&memory[at])) }
	r.tail, r.mask, r.order = word(r.queue, p.queue.tail), *word(r.queue, p.queue.mask), unsafe.Pointer(&r.queue[p.queue.array])
	r.head, r.end, r.endMask = word(r.answers, p.answered.head), word(r.answers, p.answered.tail), *word(r.answers, p.answered.mask)
	r.first = unsafe.Pointer(&r.answers[p.answered.answers])
	return r, nil
}

func (r *ring) close() {
	for _, memory := range [][]byte{r.queue, r.answers, r.entries} {
		if memory != nil {
			_ = unix.Munmap(memory)
		}
	}
	_ = unix.Close(r.fd)
}

// write gives each connection's socket as much of its frame as it takes at once, and says how much that was. Their locks
// are held.
func (r *ring) write(all []staged, wrote func(c *Conn, frame []byte, n int, err error)) {
	tail := *r.tail
	for i, s := range all {
		at := tail & r.mask
		*(*ringEntry)(unsafe.Pointer(&r.entries[uintptr(at)*ringEntrySize])) = ringEntry{opcode: ringSend, fd: s.conn.fd, user: uint64(i),
			address: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(s.frame)))), length: uint32(len(s.frame)), msgFlags: ringSendImmediately}
		*(*uint32)(unsafe.Add(r.order, 4*uintptr(at))) = at
		tail++
	}
	atomic.StoreUint32(r.tail, tail)
	for sent, answered := 0, 0; answered < len(all); {
		wait, flags := 0, 0
		if sent == len(all) { // never seen: what doesn't wait is answered at once
			wait, flags = len(all)-answered, ringGetEvents
		}
		n, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(len(all)-sent), uintptr(wait), uintptr(flags), 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR, unix.EAGAIN, unix.EBUSY:
		default:
			panic(os.NewSyscallError("io_uring_enter", errno)) // only a mistake of ours can cause it
		}
		answered += r.read(all, wrote)
	}
	runtime.KeepAlive(all)
}

// read takes the answers that are there.
func (r *ring) read(all []staged, wrote func(c *Conn, frame []byte, n int, err error)) (answers int) {
	head := *r.head
	for ; head != atomic.LoadUint32(r.end); head++ {
		answer := (*ringAnswer)(unsafe.Add(r.first, uintptr(head&r.endMask)*ringAnswerSize))
		s, n := &all[answer.user], int(answer.result)
		var err error
		if n < 0 {
			if errno := unix.Errno(-n); errno != unix.EAGAIN && errno != unix.EINTR {
				err = errno
			}
			n = 0
		}
		wrote(s.conn, s.frame, n, err)
		answers++
	}
	atomic.StoreUint32(r.head, head)
	return answers
}
