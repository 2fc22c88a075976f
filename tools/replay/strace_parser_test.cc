#include "tools/replay/strace_parser.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "tools/replay/strace_symbols.h"
#include "tools/replay/trace_reader.h"

namespace hotpath::replay {
namespace {

using Kind = Arg::Kind;
using Outcome = Record::Outcome;

constexpr size_t kMega = size_t{1} << 20;

Trace Parse(std::string_view text) {
  absl::StatusOr<Trace> trace = ParseStrace(text, "t");
  EXPECT_TRUE(trace.ok()) << trace.status();
  return trace.ok() ? *std::move(trace) : Trace();
}

std::string Error(std::string_view text) {
  const absl::StatusOr<Trace> trace = ParseStrace(text, "t");
  if (trace.ok()) return "accepted";
  EXPECT_EQ(trace.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(trace.status().message());
}

// The only record of a text of one line.
Record Line(std::string_view line) {
  Trace trace = Parse(absl::StrCat("7 ", std::string(line), "\n"));
  EXPECT_EQ(trace.records.size(), 1u) << line;
  return trace.records.empty() ? Record() : std::move(trace.records[0]);
}

// The only argument of a call that replay interprets.
Arg Value(std::string_view text) {
  Record record = Line(absl::StrCat("newcall(", std::string(text), ") = 0"));
  EXPECT_EQ(record.args.size(), 1u) << text;
  return record.args.empty() ? Arg() : std::move(record.args[0]);
}

std::string ValueError(std::string_view text) {
  return Error(absl::StrCat("7 newcall(", std::string(text), ") = 0\n"));
}

TEST(StraceParser, CallHasNameArgumentsResultTimeAndDuration) {
  const Record r = Line("1795424716.838878 read(3, \"ab\", 832) = 2 <0.000004>");
  EXPECT_EQ(r.kind, Record::Kind::kCall);
  EXPECT_EQ(r.outcome, Outcome::kReturned);
  EXPECT_EQ(r.pid, 7);
  EXPECT_EQ(r.line, 1u);
  EXPECT_EQ(r.exit_line, 1u);
  EXPECT_EQ(r.name, "read");
  ASSERT_EQ(r.args.size(), 3u);
  EXPECT_EQ(r.args[0].number, 3);
  EXPECT_EQ(r.args[1].text, "ab");
  EXPECT_EQ(r.args[2].number, 832);
  EXPECT_EQ(r.result, 2);
  EXPECT_EQ(r.err, 0);
  EXPECT_DOUBLE_EQ(r.time, 1795424716.838878);
  EXPECT_DOUBLE_EQ(r.duration, 0.000004);
}

TEST(StraceParser, TimesAreReadInEveryFormat) {
  EXPECT_DOUBLE_EQ(Line("09:05:17 close(3) = 0").time, 9 * 3600 + 5 * 60 + 17);
  EXPECT_DOUBLE_EQ(Line("23:59:59.630846 close(3) = 0").time, 86399.630846);
  EXPECT_DOUBLE_EQ(Line("1795424716.000001 close(3) = 0").time, 1795424716.000001);
  EXPECT_EQ(Line("close(3) = 0").time, -1);
  EXPECT_EQ(Line("close(3) = 0").duration, -1);
  EXPECT_DOUBLE_EQ(Parse("1795424716.5 close(3) = 0\n").records[0].time, 1795424716.5);
  EXPECT_DOUBLE_EQ(Parse("00:00:01 close(3) = 0\n").records[0].time, 1);
  for (const char* bad : {"24:00:00", "00:60:00", "00:00:61", "1:2:3", "00:00", "1.2.3", "1.", "12:34:5x"}) {
    EXPECT_EQ(Error(absl::StrCat("7 ", bad, " close(3) = 0\n")),
              absl::StrCat("t:1: not a line of strace: 7 ", bad, " close(3) = 0"));
  }
}

TEST(StraceParser, PidsAreReadInEveryFormat) {
  EXPECT_EQ(Parse("6602  close(3) = 0\n").records[0].pid, 6602);
  EXPECT_EQ(Parse("6602<a b> close(3) = 0\n").records[0].pid, 6602);
  EXPECT_EQ(Parse("[pid  6602] close(3) = 0\n").records[0].pid, 6602);
  EXPECT_EQ(Parse("[pid 6602<sh>] 09:05:17 close(3) = 0\n").records[0].pid, 6602);
  EXPECT_EQ(Parse("close(3) = 0\n").records[0].pid, 0);
  EXPECT_EQ(Parse("2147483647 close(3) = 0\n").records[0].pid, 2147483647);
  EXPECT_EQ(Error("2147483648 close(3) = 0\n"), "t:1: not a line of strace: 2147483648 close(3) = 0");
  EXPECT_EQ(Error("0 close(3) = 0\n"), "t:1: not a line of strace: 0 close(3) = 0");
  EXPECT_EQ(Error("[pid x] close(3) = 0\n"), "t:1: not a line of strace: [pid x] close(3) = 0");
}

TEST(StraceParser, IntegersAreDecimalOctalHexadecimalOrNegative) {
  EXPECT_EQ(Value("0").number, 0);
  EXPECT_EQ(Value("-1").number, -1);
  EXPECT_EQ(Value("0644").number, 0644);
  EXPECT_EQ(Value("000").number, 0);
  EXPECT_EQ(Value("0x7ffD").number, 0x7ffd);
  EXPECT_EQ(Value("9223372036854775807").number, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Value("-9223372036854775808").number, std::numeric_limits<int64_t>::min());
  EXPECT_EQ(Value("18446744073709551615").number, -1) << "the upper half of uint64 wraps";
  EXPECT_EQ(Value("0xffffffffffffffff").number, -1);
  EXPECT_FALSE(Value("0644").symbolic);
  EXPECT_EQ(ValueError("18446744073709551616"), "t:1: argument 1 of newcall: number too large: 18446744073709551616");
  EXPECT_EQ(ValueError("0x10000000000000000"), "t:1: argument 1 of newcall: number too large: 0x10000000000000000");
  EXPECT_EQ(ValueError("-9223372036854775809"), "t:1: argument 1 of newcall: number too large: -9223372036854775809");
  for (const char* bad : {"089", "0x", "1.5", "3abc", "-", "+1", "0xg"}) {
    EXPECT_TRUE(absl::StartsWith(ValueError(bad), "t:1: argument 1 of newcall: not a")) << ValueError(bad);
  }
}

TEST(StraceParser, ProductsAndShiftsAreComputed) {
  EXPECT_EQ(Value("8192*1024").number, 8192 * 1024);
  EXPECT_EQ(Value("5 * sizeof(struct ifreq)").number, 200);
  const Arg flags = Value("MAP_PRIVATE|21<<MAP_HUGE_SHIFT");
  EXPECT_EQ(flags.number, MAP_PRIVATE | (21 << 26));
  EXPECT_TRUE(flags.symbolic);
  EXPECT_EQ(flags.text, "MAP_PRIVATE|21<<MAP_HUGE_SHIFT");
  EXPECT_EQ(Value("1<<63").number, std::numeric_limits<int64_t>::min());
  for (const char* bad : {"9223372036854775807*2", "1<<64", "1<<-1"}) {
    EXPECT_EQ(ValueError(bad), absl::StrCat("t:1: argument 1 of newcall: number too large: ", bad));
  }
}

TEST(StraceParser, NamesHaveTheKernelsValues) {
  EXPECT_EQ(Value("O_RDWR|O_CREAT|O_CLOEXEC|0x40000000").number, O_RDWR | O_CREAT | O_CLOEXEC | 0x40000000);
  EXPECT_EQ(Value("O_LARGEFILE").number, 0100000) << "glibc defines it as 0";
  EXPECT_EQ(Value("S_IFREG|0644").number, S_IFREG | 0644);
  EXPECT_EQ(Value("NULL").number, 0);
  EXPECT_EQ(Value("RLIM64_INFINITY").number, -1);
  EXPECT_EQ(Value("SIGCHLD").number, SIGCHLD);
  EXPECT_EQ(Value("SIGRTMIN").number, 32) << "glibc keeps two signals for itself";
  EXPECT_EQ(Value("SIGRT_32").number, 64);
  EXPECT_EQ(Value("ECONNREFUSED").number, ECONNREFUSED);
  EXPECT_EQ(Value("-ENOENT").number, -ENOENT);
}

TEST(StraceParser, UnknownNameIsRejectedByLine) {
  EXPECT_EQ(Error("7 close(3) = 0\n7 openat(AT_FDCWD, \"x\", O_RDONLY|O_FROBNICATE) = 3\n"),
            "t:2: argument 3 of openat: unknown constant: O_FROBNICATE");
  EXPECT_EQ(Error("7 fstat(3, {st_mode=S_IFODD|0644}) = 0\n"), "t:1: argument 2 of fstat: unknown constant: S_IFODD");
  EXPECT_EQ(Error("7 close(3) = -1 EODD (Odd)\n"), "t:1: unknown errno: EODD (Odd)");
  EXPECT_EQ(Error("7 pause() = ? ERESTARTODD (Odd)\n"), "t:1: not a result: ERESTARTODD (Odd)");
  EXPECT_EQ(Error("7 close(3) = 0\n7 --- SIGODD {si_signo=SIGODD} ---\n"),
            "t:2: unknown signal: SIGODD {si_signo=SIGODD} ---");
  EXPECT_EQ(Error("7 close(3) = 0\n7 --- SIGSYS {si_signo=SIGSYS, si_code=SYS_ODD} ---\n"),
            "t:2: unknown constant: SYS_ODD");
}

TEST(StraceParser, UnknownNameIsKeptWhereReplayDoesNotLook) {
  const Record futex = Line("futex(0x7f, FUTEX_WAKE_ODD|0x4, 1) = 0");
  EXPECT_TRUE(futex.args[1].unresolved);
  EXPECT_TRUE(futex.args[1].symbolic);
  EXPECT_EQ(futex.args[1].text, "FUTEX_WAKE_ODD|0x4");
  EXPECT_EQ(futex.args[1].number, 4);
  const Record request = Line("ioctl(3, DRM_IOCTL_VERSION, {name=\"a\", fraction=1/30}) = 0");
  EXPECT_TRUE(request.args[1].unresolved);
  EXPECT_EQ(request.args[2].kind, Kind::kStruct);
  EXPECT_EQ(request.args[2].Find("fraction")->kind, Kind::kElided);
  EXPECT_EQ(request.args[2].Find("fraction")->text, "1/30");
  EXPECT_EQ(Error("7 futex(\"a, 1) = 0\n"), "t:1: argument 1 of futex: closing quote missing: \\\"a, 1) = 0");
  EXPECT_EQ(Error("7 ioctl(FD_ODD, TCGETS, 0x1) = 0\n"), "t:1: argument 1 of ioctl: unknown constant: FD_ODD");
  const Record message = Line(
      "recvmsg(3, {msg_iov=[{iov_base=[{nla_type=IFLA_ADDRESS}, 3e:80:25:d8:d0:bf], iov_len=9}], msg_flags=MSG_TRUNC}, "
      "0) = 9");
  EXPECT_EQ(message.args[1].Find("msg_iov")->items[0].Find("iov_base")->items[1].text, "3e:80:25:d8:d0:bf");
  EXPECT_EQ(message.args[1].Find("msg_flags")->number, MSG_TRUNC);
  EXPECT_EQ(Error("7 recvmsg(3, {msg_flags=MSG_ODD}, 0) = 9\n"),
            "t:1: argument 2 of recvmsg: unknown constant: MSG_ODD");
  const Record sys =
      Parse("7 pause() = 0\n7 --- SIGSYS {si_signo=SIGSYS, si_code=SYS_SECCOMP, si_syscall=__NR_odd} ---").records[1];
  EXPECT_TRUE(sys.args[0].Find("si_syscall")->unresolved);
}

TEST(StraceParser, SecondNameOfARequestCountsIfTheFirstIsUnknown) {
  const Record r = Line("ioctl(0, SNDCTL_TMR_TIMEBASE or TCGETS, 0x7f) = 0");
  EXPECT_EQ(r.args[1].number, TCGETS);
  EXPECT_FALSE(r.args[1].unresolved);
  EXPECT_EQ(r.args[1].text, "SNDCTL_TMR_TIMEBASE or TCGETS");
  EXPECT_EQ(Line("ioctl(0, TCGETS or SNDCTL_TMR_TIMEBASE, 0x7f) = 0").args[1].number, TCGETS);
  EXPECT_TRUE(Line("ioctl(0, SNDCTL_A or SNDCTL_B, 0x7f) = 0").args[1].unresolved);
}

TEST(StraceParser, StringsAreUnescaped) {
  EXPECT_EQ(Value(R"("")").text, "");
  EXPECT_EQ(Value(R"("a\"b\\c\n\t\r\f\v\x7f\377\0")").text, std::string("a\"b\\c\n\t\r\f\v\x7f\xff\0", 13));
  EXPECT_EQ(Value(R"("\0\08\18\1234")").text, std::string("\0\08\18\1234", 7));
  EXPECT_EQ(Value("\"utf\xc3\xa9\"").text, "utf\xc3\xa9");
  EXPECT_EQ(Value(R"(@"abs")").text, std::string("\0abs", 4)) << "an abstract socket's name begins with a zero byte";
  EXPECT_FALSE(Value(R"("ab")").truncated);
  EXPECT_TRUE(Value(R"("ab"...)").truncated);
  EXPECT_TRUE(Value(R"(""...)").truncated);
  EXPECT_EQ(ValueError(R"("a\q")"), R"(t:1: argument 1 of newcall: not an escape sequence: \\q\") = 0)");
  EXPECT_EQ(ValueError(R"("\777")"), R"(t:1: argument 1 of newcall: not an escape sequence: \\777\") = 0)");
  EXPECT_EQ(ValueError(R"("\xf")"), R"(t:1: argument 1 of newcall: not an escape sequence: \\xf\") = 0)");
  EXPECT_EQ(ValueError(R"("ab)"), R"(t:1: argument 1 of newcall: closing quote missing: \"ab) = 0)");
}

TEST(StraceParser, StructsNameTheirFields) {
  const Arg stat = Value("{st_mode=S_IFREG|0644, st_size=27, st_rdev=makedev(0x88, 0x1), st_mtime=-5 /* 1969 */, ...}");
  EXPECT_EQ(stat.kind, Kind::kStruct);
  EXPECT_TRUE(stat.truncated);
  ASSERT_EQ(stat.items.size(), 4u);
  EXPECT_EQ(stat.Find("st_size")->number, 27);
  EXPECT_EQ(stat.Find("st_mtime")->number, -5);
  EXPECT_EQ(stat.Find("st_nlink"), nullptr);
  const Arg* dev = stat.Find("st_rdev");
  EXPECT_EQ(dev->kind, Kind::kCall);
  EXPECT_EQ(dev->text, "makedev(0x88, 0x1)");
  EXPECT_EQ(dev->number, static_cast<int64_t>(makedev(0x88, 1)));
  ASSERT_EQ(dev->items.size(), 2u);
  EXPECT_EQ(dev->items[1].number, 1);

  const Arg words = Line("ioctl(0, TCGETS, {B38400 -opost isig ...}) = 0").args[2];
  EXPECT_TRUE(words.truncated);
  ASSERT_EQ(words.items.size(), 3u);
  EXPECT_EQ(words.items[1].text, "-opost");
  const Arg chars = Value("{c_line='\\0', c_cc[VMIN]=1, [0x2]='S', x=NULL}");
  EXPECT_EQ(chars.items[0].number, 0);
  EXPECT_EQ(chars.Find("c_cc[VMIN]")->number, 1);
  EXPECT_EQ(chars.Find("[0x2]")->number, 'S');
  EXPECT_TRUE(Value("{...}").truncated);
  EXPECT_TRUE(Value("{}").items.empty());
  EXPECT_EQ(ValueError("{a=1"), "t:1: argument 1 of newcall: \", \" or \"}\" expected: ) = 0");
  EXPECT_EQ(ValueError("{a=1,"), "t:1: argument 1 of newcall: not a value: ) = 0");
  EXPECT_EQ(ValueError("{a=}"), "t:1: argument 1 of newcall: not a value: }) = 0");
}

TEST(StraceParser, ArraysAndSetsHaveItems) {
  EXPECT_TRUE(Value("[]").items.empty());
  EXPECT_FALSE(Value("[]").truncated);
  EXPECT_TRUE(Value("[...]").items.empty());
  EXPECT_TRUE(Value("[...]").truncated);
  EXPECT_EQ(Value("[\"make\", \"-j2\"...]").items[1].text, "-j2");
  const Arg set = Value("~[HUP RTMIN RT_32]");
  EXPECT_EQ(set.kind, Kind::kArray);
  EXPECT_TRUE(set.complemented);
  ASSERT_EQ(set.items.size(), 3u);
  EXPECT_EQ(set.items[0].text, "HUP");
  EXPECT_EQ(set.items[0].number, SIGHUP);
  EXPECT_EQ(set.items[1].number, 32);
  EXPECT_EQ(set.items[2].number, 64);
  EXPECT_EQ(Value("[SOCK_STREAM]").items[0].number, SOCK_STREAM);
  const Arg fds = Value("[3<pipe:[1]> 5]");
  ASSERT_EQ(fds.items.size(), 2u);
  EXPECT_EQ(fds.items[0].annotation, "pipe:[1]");
  EXPECT_EQ(fds.items[1].number, 5);
  EXPECT_EQ(ValueError("[HUP ODD]"), "t:1: argument 1 of newcall: unknown constant: ODD");
  EXPECT_EQ(ValueError("[RT_33]"), "t:1: argument 1 of newcall: unknown constant: RT_33");
  EXPECT_EQ(ValueError("HUP"), "t:1: argument 1 of newcall: unknown constant: HUP") << "only sets drop the SIG";
  EXPECT_EQ(ValueError("~5"), "t:1: argument 1 of newcall: \"[\" expected after \"~\": 5) = 0");
}

TEST(StraceParser, ValueWrittenBackIsTheLastItem) {
  const Arg length = Value("[128 => 16]");
  ASSERT_EQ(length.items.size(), 1u);
  EXPECT_EQ(length.items[0].number, 128);
  ASSERT_NE(length.items[0].Find("=>"), nullptr);
  EXPECT_EQ(length.items[0].Find("=>")->number, 16);
  const Arg clone = Value("{flags=CLONE_VM, parent_tid=0x7f0} => {parent_tid=[8]}");
  EXPECT_EQ(clone.Find("parent_tid")->number, 0x7f0);
  EXPECT_EQ(clone.Find("=>")->Find("parent_tid")->items[0].number, 8);
  EXPECT_EQ(Value("[0] => [5]").Find("=>")->items[0].number, 5);
}

TEST(StraceParser, SocketAddressesAreStructs) {
  const Arg in6 = Value("{sa_family=AF_INET6, sin6_port=htons(80), inet_pton(AF_INET6, \"::1\", &sin6_addr)}");
  EXPECT_EQ(in6.Find("sin6_port")->number, 80);
  const Arg* address = in6.Find("inet_pton");
  ASSERT_NE(address, nullptr);
  EXPECT_EQ(address->items[1].text, "::1");
  EXPECT_EQ(address->items[2].text, "&sin6_addr");
  EXPECT_EQ(Value("inet_addr(\"127.0.0.1\")").items[0].text, "127.0.0.1");
  EXPECT_EQ(Value("_IOC(_IOC_READ|_IOC_WRITE, 0x78, 0x5, 0x10)").number,
            static_cast<int64_t>(_IOC(_IOC_READ | _IOC_WRITE, 0x78, 5, 0x10)));
}

TEST(StraceParser, WaitStatusIsEncodedAsTheKernelDoes) {
  const std::pair<const char*, int64_t> cases[] = {
      {"WIFEXITED(s) && WEXITSTATUS(s) == 7", 7 << 8},
      {"WIFSIGNALED(s) && WTERMSIG(s) == SIGPIPE", SIGPIPE},
      {"WIFSIGNALED(s) && WTERMSIG(s) == SIGABRT && WCOREDUMP(s)", SIGABRT | 0x80},
      {"WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP", SIGSTOP << 8 | 0x7f},
      {"WIFSTOPPED(s) && WSTOPSIG(s) == SIGTRAP | 0x80", (SIGTRAP | 0x80) << 8 | 0x7f},
      {"WIFCONTINUED(s)", 0xffff},
  };
  for (const auto& [text, status] : cases) {
    const Arg arg = Value(absl::StrCat("[{", text, "}]"));
    ASSERT_EQ(arg.items.size(), 1u);
    ASSERT_EQ(arg.items[0].items.size(), 1u);
    EXPECT_EQ(arg.items[0].items[0].kind, Kind::kCall);
    EXPECT_EQ(arg.items[0].items[0].number, status) << text;
    EXPECT_EQ(arg.items[0].items[0].text, text);
  }
  EXPECT_EQ(Value("[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGTRAP}|4<<16]").items[0].items[0].number,
            4 << 16 | SIGTRAP << 8 | 0x7f);
  EXPECT_EQ(ValueError("[{WIFEXITED(s) && WEXITSTATUS(s) == 256}]"),
            "t:1: argument 1 of newcall: not an exit status: 256}]) = 0");
  EXPECT_EQ(ValueError("[{WIFODD(s)}]"), "t:1: argument 1 of newcall: not a wait status: WIFODD(s)}]) = 0");
}

TEST(StraceParser, AnnotationsOfDescriptorsAreUnescaped) {
  const std::pair<const char*, const char*> cases[] = {
      {"</etc/ld.so.cache>", "/etc/ld.so.cache"},
      {"</tmp/a\\74b\\76->", "/tmp/a<b>-"},
      {"</dev/null<char 1:3>>", "/dev/null<char 1:3>"},
      {"</dev/ptmx<char 5:2 @/dev/pts/0>>", "/dev/ptmx<char 5:2 @/dev/pts/0>"},
      {"</q\\\"uote\\nline\\\\>", "/q\"uote\nline\\"},
      {"<pipe:[143974]>", "pipe:[143974]"},
      {"<anon_inode:inotify>", "anon_inode:inotify"},
      {"<anon_inode:[eventpoll]>", "anon_inode:[eventpoll]"},
      {"<pid:123>", "pid:123"},
      {"<signalfd:[USR1 RT_5]>", "signalfd:[USR1 RT_5]"},
      {"<TCP:[127.0.0.1:80->127.0.0.1:81]>", "TCP:[127.0.0.1:80->127.0.0.1:81]"},
      {"<TCPv6:[[::1]:43190->[::1]:37583]>", "TCPv6:[[::1]:43190->[::1]:37583]"},
      {"<UNIX-STREAM:[1->2,\"so]ck\\\"<>\"]>", "UNIX-STREAM:[1->2,\"so]ck\"<>\"]"},
  };
  for (const auto& [printed, plain] : cases) {
    const Arg arg = Value(absl::StrCat("3", printed));
    EXPECT_EQ(arg.number, 3);
    EXPECT_EQ(arg.annotation, plain);
    EXPECT_FALSE(arg.deleted);
    EXPECT_EQ(Line(absl::StrCat("dup(0) = 3", printed, " <0.000003>")).result_note, plain);
  }
  const Arg deleted = Value("3</tmp/x (deleted)>(deleted)");
  EXPECT_TRUE(deleted.deleted);
  EXPECT_EQ(deleted.annotation, "/tmp/x (deleted)");
  EXPECT_EQ(Line("dup(0) = 3</tmp/x>(deleted)").result_note, "/tmp/x(deleted)");
  const Arg cwd = Value("AT_FDCWD</home/u>");
  EXPECT_EQ(cwd.number, AT_FDCWD);
  EXPECT_EQ(cwd.text, "AT_FDCWD");
  EXPECT_EQ(cwd.annotation, "/home/u");
  EXPECT_EQ(ValueError("3</tmp"), "t:1: argument 1 of newcall: \">\" missing after a descriptor: </tmp) = 0");
}

TEST(StraceParser, WhatStraceLeftOutIsElided) {
  const Arg environment = Value("0x7ffc44b8fd80 /* 4 vars */");
  EXPECT_EQ(environment.kind, Kind::kElided);
  EXPECT_EQ(environment.text, "/* 4 vars */");
  EXPECT_EQ(environment.number, 0x7ffc44b8fd80);
  EXPECT_EQ(Value("0x559860efc2d0 /* 8 entries */").text, "/* 8 entries */");
  EXPECT_EQ(Value("...").kind, Kind::kElided);
  EXPECT_EQ(Value("???").text, "???");
  EXPECT_EQ(Value("<... resuming interrupted read ...>").text, "<... resuming interrupted read ...>");
  EXPECT_EQ(Value("0x270f /* F_??? */").kind, Kind::kInteger);
  EXPECT_EQ(Value("0x80 /* CLONE_??? */|SIGCHLD").number, 0x80 | SIGCHLD);
  EXPECT_EQ(Value("/* bytes 8..15 */ \"x\"").text, "x");
  EXPECT_EQ(ValueError("1 /* x"), "t:1: argument 1 of newcall: \"*/\" missing: /* x) = 0");
}

TEST(StraceParser, ArgumentsMayHaveNames) {
  const Record r = Line("clone(child_stack=NULL, flags=CLONE_VM|SIGCHLD, child_tidptr=0x7f) = 8");
  ASSERT_EQ(r.args.size(), 3u);
  EXPECT_EQ(r.args[0].name, "child_stack");
  EXPECT_EQ(r.args[1].name, "flags");
  EXPECT_EQ(r.args[1].number, 0x100 | SIGCHLD);
}

TEST(StraceParser, ResultsAreReadInEveryForm) {
  EXPECT_EQ(Line("close(3)                                = 0").result, 0);
  EXPECT_EQ(Line("umask(000) = 022").result, 022);
  EXPECT_EQ(Line("mmap(NULL) = 0x7f314cc5b000").result, 0x7f314cc5b000);
  const Record failed = Line("access(\"x\", R_OK) = -1 ENOENT (No such file or directory) <0.000005>");
  EXPECT_EQ(failed.result, -1);
  EXPECT_EQ(failed.err, ENOENT);
  EXPECT_EQ(failed.result_note, "No such file or directory");
  EXPECT_DOUBLE_EQ(failed.duration, 0.000005);
  EXPECT_EQ(Line("close(3) = -1 (errno 524)").err, 524);
  EXPECT_EQ(Line("getpriority(0, 0) = -1").err, 0);
  const Record flags = Line("fcntl(3, F_GETFL) = 0x8002 (flags O_RDWR|O_LARGEFILE)");
  EXPECT_EQ(flags.result, 0x8002);
  EXPECT_EQ(flags.result_note, "flags O_RDWR|O_LARGEFILE");
  EXPECT_EQ(Line("poll([], 0, 0) = 0 (Timeout)").result_note, "Timeout");
  EXPECT_EQ(Line("poll([{fd=3}], 1, 0) = 1 ([{fd=3</a (b)>, revents=POLLIN}]) <0.1>").result_note,
            "[{fd=3</a (b)>, revents=POLLIN}]");
  const Record exit = Line("exit_group(0) = ?");
  EXPECT_EQ(exit.outcome, Outcome::kNeverReturned);
  EXPECT_EQ(Line("read(0, \"\", 1) = ? <unavailable>").outcome, Outcome::kNeverReturned);
  const Record cut = Line("read(0,  <unfinished ...>) = ?");
  EXPECT_EQ(cut.outcome, Outcome::kNeverReturned);
  EXPECT_EQ(cut.args.size(), 1u);
  EXPECT_EQ(Line("vfork( <unfinished ...>) = ?").args.size(), 0u);
  const std::pair<const char*, int> restarts[] = {
      {"ERESTARTSYS (To be restarted if SA_RESTART is set)", 512},
      {"ERESTARTNOINTR (To be restarted)", 513},
      {"ERESTARTNOHAND (To be restarted if no handler)", 514},
      {"ERESTART_RESTARTBLOCK (Interrupted by signal)", 516},
  };
  for (const auto& [text, number] : restarts) {
    const Record r = Line(absl::StrCat("pause() = ? ", text, " <0.044207>"));
    EXPECT_EQ(r.outcome, Outcome::kRestarted);
    EXPECT_EQ(r.err, number);
    EXPECT_DOUBLE_EQ(r.duration, 0.044207);
  }
  for (const char* bad :
       {"0 x", "", "ENOENT", "0 ENOENT (x)", "-1 ENOENT", "-1 ENOENT x", "? x", "0 (x", "0  (x)", "3</x", "0<0.1",
        "0 <.1>", "-1 (errno 0)", "-1 (errno 5000)", "-1 (errno 5) x", "1 2", "0x", "?0"}) {
    EXPECT_TRUE(absl::StartsWith(Error(absl::StrCat("7 close(3) = ", bad, "\n")), "t:1: ")) << bad;
  }
  EXPECT_EQ(Error("7 close(3)\n"), "t:1: result missing at the end of: 7 close(3)");
  EXPECT_EQ(Error("7 read(3,  <unfinished ...>) = 3\n"), "t:1: a call that is unfinished has no result: 3");
}

TEST(StraceParser, AlteredResultIsNoOracle) {
  EXPECT_EQ(Error("7 close(3) = -1 EIO (Input/output error) (INJECTED)\n"),
            "t:1: result altered by strace -e inject:  (Input/output error) (INJECTED)");
  EXPECT_EQ(Error("7 close(3) = 0 (INJECTED: retval)\n"),
            "t:1: result altered by strace -e inject:  (INJECTED: retval)");
  EXPECT_EQ(Line("close(3) = 0 (DELAYED)").result, 0);
}

TEST(StraceParser, SplitCallIsOneRecord) {
  const Trace t = Parse(
      "7 newfstatat(AT_FDCWD, \"/x\",  <unfinished ...>\n"
      "8 close(4 <unfinished ...>\n"
      "7 <... newfstatat resumed>{st_mode=S_IFREG|0755, ...}, 0) = 0 <0.5>\n"
      "8 <... close resumed>)              = 0\n"
      "7 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>\n"
      "7 <... clone resumed>, child_tidptr=0x7f) = 8\n"
      "8 vfork( <unfinished ...>\n"
      "8 <... vfork resumed>)              = 9\n"
      "8 read(3,  <unfinished ...>\n"
      "8 <... read resumed> \"ab\", 2 )      = 2\n");
  ASSERT_EQ(t.records.size(), 5u);
  EXPECT_EQ(t.calls, 5u);
  EXPECT_EQ(t.tasks, 2u);
  EXPECT_EQ(t.records[0].line, 1u);
  EXPECT_EQ(t.records[0].exit_line, 3u);
  EXPECT_EQ(t.records[0].args.size(), 4u);
  EXPECT_EQ(t.records[0].duration, 0.5);
  EXPECT_EQ(t.records[1].name, "close");
  EXPECT_EQ(t.records[1].line, 2u);
  EXPECT_EQ(t.records[1].exit_line, 4u);
  EXPECT_EQ(t.records[2].args.size(), 3u);
  EXPECT_EQ(t.records[2].result, 8);
  EXPECT_EQ(t.records[3].result, 9);
  EXPECT_EQ(t.records[4].args[1].text, "ab") << "older straces write a space there";
}

TEST(StraceParser, SplitCallDecodesAsTheWholeOne) {
  // Every line of a real recording that is one whole call, cut where strace may cut it.
  const absl::StatusOr<std::string> text = ReadTraceText("tools/replay/traces/sqlite.strace.xz");
  ASSERT_TRUE(text.ok()) << text.status();
  const Trace whole = Parse(*text);
  std::string split;
  for (size_t at = 0; at < text->size();) {
    const size_t end = text->find('\n', at);
    const std::string one = text->substr(at, end - at);
    at = end + 1;
    const size_t open = one.find('(');
    if (open == std::string::npos || one.find("+++") != std::string::npos) {
      absl::StrAppend(&split, one, "\n");
      continue;
    }
    const size_t name = one.rfind(' ', open) + 1;
    absl::StrAppend(&split, one.substr(0, open + 1), " <unfinished ...>\n", one.substr(0, name), "<... ",
                    one.substr(name, open - name), " resumed>", one.substr(open + 1), "\n");
  }
  const Trace parts = Parse(split);
  ASSERT_EQ(parts.records.size(), whole.records.size());
  for (size_t i = 0; i < parts.records.size(); ++i) {
    Record record = parts.records[i];
    EXPECT_EQ(record.exit_line - record.line, record.kind == Record::Kind::kCall ? 1u : 0u);
    record.line = whole.records[i].line;
    record.exit_line = whole.records[i].exit_line;
    EXPECT_EQ(record, whole.records[i]) << "line " << record.line;
  }
}

TEST(StraceParser, ResumingWhatWasNotBegunIsRejected) {
  EXPECT_EQ(Error("7 close(3) = 0\n7 <... read resumed>) = 0\n"),
            "t:2: a call is resumed that was not begun: 7 <... read resumed>) = 0");
  EXPECT_EQ(Error("7 read(0,  <unfinished ...>\n7 <... close resumed>) = 0\n"),
            "t:2: resumed, but line 1 began read: 7 <... close resumed>) = 0");
  EXPECT_EQ(Error("7 read(0,  <unfinished ...>\n7 close(3) = 0\n"),
            "t:2: a call inside read of the same task, which began at line 1: 7 close(3) = 0");
  EXPECT_EQ(Error("7 close(3) = 0\n7 read(0,  <unfinished ...>\n8 close(4) = 0\n"),
            "t:2: call neither resumed nor ended by its task's death: read");
  EXPECT_EQ(Error("7 read(0,  <detached ...>\n"), "t:1: strace left inside a call: 7 read(0,  <detached ...>");
}

TEST(StraceParser, ProblemOfASplitCallNamesTheLineItIsOn) {
  EXPECT_EQ(Error("7 open(\"x\", O_ODD <unfinished ...>\n7 <... open resumed>, 0) = 3\n"),
            "t:1: argument 2 of open: unknown constant: O_ODD");
  EXPECT_EQ(Error("7 open(\"x\" <unfinished ...>\n8 close(3) = 0\n7 <... open resumed>, O_ODD) = 3\n"),
            "t:3: argument 2 of open: unknown constant: O_ODD");
  EXPECT_EQ(Error("7 open(\"x\" <unfinished ...>\n7 <... open resumed>) = -1 EODD (x)\n"),
            "t:2: unknown errno: EODD (x)");
}

TEST(StraceParser, DeathEndsTheCallThatTheTaskWasIn) {
  const Trace t = Parse(
      "7 read(0, [{a=1, b <unfinished ...>\n"
      "8 wait4(7,  <unfinished ...>\n"
      "7 +++ killed by SIGKILL (core dumped) +++\n"
      "8 <... wait4 resumed> <unfinished ...>) = ?\n"
      "8 +++ exited with 255 +++\n");
  ASSERT_EQ(t.records.size(), 4u);
  EXPECT_EQ(t.records[0].outcome, Outcome::kNeverReturned);
  EXPECT_EQ(t.records[0].exit_line, 3u);
  EXPECT_EQ(t.records[1].outcome, Outcome::kNeverReturned);
  EXPECT_EQ(t.records[1].exit_line, 4u);
  EXPECT_EQ(t.records[2].kind, Record::Kind::kKilled);
  EXPECT_EQ(t.records[2].name, "SIGKILL");
  EXPECT_EQ(t.records[2].result, SIGKILL);
  EXPECT_EQ(t.records[2].result_note, "core dumped");
  EXPECT_EQ(t.records[3].kind, Record::Kind::kExited);
  EXPECT_EQ(t.records[3].result, 255);
  EXPECT_EQ(Error("7 open(\"x\", O_ODD <unfinished ...>\n7 +++ exited with 0 +++\n"),
            "t:1: argument 2 of open: unknown constant: O_ODD");
  EXPECT_EQ(Error("7 read(0) x <unfinished ...>\n7 +++ exited with 0 +++\n"), "t:1: result missing: ) x");
}

TEST(StraceParser, SignalsAndStopsAreRecords) {
  const Trace t = Parse(
      "7 pause() = 0\n"
      "7 09:05:17 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=8, si_uid=0, si_status=SIGPIPE, "
      "si_utime=1 /* 0.01 s */, si_stime=0} ---\n"
      "7 --- SIGRT_3 {si_signo=SIGRT_3, si_code=SI_QUEUE, si_pid=8, si_uid=0, si_int=5, si_ptr=0x5} ---\n"
      "7 --- 40 {si_signo=40, si_code=SI_USER} ---\n"
      "7 --- stopped by SIGSTOP ---\n");
  ASSERT_EQ(t.records.size(), 5u);
  EXPECT_EQ(t.calls, 1u);
  EXPECT_EQ(t.records[1].kind, Record::Kind::kSignal);
  EXPECT_EQ(t.records[1].name, "SIGCHLD");
  EXPECT_EQ(t.records[1].result, SIGCHLD);
  EXPECT_EQ(t.records[1].time, 9 * 3600 + 5 * 60 + 17);
  EXPECT_EQ(t.records[1].args[0].Find("si_status")->number, SIGPIPE);
  EXPECT_EQ(t.records[2].result, 35);
  EXPECT_EQ(t.records[3].result, 40);
  EXPECT_EQ(t.records[4].kind, Record::Kind::kStopped);
  EXPECT_EQ(t.records[4].result, SIGSTOP);
  for (const char* bad : {"--- SIGCHLD ---", "--- SIGCHLD {} --", "--- SIGCHLD {}", "--- stopped by SIGSTOP", "---",
                          "--- x", "+++ exited with x +++", "+++ exited with 256 +++", "+++ exited with -1 +++",
                          "+++ exited with 0", "+++ killed by X +++", "+++", "+++ killed by SIGKILL",
                          "+++ superseded by execve in pid x +++", "+++ superseded by execve in pid 7 +++"}) {
    EXPECT_TRUE(absl::StartsWith(Error(absl::StrCat("7 pause() = 0\n7 ", bad, "\n")), "t:2: ")) << bad;
  }
}

TEST(StraceParser, ThreadThatExecsTakesTheLeadersPlace) {
  const Trace t = Parse(
      "7 futex(0x7f, FUTEX_WAIT, 8, NULL <unfinished ...>\n"
      "9 pause( <unfinished ...>\n"
      "8 execve(\"/bin/echo\", [\"echo\"], 0x7f /* 2 vars */ <unfinished ...>\n"
      "9 <... pause resumed>) = ?\n"
      "9 +++ exited with 0 +++\n"
      "7 +++ superseded by execve in pid 8 +++\n"
      "7 <... execve resumed>) = 0\n"
      "7 exit_group(0) = ?\n"
      "7 +++ exited with 0 +++\n");
  ASSERT_EQ(t.records.size(), 6u);
  EXPECT_EQ(t.records[0].outcome, Outcome::kNeverReturned);
  EXPECT_EQ(t.records[0].exit_line, 6u);
  const Record& exec = t.records[2];
  EXPECT_EQ(exec.name, "execve");
  EXPECT_EQ(exec.pid, 8);
  EXPECT_EQ(exec.superseded, 7);
  EXPECT_EQ(exec.exit_line, 7u);
  EXPECT_EQ(exec.result, 0);
  EXPECT_EQ(t.records[4].pid, 7);
  EXPECT_EQ(t.records[4].superseded, 0);
  EXPECT_EQ(Error("7 pause( <unfinished ...>\n7 +++ superseded by execve in pid 8 +++\n"),
            "t:2: the task that takes over is not in execve: +++ superseded by execve in pid 8 +++");
}

TEST(StraceParser, NoticesAreCountedAndNoRecords) {
  const Trace t = Parse(
      "strace: Process 7 attached\n"
      "[ Process PID=7 runs in 32 bit mode. ]\n"
      "close(3) = 0\n"
      "strace: Process 7 detached\n");
  EXPECT_EQ(t.notices, 3u);
  EXPECT_EQ(t.lines, 4u);
  ASSERT_EQ(t.records.size(), 1u);
  EXPECT_EQ(t.records[0].pid, 7) << "attaching to a process names it";
  EXPECT_EQ(t.records[0].line, 3u);
}

TEST(StraceParser, NoticeInTheMiddleOfALineSplitsIt) {
  const Trace t = Parse(
      "clone(child_stack=NULL, flags=SIGCHLDstrace: Process 8 attached\n"
      ", child_tidptr=0x7f) = 8\n"
      "fork(strace: Process 9 attached\n"
      "strace: Process 10 attached\n"
      ") = 9\n");
  EXPECT_EQ(t.notices, 3u);
  ASSERT_EQ(t.records.size(), 2u);
  EXPECT_EQ(t.records[0].args.size(), 3u);
  EXPECT_EQ(t.records[0].line, 1u);
  EXPECT_EQ(t.records[0].exit_line, 2u);
  EXPECT_EQ(t.records[1].line, 3u);
  EXPECT_EQ(t.records[1].exit_line, 5u);
  EXPECT_EQ(Error("fork(strace: Process 9 attached\n, O_ODD) = 9\n"),
            "t:2: argument 1 of fork: not a value: , O_ODD) = 9");
  EXPECT_EQ(Error("fork(strace: Process 9 attached\n"), "t:1: the line ends with a notice of strace: fork(");
  EXPECT_EQ(Line("write(1, \"strace: Process 9 attached\", 26) = 26").args[1].text, "strace: Process 9 attached");
}

TEST(StraceParser, LinesWithoutPidBelongToTheFirstProcessOrTheLastAlive) {
  const absl::StatusOr<Trace> t = ReadTrace("tools/replay/testdata/no_pids.strace");
  ASSERT_TRUE(t.ok()) << t.status();
  EXPECT_EQ(t->tasks, 3u);
  EXPECT_EQ(t->calls, 9u);
  std::vector<int32_t> pids;
  for (const Record& record : t->records) pids.push_back(record.pid);
  EXPECT_EQ(pids, (std::vector<int32_t>{7, 7, 7, 8, 7, 7, 9, 9, 7, 8, 8, 8}));
}

TEST(StraceParser, FirstProcessIsKnownWithoutNotices) {
  // A static program, strace -q: only the resumption tells that task 7 is the first.
  const Trace resumed = Parse(
      "fork( <unfinished ...>\n"
      "[pid 8] close(3 <unfinished ...>\n"
      "[pid 7] <... fork resumed>) = 8\n"
      "[pid 8] <... close resumed>) = 0\n"
      "[pid 7] pause( <unfinished ...>\n"
      "[pid 8] +++ exited with 0 +++\n"
      "<... pause resumed>) = 0\n");
  for (const Record& record : resumed.records) EXPECT_EQ(record.pid, record.line == 2 || record.line == 6 ? 8 : 7);
  // Only the end of the recording tells: 8 is a child, so 7 is the first.
  const Trace late = Parse("fork() = 8\n[pid 8] close(3) = 0\n[pid 7] close(4) = 0\n");
  EXPECT_EQ(late.records[0].pid, 7);
  EXPECT_EQ(late.tasks, 2u);
  EXPECT_EQ(Error("fork() = -1 EPERM (x)\n[pid 9] close(3) = 0\n[pid 8] close(3) = 0\n[pid 7] close(4) = 0\n"),
            "t:1: which process the lines without a pid belong to cannot be told; record with -o: 7 or 8");
  EXPECT_EQ(
      Error(
          "fork() = 8\nfork() = 9\n[pid 8] close(3) = 0\n[pid 9] close(3) = 0\n+++ exited with 0 +++\nclose(3) = 0\n"),
      "t:6: no pid, and the first process has ended while several others run: close(3) = 0");
}

TEST(StraceParser, DamagedTextIsRejectedByLine) {
  using std::string_literals::operator""s;
  EXPECT_EQ(Error(""), "t:1: no system call in the recording: ");
  EXPECT_EQ(Error("7 +++ exited with 0 +++\n"), "t:1: no system call in the recording: 7 +++ exited with 0 +++\\n");
  EXPECT_EQ(Error("7 close(3) = 0\n\n7 close(4) = 0\n"), "t:2: not a line of strace at the end of: ");
  EXPECT_EQ(Error("7 close(3) = 0\n7 clo\0se(4) = 0\n"s), "t:2: zero byte in: 7 clo\\x00se(4) = 0");
  EXPECT_EQ(Error("7 close(3) = 0\r\n7 close(4) = 0\r\n"), "t:1: line ends in CR LF, not LF: 7 close(3) = 0\\r");
  EXPECT_EQ(Error("7 close(3) = 0\nhello world\n"), "t:2: not a line of strace: hello world");
  EXPECT_EQ(Error("7 close(3) = 0\n 7 close(3) = 0\n"), "t:2: not a line of strace:  7 close(3) = 0");
  EXPECT_EQ(Error("7 close(3) = 0\n7 close(3, ) = 0\n"), "t:2: argument 2 of close: not a value: ) = 0");
  EXPECT_EQ(Error("7 close(3 4) = 0\n"), "t:1: \", \" or \")\" expected after argument 1 of close: 4) = 0");
  EXPECT_EQ(Error("7 close(3) = 0 7 close(4) = 0\n"), "t:1: not a result:  7 close(4) = 0");
  EXPECT_EQ(Error("7 9x( <unfinished ...>\n7 +++ exited with 0 +++\n"),
            "t:1: not a line of strace: 7 9x( <unfinished ...>");
  EXPECT_EQ(Parse("7 close(3) = 0").calls, 1u) << "the last newline may be missing";
}

TEST(StraceParser, MessageShowsEightyBytesAtMost) {
  const std::string long_name(500, 'X');
  EXPECT_EQ(Error(absl::StrCat("7 open(", long_name, ") = 0\n")),
            absl::StrCat("t:1: argument 1 of open: unknown constant: ", long_name.substr(0, 80), "..."));
  EXPECT_EQ(Error("7 open(\"\\q\x01\xff\") = 0\n"),
            "t:1: argument 1 of open: not an escape sequence: \\\\q\\x01\\xff\\\") = 0");
}

TEST(StraceParser, NestingIsBounded) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(Value(nested(64)).items.size(), 1u);
  EXPECT_TRUE(absl::StartsWith(ValueError(nested(65)), "t:1: argument 1 of newcall: nested deeper than 64: "));
  EXPECT_TRUE(absl::StartsWith(ValueError(nested(kMega)), "t:1: argument 1 of newcall: nested deeper than 64: "));
  const std::string changes = absl::StrReplaceAll(std::string(100, 'x'), {{"x", "1 => "}}) + "1";
  EXPECT_TRUE(absl::StartsWith(ValueError(changes), "t:1: argument 1 of newcall: nested deeper than 64: "));
  EXPECT_EQ(Line(absl::StrCat("futex(", nested(kMega), ") = 0")).args[0].kind, Kind::kArray)
      << "where nobody looks, deeper levels stay text";
}

// Each of these, repeated for a megabyte, would take hours if a byte of it were looked at once for every other one.
TEST(StraceParser, HostileLinesAreReadInOnePass) {
  for (const std::string pattern : {"{",
                                    "[",
                                    "(",
                                    "\"",
                                    "\\",
                                    "1<a,",
                                    "1<a:[,",
                                    "<... resuming interrupted ,",
                                    "/* ,",
                                    " /*",
                                    "'\"',{@,",
                                    "a=",
                                    "=>",
                                    "1 => ",
                                    "|",
                                    "1|",
                                    "1<<",
                                    "1*",
                                    "A or ",
                                    "~[",
                                    "{a=",
                                    "[1 ",
                                    "[HUP ",
                                    "f(",
                                    "f(s)",
                                    "...",
                                    "@",
                                    "&a,",
                                    "0x",
                                    ", ",
                                    ") = 0 <0.1> ",
                                    " <unfinished ...>",
                                    "<... futex resumed>",
                                    "{WIFEXITED(s)}|",
                                    "'",
                                    "-",
                                    "{\"},",
                                    "[{\"a\", x="}) {
    std::string hostile;
    while (hostile.size() < kMega / 4) hostile += pattern;
    for (const char* call : {"futex(", "openat(", ""}) {
      for (const char* end : {"", ") = 0", " <unfinished ...>"}) {
        const absl::StatusOr<Trace> trace = ParseStrace(absl::StrCat("7 ", call, hostile, end, "\n"), "t");
        if (!trace.ok()) {
          EXPECT_TRUE(absl::StartsWith(trace.status().message(), "t:1: ")) << pattern;
          EXPECT_LE(trace.status().message().size(), 600u) << pattern;
        }
      }
    }
  }
}

TEST(StraceParser, ManyNoticesAndManyTasksAreReadInOnePass) {
  std::string notices = "fork(";
  std::string tasks;
  for (size_t pid = 1; tasks.size() < kMega; ++pid) {
    absl::StrAppend(&notices, "strace: Process ", pid, " attached\n");
    absl::StrAppend(&tasks, pid, " read(0,  <unfinished ...>\n");
  }
  notices += ") = 1\n";
  EXPECT_EQ(Parse(notices).calls, 1u);
  EXPECT_EQ(Error(tasks), "t:1: call neither resumed nor ended by its task's death: read");
  std::string pieces = "7 read(0,";
  while (pieces.size() < kMega) pieces += " <unfinished ...>\n7 <... read resumed>1,";
  pieces += " 2) = 0\n";
  EXPECT_EQ(Parse(pieces).calls, 1u);
}

// What has become of a file must never crash the parser or leave the reader without file and line.
class StraceParserMutations : public ::testing::TestWithParam<const char*> {
 protected:
  static void Check(std::string_view text) {
    const absl::StatusOr<Trace> trace = ParseStrace(text, "cut");
    if (trace.ok()) return;
    std::string_view message(trace.status().message().data(), trace.status().message().size());
    ASSERT_TRUE(message.starts_with("cut:")) << message;
    message.remove_prefix(4);
    const size_t line = std::stoul(std::string(message));
    size_t lines = 1;
    for (const char c : text) lines += c == '\n' ? 1 : 0;
    ASSERT_GE(line, 1u);
    ASSERT_LE(line, lines);
    ASSERT_NE(message.find(": "), std::string_view::npos);
  }
};

TEST_P(StraceParserMutations, PrefixesAreAcceptedOrRejectedByLine) {
  const absl::StatusOr<std::string> text = ReadTraceText(GetParam());
  ASSERT_TRUE(text.ok()) << text.status();
  for (size_t size = 0; size < std::min<size_t>(text->size(), 3000); ++size) {
    Check(std::string_view(*text).substr(0, size));
    if (HasFatalFailure()) return;
  }
}

TEST_P(StraceParserMutations, FlippedBytesAreAcceptedOrRejectedByLine) {
  const absl::StatusOr<std::string> text = ReadTraceText(GetParam());
  ASSERT_TRUE(text.ok()) << text.status();
  std::mt19937_64 rng(1);
  for (int round = 0; round < 3000; ++round) {
    const size_t size = std::min<size_t>(text->size(), 4000);
    std::string damaged = text->substr(rng() % (text->size() - size + 1), size);
    for (int flips = static_cast<int>(rng() % 4); flips >= 0; --flips) {
      damaged[rng() % damaged.size()] = static_cast<char>(rng());
    }
    Check(damaged);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Recordings, StraceParserMutations,
                         ::testing::Values("tools/replay/traces/py.strace.xz", "tools/replay/traces/shell.strace.xz",
                                           "tools/replay/testdata/every_form.strace",
                                           "tools/replay/testdata/no_pids.strace"));

TEST(StraceParser, EveryFormInTheSampleIsDecoded) {
  const absl::StatusOr<Trace> t = ReadTrace("tools/replay/testdata/every_form.strace");
  ASSERT_TRUE(t.ok()) << t.status();
  EXPECT_EQ(t->lines, 41u);
  EXPECT_EQ(t->calls, 35u);
  EXPECT_EQ(t->tasks, 2u);
  EXPECT_EQ(t->records.size(), 39u);
}

TEST(StraceSymbols, IgnoredCallsAreUninterpretedAndSupportedOnesAreNot) {
  for (const char* call : {"futex", "set_robust_list", "set_tid_address", "rseq", "arch_prctl", "getrandom",
                           "clock_gettime", "clock_nanosleep", "nanosleep", "getrusage", "sched_yield", "membarrier",
                           "capget", "times", "restart_syscall", "io_uring_enter", "bpf"}) {
    EXPECT_TRUE(IsUninterpreted(call, 0)) << call;
    EXPECT_TRUE(IsUninterpreted(call, 5)) << call;
  }
  for (const char* call : {"openat", "rt_sigaction", "rt_sigprocmask", "mmap", "clone", "wait4", "epoll_ctl", "fcntl",
                           "close", "sendmsg", "kill", "mount", "setitimer"}) {
    EXPECT_FALSE(IsUninterpreted(call, 0)) << call;
    EXPECT_FALSE(IsUninterpreted(call, 1)) << call;
  }
  EXPECT_FALSE(IsUninterpreted("ioctl", 0));
  EXPECT_TRUE(IsUninterpreted("ioctl", 1));
  EXPECT_FALSE(IsUninterpreted("fcntl", 2));
}

TEST(StraceSymbols, SignalsErrnosAndRestartsAreApart) {
  EXPECT_EQ(SignalNumber("SIGCHLD"), SIGCHLD);
  EXPECT_EQ(SignalNumber("CHLD"), SIGCHLD);
  EXPECT_EQ(SignalNumber("SIGRT_1"), 33);
  EXPECT_EQ(SignalNumber("RT_0"), 32);
  for (const char* bad : {"", "SIG", "RT_", "RT_33", "RT_x", "RT_111", "RTMAX", "CHILD"}) {
    EXPECT_EQ(SignalNumber(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(ErrnoNumber("ENOENT"), ENOENT);
  EXPECT_EQ(ErrnoNumber("EWOULDBLOCK"), EAGAIN);
  EXPECT_EQ(ErrnoNumber("ERESTARTSYS"), std::nullopt);
  EXPECT_EQ(RestartNumber("ERESTARTNOHAND"), 514);
  EXPECT_EQ(RestartNumber("ENOENT"), std::nullopt);
}

}  // namespace
}  // namespace hotpath::replay
