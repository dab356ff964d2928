#include "archive/extract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "archive/entry_path.h"
#include "archive/testing.h"

namespace alga::archive {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;
using testing::memory_source;
using testing::TarBuilder;
using testing::TemporaryDirectory;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

class Extract : public ::testing::Test {
 protected:
  Result<ExtractedBundle> extract(std::string archive, Limits limits = {}) {
    return extract_bundle(memory_source(std::move(archive)), destination(), limits, random_);
  }
  /// The code of the refusal; also asserts that a refusal leaves nothing at all behind.
  std::string refusal(std::string archive, Limits limits = {}) {
    const auto result = extract(std::move(archive), limits);
    if (result) return "accepted";
    EXPECT_TRUE(fs::is_empty(directory_.path())) << "left something behind";
    EXPECT_FALSE(result.error().message.empty());
    return std::string(result.error().code);
  }
  [[nodiscard]] fs::path destination() const { return directory_.path() / "out"; }

  TemporaryDirectory directory_;
  SystemRandom random_;
};

TEST_F(Extract, WritesFilesAndTheirDigests) {
  const std::string large(300'000, 'q');
  const auto bundle = extract(
      TarBuilder().directory("./").file("./manifest.json", "abc").file("ui/a/b.js", large).zst());
  ASSERT_TRUE(bundle) << bundle.error().message;
  EXPECT_EQ(read_file(destination() / "manifest.json"), "abc");
  EXPECT_EQ(read_file(destination() / "ui/a/b.js"), large);
  const ExtractedFile* manifest = bundle->find("manifest.json");
  ASSERT_NE(manifest, nullptr);
  EXPECT_EQ(manifest->size, 3U);
  EXPECT_EQ(manifest->sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(bundle->find("missing"), nullptr);
  EXPECT_EQ(bundle->unpacked_bytes, 300'003U);
}

TEST_F(Extract, ReadsItsIndexBack) {
  const auto written =
      extract(TarBuilder().file("b c.txt", "1").file("a.txt", "22").directory("empty").zst());
  ASSERT_TRUE(written);
  const auto read = read_index(destination());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_THAT(read->files, ElementsAre(Field(&ExtractedFile::path, "a.txt"),
                                       Field(&ExtractedFile::path, "b c.txt")));
  EXPECT_EQ(read->find("a.txt")->sha256, written->find("a.txt")->sha256);
  EXPECT_EQ(read->unpacked_bytes, 3U);
  EXPECT_TRUE(fs::is_directory(destination() / "empty"));
}

TEST(DiskBytes, CountsBlocksOfFilesAndDirectories) {
  const TemporaryDirectory folder;
  SystemRandom random;
  const std::string archive =
      TarBuilder().file("a/b/c.js", "x").file("d", std::string(5000, 'x')).zst();
  const auto bundle = extract_bundle(memory_source(archive), folder.path() / "out", {}, random);
  ASSERT_TRUE(bundle);
  // Its own directory, who may have it, the index, a and a/b, one block of c.js and two of d.
  EXPECT_EQ(disk_bytes(*bundle), (1U + 1 + 1 + 2 + 1 + 2) * 4096);
  EXPECT_EQ(disk_bytes(memory_source(archive), {}), disk_bytes(*bundle));
  EXPECT_EQ(disk_bytes(memory_source("no archive"), {}).error().kind, Kind::invalid);
}

TEST_F(Extract, DoesNotBelieveADamagedIndex) {
  ASSERT_TRUE(extract(TarBuilder().file("a").file("b").zst()));
  const std::string whole = read_file(destination() / ".ready");
  std::ofstream(destination() / ".ready") << whole.substr(0, whole.size() - 8);
  EXPECT_EQ(read_index(destination()).error().code, "archive.not_ready");
  std::ofstream(destination() / ".ready") << "alga-bundle-index 1\nend 1\n";
  EXPECT_EQ(read_index(destination()).error().code, "archive.not_ready");
  fs::remove(destination() / ".ready");
  EXPECT_EQ(read_index(destination()).error().code, "archive.not_ready");
}

TEST_F(Extract, KeepsNamesThatAreUtf8) {
  const auto bundle =
      extract(TarBuilder().file("ui/é.svg").pax("path", "ui/ß.svg").file("x").zst());
  ASSERT_TRUE(bundle) << bundle.error().message;
  EXPECT_NE(bundle->find("ui/é.svg"), nullptr);
  EXPECT_NE(bundle->find("ui/ß.svg"), nullptr);
}

TEST_F(Extract, SkipsHiddenEntriesAndSaysSo) {
  const auto bundle =
      extract(TarBuilder().file(".DS_Store").file("ui/.git/config").file("a").file(".ready").zst());
  ASSERT_TRUE(bundle) << bundle.error().message;
  EXPECT_THAT(bundle->skipped, ElementsAre(".DS_Store", "ui/.git/config", ".ready"));
  EXPECT_EQ(bundle->files.size(), 1U);
  EXPECT_FALSE(fs::exists(destination() / ".DS_Store"));
}

TEST_F(Extract, RefusesLinks) {
  EXPECT_EQ(refusal(TarBuilder().entry('2', "a", {}, "/etc/passwd").zst()), "archive.link_entry");
  EXPECT_EQ(refusal(TarBuilder().file("b").entry('1', "a", {}, "b").zst()), "archive.link_entry");
  EXPECT_NE(refusal(TarBuilder().pax("linkpath", "b").entry('1', "a").zst()), "accepted");
}

TEST_F(Extract, RefusesDevicesAndPipes) {
  for (const char type : {'3', '4', '6'}) {
    EXPECT_EQ(refusal(TarBuilder().entry(type, "dev").zst()), "archive.special_entry") << type;
  }
}

TEST_F(Extract, RefusesAbsoluteAndClimbingPaths) {
  EXPECT_EQ(refusal(TarBuilder().file("/etc/passwd").zst()), "archive.absolute_path");
  EXPECT_EQ(refusal(TarBuilder().file("../x").zst()), "archive.path_traversal");
  EXPECT_EQ(refusal(TarBuilder().file("a/../../x").zst()), "archive.path_traversal");
  EXPECT_EQ(refusal(TarBuilder().directory("..").zst()), "archive.path_traversal");
  EXPECT_EQ(refusal(TarBuilder().pax("path", "/abs").file("x").zst()), "archive.absolute_path");
  EXPECT_EQ(refusal(TarBuilder().file(".//etc/passwd").zst()), "archive.invalid_path");
}

TEST_F(Extract, RefusesUnusualNames) {
  EXPECT_EQ(refusal(TarBuilder().file("a\\b").zst()), "archive.invalid_path");
  EXPECT_EQ(refusal(TarBuilder().file("a\nb").zst()), "archive.invalid_path");
  EXPECT_EQ(refusal(TarBuilder().file("a//b").zst()), "archive.invalid_path");
  EXPECT_EQ(refusal(TarBuilder().file("a/./b").zst()), "archive.invalid_path");
  EXPECT_EQ(refusal(TarBuilder().file("\xff\xfe").zst()), "archive.invalid_path");
  EXPECT_EQ(refusal(TarBuilder().file("").zst()), "archive.invalid_path");
}

TEST_F(Extract, RefusesANameWithNul) {
  using namespace std::string_view_literals;
  EXPECT_EQ(refusal(TarBuilder().pax("path", "a.js\0.png"sv).file("x").zst()),
            "archive.invalid_path");
  EXPECT_EQ(refusal(TarBuilder().file("a.js\0.png"sv).zst()), "archive.invalid_path");
  EXPECT_EQ(refusal(TarBuilder().entry('L', "././@LongLink", "a.js\0.png"sv).file("x").zst()),
            "archive.invalid_path");
  EXPECT_EQ(refusal(TarBuilder().file("big", std::string(1U << 20U, 'b')).file("a\0b"sv).zst()),
            "archive.invalid_path");
}

TEST_F(Extract, TakesBinaryExtendedAttributesAndLongNames) {
  using namespace std::string_view_literals;
  const std::string name = "ui/" + std::string(180, 'n');
  const auto bundle = extract(TarBuilder()
                                  .pax("SCHILY.xattr.com.apple.provenance", "\1\0\0"sv)
                                  .file("a")
                                  .entry('L', "././@LongLink", name + '\0')
                                  .file("ui/nnn")
                                  .zst());
  ASSERT_TRUE(bundle) << bundle.error().message;
  EXPECT_NE(bundle->find(name), nullptr);
}

TEST_F(Extract, RefusesNamesThatAreTooLong) {
  EXPECT_EQ(refusal(TarBuilder().pax("path", std::string(256, 'a')).file("x").zst()),
            "archive.path_too_long");
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += "d/";
  EXPECT_EQ(refusal(TarBuilder().file(deep + "f").zst()), "archive.path_too_long");
  std::string wide;
  for (int i = 0; i < 6; ++i) wide += std::string(200, 'w') + '/';
  EXPECT_EQ(refusal(TarBuilder().pax("path", wide + "f").file("x").zst()), "archive.path_too_long");
}

TEST_F(Extract, RefusesDuplicatesAndCaseCollisions) {
  EXPECT_EQ(refusal(TarBuilder().file("a").file("./a").zst()), "archive.duplicate_entry");
  EXPECT_EQ(refusal(TarBuilder().file("a").file("a/b").zst()), "archive.duplicate_entry");
  EXPECT_EQ(refusal(TarBuilder().file("a/b").file("a").zst()), "archive.duplicate_entry");
  EXPECT_EQ(refusal(TarBuilder().file("a").directory("a").zst()), "archive.duplicate_entry");
  EXPECT_EQ(refusal(TarBuilder().file("ui/A.js").file("ui/a.js").zst()), "archive.case_collision");
  EXPECT_EQ(refusal(TarBuilder().file("UI/a.js").file("ui/b.js").zst()), "archive.case_collision");
}

TEST_F(Extract, TakesADirectoryThatIsListedAfterItsFile) {
  EXPECT_TRUE(extract(TarBuilder().file("ui/a").directory("ui").directory("ui/").zst()));
}

TEST_F(Extract, RefusesTruncatedArchives) {
  const TarBuilder tar = TarBuilder().file("a", std::string(5000, 'a')).file("b");
  const std::string whole = tar.zst();
  EXPECT_EQ(refusal(whole.substr(0, whole.size() - 1)), "archive.truncated");
  EXPECT_EQ(refusal(whole.substr(0, whole.size() / 2)), "archive.truncated");
  EXPECT_EQ(refusal(testing::zstd(tar.tar_without_end())), "archive.truncated");
  EXPECT_EQ(refusal(testing::zstd(tar.tar_without_end().substr(0, 3000))), "archive.truncated");
  EXPECT_EQ(refusal(""), "archive.truncated");
}

TEST_F(Extract, RefusesAFileThatIsShorterThanItsHeaderSays) {
  EXPECT_EQ(refusal(TarBuilder().entry('0', "a", "abc", {}, 1'000'000).zst()), "archive.truncated");
}

TEST_F(Extract, RefusesAppendedData) {
  const TarBuilder tar = TarBuilder().file("a");
  EXPECT_EQ(refusal(tar.zst() + "x"), "archive.trailing_data");
  EXPECT_EQ(refusal(tar.zst() + tar.zst()), "archive.trailing_data");
  EXPECT_EQ(refusal(testing::zstd(tar.tar() + tar.tar())), "archive.trailing_data");
  EXPECT_EQ(refusal(testing::zstd(tar.tar() + "hidden" + std::string(2042, '\0'))),
            "archive.trailing_data");
  // Padding to the record size of GNU tar is normal.
  EXPECT_EQ(refusal(testing::zstd(tar.tar() + std::string(8192, '\0'))), "accepted");
}

TEST_F(Extract, RefusesWhatIsNotZstdOrNotTar) {
  EXPECT_EQ(refusal("PK\x03\x04 this is a zip, perhaps"), "archive.not_zstd");
  EXPECT_EQ(refusal(testing::zstd(std::string(4096, 'z'))), "archive.corrupt");
  std::string flipped = TarBuilder().file("a", std::string(100, 'a')).zst();
  flipped[4] = static_cast<char>(flipped[4] ^ 0x08);  // a reserved bit of the frame header
  EXPECT_EQ(refusal(flipped), "archive.corrupt");
}

TEST_F(Extract, RefusesBombsBeforeTheyUnfold) {
  Limits limits;
  limits.unpacked_bytes = 1U << 20U;
  EXPECT_EQ(refusal(TarBuilder().file("zeros", std::string(50U << 20U, '\0')).zst(), limits),
            "archive.unpacked_too_large");
  limits = {};
  limits.entries = 100;
  TarBuilder many;
  for (int i = 0; i < 101; ++i) many.file("f" + std::to_string(i), "");
  EXPECT_EQ(refusal(many.zst(), limits), "archive.too_many_entries");
  limits = {};
  limits.archive_bytes = 5000;
  std::string noise(20'000, '\0');
  random_.fill({reinterpret_cast<std::uint8_t*>(noise.data()), noise.size()});
  EXPECT_EQ(refusal(TarBuilder().file("noise", noise).zst(), limits), "archive.too_large");
}

TEST_F(Extract, CountsSkippedEntriesToo) {
  Limits limits;
  limits.entries = 10;
  TarBuilder many;
  for (int i = 0; i < 11; ++i) many.file(".hidden" + std::to_string(i), "");
  EXPECT_EQ(refusal(many.zst(), limits), "archive.too_many_entries");
}

TEST_F(Extract, RefusesAWindowThatNeedsTooMuchMemory) {
  Limits limits;
  limits.window_log = 20;
  const TarBuilder tar = TarBuilder().file("a", std::string(3U << 20U, 'a'));
  EXPECT_EQ(refusal(testing::zstd(tar.tar(), 22), limits), "archive.window_too_large");
}

TEST_F(Extract, RefusesSparseFiles) {
  EXPECT_EQ(refusal(TarBuilder()
                        .pax("GNU.sparse.size", "1000000")
                        .pax("GNU.sparse.map", "0,1")
                        .file("a", "x")
                        .zst())
                .substr(0, 8),
            "archive.");
}

TEST_F(Extract, SurvivesAChainOfPaxHeaders) {
  TarBuilder chain;
  for (int i = 0; i < 10'000; ++i) chain.pax("path", "a");
  EXPECT_EQ(refusal(chain.file("x").zst()), "archive.corrupt");
}

TEST_F(Extract, RefusesAnExistingDestination) {
  ASSERT_TRUE(extract(TarBuilder().file("a", "first").zst()));
  const auto again = extract(TarBuilder().file("a", "second").zst());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, "archive.destination_exists");
  EXPECT_EQ(read_file(destination() / "a"), "first");
}

TEST_F(Extract, ReportsAParentThatIsMissing) {
  const auto result = extract_bundle(memory_source(TarBuilder().file("a").zst()),
                                     directory_.path() / "no" / "out", {}, random_);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, "archive.io");
}

TEST_F(Extract, PassesOnTheErrorOfItsSource) {
  const auto result = extract_bundle(
      []() -> Result<ByteSpan> { return fail(Kind::unavailable, "blob.unavailable", "gone"); },
      destination(), {}, random_);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, "blob.unavailable");
  EXPECT_TRUE(fs::is_empty(directory_.path()));
}

TEST_F(Extract, NeverAcceptsOrCrashesOnFlippedBytes) {
  const std::string whole =
      TarBuilder().file("manifest.json", "{}").pax("path", "ui/long name").file("x", "yy").tar();
  for (std::size_t at = 0; at < whole.size(); at += 7) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x41);
    const auto result = extract(testing::zstd(flipped));
    if (result) {
      // Only padding, contents or fields that we ignore may change without being noticed.
      for (const ExtractedFile& file : result->files) EXPECT_TRUE(parse_entry_path(file.path));
      fs::remove_all(destination());
    }
    EXPECT_TRUE(fs::is_empty(directory_.path())) << at;
  }
}

}  // namespace
}  // namespace alga::archive
