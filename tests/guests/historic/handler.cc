// The handler in C++ for wasm32, without a library: the canonical ABI by hand, as the smallest
// guests of the field do it. Answers the body of its request and the value of the setting
// `greeting`.
#include <stddef.h>
#include <stdint.h>

namespace {

template <class T>
struct List {
  T* data;
  size_t size;
};
using Text = List<char>;

struct Header {
  Text name, value;
};

struct Response {
  uint16_t status;
  List<Header> headers;
  uint8_t has_body;
  List<uint8_t> body;
};

/// `result<option<string>, config-error>`
struct Setting {
  uint8_t failed;
  alignas(4) uint8_t present;
  Text value;
};

extern "C" __attribute__((import_module("alga:extension/config@1.0.0"), import_name("get"))) void
config_get(const char* key, size_t size, Setting* out);
extern "C" __attribute__((import_module("alga:extension/logging@1.0.0"), import_name("log"))) void
logging_log(int32_t level, const char* message, size_t size);

char arena[1 << 20];
size_t used = 0;
Response response;
Header header{{const_cast<char*>("x-setting"), 9}, {nullptr, 0}};

/// The request as it arrives, flat or (this one) behind a pointer: offsets as the ABI lays it out.
struct Request {
  uint8_t has_request_id;
  Text request_id;
  Text tenant, extension;
  uint8_t has_install;
  Text install;
  uint8_t has_version;
  Text version;
  Text method, url;
  List<Header> headers;
  uint8_t has_body;
  List<uint8_t> body;
};

}  // namespace

extern "C" __attribute__((export_name("cabi_realloc"))) void* cabi_realloc(void*, size_t, size_t,
                                                                           size_t size) {
  used = (used + 15) & ~size_t{15};
  if (used + size > sizeof arena) __builtin_trap();
  void* at = arena + used;
  used += size;
  return at;
}

extern "C" __attribute__((export_name("handler"))) Response* handler(const Request* request) {
  logging_log(1, "C++ runs", 8);
  Setting setting{};
  config_get("greeting", 8, &setting);
  if (setting.failed == 0 && setting.present != 0) header.value = setting.value;
  response = {200, {&header, 1}, request->has_body, request->body};
  return &response;
}
