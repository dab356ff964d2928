#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "archive/extract.h"
#include "control_plane/component_check.h"
#include "control_plane/core.h"
#include "control_plane/refusal.h"
#include "domain/manifest.h"

namespace alga::control_plane {

/// A private folder below `scratch` that vanishes with the object.
class ScratchFolder {
 public:
  [[nodiscard]] static Result<ScratchFolder> make(const std::filesystem::path& scratch);
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder();
  [[nodiscard]] const std::filesystem::path& path() const [[clang::lifetimebound]] { return path_; }

 private:
  explicit ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

/// A bundle that has been unpacked and whose manifest is valid.
struct BundleContent {
  std::filesystem::path folder;
  archive::ExtractedBundle files;
  domain::Manifest manifest;
  std::string manifest_text;
  std::optional<std::filesystem::path> component;  ///< none in a bundle of pages only
  std::vector<std::pair<std::string, std::string>> source_maps;
  std::vector<PublishWarning> warnings;
};

/// Writes the object `key` of the bundle store to a new file; refuses with `HASH_MISMATCH` what has
/// another SHA-256 (hex) than `content_hash`.
[[nodiscard]] PublishResult<void> fetch_archive(const Core& core, const std::string& key,
                                                std::string_view content_hash,
                                                const std::filesystem::path& file);

/// Unpacks `archive` to a folder below `scratch` and reads the manifest. Refuses with
/// `INVALID_BUNDLE`, `MANIFEST_NOT_FOUND`, `INVALID_MANIFEST` (with issues), `NATIVE_CODE_REFUSED`
/// and `COMPONENT_NOT_FOUND`.
[[nodiscard]] PublishResult<BundleContent> open_bundle(const Core& core,
                                                       const std::filesystem::path& archive,
                                                       const std::filesystem::path& scratch);

}  // namespace alga::control_plane
