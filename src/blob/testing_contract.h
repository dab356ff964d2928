#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

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

/// `directory` is for the files that are put.
inline void expect_bundle_store(domain::BundleStore& store,
                                const std::filesystem::path& directory) {
  const auto file = [&directory](const std::string& content) {
    const auto path = directory / "upload";
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  };
  ASSERT_TRUE(store.probe());
  const std::string key = "sha256/0123/bundle.tar.zst";

  // What is not there.
  EXPECT_EQ(read_object(store, key).error().code, "blob.not_found");
  EXPECT_EQ(store.exists(key).value(), false);
  EXPECT_EQ(store.remove(key).error().code, "blob.not_found");

  // What was put comes back, whatever its bytes and size.
  const std::string binary("a\0\xff\r\n+ %", 8);
  ASSERT_TRUE(store.put_file(key, file(binary)));
  EXPECT_EQ(read_object(store, key).value(), binary);
  EXPECT_EQ(store.exists(key).value(), true);
  ASSERT_TRUE(store.put_file("a/empty", file("")));
  EXPECT_EQ(read_object(store, "a/empty").value(), "");
  std::string large;
  for (int i = 0; large.size() < 3U << 20U; ++i) large += std::to_string(i);
  ASSERT_TRUE(store.put_file("a/large", file(large)));
  EXPECT_EQ(read_object(store, "a/large").value(), large);

  // A second put replaces the object.
  ASSERT_TRUE(store.put_file(key, file("second")));
  EXPECT_EQ(read_object(store, key).value(), "second");

  // Bounds hold, and the sink can stop the stream.
  EXPECT_EQ(read_object(store, "a/large", 1000).error().code, "blob.too_large");
  EXPECT_EQ(store
                .get("a/large", 64U << 20U,
                     [](ByteSpan) -> Status { return fail(Kind::conflict, "test.stop", "stop"); })
                .error()
                .code,
            "test.stop");

  // Removed is gone, its neighbours are not.
  ASSERT_TRUE(store.remove(key));
  EXPECT_EQ(store.exists(key).value(), false);
  EXPECT_EQ(store.exists("a/large").value(), true);
  ASSERT_TRUE(store.remove("a/large"));
  ASSERT_TRUE(store.remove("a/empty"));

  // Keys that climb never reach the store.
  for (const char* bad : {"../x", "/etc/passwd", "a//b", "a/.b", ""}) {
    EXPECT_EQ(read_object(store, bad).error().code, "blob.invalid_key") << bad;
    EXPECT_EQ(store.put_file(bad, file("x")).error().code, "blob.invalid_key") << bad;
    EXPECT_EQ(store.remove(bad).error().code, "blob.invalid_key") << bad;
    EXPECT_EQ(store.exists(bad).error().code, "blob.invalid_key") << bad;
  }
}

}  // namespace alga::blob::testing
