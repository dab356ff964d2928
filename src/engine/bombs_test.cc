// Components that are small to send and dear to take in: generated, inspected and compiled as a
// publisher's would be. Each must end soon, within the memory of its own process, and leave the
// server as it was.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <future>

#include "engine/testing.h"

namespace alga::engine {
namespace {

// ---- binaries ----------------------------------------------------------------------------------

std::string number(std::uint64_t value) {
  std::string out;
  do {
    const std::uint8_t low = value & 0x7FU;
    value >>= 7U;
    out += static_cast<char>(value != 0 ? low | 0x80U : low);
  } while (value != 0);
  return out;
}

std::string repeat(std::string_view part, std::size_t times) {
  std::string out;
  out.reserve(part.size() * times);
  for (std::size_t i = 0; i < times; ++i) out += part;
  return out;
}

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out += static_cast<char>(value);
  return out;
}

std::string sized(const std::string& content) { return number(content.size()) + content; }
std::string section(int id, const std::string& content) { return bytes({id}) + sized(content); }

std::string core_module(const std::string& sections) {
  return bytes({0, 'a', 's', 'm', 1, 0, 0, 0}) + sections;
}
std::string component(const std::string& sections) {
  return bytes({0, 'a', 's', 'm', 13, 0, 1, 0}) + sections;
}
/// A component with this module in it, instantiated `instances` times.
std::string around(const std::string& sections, std::size_t instances = 1) {
  return component(section(1, core_module(sections)) +
                   section(2, number(instances) + repeat(bytes({0, 0, 0}), instances)));
}

const std::string no_arguments = bytes({0x60, 0, 0});
constexpr int type_section = 1, function_section = 3, table_section = 4, memory_section = 5;
constexpr int global_section = 6, export_section = 7, code_section = 10, data_section = 11;

/// A module with `count` functions of this body, which begins with its locals.
std::string functions(std::size_t count, const std::string& body) {
  return section(type_section, number(1) + no_arguments) +
         section(function_section, number(count) + repeat(bytes({0}), count)) +
         section(code_section, number(count) + repeat(sized(body), count));
}

// ---- the bombs ---------------------------------------------------------------------------------

struct Bomb {
  const char* name;
  std::string (*make)();
};

std::string exported_functions() {
  std::string exports = number(10'000);
  for (int i = 0; i < 10'000; ++i) {
    exports += sized("function-" + std::to_string(i)) + bytes({0}) + number(i);
  }
  const std::string body = bytes({0, 0x0B});
  return around(section(type_section, number(1) + no_arguments) +
                section(function_section, number(10'000) + repeat(bytes({0}), 10'000)) +
                section(export_section, exports) +
                section(code_section, number(10'000) + repeat(sized(body), 10'000)));
}

std::string nested(int depth) {
  std::string inner = component("");
  for (int i = 0; i < depth; ++i) inner = component(section(4, inner));
  return inner;
}

/// Each type is a pair of the one before: as values, 2^depth of them.
std::string doubling_types(int depth) {
  std::string types = number(static_cast<std::uint64_t>(depth) + 1) + bytes({0x7D});
  for (int i = 0; i < depth; ++i) types += bytes({0x6F, 2}) + number(i) + number(i);
  return component(section(7, types));
}

const Bomb bombs[] = {
    {"HundredThousandTypes",
     [] { return around(section(type_section, number(100'000) + repeat(no_arguments, 100'000))); }},
    {"TenThousandExports", &exported_functions},
    {"JumpTableOfAMillion",
     [] {
       return around(functions(1, bytes({0, 0x41, 0, 0x0E}) + number(1'000'000) +
                                      repeat(bytes({0}), 1'000'001) + bytes({0x0B})));
     }},
    {"FiftyThousandLocals",
     [] { return around(functions(100, number(1) + number(50'000) + bytes({0x7E, 0x0B}))); }},
    {"GiantFunction",
     [] {
       return around(
           functions(1, bytes({0}) + repeat(bytes({0x41, 1, 0x1A}), 2'000'000) + bytes({0x0B})));
     }},
    {"DeepBlocks",
     [] {
       return around(functions(
           1, bytes({0}) + repeat(bytes({0x02, 0x40}), 200'000) + repeat(bytes({0x0B}), 200'001)));
     }},
    {"HundredThousandFunctions", [] { return around(functions(100'000, bytes({0, 0x0B}))); }},
    {"TableOfTenMillion",
     [] {
       return around(section(table_section, number(1) + bytes({0x70, 0}) + number(10'000'000)));
     }},
    {"FourGibibytes",
     [] { return around(section(memory_section, number(1) + bytes({0}) + number(65'536))); }},
    {"MemoryOf64Bits",
     [] { return around(section(memory_section, number(1) + bytes({4}) + number(1U << 20U))); }},
    {"SharedMemory", [] { return around(section(memory_section, number(1) + bytes({3, 1, 1}))); }},
    {"ThousandMemories",
     [] { return around(section(memory_section, number(1'000) + repeat(bytes({0, 1}), 1'000))); }},
    {"MillionGlobals",
     [] {
       return around(section(
           global_section, number(1'000'000) + repeat(bytes({0x7F, 0, 0x41, 0, 0x0B}), 1'000'000)));
     }},
    {"EndlessConstant",
     [] {
       return around(section(global_section, number(1) + bytes({0x7F, 0, 0x41, 0}) +
                                                 repeat(bytes({0x41, 1, 0x6A}), 1'000'000) +
                                                 bytes({0x0B})));
     }},
    {"HundredThousandSegments",
     [] {
       return around(
           section(memory_section, number(1) + bytes({0, 1})) +
           section(data_section, number(100'000) + repeat(bytes({0, 0x41, 0, 0x0B, 0}), 100'000)));
     }},
    {"HundredNested", [] { return nested(100); }},
    {"TwoThousandNested", [] { return nested(2'000); }},
    {"ThousandInstances", [] { return around("", 1'000); }},
    {"HundredThousandInstances", [] { return around("", 100'000); }},
    {"DoublingTypes", [] { return doubling_types(64); }},
    {"ManyDoublingTypes", [] { return doubling_types(90'000); }},
    {"CustomSectionOf30Mebibytes",
     [] { return component(section(0, sized("x") + std::string(30U << 20U, 'x'))); }},
    {"CountThatLies",
     [] { return around(section(type_section, number(0xFFFF'FFFFU) + no_arguments)); }},
    {"LengthThatLies",
     [] { return component(bytes({1}) + number(0xFFFF'FFFFU) + core_module("")); }},
    {"CutInHalf",
     [] {
       const std::string whole = exported_functions();
       return whole.substr(0, whole.size() / 2);
     }},
};

// ---- what becomes of them ----------------------------------------------------------------------

std::uint64_t resident_kib() {
  std::istringstream status(testing::read_file("/proc/self/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoull(line.substr(6));
  }
  return 0;
}

/// Processes that this one started and that run its program, as its workers do, or ended and were
/// not waited for. A sanitizer may have one of its own, which reads symbols.
std::vector<std::string> workers() {
  const std::string parent = "PPid:\t" + std::to_string(::getpid()) + "\n";
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string status = testing::read_file(entry.path() / "status");
    if (!status.contains(parent)) continue;
    std::error_code gone;
    const auto runs = std::filesystem::read_symlink(entry.path() / "exe", gone);
    if (gone || runs == program) found.push_back(entry.path().filename());
  }
  return found;
}

class BombsTest : public testing::EngineTest, public ::testing::WithParamInterface<Bomb> {};

TEST_P(BombsTest, EndSoonInAProcessOfTheirOwn) {
  options.compile_time = std::chrono::seconds{5};
  options.compile_wait = std::chrono::seconds{60};
  options.compile_memory = 1ULL << 30U;
  ASSERT_EQ(run("echo").end, domain::EndClass::ok);
  const std::filesystem::path file = folder() / "bomb.wasm";
  testing::write_file(file, GetParam().make());
  const std::uint64_t before = resident_kib();
  const auto began = std::chrono::steady_clock::now();

  const auto report = engine().inspect(file.string());
  if (!report) {
    const std::set<std::string_view> allowed{"component.malformed", "component.too_complex"};
    EXPECT_TRUE(allowed.contains(report.error().code)) << report.error().code;
  }
  const auto prepared = engine().prepare(testing::hash_of(file), file.string());
  if (!prepared) {
    const std::set<std::string_view> allowed{"compile.refused", "compile.too_expensive"};
    EXPECT_TRUE(allowed.contains(prepared.error().code))
        << prepared.error().code << ": " << prepared.error().message;
  }
  // None of them can run: they export no handler.
  std::promise<Loaded> promise;
  engine().load(testing::hash_of(file), file, nullptr, "acme",
                [&](Loaded answer) { promise.set_value(std::move(answer)); });
  EXPECT_FALSE(promise.get_future().get());

  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::minutes{5});
  EXPECT_LT(resident_kib(), before + (256U << 10U)) << "memory of this very process";
  EXPECT_EQ(workers(), std::vector<std::string>{});
  EXPECT_EQ(run("echo").end, domain::EndClass::ok);
}

using OneBombTest = testing::EngineTest;

TEST_F(OneBombTest, IsRefusedForItsProcessorTimeHoweverLongOneWouldWait) {
  options.compile_time = std::chrono::seconds{1};
  options.compile_wait = std::chrono::minutes{5};
  const std::filesystem::path file = folder() / "bomb.wasm";
  const std::string body = bytes({0}) + repeat(bytes({0x41, 1, 0x1A}), 100) + bytes({0x0B});
  testing::write_file(file, around(functions(100'000, body)));
  const auto prepared = engine().prepare(testing::hash_of(file), file.string());
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, "compile.too_expensive") << prepared.error().message;
}

TEST_F(OneBombTest, IsCompiledByOneNicedThreadInItsBounds) {
  options.compile_time = std::chrono::seconds{1};
  options.compile_wait = std::chrono::minutes{5};
  options.compile_memory = 1ULL << 30U;
  const std::filesystem::path file = folder() / "bomb.wasm";
  const std::string body = bytes({0}) + repeat(bytes({0x41, 1, 0x1A}), 100) + bytes({0x0B});
  testing::write_file(file, around(functions(100'000, body)));
  ASSERT_EQ(run("echo").end, domain::EndClass::ok) << "the engine is there";
  auto prepared = std::async(
      std::launch::async, [&] { return engine().prepare(testing::hash_of(file), file.string()); });
  int looks = 0;
  while (prepared.wait_for(std::chrono::milliseconds{5}) != std::future_status::ready) {
    for (const std::string& worker : workers()) {
      const std::filesystem::path process = "/proc/" + worker;
      // What comes last, so that all else is in force.
      const std::string before = testing::read_file(process / "status");
      if (!before.contains("Seccomp:\t2\n")) continue;
      const int nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(std::stoi(worker)));
      const std::string limits = testing::read_file(process / "limits");
      const std::string after = testing::read_file(process / "status");
      if (!after.contains("Seccomp:\t2\n") || after.contains("State:\tZ"))
        continue;  // it has ended
      ++looks;
      EXPECT_EQ(nice, std::min(19, ::getpriority(PRIO_PROCESS, 0) + 10));
      EXPECT_TRUE(after.contains("Threads:\t1\n")) << after;
      EXPECT_TRUE(after.contains("NoNewPrivs:\t1\n")) << after;
      EXPECT_TRUE(limits.contains("Max core file size        0 ")) << limits;
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
      EXPECT_TRUE(limits.contains("Max address space         1073741824 ")) << limits;
#endif
    }
  }
  EXPECT_GT(looks, 0);
  EXPECT_FALSE(prepared.get());
}

INSTANTIATE_TEST_SUITE_P(OfACompiler, BombsTest, ::testing::ValuesIn(bombs),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace alga::engine
