// From a component to something that can run: compiling, the signed cache on disk, the bounded one
// in memory, and what a crash or an intruder may leave behind.

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>

#include "engine/artefact_store.h"
#include "engine/bridge.h"
#include "engine/component_report.h"
#include "engine/testing.h"

namespace alga::engine {
namespace {

namespace fs = std::filesystem;
using domain::EndClass;
using domain::Limit;

class CountingRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override { std::ranges::fill(out, ++last_); }

 private:
  std::uint8_t last_ = 0;
};

/// What ab_engine_compat_hash says of an engine with the settings of the server.
std::string engine_compat() {
  auto engine = compile_engine();
  if (!engine) return "";
  std::array<std::uint8_t, 32> compat{};
  ab_engine_compat_hash(engine->get(), compat.data());
  return hex_encode(compat);
}

class ArtefactsTest : public testing::EngineTest {
 protected:
  [[nodiscard]] std::vector<fs::path> files(std::string_view extension) const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(options.cache)) {
      if (entry.path().string().ends_with(extension)) found.push_back(entry.path());
    }
    std::ranges::sort(found);
    return found;
  }
  [[nodiscard]] fs::path artefact(std::string_view guest) const {
    const std::string hash = testing::hash_of(testing::guest_file(guest)).hex();
    for (const fs::path& path : files(".cwasm")) {
      if (path.filename().string().starts_with(hash)) return path;
    }
    return {};
  }
  [[nodiscard]] double tampered() const { return metrics.count("alga_artefacts_tampered_total"); }

  /// Puts something that is no artefact in the place of a guest's, signed as one.
  void replace_artefact(std::string_view guest, std::string compat) {
    CountingRandom random;
    testing::CountingMetrics unused;
    auto store = ArtefactStore::open({.directory = options.cache,
                                      .max_bytes = 1U << 30U,
                                      .max_artefacts = 10,
                                      .compat = std::move(compat),
                                      .signer = options.compile_key,
                                      .trusted = options.trusted_keys,
                                      .shared = nullptr},
                                     random, unused, {});
    ASSERT_TRUE(store);
    auto draft = (*store)->draft();
    ASSERT_TRUE(draft);
    const std::string foreign = "code of another engine";
    ASSERT_EQ(::write(draft->file.fd(), foreign.data(), foreign.size()),
              static_cast<ssize_t>(foreign.size()));
    ASSERT_TRUE((*store)->keep(testing::hash_of(testing::guest_file(guest)), std::move(*draft)));
  }

  /// A compile process that notes its number in `workers` and waits until somebody writes to
  /// `gate`.
  void use_gated_worker() {
    ASSERT_EQ(::mkfifo((folder() / "gate").c_str(), 0600), 0);
    options.self = write_gated_worker(folder());
  }
  static fs::path write_gated_worker(const fs::path& folder) {
    const fs::path script = folder / "worker";
    testing::write_file(script, "#!/bin/sh\necho $$ >>'" + (folder / "workers").string() +
                                    "'\nread go <'" + (folder / "gate").string() + "'\nexec '" +
                                    fs::read_symlink("/proc/self/exe").string() + "' \"$@\"\n");
    fs::permissions(script, fs::perms::owner_all);
    return script;
  }
  /// Numbers of the compile processes so far; waits until there are `count`.
  [[nodiscard]] std::vector<pid_t> workers(std::size_t count) const {
    std::vector<pid_t> numbers;
    for (int i = 0; i < 4000; ++i) {
      numbers.clear();
      std::istringstream text(testing::read_file(folder() / "workers"));
      for (pid_t number = 0; text >> number;) numbers.push_back(number);
      if (numbers.size() >= count) break;
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
    return numbers;
  }
  void open_gate() const { testing::write_file(folder() / "gate", "go\n"); }
};

TEST_F(ArtefactsTest, CompilesOnceAndMapsAfterwards) {
  EXPECT_EQ(run("echo").end, EndClass::ok);
  EXPECT_EQ(run("echo").end, EndClass::ok);
  EXPECT_EQ(loads_from("compile"), 1);
  EXPECT_EQ(loads_from("memory"), 1);
  close();
  EXPECT_EQ(run("echo").end, EndClass::ok);
  EXPECT_EQ(loads_from("compile"), 1) << "a restart compiles nothing";
  EXPECT_EQ(loads_from("disk"), 1);
  EXPECT_EQ(fs::status(options.cache).permissions(), fs::perms::owner_all);
  EXPECT_TRUE(files(".draft").empty());
}

TEST_F(ArtefactsTest, HasWhatWasUsedLastReadyAfterARestart) {
  for (const char* guest : {"echo", "trap", "log"}) ASSERT_TRUE(load(guest)) << guest;
  ASSERT_TRUE(options.limits.set_value(Limit::components_in_memory, 2));
  options.preload_time = std::chrono::seconds{20};
  open();
  EXPECT_NE(engine().find_ready(testing::hash_of(testing::guest_file("log"))), nullptr);
  EXPECT_NE(engine().find_ready(testing::hash_of(testing::guest_file("trap"))), nullptr);
  EXPECT_EQ(engine().find_ready(testing::hash_of(testing::guest_file("echo"))), nullptr);
  EXPECT_EQ(run("log").end, EndClass::ok);
  EXPECT_EQ(loads_from("compile"), 3);
  EXPECT_EQ(loads_from("disk"), 0);
}

TEST_F(ArtefactsTest, DoesNotMapAnAlteredArtefactAtTheStart) {
  ASSERT_TRUE(load("echo"));
  close();
  testing::write_file(artefact("echo"), "native code of somebody else");
  options.preload_time = std::chrono::seconds{20};
  open();
  EXPECT_EQ(engine().find_ready(testing::hash_of(testing::guest_file("echo"))), nullptr);
  EXPECT_EQ(tampered(), 1);
}

TEST_F(ArtefactsTest, CompilesAnAlteredArtefactAnew) {
  ASSERT_EQ(run("echo").end, EndClass::ok);
  int round = 1;
  for (auto alter : {+[](std::string& bytes) { bytes[bytes.size() / 2] ^= 1; },
                     +[](std::string& bytes) { bytes.resize(bytes.size() - 1); },
                     +[](std::string& bytes) { bytes.push_back('\0'); },
                     +[](std::string& bytes) { bytes.clear(); }}) {
    close();
    const fs::path path = artefact("echo");
    ASSERT_FALSE(path.empty());
    std::string bytes = testing::read_file(path);
    alter(bytes);
    testing::write_file(path, bytes);
    EXPECT_EQ(run("echo").end, EndClass::ok);
    EXPECT_EQ(tampered(), round);
    EXPECT_EQ(log->count({"failed authentication", "code=engine.artefact_untrusted"}),
              static_cast<std::size_t>(round));
    EXPECT_EQ(loads_from("compile"), ++round);
  }
}

TEST_F(ArtefactsTest, DoesNotTakeTheArtefactOfAnotherBundle) {
  ASSERT_EQ(run("echo").end, EndClass::ok);
  ASSERT_EQ(run("trap").end, EndClass::trap);
  close();
  const fs::path from = artefact("echo");
  const fs::path to = artefact("trap");
  for (const char* part : {"", ".sig"}) {
    fs::copy_file(from.string() + part, to.string() + part, fs::copy_options::overwrite_existing);
  }
  EXPECT_EQ(run("trap").end, EndClass::trap) << "the signature names its bundle";
  EXPECT_EQ(tampered(), 1);
}

TEST_F(ArtefactsTest, WantsASignatureOfATrustedKey) {
  ASSERT_EQ(run("echo").end, EndClass::ok);
  close();
  auto other = std::make_shared<const crypto::SigningKey>(crypto::SigningKey::generate());
  options.compile_key = nullptr;
  options.trusted_keys = {other->public_key()};
  Loaded refused = load("echo");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "engine.unavailable") << "this process may not compile";
  EXPECT_GT(refused.error().retry_after_s, 0U) << "another one does";
  EXPECT_EQ(metrics.count("alga_artefacts_untrusted_total"), 1);
  EXPECT_EQ(tampered(), 0) << "an exchange of the key is no alarm";
}

TEST_F(ArtefactsTest, LoadsWithoutAKeyWhatATrustedKeySigned) {
  ASSERT_EQ(run("echo").end, EndClass::ok);
  close();
  options.compile_key = nullptr;
  EXPECT_EQ(run("echo").end, EndClass::ok);
  EXPECT_EQ(loads_from("compile"), 1);
}

TEST_F(ArtefactsTest, CompilesAnewWhenTheSignatureIsGone) {
  ASSERT_EQ(run("echo").end, EndClass::ok);
  close();
  for (const fs::path& signature : files(".sig")) fs::remove(signature);
  EXPECT_EQ(run("echo").end, EndClass::ok);
  EXPECT_EQ(loads_from("compile"), 2);
}

TEST_F(ArtefactsTest, CompilesAnewWhatWasReplacedByHalf) {
  ASSERT_EQ(run("echo").end, EndClass::ok);
  close();
  // The signature is that of the next artefact: so an earlier version was left by a crash.
  const std::string before = testing::read_file(artefact("echo"));
  replace_artefact("echo", engine_compat());
  testing::write_file(artefact("echo"), before);
  const auto outcome = run("echo");
  EXPECT_EQ(outcome.end, EndClass::ok);
  EXPECT_EQ(outcome.response.body, "hello");
  EXPECT_EQ(loads_from("compile"), 2);
  EXPECT_EQ(tampered(), 1) << "nobody can tell the two apart";
  close();
  EXPECT_EQ(run("echo").end, EndClass::ok);
  EXPECT_EQ(loads_from("compile"), 2) << "and is whole again";
}

TEST_F(ArtefactsTest, SweepsWhatACrashLeft) {
  fs::create_directories(options.cache);
  testing::write_file(options.cache / ".draft-0123", "half of an artefact");
  testing::write_file(options.cache / "orphan.cwasm.sig", "{}");
  open();
  EXPECT_TRUE(fs::is_empty(options.cache));
}

TEST_F(ArtefactsTest, CompilesOnceForAllWhoWait) {
  use_gated_worker();
  std::vector<std::future<Loaded>> waiting;
  for (int i = 0; i < 20; ++i) waiting.push_back(start_load("echo"));
  ASSERT_EQ(workers(1).size(), 1U);
  waiting.push_back(start_load("echo"));
  open_gate();
  std::set<Component*> seen;
  for (auto& one : waiting) {
    Loaded loaded = one.get();
    ASSERT_TRUE(loaded) << loaded.error().message;
    seen.insert(loaded->get());
  }
  EXPECT_EQ(seen.size(), 1U);
  EXPECT_EQ(workers(1).size(), 1U);
  EXPECT_EQ(loads_from("compile"), 1);
}

TEST_F(ArtefactsTest, SaysThatTheFilesOfABundleAreGoneUntilTheyAreBack) {
  const fs::path file = folder() / "bundle.wasm";
  fs::copy_file(testing::guest_file("echo"), file);
  const auto hash = testing::hash_of(file);
  const auto load_file = [&] {
    std::promise<Loaded> promise;
    engine().load(hash, file, nullptr, "acme",
                  [&](Loaded answer) { promise.set_value(std::move(answer)); });
    return promise.get_future().get();
  };
  fs::remove(file);
  const Loaded gone = load_file();
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, "engine.component_gone") << "for the runner to fetch it anew";
  fs::copy_file(testing::guest_file("echo"), file);
  EXPECT_TRUE(load_file());
}

TEST_F(ArtefactsTest, DoesNotCompileAgainWhatFailedAMomentAgo) {
  const fs::path script = folder() / "worker";
  testing::write_file(script, "#!/bin/sh\necho $$ >>'" + (folder() / "workers").string() +
                                  "'\nexec '" + fs::read_symlink("/proc/self/exe").string() +
                                  "' \"$@\"\n");
  fs::permissions(script, fs::perms::owner_all);
  options.self = script;
  const fs::path file = folder() / "bundle.wasm";
  const auto load_file = [&](const std::string& bytes) {
    testing::write_file(file, bytes);
    std::promise<Loaded> promise;
    engine().load(testing::hash_of(file), file, nullptr, "acme",
                  [&](Loaded answer) { promise.set_value(std::move(answer)); });
    return promise.get_future().get();
  };
  for (int i = 0; i < 5; ++i) {
    const Loaded refused = load_file("no component");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, "engine.bad_component");
  }
  EXPECT_EQ(workers(1).size(), 1U);
  EXPECT_FALSE(load_file("another bundle that is no component"));
  EXPECT_EQ(workers(2).size(), 2U);
  EXPECT_TRUE(load("echo"));
  EXPECT_EQ(workers(3).size(), 3U);
}

TEST_F(ArtefactsTest, IsNotPreparedWhenNoRunnerCouldLoadIt) {
  const fs::path unlinkable = testing::guest_file("unknown-import");
  for (int i = 0; i < 2; ++i) {
    const auto prepared = engine().prepare(testing::hash_of(unlinkable), unlinkable.string());
    ASSERT_FALSE(prepared) << "compiled, and from disk";
    EXPECT_EQ(prepared.error().code, "compile.refused");
    EXPECT_NE(prepared.error().message.find("import"), std::string::npos)
        << prepared.error().message;
  }
  // One module of one memory, instantiated once more than a slot has memories.
  const fs::path crowded = folder() / "crowded.wasm";
  const std::string_view module("\0asm\1\0\0\0\5\3\1\0\1", 13);
  std::string text("\0asm\x0d\0\1\0\1\x0d", 10);
  text += std::string(module) + std::string("\2\x10\5", 3);
  for (int i = 0; i < 5; ++i) text += std::string("\0\0\0", 3);
  testing::write_file(crowded, text);
  const auto prepared = engine().prepare(testing::hash_of(crowded), crowded.string());
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, "compile.refused");
  EXPECT_NE(prepared.error().message.find("linear memories"), std::string::npos)
      << prepared.error().message;
}

TEST_F(ArtefactsTest, ServesWhatIsReadyWhileSomethingElseIsCompiled) {
  ASSERT_EQ(run("echo").end, EndClass::ok);
  ASSERT_EQ(run("log").end, EndClass::ok);
  close();
  use_gated_worker();
  auto cold = start_load("trap");
  ASSERT_EQ(workers(1).size(), 1U);
  EXPECT_EQ(run("echo").end, EndClass::ok) << "from disk";
  EXPECT_EQ(run("echo").end, EndClass::ok) << "from memory";
  EXPECT_EQ(cold.wait_for(std::chrono::seconds{0}), std::future_status::timeout);
  open_gate();
  EXPECT_TRUE(cold.get());
}

TEST_F(ArtefactsTest, RecoversFromACompileProcessThatIsKilled) {
  use_gated_worker();
  auto first = start_load("echo");
  const std::vector<pid_t> running = workers(1);
  ASSERT_EQ(running.size(), 1U);
  ASSERT_EQ(::kill(running[0], SIGKILL), 0);
  Loaded failed = first.get();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, "engine.unavailable") << "the component did nothing wrong";
  EXPECT_EQ(failed.error().retry_after_s, 30U);
  EXPECT_TRUE(fs::is_empty(options.cache)) << "no draft stays behind";
  auto second = start_load("echo");
  ASSERT_EQ(workers(2).size(), 2U);
  open_gate();
  EXPECT_TRUE(second.get()) << "the next request compiles anew";
}

TEST_F(ArtefactsTest, RecoversFromAServerThatIsKilledWhileItCompiles) {
  use_gated_worker();
  const std::string program = fs::read_symlink("/proc/self/exe").string();
  const std::string where = folder().string();
  std::vector<std::string> words{program, "load-and-wait", where};
  std::vector<char*> argv{words[0].data(), words[1].data(), words[2].data(), nullptr};
  pid_t server = 0;
  ASSERT_EQ(::posix_spawn(&server, program.c_str(), nullptr, nullptr, argv.data(), environ), 0);
  const std::vector<pid_t> running = workers(1);
  ASSERT_EQ(running.size(), 1U);
  ::kill(server, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(server, &status, 0), server);
  ::kill(running[0], SIGKILL);
  EXPECT_EQ(files("").size(), 1U) << "the draft of the server that died";

  auto loaded = start_load("echo");
  ASSERT_EQ(workers(2).size(), 2U);
  open_gate();
  EXPECT_TRUE(loaded.get());
  EXPECT_EQ(files("").size(), 2U) << "an artefact and its signature, no draft";
}

TEST_F(ArtefactsTest, KeepsNoMoreComponentsInMemoryThanAllowed) {
  ASSERT_TRUE(options.limits.set_value(Limit::components_in_memory, 2));
  auto held = load("echo");
  ASSERT_TRUE(held);
  ASSERT_TRUE(load("trap"));
  ASSERT_TRUE(load("echo"));  // used more recently than `trap`
  ASSERT_TRUE(load("log"));   // so `trap` goes
  EXPECT_EQ(loads_from("memory"), 1);
  ASSERT_TRUE(load("echo"));
  EXPECT_EQ(loads_from("memory"), 2);
  ASSERT_TRUE(load("trap"));
  EXPECT_EQ(loads_from("disk"), 1);
  EXPECT_EQ(loads_from("compile"), 3) << "what left memory is still on disk";
  EXPECT_EQ(metrics.count("alga_limit_hits_total{components_in_memory}"), 2);
  EXPECT_EQ(log->count({"code=limit.components_in_memory"}), 1U) << "said once";
  // `echo` or `log` has left by now; who holds a component may go on using it.
  EXPECT_EQ(start(*held, invocation()).outcome.get().end, EndClass::ok);
}

TEST_F(ArtefactsTest, KeepsNoMoreBytesInMemoryThanAllowed) {
  options.memory_cache_bytes = 1;  // no two components fit
  const ContentHash echo = testing::hash_of(testing::guest_file("echo"));
  const ContentHash trap = testing::hash_of(testing::guest_file("trap"));
  ASSERT_TRUE(load("echo"));
  EXPECT_NE(engine().find_ready(echo), nullptr) << "the one that was just used stays";
  ASSERT_TRUE(load("trap"));
  EXPECT_EQ(engine().find_ready(echo), nullptr);
  EXPECT_NE(engine().find_ready(trap), nullptr);
  EXPECT_EQ(metrics.count("alga_components_in_memory"), 1);
  EXPECT_EQ(metrics.count("alga_limit_hits_total{components_in_memory}"), 0)
      << "no limit of number";
}

TEST_F(ArtefactsTest, KeepsNoMoreOnDiskThanAllowed) {
  ASSERT_TRUE(load("echo"));
  options.cache_bytes = fs::file_size(artefact("echo")) * 5 / 2;
  open();
  for (const char* guest : {"trap", "log", "context"}) ASSERT_TRUE(load(guest)) << guest;
  EXPECT_EQ(files(".cwasm").size(), 2U);
  EXPECT_EQ(files(".sig").size(), 2U);
  EXPECT_EQ(metrics.count("alga_artefacts_evicted_total"), 2);
  EXPECT_TRUE(artefact("echo").empty()) << "the oldest goes first";
}

TEST_F(ArtefactsTest, KeepsNoMoreArtefactsThanAllowed) {
  ASSERT_TRUE(options.limits.set_value(Limit::components_on_disk, 1));
  ASSERT_TRUE(load("echo"));
  ASSERT_TRUE(load("trap"));
  EXPECT_EQ(files(".cwasm").size(), 1U);
  EXPECT_FALSE(artefact("trap").empty());
  EXPECT_EQ(metrics.count("alga_limit_hits_total{components_on_disk}"), 1);
  EXPECT_EQ(log->count({"code=limit.components_on_disk"}), 1U);
}

TEST_F(ArtefactsTest, SaysThatItIsUnavailableWhenItsFolderCannotBeUsed) {
  testing::write_file(folder() / "file", "");
  options.cache = folder() / "file" / "below";
  try {
    open();
    FAIL() << "there is no such folder";
  } catch (const std::runtime_error& refused) {
    EXPECT_TRUE(std::string_view(refused.what()).starts_with("engine.cache_io")) << refused.what();
  }
}

TEST_F(ArtefactsTest, CannotKeepWhatItCompiledInAFolderThatIsGone) {
  open();
  fs::remove_all(options.cache);
  testing::write_file(options.cache, "no folder any more");
  Loaded loaded = load("echo");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, "engine.cache_io");
  fs::remove(options.cache);
  fs::create_directory(options.cache);
  EXPECT_EQ(run("echo").end, EndClass::ok) << "and works again when it is back";
}

TEST_F(ArtefactsTest, CompilesAnewWhatATrustedKeySignedForAnotherEngine) {
  ASSERT_EQ(run("echo").end, EndClass::ok);
  close();
  // The bytes are no artefact of this engine, though the signature over them is good.
  const fs::path path = artefact("echo");
  const std::string name = path.filename().string();
  const std::string compat = engine_compat();
  ASSERT_EQ(name.substr(65, 16), compat.substr(0, 16)) << name;
  replace_artefact("echo", compat);
  EXPECT_EQ(run("echo").end, EndClass::ok);
  EXPECT_EQ(loads_from("compile"), 2);
  EXPECT_EQ(tampered(), 0) << "it was signed";
  EXPECT_EQ(bridge_error(AB_E_INCOMPATIBLE, nullptr).error().code, "engine.artefact_incompatible");
}

TEST_F(ArtefactsTest, RefusesAComponentThatUsesUpItsProcessorTime) {
  const fs::path script = folder() / "worker";
  testing::write_file(script, "#!/bin/sh\nulimit -S -t $ALGA_WORKER_CPU\nwhile :; do :; done\n");
  fs::permissions(script, fs::perms::owner_all);
  options.self = script;
  options.compile_time = std::chrono::milliseconds{900};
  options.compile_wait = std::chrono::minutes{2};
  const fs::path wasm = testing::guest_file("echo");
  const auto prepared = engine().prepare(testing::hash_of(wasm), wasm.string());
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, "compile.too_expensive");
  EXPECT_EQ(prepared.error().retry_after_s, 0U) << "no attempt will be any cheaper";
  const Loaded loaded = load("echo");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, "engine.compile_too_expensive") << "and so for a request";
  EXPECT_TRUE(fs::is_empty(options.cache)) << "no draft stays behind";
  const auto described =
      describe_component(script, wasm.string(), 1U << 20U,
                         {std::chrono::milliseconds{900}, std::chrono::minutes{2}}, 1U << 20U);
  ASSERT_FALSE(described);
  EXPECT_EQ(described.error().code, "component.too_complex");
}

TEST_F(ArtefactsTest, GivesUpForNowOnACompileThatDoesNotGetOn) {
  use_gated_worker();  // whose gate nobody opens: it has all of its processor time left
  options.compile_time = std::chrono::minutes{1};
  options.compile_wait = std::chrono::milliseconds{200};
  const fs::path wasm = testing::guest_file("echo");
  const auto prepared = engine().prepare(testing::hash_of(wasm), wasm.string());
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().kind, Kind::unavailable);
  EXPECT_EQ(prepared.error().code, "compile.unavailable");
  EXPECT_EQ(prepared.error().retry_after_s, 30U);
  EXPECT_TRUE(fs::is_empty(options.cache)) << "no draft stays behind";
  const auto described =
      describe_component(options.self, wasm.string(), 1U << 20U,
                         {std::chrono::minutes{1}, std::chrono::milliseconds{200}}, 1U << 20U);
  ASSERT_FALSE(described);
  EXPECT_EQ(described.error().code, "component.unavailable");
  EXPECT_EQ(described.error().retry_after_s, 30U);

  options.self = "/proc/self/exe";
  options.compile_wait = std::chrono::minutes{4};
  open();
  EXPECT_TRUE(engine().prepare(testing::hash_of(wasm), wasm.string())) << "a later attempt";
}

TEST_F(ArtefactsTest, EndsWhatIsUnderWayWhenTheServerStops) {
  use_gated_worker();  // whose gate nobody opens
  const auto prepare = [this](std::string_view guest) {
    const fs::path wasm = testing::guest_file(guest);
    return engine().prepare(testing::hash_of(wasm), wasm.string());
  };
  auto compiled = start_load("echo");
  ASSERT_EQ(workers(1).size(), 1U);
  auto looked_into = std::async(std::launch::async, [this] {
    return engine().inspect(testing::guest_file("echo").string());
  });
  ASSERT_EQ(workers(2).size(), 2U);
  auto waiting = std::async(std::launch::async, prepare, "trap");
  engine().abort();
  const Loaded loaded = compiled.get();
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, "engine.unavailable");
  const auto report = looked_into.get();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, "component.unavailable");
  for (const auto& prepared : {waiting.get(), prepare("log")}) {
    ASSERT_FALSE(prepared);
    EXPECT_EQ(prepared.error().code, "compile.unavailable");
  }
  EXPECT_EQ(workers(2).size(), 2U) << "nothing was begun afterwards";
  EXPECT_TRUE(fs::is_empty(options.cache)) << "no draft stays behind";
}

TEST_F(ArtefactsTest, DoesNotWaitForACompileToClose) {
  use_gated_worker();  // whose gate nobody opens
  auto loaded = start_load("echo");
  ASSERT_EQ(workers(1).size(), 1U);
  close();
  EXPECT_EQ(loaded.get().error().code, "engine.unavailable");
}

}  // namespace

namespace testing {

/// Loads `echo` with the gated worker of `folder` and waits to be killed.
int load_and_wait(const fs::path& folder) {
  CountingMetrics metrics;
  SystemClock clock;
  SystemRandom random;
  Options options = small_options(folder);
  options.self = folder / "worker";
  options.compile_key = std::make_shared<const crypto::SigningKey>(crypto::SigningKey::generate());
  options.trusted_keys = {options.compile_key->public_key()};
  Dependencies use;
  use.clock = &clock;
  use.random = &random;
  use.metrics = &metrics;
  auto engine = Engine::create(options, use);
  if (!engine) return 1;
  const fs::path wasm = guest_file("echo");
  (*engine)->load(hash_of(wasm), wasm, nullptr, "acme", [](Result<std::shared_ptr<Component>>) {});
  std::this_thread::sleep_for(std::chrono::minutes{1});
  return 1;
}

}  // namespace testing
}  // namespace alga::engine
