#include "engine/shared_artefacts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <latch>
#include <map>
#include <mutex>
#include <thread>

#include "engine/artefact_store.h"
#include "engine/component_cache.h"

namespace alga::engine {
namespace {

namespace fs = std::filesystem;

/// A bundle store in memory; can be away, and slow.
class Objects final : public domain::BundleStore {
 public:
  Status get(std::string_view key, std::uint64_t max_bytes, domain::ByteSink sink) override {
    if (before_get) std::exchange(before_get, nullptr)();
    if (away) return fail(Kind::unavailable, "blob.unavailable", "away");
    const auto found = objects.find(std::string(key));
    if (found == objects.end()) return fail(Kind::not_found, "blob.not_found", "none");
    if (found->second.size() > max_bytes) return fail(Kind::too_large, "blob.too_large", "big");
    return sink(as_bytes(found->second));
  }
  Status put_file(std::string_view key, const std::string& path) override {
    if (away) return fail(Kind::unavailable, "blob.unavailable", "away");
    std::ifstream file(path, std::ios::binary);
    objects[std::string(key)] = std::string(std::istreambuf_iterator<char>(file), {});
    order.emplace_back(key);
    return {};
  }
  Status remove(std::string_view key) override {
    if (away) return fail(Kind::unavailable, "blob.unavailable", "away");
    removed.emplace_back(key);
    if (objects.erase(std::string(key)) != 0) return {};
    return fail(Kind::not_found, "blob.not_found", "none");
  }
  Result<bool> exists(std::string_view key) override { return objects.contains(std::string(key)); }
  Status probe() override { return {}; }

  bool away = false;
  std::move_only_function<void()> before_get;  ///< once
  std::map<std::string, std::string> objects;
  std::vector<std::string> order, removed;
};

class SharedArtefactsTest : public ::testing::Test {
 protected:
  SharedArtefactsTest() {
    std::string pattern = (fs::temp_directory_path() / "alga-shared-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  ~SharedArtefactsTest() override { fs::remove_all(folder_); }

  /// The store of one process. Without `signer` it compiles nothing.
  std::unique_ptr<ArtefactStore> process(const std::string& name,
                                         std::shared_ptr<const crypto::SigningKey> signer,
                                         std::vector<crypto::PublicKey> trusted,
                                         const std::string& compat = std::string(64, 'e')) {
    auto shared = std::make_shared<SharedArtefacts>(
        SharedArtefacts::Options{.store = &objects_, .publish = signer != nullptr}, metrics_,
        Logger{});
    return *ArtefactStore::open({.directory = folder_ / name,
                                 .max_bytes = 1U << 20U,
                                 .max_artefacts = 100,
                                 .compat = compat,
                                 .signer = std::move(signer),
                                 .trusted = std::move(trusted),
                                 .shared = std::move(shared)},
                                random_, metrics_, {});
  }
  void compile(ArtefactStore& store, const std::string& code) {
    auto draft = store.draft();
    ASSERT_TRUE(draft);
    ASSERT_EQ(::write(draft->file.fd(), code.data(), code.size()),
              static_cast<ssize_t>(code.size()));
    ASSERT_TRUE(store.keep(bundle_, std::move(*draft)));
  }
  /// As publishing does.
  void prepare(ArtefactStore& store, const std::string& code) {
    compile(store, code);
    EXPECT_EQ(*store.offer(bundle_), code.size());
  }
  /// What a process would map; empty when it finds nothing.
  std::string found(ArtefactStore& store) {
    auto file = store.find(bundle_);
    if (!file || !*file) return {};
    std::array<char, 100> bytes{};
    const ssize_t got = ::pread((*file)->fd(), bytes.data(), bytes.size(), 0);
    return {bytes.data(), static_cast<std::size_t>(got)};
  }

  fs::path folder_;
  SystemRandom random_;
  NoMetrics metrics_;
  Objects objects_;
  const ContentHash bundle_ = *ContentHash::parse(std::string(64, 'a'));
  const std::shared_ptr<const crypto::SigningKey> key_ =
      std::make_shared<const crypto::SigningKey>(crypto::SigningKey::generate());
};

TEST_F(SharedArtefactsTest, OneCompileServesAProcessThatOnlyKnowsThePublicKey) {
  const auto compiler = process("compiler", key_, {key_->public_key()});
  const auto runner = process("runner", nullptr, {key_->public_key()});
  EXPECT_EQ(found(*runner), "") << "nobody has compiled yet";
  prepare(*compiler, "native code");
  EXPECT_EQ(found(*runner), "native code");
  ASSERT_EQ(objects_.order.size(), 2U);
  EXPECT_TRUE(objects_.order[0].ends_with(".cwasm"));
  EXPECT_TRUE(objects_.order[1].ends_with(".sig")) << "whoever finds it finds the artefact";
  objects_.away = true;
  EXPECT_EQ(found(*runner), "native code") << "it is kept here now";
}

TEST_F(SharedArtefactsTest, NothingIsTakenThatWasAlteredSwappedOrSignedByAStranger) {
  const auto compiler = process("compiler", key_, {key_->public_key()});
  prepare(*compiler, "native code");
  const auto good = objects_.objects;
  const auto strangers =
      process("runner-a", nullptr, {crypto::SigningKey::generate().public_key()});
  EXPECT_EQ(found(*strangers), "");
  const auto runner = process("runner-b", nullptr, {key_->public_key()});
  for (auto& [name, bytes] : objects_.objects) {
    const std::string whole = bytes;
    bytes[bytes.size() / 2] ^= 1;
    EXPECT_EQ(found(*runner), "") << name;
    bytes = whole;
  }
  // The artefact of another engine under the name of ours.
  const auto other = process("other", nullptr, {key_->public_key()}, std::string(64, 'f'));
  for (const auto& [name, bytes] : good) {
    std::string renamed = name;
    renamed.replace(renamed.find(std::string(16, 'e')), 16, std::string(16, 'f'));
    objects_.objects[renamed] = bytes;
  }
  EXPECT_EQ(found(*other), "");
  EXPECT_EQ(found(*runner), "native code");
}

TEST_F(SharedArtefactsTest, TellsWhatOthersCannotUseAnyMore) {
  const auto compiler = process("compiler", key_, {key_->public_key()});
  EXPECT_FALSE(*compiler->is_offered(bundle_)) << "nobody has compiled yet";
  prepare(*compiler, "native code");
  EXPECT_TRUE(*compiler->is_offered(bundle_));
  const auto upgraded = process("upgraded", key_, {key_->public_key()}, std::string(64, 'f'));
  EXPECT_FALSE(*upgraded->is_offered(bundle_)) << "it was made by another engine";
  // The key is exchanged: what a new one signs takes the place of what the former signed.
  const auto next = std::make_shared<const crypto::SigningKey>(crypto::SigningKey::generate());
  const auto rotated = process("compiler", next, {next->public_key()});
  const auto runner = process("runner", nullptr, {next->public_key()});
  EXPECT_FALSE(*rotated->is_offered(bundle_));
  EXPECT_EQ(found(*runner), "");
  EXPECT_EQ(found(*rotated), "") << "nor is the one on its own disk believed";
  prepare(*rotated, "native code");
  EXPECT_TRUE(*rotated->is_offered(bundle_));
  EXPECT_EQ(found(*runner), "native code");
  objects_.away = true;
  EXPECT_EQ(rotated->is_offered(bundle_).error().code, "blob.unavailable");
  objects_.away = false;
  for (auto& [name, bytes] : objects_.objects) bytes = "[]";
  EXPECT_FALSE(*rotated->is_offered(bundle_)) << "a signature that is none";
}

TEST_F(SharedArtefactsTest, SharesWhatIsOfferedAndNothingElse) {
  const auto compiler = process("compiler", key_, {key_->public_key()});
  const auto runner = process("runner", nullptr, {key_->public_key()});
  EXPECT_EQ(*compiler->offer(bundle_), 0U) << "there is nothing to offer";
  compile(*compiler, "native code");
  EXPECT_TRUE(objects_.objects.empty()) << "nobody has counted it";
  objects_.away = true;
  EXPECT_EQ(compiler->offer(bundle_).error().code, "blob.unavailable");
  objects_.away = false;
  EXPECT_EQ(found(*runner), "");
  EXPECT_EQ(*compiler->offer(bundle_), 11U);
  EXPECT_EQ(found(*runner), "native code");
  EXPECT_EQ(objects_.order.size(), 2U);
  EXPECT_EQ(*compiler->offer(bundle_), 11U);
  EXPECT_EQ(objects_.order.size(), 2U) << "it is there";
  objects_.objects.clear();
  EXPECT_EQ(*runner->offer(bundle_), 11U) << "it has it";
  EXPECT_TRUE(objects_.objects.empty()) << "who may not sign publishes nothing";
}

TEST_F(SharedArtefactsTest, WithdrawsTheArtefactOfOneEngineAndItsSignatureFirst) {
  const auto compiler = process("compiler", key_, {key_->public_key()});
  const auto former = process("former", key_, {key_->public_key()}, std::string(64, 'f'));
  prepare(*compiler, "native code");
  prepare(*former, "older code");
  EXPECT_EQ(former->engine(), std::string(16, 'f'));
  const auto runner = process("runner", nullptr, {key_->public_key()});
  EXPECT_TRUE(runner->withdraw(bundle_, former->engine()));
  EXPECT_EQ(objects_.objects.size(), 4U) << "who may not sign takes nothing away";
  EXPECT_TRUE(compiler->withdraw(bundle_, former->engine()));
  ASSERT_EQ(objects_.removed.size(), 2U);
  EXPECT_TRUE(objects_.removed[0].ends_with(".sig")) << "whoever finds it finds the artefact";
  EXPECT_EQ(objects_.objects.size(), 2U);
  EXPECT_EQ(found(*runner), "native code");
  EXPECT_EQ(found(*former), "older code") << "the one on its own disk stays";
  EXPECT_TRUE(compiler->withdraw(bundle_, former->engine())) << "it is gone already";
  objects_.away = true;
  EXPECT_EQ(compiler->withdraw(bundle_, compiler->engine()).error().code, "blob.unavailable");
}

TEST_F(SharedArtefactsTest, AStoreThatIsAwayCostsACompileAndNothingElse) {
  const auto compiler = process("compiler", key_, {key_->public_key()});
  objects_.away = true;
  compile(*compiler, "native code");
  EXPECT_EQ(found(*compiler), "native code");
  const auto runner = process("runner", nullptr, {key_->public_key()});
  EXPECT_EQ(found(*runner), "");
  EXPECT_TRUE(runner->find(bundle_)) << "not an error: the caller compiles";
}

TEST_F(SharedArtefactsTest, AProcessCanEndWhileItLooks) {
  std::latch looks(1);
  std::latch found_nothing(1);
  objects_.before_get = [&] {
    looks.count_down();
    found_nothing.wait();
  };
  auto cache = std::make_unique<ComponentCache>(
      ComponentCache::Options{.max_components = 1, .max_image_bytes = 1}, nullptr,
      process("runner", nullptr, {key_->public_key()}), metrics_, Logger{});
  std::promise<std::string> answer;
  cache->load(bundle_, "", nullptr, "acme",
              [&answer](Result<std::shared_ptr<Component>> component) {
                answer.set_value(component ? "a component" : std::string(component.error().code));
              });
  looks.wait();
  std::thread end([&cache] { cache.reset(); });
  EXPECT_EQ(answer.get_future().get(), "engine.unavailable");
  // Whatever does not wait for the look is gone by then; the look hands its bundle to a compiler.
  std::this_thread::sleep_for(std::chrono::milliseconds{50});
  found_nothing.count_down();
  end.join();
}

}  // namespace
}  // namespace alga::engine
