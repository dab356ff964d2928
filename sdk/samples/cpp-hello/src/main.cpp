#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "extension.h"

namespace {

std::string_view view(const extension_string_t& text) {
  return {reinterpret_cast<const char*>(text.ptr), text.len};
}

// The bindings free what a response holds, so it is copied into memory that they own.
std::uint8_t* copy(std::string_view text) {
  auto* bytes = static_cast<std::uint8_t*>(std::malloc(text.empty() ? 1 : text.size()));
  std::memcpy(bytes, text.data(), text.size());
  return bytes;
}

void log_info(std::string_view message) {
  extension_string_t line{copy(message), message.size()};
  alga_extension_logging_log(ALGA_EXTENSION_LOGGING_LOG_LEVEL_INFO, &line);
  extension_string_free(&line);
}

}  // namespace

extern "C" void exports_extension_handler(extension_execute_request_t* request,
                                          extension_execute_response_t* response) {
  const std::string_view url = view(request->http.url);
  log_info(std::string("C++ answers ") + std::string(url));
  const bool found = url == "/hello" || url.starts_with("/hello?");
  const std::string body = found ? R"({"hello":"world","from":"C++"})" : R"({"error":"not found"})";

  using Header = alga_extension_types_http_header_t;
  auto* header = static_cast<Header*>(std::malloc(sizeof(Header)));
  constexpr std::string_view name = "content-type", value = "application/json";
  *header = {{copy(name), name.size()}, {copy(value), value.size()}};
  response->status = found ? 200 : 404;
  response->headers = {header, 1};
  response->body = {true, {copy(body), body.size()}};
  extension_execute_request_free(request);
}
