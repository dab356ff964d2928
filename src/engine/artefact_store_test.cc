#include "engine/artefact_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "engine/testing.h"

namespace alga::engine {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

/// Something happens just before the first line is written.
class InterruptedLog final : public LogSink {
 public:
  [[nodiscard]] bool enabled(LogLevel) const noexcept override { return true; }
  void write(LogLevel, std::string_view, std::string_view,
             std::span<const LogField>) noexcept override {
    if (before_line) std::exchange(before_line, nullptr)();
  }

  std::function<void()> before_line;
};

class ArtefactStoreTest : public ::testing::Test {
 protected:
  ArtefactStoreTest() {
    std::string pattern = (fs::temp_directory_path() / "alga-store-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    open_for(1);
  }
  ~ArtefactStoreTest() override { fs::remove_all(folder_); }

  void open_for(std::uint64_t artefacts) {
    store_ = *ArtefactStore::open({.directory = folder_,
                                   .max_bytes = 1U << 20U,
                                   .max_artefacts = artefacts,
                                   .compat = std::string(64, 'e'),
                                   .signer = key_,
                                   .trusted = {key_->public_key()},
                                   .shared = nullptr},
                                  random_, metrics_, Logger(log_, "engine"));
  }

  Status keep(const ContentHash& bundle, const std::string& code) {
    TRY(ArtefactStore::Draft draft, store_->draft());
    EXPECT_EQ(::write(draft.file.fd(), code.data(), code.size()),
              static_cast<ssize_t>(code.size()));
    return store_->keep(bundle, std::move(draft));
  }
  [[nodiscard]] double tampered() const { return metrics_.count("alga_artefacts_tampered_total"); }

  [[nodiscard]] fs::path only(std::string_view extension) const {
    for (const auto& entry : fs::directory_iterator(folder_)) {
      if (entry.path().extension() == extension) return entry.path();
    }
    ADD_FAILURE() << "no " << extension;
    return {};
  }
  static std::string text(const File& file) {
    std::array<char, 100> bytes{};
    const ssize_t got = ::pread(file.fd(), bytes.data(), bytes.size(), 0);
    return {bytes.data(), static_cast<std::size_t>(got)};
  }

  fs::path folder_;
  SystemRandom random_;
  testing::CountingMetrics metrics_;
  const std::shared_ptr<InterruptedLog> log_ = std::make_shared<InterruptedLog>();
  const std::shared_ptr<const crypto::SigningKey> key_ =
      std::make_shared<const crypto::SigningKey>(crypto::SigningKey::generate());
  std::unique_ptr<ArtefactStore> store_;
  const ContentHash bundle_ = *ContentHash::parse(std::string(64, 'a'));
};

TEST_F(ArtefactStoreTest, WhatIsReplacedWhileItIsReadIsNotTakenForTampering) {
  ASSERT_TRUE(keep(bundle_, "first"));
  const fs::path signature = only(".sig"), gate = folder_ / "gate";
  const std::string first = testing::read_file(signature);
  // The reader has opened the artefact and waits for its signature when another artefact comes.
  ASSERT_EQ(::mkfifo(gate.c_str(), 0600), 0);
  fs::remove(signature);
  fs::create_hard_link(gate, signature);
  Result<std::optional<File>> read;
  std::thread reader([&] { read = store_->find(bundle_); });
  File writer{::open(gate.c_str(), O_WRONLY)};  // once the reader is there
  std::atomic<bool> replaced = false;
  std::thread replacer([&] {
    EXPECT_TRUE(keep(bundle_, "second"));
    replaced = true;
  });
  for (int i = 0; i < 100 && !replaced; ++i) std::this_thread::sleep_for(milliseconds{5});
  // It reads what is beside the artefact at that moment.
  const std::string beside = replaced ? testing::read_file(signature) : first;
  EXPECT_EQ(::write(writer.fd(), beside.data(), beside.size()),
            static_cast<ssize_t>(beside.size()));
  writer = File{};
  reader.join();
  replacer.join();
  EXPECT_EQ(tampered(), 0);
  ASSERT_TRUE(read && *read);
  EXPECT_EQ(text(**read), "first");
  const auto now = store_->find(bundle_);
  ASSERT_TRUE(now && *now);
  EXPECT_EQ(text(**now), "second");
}

TEST_F(ArtefactStoreTest, WhatTookThePlaceOfAFailureStays) {
  ASSERT_TRUE(keep(bundle_, "first"));
  testing::write_file(only(".cwasm"), "evil");
  log_->before_line = [&] { EXPECT_TRUE(keep(bundle_, "second")); };
  const auto refused = store_->find(bundle_);
  ASSERT_TRUE(refused);
  EXPECT_FALSE(*refused);
  EXPECT_EQ(tampered(), 1);
  const auto now = store_->find(bundle_);
  ASSERT_TRUE(now && *now);
  EXPECT_EQ(text(**now), "second");
}

TEST_F(ArtefactStoreTest, WhatFailsIsRemovedWithItsSignature) {
  ASSERT_TRUE(keep(bundle_, "code"));
  testing::write_file(only(".cwasm"), "evil");
  const auto refused = store_->find(bundle_);
  ASSERT_TRUE(refused);
  EXPECT_FALSE(*refused);
  EXPECT_EQ(tampered(), 1);
  EXPECT_TRUE(fs::is_empty(folder_));
  ASSERT_TRUE(keep(bundle_, "code"));
  const auto there = store_->find(bundle_);
  ASSERT_TRUE(there);
  EXPECT_TRUE(*there);
  EXPECT_EQ(tampered(), 1);
}

TEST_F(ArtefactStoreTest, HasWholePairsOrNoneWheneverACrashStopsIt) {
  // What a crash leaves is what was in the folder after one of these events.
  const File watch{::inotify_init1(IN_CLOEXEC)};
  ASSERT_GE(::inotify_add_watch(watch.fd(), folder_.c_str(), IN_DELETE | IN_MOVED_TO), 0);
  ASSERT_TRUE(keep(bundle_, "first"));
  ASSERT_TRUE(keep(bundle_, "second"));
  std::array<char, 65536> buffer{};
  const ssize_t got = ::read(watch.fd(), buffer.data(), buffer.size());
  struct Place {
    int there = 0;  ///< the first or the second; 0: none
    int put = 0;
  };
  Place artefact, signature;
  for (ssize_t at = 0; at < got;) {
    ::inotify_event event{};
    std::memcpy(&event, buffer.data() + at, sizeof event);
    const std::string_view name = buffer.data() + at + sizeof event;
    at += static_cast<ssize_t>(sizeof event + event.len);
    Place& place = name.ends_with(".sig") ? signature : artefact;
    place.there = (event.mask & IN_DELETE) != 0 ? 0 : ++place.put;
    EXPECT_TRUE(artefact.there == 0 || artefact.there == signature.there)
        << artefact.there << " with the signature of " << signature.there;
  }
  EXPECT_EQ(artefact.there, 2);
  EXPECT_EQ(signature.there, 2);
}

TEST_F(ArtefactStoreTest, WhatIsLoadedOutlivesWhatWasMadeAfterIt) {
  open_for(2);
  const auto second = *ContentHash::parse(std::string(64, 'b'));
  const auto third = *ContentHash::parse(std::string(64, 'c'));
  ASSERT_TRUE(keep(bundle_, "first"));
  fs::last_write_time(only(".cwasm"), fs::file_time_type::clock::now() - std::chrono::hours{2});
  ASSERT_TRUE(keep(second, "second"));
  ASSERT_TRUE(*store_->find(bundle_));
  EXPECT_EQ(store_->recent(), (std::vector{bundle_, second}));
  ASSERT_TRUE(keep(third, "third"));
  EXPECT_TRUE(*store_->find(bundle_));
  EXPECT_FALSE(*store_->find(second));
}

}  // namespace
}  // namespace alga::engine
