#include "runner/ui_rules.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/bytes.h"

namespace alga::runner {
namespace {

constexpr std::string_view folder = "ui/";
constexpr std::string_view html = "text/html; charset=utf-8";
constexpr std::string_view unknown_type = "application/octet-stream";

constexpr std::array<std::pair<std::string_view, std::string_view>, 40> types{{
    {"aac", "audio/aac"},
    {"apng", "image/apng"},
    {"avif", "image/avif"},
    {"bmp", "image/bmp"},
    {"css", "text/css; charset=utf-8"},
    {"csv", "text/csv; charset=utf-8"},
    {"flac", "audio/flac"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"htm", html},
    {"html", html},
    {"ico", "image/x-icon"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript; charset=utf-8"},
    {"json", "application/json"},
    {"m4a", "audio/mp4"},
    {"map", "application/json"},
    {"md", "text/markdown; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"ogg", "audio/ogg"},
    {"otf", "font/otf"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"svg", "image/svg+xml; charset=utf-8"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain; charset=utf-8"},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml; charset=utf-8"},
    {"xml", "application/xml; charset=utf-8"},
}};
static_assert(std::ranges::is_sorted(types, {}, [](const auto& one) { return one.first; }));

constexpr std::string_view built_in_policy =
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' "
    "data:; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'self'; form-action "
    "'self'";

/// Behind the last dot of the last segment, lower case; empty without one.
std::string extension_of(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string{} : to_lower(name.substr(dot + 1));
}

bool is_page(std::string_view extension) {
  return extension.empty() || extension == "html" || extension == "htm";
}

/// Browsers say what they are about to do with the answer; other clients what they would take.
bool is_navigation(const UiRequest& request) {
  if (!is_page(extension_of(request.path))) return false;
  if (!request.fetch_mode.empty()) return iequals(request.fetch_mode, "navigate");
  const std::string accept = to_lower(request.accept);
  return accept.empty() || accept.contains("text/html") || accept.contains("*/*");
}

/// The weight of one element such as `gzip;q=0.5`; 1 when it says none, 0 when it is no number.
double weight_of(std::string_view element) {
  const std::size_t at = element.find("q=");
  if (at == std::string_view::npos) return 1;
  const std::string_view text = trim(element.substr(at + 2));
  double weight = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
  return error == std::errc{} && end == text.data() + text.size() ? weight : 0;
}

bool is_plain_policy(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c < 0x7F; });
}

}  // namespace

Result<std::string> ui_path(std::string_view decoded) {
  const auto refuse = [] {
    return fail(Kind::invalid, "ui.invalid_path", "the path is not one of a page or its files");
  };
  if (decoded.size() > archive::kMaxPathBytes || !is_utf8(decoded)) return refuse();
  const bool plain = std::ranges::all_of(decoded, [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F && c != '\\';
  });
  if (!plain) return refuse();
  std::string path;
  while (!decoded.empty()) {
    const std::size_t slash = std::min(decoded.find('/'), decoded.size());
    const std::string_view segment = decoded.substr(0, slash);
    decoded.remove_prefix(std::min(slash + 1, decoded.size()));
    if (segment.empty()) continue;
    if (segment.starts_with('.') || segment.ends_with('.')) return refuse();
    if (!path.empty()) path += '/';
    path += segment;
  }
  return path;
}

std::string_view ui_content_type(std::string_view path) {
  const std::string extension = extension_of(path);
  const auto* found = std::ranges::lower_bound(types, std::string_view(extension), {},
                                               [](const auto& one) { return one.first; });
  return found != types.end() && found->first == extension ? found->second : unknown_type;
}

bool is_ui_document(std::string_view content_type) {
  return content_type.starts_with("text/html") || content_type.contains("xml") ||
         content_type == "application/pdf";
}

bool accepts_coding(std::string_view accept_encoding, std::string_view coding) {
  bool any = false;
  while (!accept_encoding.empty()) {
    const std::size_t comma = std::min(accept_encoding.find(','), accept_encoding.size());
    const std::string_view element = accept_encoding.substr(0, comma);
    accept_encoding.remove_prefix(std::min(comma + 1, accept_encoding.size()));
    const std::string_view name = trim(element.substr(0, element.find(';')));
    if (iequals(name, coding)) return weight_of(element) > 0;
    if (name == "*") any = weight_of(element) > 0;
  }
  return any;
}

std::optional<UiFile> choose_ui_file(const archive::ExtractedBundle& index, std::string_view entry,
                                     const UiRequest& request) {
  const auto find = [&index](std::string_view below, std::string_view suffix) {
    std::string path(folder);
    path.append(below).append(suffix);
    return index.find(path);
  };
  std::string path = request.path.empty() ? std::string(entry) : request.path;
  const archive::ExtractedFile* plain = find(path, "");
  if (plain == nullptr && is_navigation(request)) {
    path = entry;
    plain = find(path, "");
  }
  if (plain == nullptr) return std::nullopt;
  UiFile chosen{.file = plain, .content_type = std::string(ui_content_type(path))};
  for (const auto& [coding, suffix] :
       {std::pair<std::string_view, std::string_view>{"br", ".br"}, {"gzip", ".gz"}}) {
    const archive::ExtractedFile* packed = find(path, suffix);
    if (packed == nullptr) continue;
    chosen.varies_by_coding = true;
    if (!chosen.coding.empty() || !accepts_coding(request.accept_encoding, coding)) continue;
    chosen.file = packed;
    chosen.coding = coding;
  }
  return chosen;
}

Result<std::string> ui_content_policy(std::string_view operators,
                                      const std::vector<std::string>& ancestors) {
  if (!is_plain_policy(operators)) {
    return fail(Kind::invalid, "config.bad_value", "runner.ui.content_security_policy");
  }
  if (!operators.empty()) return std::string(operators);
  std::string policy(built_in_policy);
  policy += "; frame-ancestors";
  if (ancestors.empty()) policy += " 'self'";
  for (const std::string& ancestor : ancestors) {
    if (ancestor.empty() || !is_plain_policy(ancestor) ||
        ancestor.find_first_of(" ;,") != std::string::npos) {
      return fail(Kind::invalid, "config.bad_value", "runner.ui.frame_ancestors: " + ancestor);
    }
    policy += ' ' + ancestor;
  }
  return policy;
}

std::optional<std::string> ui_host(std::string_view header) {
  const std::size_t colon = header.find(':');
  std::string host = to_lower(header.substr(0, colon));
  if (host.ends_with('.')) host.pop_back();
  const bool plain = std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
  if (host.empty() || host.size() > 253 || !plain || host.contains("..")) return std::nullopt;
  return host;
}

}  // namespace alga::runner
