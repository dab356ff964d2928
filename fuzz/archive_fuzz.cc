#include <filesystem>
#include <set>
#include <string>

#include "archive/extract.h"
#include "base/random.h"
#include "property.h"

namespace {

namespace fs = std::filesystem;
using alga::fuzz::must;

fs::path own_folder() {
  std::string pattern = (fs::temp_directory_path() / "archive-fuzz.XXXXXX").string();
  must(mkdtemp(pattern.data()) != nullptr, "a temporary folder can be made");
  return pattern;
}

}  // namespace

// Whatever the bytes are: nothing is written outside the destination, and nothing is left behind.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace alga;
  static const fs::path folder = own_folder();
  static SystemRandom random;
  const fs::path destination = folder / "bundle";
  bool given = false;
  archive::ByteSource source = [&]() -> Result<ByteSpan> {
    if (given) return ByteSpan{};
    given = true;
    return ByteSpan{data, size};
  };
  const archive::Limits limits{
      .archive_bytes = 1U << 20U, .unpacked_bytes = 4U << 20U, .entries = 200};
  auto bundle = archive::extract_bundle(std::move(source), destination, limits, random);
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  if (!bundle) {
    must(names.empty(), "a refused archive leaves nothing");
    return 0;
  }
  must(names == std::set<std::string>{"bundle"}, "an archive writes to its destination only");
  std::uint64_t bytes = 0;
  for (const auto& file : bundle->files) {
    must(fs::is_regular_file(fs::symlink_status(destination / file.path)),
         "files are regular files");
    bytes += file.size;
  }
  must(bytes == bundle->unpacked_bytes && bytes <= limits.unpacked_bytes,
       "sizes add up and are bounded");
  fs::remove_all(destination);
  return 0;
}
