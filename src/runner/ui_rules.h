#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "archive/extract.h"
#include "base/result.h"

// What the static pages of an extension are by rule, without I/O: which file answers a path, as
// what type, in which encoding, under which policy.

namespace alga::runner {

/// The path below the UI folder, doubled slashes collapsed. Error: `ui.invalid_path` for hidden
/// segments, segments with a trailing dot and whatever is no plain UTF-8 path. `decoded` has had
/// its escapes resolved.
[[nodiscard]] Result<std::string> ui_path(std::string_view decoded);

/// By the last extension of the name; text types carry a charset. `application/octet-stream` for
/// what is not known, which browsers neither show nor run.
[[nodiscard]] std::string_view ui_content_type(std::string_view path);

/// Whether a browser makes a document of it, with scripts: it then needs the content policy.
[[nodiscard]] bool is_ui_document(std::string_view content_type);

/// Whether `accept_encoding` (RFC 9110 section 12.5.3) takes the coding.
[[nodiscard]] bool accepts_coding(std::string_view accept_encoding, std::string_view coding);

struct UiRequest {
  std::string path;  ///< from ui_path()
  std::string accept, accept_encoding, fetch_mode;
};

/// The file that answers, of the bundle's index.
struct UiFile {
  const archive::ExtractedFile* file = nullptr;
  std::string content_type;
  std::string_view coding;        ///< `br`, `gzip` or empty
  bool varies_by_coding = false;  ///< a packed twin exists
};

/// Only files below `ui/`. What is not there is answered with `entry` when a browser navigates: to
/// a path without extension or to a page. None: 404.
[[nodiscard]] std::optional<UiFile> choose_ui_file(const archive::ExtractedBundle& index
                                                   [[clang::lifetimebound]],
                                                   std::string_view entry,
                                                   const UiRequest& request);

/// The `Content-Security-Policy` of documents: the operator's, or the built-in one with
/// `frame-ancestors` (nobody but the page's own origin when there are none). Error:
/// `config.bad_value` for text that would break out of its place.
[[nodiscard]] Result<std::string> ui_content_policy(std::string_view operators,
                                                    const std::vector<std::string>& ancestors);

/// Host name of a Host header: lower case, without port and trailing dot; none for what is no DNS
/// name.
[[nodiscard]] std::optional<std::string> ui_host(std::string_view header);

}  // namespace alga::runner
