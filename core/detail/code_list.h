#ifndef HOTPATH_CORE_DETAIL_CODE_LIST_H_
#define HOTPATH_CORE_DETAIL_CODE_LIST_H_

// The errors of Linux on x86-64, by number: F(name, number, what it means). F must use the name with # or ## only,
// because <cerrno> defines macros of these names. 41 and 58 are not in use.
// clang-format off
#define HOTPATH_INTERNAL_CODES(F) \
  F(EPERM, 1, "operation not permitted") \
  F(ENOENT, 2, "no such file or directory") \
  F(ESRCH, 3, "no such process") \
  F(EINTR, 4, "interrupted by a signal") \
  F(EIO, 5, "input/output error") \
  F(ENXIO, 6, "no such device or address") \
  F(E2BIG, 7, "argument list too long") \
  F(ENOEXEC, 8, "not an executable format") \
  F(EBADF, 9, "bad file descriptor") \
  F(ECHILD, 10, "no child process") \
  F(EAGAIN, 11, "try again") \
  F(ENOMEM, 12, "out of memory") \
  F(EACCES, 13, "permission denied") \
  F(EFAULT, 14, "bad address") \
  F(ENOTBLK, 15, "not a block device") \
  F(EBUSY, 16, "device or resource busy") \
  F(EEXIST, 17, "file exists") \
  F(EXDEV, 18, "link across file systems") \
  F(ENODEV, 19, "no such device") \
  F(ENOTDIR, 20, "not a directory") \
  F(EISDIR, 21, "is a directory") \
  F(EINVAL, 22, "invalid argument") \
  F(ENFILE, 23, "too many open files in the system") \
  F(EMFILE, 24, "too many open files") \
  F(ENOTTY, 25, "not a terminal") \
  F(ETXTBSY, 26, "program file is in use") \
  F(EFBIG, 27, "file too large") \
  F(ENOSPC, 28, "no space left on device") \
  F(ESPIPE, 29, "not seekable") \
  F(EROFS, 30, "read-only file system") \
  F(EMLINK, 31, "too many links") \
  F(EPIPE, 32, "broken pipe") \
  F(EDOM, 33, "argument out of domain") \
  F(ERANGE, 34, "result out of range") \
  F(EDEADLK, 35, "would deadlock") \
  F(ENAMETOOLONG, 36, "file name too long") \
  F(ENOLCK, 37, "no locks available") \
  F(ENOSYS, 38, "not implemented") \
  F(ENOTEMPTY, 39, "directory not empty") \
  F(ELOOP, 40, "too many symbolic links") \
  F(ENOMSG, 42, "no message of that type") \
  F(EIDRM, 43, "identifier removed") \
  F(ECHRNG, 44, "channel number out of range") \
  F(EL2NSYNC, 45, "level 2 not synchronized") \
  F(EL3HLT, 46, "level 3 halted") \
  F(EL3RST, 47, "level 3 reset") \
  F(ELNRNG, 48, "link number out of range") \
  F(EUNATCH, 49, "protocol driver not attached") \
  F(ENOCSI, 50, "no CSI structure available") \
  F(EL2HLT, 51, "level 2 halted") \
  F(EBADE, 52, "invalid exchange") \
  F(EBADR, 53, "invalid request descriptor") \
  F(EXFULL, 54, "exchange full") \
  F(ENOANO, 55, "no anode") \
  F(EBADRQC, 56, "invalid request code") \
  F(EBADSLT, 57, "invalid slot") \
  F(EBFONT, 59, "bad font file format") \
  F(ENOSTR, 60, "not a stream") \
  F(ENODATA, 61, "no data available") \
  F(ETIME, 62, "timer expired") \
  F(ENOSR, 63, "out of stream resources") \
  F(ENONET, 64, "not on the network") \
  F(ENOPKG, 65, "package not installed") \
  F(EREMOTE, 66, "object is remote") \
  F(ENOLINK, 67, "link severed") \
  F(EADV, 68, "advertise error") \
  F(ESRMNT, 69, "srmount error") \
  F(ECOMM, 70, "communication error on send") \
  F(EPROTO, 71, "protocol error") \
  F(EMULTIHOP, 72, "multihop attempted") \
  F(EDOTDOT, 73, "RFS error") \
  F(EBADMSG, 74, "bad message") \
  F(EOVERFLOW, 75, "value too large for its type") \
  F(ENOTUNIQ, 76, "name not unique on the network") \
  F(EBADFD, 77, "file descriptor in bad state") \
  F(EREMCHG, 78, "remote address changed") \
  F(ELIBACC, 79, "cannot access a shared library") \
  F(ELIBBAD, 80, "corrupted shared library") \
  F(ELIBSCN, 81, "bad .lib section") \
  F(ELIBMAX, 82, "too many shared libraries") \
  F(ELIBEXEC, 83, "cannot execute a shared library") \
  F(EILSEQ, 84, "invalid byte sequence") \
  F(ERESTART, 85, "call to be restarted") \
  F(ESTRPIPE, 86, "stream pipe error") \
  F(EUSERS, 87, "too many users") \
  F(ENOTSOCK, 88, "not a socket") \
  F(EDESTADDRREQ, 89, "destination address required") \
  F(EMSGSIZE, 90, "message too long") \
  F(EPROTOTYPE, 91, "wrong protocol type for the socket") \
  F(ENOPROTOOPT, 92, "protocol option not available") \
  F(EPROTONOSUPPORT, 93, "protocol not supported") \
  F(ESOCKTNOSUPPORT, 94, "socket type not supported") \
  F(EOPNOTSUPP, 95, "operation not supported") \
  F(EPFNOSUPPORT, 96, "protocol family not supported") \
  F(EAFNOSUPPORT, 97, "address family not supported") \
  F(EADDRINUSE, 98, "address in use") \
  F(EADDRNOTAVAIL, 99, "address not available") \
  F(ENETDOWN, 100, "network is down") \
  F(ENETUNREACH, 101, "network unreachable") \
  F(ENETRESET, 102, "connection dropped by the network") \
  F(ECONNABORTED, 103, "connection aborted") \
  F(ECONNRESET, 104, "connection reset by peer") \
  F(ENOBUFS, 105, "no buffer space") \
  F(EISCONN, 106, "already connected") \
  F(ENOTCONN, 107, "not connected") \
  F(ESHUTDOWN, 108, "endpoint has shut down") \
  F(ETOOMANYREFS, 109, "too many references") \
  F(ETIMEDOUT, 110, "timed out") \
  F(ECONNREFUSED, 111, "connection refused") \
  F(EHOSTDOWN, 112, "host is down") \
  F(EHOSTUNREACH, 113, "no route to host") \
  F(EALREADY, 114, "operation already in progress") \
  F(EINPROGRESS, 115, "operation in progress") \
  F(ESTALE, 116, "stale handle") \
  F(EUCLEAN, 117, "structure needs cleaning") \
  F(ENOTNAM, 118, "not a XENIX named file") \
  F(ENAVAIL, 119, "no XENIX semaphores") \
  F(EISNAM, 120, "is a named file") \
  F(EREMOTEIO, 121, "remote input/output error") \
  F(EDQUOT, 122, "quota exceeded") \
  F(ENOMEDIUM, 123, "no medium") \
  F(EMEDIUMTYPE, 124, "wrong medium type") \
  F(ECANCELED, 125, "canceled") \
  F(ENOKEY, 126, "key not available") \
  F(EKEYEXPIRED, 127, "key expired") \
  F(EKEYREVOKED, 128, "key revoked") \
  F(EKEYREJECTED, 129, "key rejected") \
  F(EOWNERDEAD, 130, "owner died") \
  F(ENOTRECOVERABLE, 131, "state not recoverable") \
  F(ERFKILL, 132, "blocked by RF-kill") \
  F(EHWPOISON, 133, "memory page has a hardware error")
// clang-format on

#endif  // HOTPATH_CORE_DETAIL_CODE_LIST_H_
