// Whatever a browser asks for, the file that answers lies in the folder of the pages.
#include "httpd/url.h"
#include "property.h"
#include "runner/ui_rules.h"

using namespace alga;
using fuzz::must;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto [asked, headers] = fuzz::two_texts(data, size);
  static const archive::ExtractedBundle bundle{.files = {{"SIGNATURE", 1, ""},
                                                         {"dist/main.wasm", 1, ""},
                                                         {"manifest.json", 1, ""},
                                                         {"ui/a.js", 1, ""},
                                                         {"ui/a.js.br", 1, ""},
                                                         {"ui/index.html", 1, ""}},
                                               .skipped = {}};
  const auto decoded = httpd::percent_decode(asked);
  if (const auto path = runner::ui_path(decoded ? *decoded : asked)) {
    must(!("/" + *path + "/").contains("/../") && !path->starts_with('/'), "a path stays below");
    must(!("/" + *path).contains("/."), "nothing hidden is asked for");
    const runner::UiRequest request{.path = *path,
                                    .accept = std::string(headers),
                                    .accept_encoding = std::string(headers),
                                    .fetch_mode = {}};
    if (const auto chosen = runner::choose_ui_file(bundle, "index.html", request)) {
      must(chosen->file->path.starts_with("ui/"), "only pages are shown");
      must(chosen->coding.empty() || runner::accepts_coding(headers, chosen->coding),
           "nobody gets an encoding that was not asked for");
    }
  }
  if (const auto host = runner::ui_host(asked)) {
    must(host->find_first_of("/?#@:% \\") == std::string::npos, "a host name is one");
  }
  if (const auto policy = runner::ui_content_policy("", {std::string(asked)})) {
    must(policy->find(';', policy->find("frame-ancestors")) == std::string::npos,
         "an ancestor opens no other directive");
  }
  return 0;
}
