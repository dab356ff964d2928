#include "control_plane/bundle_content.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>

#include "base/bytes.h"
#include "crypto/digest.h"

namespace alga::control_plane {
namespace {

constexpr std::string_view kManifestPath = "manifest.json";
constexpr std::string_view kComponentPath = "dist/main.wasm";
constexpr std::string_view kSourceMapFolder = "artifacts/source-map/";
constexpr std::uint64_t kSourceMapBytes = 16ULL << 20U;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t most) {
  std::error_code error;
  std::uint64_t size = std::filesystem::file_size(path, error);
  if (error || size > most) {
    return fail(Kind::too_large, "publish.file_too_large",
                fmt::format("{} is too large", path.filename().string()));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  if (!file) {
    return fail(Kind::unavailable, "publish.scratch_unavailable", "cannot read the scratch file");
  }
  return text;
}

boost::json::array json_of(const std::vector<domain::ManifestIssue>& issues) {
  boost::json::array array;
  for (const auto& issue : issues) {
    array.push_back(boost::json::object{
        {"path", issue.path}, {"code", issue.code}, {"message", issue.message}});
  }
  return array;
}

/// Native code has no business in a bundle, whatever its name.
PublishResult<void> refuse_native_code(const BundleContent& content) {
  for (const auto& file : content.files.files) {
    std::array<char, 4> magic{};
    std::ifstream(content.folder / file.path, std::ios::binary).read(magic.data(), magic.size());
    bool elf = std::string_view(magic.data(), magic.size()) ==
               "\x7f"
               "ELF";
    if (elf || to_lower(file.path).ends_with(".cwasm")) {
      return refuse(
          Kind::unprocessable, "publish.native_code", "NATIVE_CODE_REFUSED",
          fmt::format("{} is native code; the platform compiles components itself", file.path));
    }
  }
  return {};
}

PublishResult<void> read_manifest(BundleContent& content) {
  if (content.files.find(kManifestPath) == nullptr) {
    return refuse(Kind::invalid, "publish.manifest_not_found", "MANIFEST_NOT_FOUND",
                  "the bundle has no manifest.json at its root");
  }
  TRY(content.manifest_text, read_file(content.folder / kManifestPath, domain::max_manifest_bytes));
  auto report = domain::parse_manifest(content.manifest_text);
  if (!report.manifest) {
    return refuse(Kind::invalid, "publish.invalid_manifest", "INVALID_MANIFEST",
                  "manifest.json is not valid", json_of(report.issues));
  }
  content.manifest = std::move(*report.manifest);
  for (const auto& warning : report.warnings) {
    content.warnings.push_back({warning.code, warning.message + " (" + warning.path + ")"});
  }
  return {};
}

PublishResult<void> find_component(BundleContent& content) {
  if (content.files.find(kComponentPath) != nullptr) {
    content.component = content.folder / kComponentPath;
    return {};
  }
  // Pages alone are an extension too, as long as nothing promises a handler.
  if (content.manifest.ui_entry && content.manifest.endpoints.empty()) return {};
  return refuse(Kind::invalid, "publish.component_not_found", "COMPONENT_NOT_FOUND",
                "the bundle has no dist/main.wasm");
}

PublishResult<void> read_source_maps(BundleContent& content) {
  std::uint64_t total = 0;
  for (const auto& file : content.files.files) {
    if (!file.path.starts_with(kSourceMapFolder)) continue;
    total += file.size;
    if (total > kSourceMapBytes) {
      content.warnings.push_back(
          {"publish.source_map_too_large", "source maps beyond 16 MiB are not kept"});
      return {};
    }
    TRY(std::string text, read_file(content.folder / file.path, kSourceMapBytes));
    content.source_maps.emplace_back(file.path.substr(kSourceMapFolder.size()), std::move(text));
  }
  return {};
}

}  // namespace

Result<ScratchFolder> ScratchFolder::make(const std::filesystem::path& scratch) {
  std::error_code error;
  std::filesystem::create_directories(scratch, error);
  std::string pattern = (scratch / "publish-XXXXXX").string();
  if (error || ::mkdtemp(pattern.data()) == nullptr) {
    return fail(Kind::unavailable, "publish.scratch_unavailable", "cannot make a scratch folder");
  }
  return ScratchFolder{pattern};
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

PublishResult<void> fetch_archive(const Core& core, const std::string& key,
                                  std::string_view content_hash,
                                  const std::filesystem::path& file) {
  const auto disk_full = [] {
    return fail(Kind::unavailable, "publish.scratch_unavailable", "the scratch disk is full");
  };
  std::unique_ptr<std::FILE, CloseFile> out(std::fopen(file.c_str(), "wbe"));
  if (!out) {
    return std::unexpected(Refusal{
        Error{Kind::unavailable, "publish.scratch_unavailable", "cannot write the scratch file"}});
  }
  crypto::Sha256 hash;
  const auto sink = [&](ByteSpan bytes) -> Status {
    hash.update(bytes);
    if (std::fwrite(bytes.data(), 1, bytes.size(), out.get()) != bytes.size()) return disk_full();
    return {};
  };
  TRY_VOID(core.deps().bundles->get(key, core.options().publishing.max_archive_bytes, sink));
  if (std::fflush(out.get()) != 0) return std::unexpected(Refusal{disk_full().error()});
  if (hash.finish_hex() != content_hash) {
    return refuse(Kind::invalid, "publish.hash_mismatch", "HASH_MISMATCH",
                  "what the store holds has another hash");
  }
  return {};
}

PublishResult<BundleContent> open_bundle(const Core& core, const std::filesystem::path& archive,
                                         const std::filesystem::path& scratch) {
  BundleContent content;
  content.folder = scratch / "content";
  TRY(auto source, archive::file_source(archive));
  archive::Limits limits;
  limits.archive_bytes = core.options().publishing.max_archive_bytes;
  limits.unpacked_bytes = core.options().limits.value(domain::Limit::bundle_unpacked);
  limits.entries =
      static_cast<std::uint32_t>(core.options().limits.value(domain::Limit::bundle_entries));
  auto files =
      archive::extract_bundle(std::move(source), content.folder, limits, *core.deps().random);
  if (!files) domain::count_limit_hit(*core.deps().metrics, files.error().code);
  TRY(content.files, std::move(files));
  for (const std::string& hidden : content.files.skipped) {
    content.warnings.push_back({"publish.hidden_file", hidden + " is hidden and was left out"});
  }
  TRY_VOID(refuse_native_code(content));
  TRY_VOID(read_manifest(content));
  TRY_VOID(find_component(content));
  TRY_VOID(read_source_maps(content));
  return content;
}

}  // namespace alga::control_plane
