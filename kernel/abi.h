#ifndef HOTPATH_KERNEL_ABI_H_
#define HOTPATH_KERNEL_ABI_H_

#include <cstdint>

// Numbers of the Linux x86-64 system call interface that the C library's headers leave out, hide behind a feature
// macro, or spell differently (glibc says O_LARGEFILE is 0). Everything else comes from <fcntl.h>, <sys/stat.h>,
// <sys/mman.h>, <sys/wait.h> and <signal.h>.

namespace hotpath::kernel::abi {

inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint64_t kPathMax = 4096;             // with the terminating NUL
inline constexpr uint64_t kNameMax = 255;              // bytes of one component
inline constexpr int kMaxSymlinks = 40;                // followed in one walk
inline constexpr uint64_t kMaxTransfer = 0x7ffff000;   // bytes that one read or write moves at most
inline constexpr int64_t kMaxFileSize = INT64_MAX;     // of tmpfs
inline constexpr uint64_t kMaxIov = 1024;              // UIO_MAXIOV
inline constexpr uint64_t kTaskSize = 0x7ffffffff000;  // first address past user space
inline constexpr uint64_t kMmapTop = 0x7ffff7fff000;   // mappings without a hint grow down from here
inline constexpr uint64_t kMaxMappings = 65530;        // vm.max_map_count
inline constexpr uint64_t kNrOpen = 1 << 20;           // fs.nr_open: RLIMIT_NOFILE never exceeds it
inline constexpr uint64_t kPipeDefaultSlots = 16;      // pages of a new pipe
inline constexpr uint64_t kPipeMaxSize = 1 << 20;      // fs.pipe-max-size
inline constexpr uint64_t kPipeBuf = 4096;             // writes up to this size are never split
inline constexpr int32_t kPidMax = 1 << 22;            // pids are below this
inline constexpr int32_t kReservedPids = 300;          // after the first wrap, pids restart here
inline constexpr int kSignals = 64;                    // signals are 1..64
inline constexpr int kFirstRealTime = 32;              // SIGRTMIN of the kernel; the C library keeps 32 and 33

// open(2)
inline constexpr int kOLargeFile = 0100000;
inline constexpr int kOTmpFile = 020000000;  // without O_DIRECTORY
inline constexpr int kOPath = 010000000;
inline constexpr int kONoAtime = 01000000;
inline constexpr int kODirect = 040000;

// *at(2)
inline constexpr int kAtSymlinkNoFollow = 0x100;
inline constexpr int kAtEaccess = 0x200;
inline constexpr int kAtRemoveDir = 0x200;
inline constexpr int kAtSymlinkFollow = 0x400;
inline constexpr int kAtNoAutomount = 0x800;
inline constexpr int kAtEmptyPath = 0x1000;
inline constexpr int kAtStatxSyncType = 0x6000;

// renameat2(2)
inline constexpr uint32_t kRenameNoReplace = 1;
inline constexpr uint32_t kRenameExchange = 2;
inline constexpr uint32_t kRenameWhiteout = 4;

// close_range(2)
inline constexpr uint32_t kCloseRangeUnshare = 2;
inline constexpr uint32_t kCloseRangeCloexec = 4;

// fcntl(2)
inline constexpr int kFDupFdCloexec = 1030;
inline constexpr int kFSetPipeSize = 1031;
inline constexpr int kFGetPipeSize = 1032;
inline constexpr int kFOfdGetLock = 36;
inline constexpr int kFOfdSetLock = 37;
inline constexpr int kFOfdSetLockWait = 38;

// lseek(2)
inline constexpr int kSeekData = 3;
inline constexpr int kSeekHole = 4;

// fallocate(2)
inline constexpr int kFallocKeepSize = 1;
inline constexpr int kFallocPunchHole = 2;
inline constexpr int kFallocCollapse = 8;
inline constexpr int kFallocZero = 0x10;
inline constexpr int kFallocInsert = 0x20;
inline constexpr int kFallocUnshare = 0x40;

// ioctl(2)
inline constexpr uint64_t kTcGets = 0x5401;
inline constexpr uint64_t kTiocGPgrp = 0x540f;
inline constexpr uint64_t kFionRead = 0x541b;
inline constexpr uint64_t kFionBio = 0x5421;
inline constexpr uint64_t kFionClex = 0x5450;
inline constexpr uint64_t kFioClex = 0x5451;
inline constexpr uint64_t kFiClone = 0x40049409;

// mount(2), umount2(2)
inline constexpr uint64_t kMsReadOnly = 1;
inline constexpr uint64_t kMsNoSuid = 2;
inline constexpr uint64_t kMsNoDev = 4;
inline constexpr uint64_t kMsNoExec = 8;
inline constexpr uint64_t kMsRemount = 32;
inline constexpr uint64_t kMsBind = 4096;
inline constexpr uint64_t kMsMove = 8192;
inline constexpr uint64_t kMsPropagation = 0xe0000;  // MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE (MS_SHARED is 1 << 20)
inline constexpr uint64_t kMsShared = 1 << 20;
inline constexpr int kUmountForce = 1;
inline constexpr int kUmountDetach = 2;
inline constexpr int kUmountExpire = 4;
inline constexpr int kUmountNoFollow = 8;

// clone(2), clone3(2)
inline constexpr uint64_t kCloneVm = 0x100;
inline constexpr uint64_t kCloneFs = 0x200;
inline constexpr uint64_t kCloneFiles = 0x400;
inline constexpr uint64_t kCloneSighand = 0x800;
inline constexpr uint64_t kCloneVfork = 0x4000;
inline constexpr uint64_t kCloneParent = 0x8000;
inline constexpr uint64_t kCloneThread = 0x10000;
inline constexpr uint64_t kCloneNewNs = 0x20000;
inline constexpr uint64_t kCloneClearSighand = 0x100000000;

// wait4(2), waitid(2)
inline constexpr int kWNoHang = 1;
inline constexpr int kWUntraced = 2;  // WSTOPPED of waitid
inline constexpr int kWExited = 4;
inline constexpr int kWContinued = 8;
inline constexpr int kWNoWait = 0x1000000;
inline constexpr int kWNoThread = 0x20000000;
inline constexpr int kWAll = 0x40000000;
inline constexpr int kWClone = static_cast<int>(0x80000000);

// rt_sigaction(2)
inline constexpr uint64_t kSaNoCldStop = 1;
inline constexpr uint64_t kSaNoCldWait = 2;
inline constexpr uint64_t kSaRestart = 0x10000000;
inline constexpr uint64_t kSaNoDefer = 0x40000000;
inline constexpr uint64_t kSaResetHand = 0x80000000;
// SA_NOCLDSTOP, NOCLDWAIT, SIGINFO, EXPOSE_TAGBITS, RESTORER, ONSTACK, RESTART, NODEFER, RESETHAND: the others read
// back as 0, which is how a program asks whether the kernel knows them.
inline constexpr uint64_t kSaKnown = 0xdc000807;

// mmap(2), mremap(2)
inline constexpr int kMapShared = 1;
inline constexpr int kMapPrivate = 2;
inline constexpr int kMapSharedValidate = 3;
inline constexpr int kMapType = 0xf;
inline constexpr int kMapFixed = 0x10;
inline constexpr int kMapAnonymous = 0x20;
inline constexpr int kMapGrowsDown = 0x100;
inline constexpr int kMapFixedNoReplace = 0x100000;
inline constexpr int kMremapMayMove = 1;
inline constexpr int kMremapFixed = 2;
inline constexpr int kMremapDontUnmap = 4;
inline constexpr int kProtSem = 8;
inline constexpr int kProtGrowsDown = 0x01000000;
inline constexpr int kProtGrowsUp = 0x02000000;

// getrlimit(2)
inline constexpr int kRlimitFsize = 1;
inline constexpr int kRlimitData = 2;
inline constexpr int kRlimitNofile = 7;
inline constexpr int kRlimitAs = 9;
inline constexpr int kRlimits = 16;
inline constexpr uint64_t kInfinity = ~uint64_t{0};

// statfs(2): flags that st_flags reports
inline constexpr uint64_t kStValid = 0x20;
inline constexpr uint64_t kStRelatime = 0x1000;

// makedev(3), as Linux packs a 32-bit dev_t for stat(2).
constexpr uint64_t MakeDev(uint32_t major, uint32_t minor) {
  return (uint64_t{major & 0xfffff000} << 32) | (uint64_t{major & 0xfff} << 8) | (uint64_t{minor & 0xffffff00} << 12) |
         (minor & 0xff);
}

}  // namespace hotpath::kernel::abi

#endif  // HOTPATH_KERNEL_ABI_H_
