#include "engine/artefact_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <string>
#include <thread>

#include "engine/testing.h"

namespace alga::engine {
namespace {

namespace fs = std::filesystem;

class ArtefactStoreTest : public ::testing::Test {
 protected:
  ArtefactStoreTest() {
    std::string pattern = (fs::temp_directory_path() / "alga-store-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    store_ = *ArtefactStore::open({.directory = folder_,
                                   .max_bytes = 1U << 20U,
                                   .max_artefacts = 1,
                                   .compat = std::string(64, 'e'),
                                   .signer = key_,
                                   .trusted = {key_->public_key()},
                                   .shared = nullptr},
                                  random_, metrics_, {});
  }
  ~ArtefactStoreTest() override { fs::remove_all(folder_); }

  Status keep(const ContentHash& bundle, const std::string& code) {
    TRY(ArtefactStore::Draft draft, store_->draft());
    EXPECT_EQ(::write(draft.file.fd(), code.data(), code.size()),
              static_cast<ssize_t>(code.size()));
    return store_->keep(bundle, std::move(draft));
  }
  [[nodiscard]] double tampered() const { return metrics_.count("alga_artefacts_tampered_total"); }

  fs::path folder_;
  SystemRandom random_;
  testing::CountingMetrics metrics_;
  const std::shared_ptr<const crypto::SigningKey> key_ =
      std::make_shared<const crypto::SigningKey>(crypto::SigningKey::generate());
  std::unique_ptr<ArtefactStore> store_;
  const ContentHash bundle_ = *ContentHash::parse(std::string(64, 'a'));
  const ContentHash other_ = *ContentHash::parse(std::string(64, 'b'));
};

TEST_F(ArtefactStoreTest, WhatIsReplacedOrRemovedMeanwhileIsNotTakenForTampering) {
  std::atomic<bool> over = false;
  std::atomic<int> taken = 0;
  std::thread reader([&] {
    while (!over.load()) {
      const auto file = store_->find(bundle_);
      ASSERT_TRUE(file) << file.error().message;
      if (!*file) continue;
      std::array<char, 5> bytes{};
      ASSERT_EQ(::pread((*file)->fd(), bytes.data(), bytes.size(), 0), 5);
      ASSERT_EQ(std::string_view(bytes.data(), bytes.size()), "code ");
      ++taken;
    }
  });
  for (int i = 0; i < 300; ++i) {
    EXPECT_TRUE(keep(bundle_, "code " + std::to_string(i)));
    EXPECT_TRUE(keep(bundle_, "code again " + std::to_string(i)));
    EXPECT_TRUE(keep(other_, "there is room for one"));
  }
  over = true;
  reader.join();
  EXPECT_EQ(tampered(), 0);
  EXPECT_GT(taken.load(), 0);
}

TEST_F(ArtefactStoreTest, WhatFailedIsRemovedAndWhatComesAfterItStays) {
  ASSERT_TRUE(keep(bundle_, "code"));
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().extension() == ".cwasm") testing::write_file(entry.path(), "evil");
  }
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

}  // namespace
}  // namespace alga::engine
