#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace alga::testing {

/// A folder of a test's own, removed with everything in it.
class TestingFolder {
 public:
  TestingFolder() {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp");
  }
  TestingFolder(const TestingFolder&) = delete;
  TestingFolder& operator=(const TestingFolder&) = delete;
  ~TestingFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Where the file of this name is, or would be.
  [[nodiscard]] std::string path(std::string_view name) const {
    return path_ + "/" + std::string(name);
  }
  /// Writes a file, or replaces one as a whole, and returns its path.
  std::string put(std::string_view name, std::string_view text) const {
    const std::string there = path(name);
    std::ofstream(there + ".new") << text;
    std::filesystem::rename(there + ".new", there);
    return there;
  }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "alga-test-XXXXXX").string();
};

}  // namespace alga::testing
