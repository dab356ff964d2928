#include "httpd/head.h"
#include "property.h"

// A head that is taken is unambiguous: one way to find its end, no controls, one framing.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace alga;
  std::string_view received = fuzz::text_of(data, size);
  const httpd::HeadLimits limits;
  auto end = httpd::find_head(received, limits);
  if (!end || !*end) return 0;
  fuzz::must(**end <= received.size() && **end <= limits.max_bytes, "a head ends within its limit");
  auto head = httpd::parse_head(received.substr(0, **end), limits);
  if (!head) {
    fuzz::must(head.error().status >= 400 && !head.error().code.empty(),
               "a fault has a status and a code");
    return 0;
  }
  fuzz::must(head->path.starts_with('/') || head->path == "*", "a target is in origin form");
  fuzz::must(!(head->chunked && head->content_length > 0), "one framing only");
  fuzz::must(head->headers.size() <= limits.max_fields, "fields are bounded");
  for (const auto& field : head->headers) {
    for (char c : field.name + field.value) {
      fuzz::must(c != '\r' && c != '\n' && c != '\0', "no line ends in fields");
    }
  }
  for (char c : head->path + head->query) {
    fuzz::must(static_cast<unsigned char>(c) > 0x20 && c != 0x7f,
               "no controls or blanks in targets");
  }
  return 0;
}
