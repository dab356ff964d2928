#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include "domain/ports/bundle_store.h"

/// What every writable BundleStore must do; run against each implementation.
namespace alga::blob::testing {

inline Result<std::string> read_object(domain::BundleStore& store, std::string_view key,
                                       std::uint64_t max_bytes = 64U << 20U) {
  std::string bytes;
  TRY_VOID(store.get(key, max_bytes, [&bytes](ByteSpan piece) -> Status {
    bytes += as_text(piece);
    return {};
  }));
  return bytes;
}

class Contract {
 public:
  /// `directory` is for the files that are put.
  Contract(domain::BundleStore& store, std::filesystem::path directory)
      : store_(store), directory_(std::move(directory)) {}

  void expect_that_nothing_is_there() {
    EXPECT_EQ(read(key_).error().code, "blob.not_found");
    EXPECT_EQ(store_.exists(key_).value(), false);
    EXPECT_EQ(store_.remove(key_).error().code, "blob.not_found");
  }

  void expect_what_was_put_whatever_its_bytes_and_size() {
    const std::string binary("a\0\xff\r\n+ %", 8);
    ASSERT_TRUE(store_.put_file(key_, file(binary)));
    EXPECT_EQ(read(key_).value(), binary);
    EXPECT_EQ(store_.exists(key_).value(), true);
    ASSERT_TRUE(store_.put_file("a/empty", file("")));
    EXPECT_EQ(read("a/empty").value(), "");
    std::string large;
    for (int i = 0; large.size() < 3U << 20U; ++i) large += std::to_string(i);
    ASSERT_TRUE(store_.put_file("a/large", file(large)));
    EXPECT_EQ(read("a/large").value(), large);
  }

  void expect_that_a_second_put_replaces() {
    ASSERT_TRUE(store_.put_file(key_, file("second")));
    EXPECT_EQ(read(key_).value(), "second");
  }

  void expect_bounds_and_that_the_sink_can_stop_the_stream() {
    EXPECT_EQ(read_object(store_, "a/large", 1000).error().code, "blob.too_large");
    const auto stop = [](ByteSpan) -> Status { return fail(Kind::conflict, "test.stop", "stop"); };
    EXPECT_EQ(store_.get("a/large", 64U << 20U, stop).error().code, "test.stop");
  }

  void expect_that_removed_is_gone_and_its_neighbours_are_not() {
    ASSERT_TRUE(store_.remove(key_));
    EXPECT_EQ(store_.exists(key_).value(), false);
    EXPECT_EQ(store_.exists("a/large").value(), true);
    ASSERT_TRUE(store_.remove("a/large"));
    ASSERT_TRUE(store_.remove("a/empty"));
  }

  void expect_that_keys_that_climb_are_refused() {
    for (const char* bad : {"../x", "/etc/passwd", "a//b", "a/.b", ""}) {
      EXPECT_EQ(read(bad).error().code, "blob.invalid_key") << bad;
      EXPECT_EQ(store_.put_file(bad, file("x")).error().code, "blob.invalid_key") << bad;
      EXPECT_EQ(store_.remove(bad).error().code, "blob.invalid_key") << bad;
      EXPECT_EQ(store_.exists(bad).error().code, "blob.invalid_key") << bad;
    }
  }

 private:
  Result<std::string> read(std::string_view key) { return read_object(store_, key); }
  std::string file(const std::string& content) {
    const auto path = directory_ / "upload";
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }

  domain::BundleStore& store_;
  const std::filesystem::path directory_;
  const std::string key_ = "sha256/0123/bundle.tar.zst";
};

/// `directory` is for the files that are put.
inline void expect_bundle_store(domain::BundleStore& store,
                                const std::filesystem::path& directory) {
  ASSERT_TRUE(store.probe());
  Contract contract(store, directory);
  contract.expect_that_nothing_is_there();
  contract.expect_what_was_put_whatever_its_bytes_and_size();
  contract.expect_that_a_second_put_replaces();
  contract.expect_bounds_and_that_the_sink_can_stop_the_stream();
  contract.expect_that_removed_is_gone_and_its_neighbours_are_not();
  contract.expect_that_keys_that_climb_are_refused();
}

}  // namespace alga::blob::testing
