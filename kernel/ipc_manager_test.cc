#include "hotpath/kernel/ipc_manager.h"

#include <deque>
#include <memory>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "hotpath/kernel/test_util.h"

namespace hotpath::kernel {
namespace {

Result<size_t> Write(Pipe& pipe, std::string_view text, bool packet = false) {
  const std::span<const std::byte> piece = Bytes(text);
  WriteCursor cursor(std::span(&piece, 1));
  return pipe.Write(cursor, packet);
}

std::string Read(Pipe& pipe, size_t size) {
  std::string text(size, '?');
  const std::span<std::byte> piece = std::as_writable_bytes(std::span(text));
  ReadCursor cursor(std::span(&piece, 1));
  const Result<size_t> count = pipe.Read(cursor);
  if (!count.ok()) return "<" + std::string(CodeName(count.code())) + ">";
  text.resize(*count);
  return text;
}

TEST(IpcManager, CountsLivePipes) {
  IpcManager manager;
  const std::unique_ptr<Pipe> a = manager.NewPipe();
  {
    const std::unique_ptr<Pipe> b = manager.NewPipe();
    EXPECT_EQ(manager.live_pipes(), 2u);
  }
  EXPECT_EQ(manager.live_pipes(), 1u);
}

TEST(Pipe, EveryByteComesOutOnceAndInOrder) {
  IpcManager manager;
  const std::unique_ptr<Pipe> pipe = manager.NewPipe();
  pipe->AddReader();
  pipe->AddWriter();
  std::deque<char> model;
  std::mt19937 rng(1);
  char next = 0;
  for (int step = 0; step < 5000; ++step) {
    static constexpr size_t kSizes[] = {0, 1, 7, 100, 4095, 4096, 4097, 10000, 70000};
    const size_t size = kSizes[rng() % 9];
    if (rng() % 2 == 0) {
      std::string text(size, ' ');
      for (char& c : text) c = next++;
      const Result<size_t> count = Write(*pipe, text);
      const size_t done = count.ok() ? *count : 0;
      if (!count.ok()) ASSERT_EQ(count.code(), Code::kEAGAIN);
      if (size <= abi::kPipeBuf) ASSERT_TRUE(done == 0 || done == size);
      model.insert(model.end(), text.begin(), text.begin() + static_cast<int64_t>(done));
      next = static_cast<char>(next - static_cast<char>(size - done));
    } else {
      const std::string text = Read(*pipe, size);
      if (text == "<EAGAIN>") {
        ASSERT_TRUE(model.empty());
        continue;
      }
      ASSERT_EQ(text.size(), std::min(size, model.size()));
      for (const char c : text) {
        ASSERT_EQ(c, model.front());
        model.pop_front();
      }
    }
    ASSERT_EQ(pipe->bytes(), model.size());
    ASSERT_LE(pipe->bytes(), pipe->capacity());
  }
}

TEST(Pipe, ItsEndsDecideWhatReadAndWriteMean) {
  IpcManager manager;
  const std::unique_ptr<Pipe> pipe = manager.NewPipe();
  pipe->AddWriter();
  EXPECT_TRUE(Fails(Write(*pipe, "x"), Code::kEPIPE));
  pipe->AddReader();
  EXPECT_TRUE(Gives(Write(*pipe, "x"), 1u));
  pipe->DropWriter();
  EXPECT_EQ(Read(*pipe, 5), "x");
  EXPECT_EQ(Read(*pipe, 5), "");
  EXPECT_EQ(pipe->writer_opens(), 1u);
}

TEST(Pipe, GrowsAndShrinksAroundItsContent) {
  IpcManager manager;
  const std::unique_ptr<Pipe> pipe = manager.NewPipe();
  pipe->AddReader();
  pipe->AddWriter();
  EXPECT_TRUE(Gives(pipe->Resize(4096, false), 4096u));
  EXPECT_TRUE(Gives(Write(*pipe, std::string(10000, 'x')), 4096u));
  EXPECT_TRUE(Gives(pipe->Resize(8192, false), 8192u));
  EXPECT_TRUE(Gives(Write(*pipe, "y"), 1u));
  EXPECT_TRUE(Fails(pipe->Resize(1, false), Code::kEBUSY));
  EXPECT_TRUE(Fails(pipe->Resize(2 << 20, false), Code::kEPERM));
  EXPECT_TRUE(Gives(pipe->Resize(2 << 20, true), 2u << 20));
}

}  // namespace
}  // namespace hotpath::kernel
