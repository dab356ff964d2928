// The handler of trivial.js in C++ for wasm32, without a library: the canonical ABI by hand.
#include <stddef.h>
#include <stdint.h>

namespace {

template <class T>
struct List {
  T* data;
  size_t size;
};
using Text = List<const char>;

struct Header {
  Text name, value;
};

struct Response {
  uint16_t status;
  List<const Header> headers;
  uint8_t has_body;
  Text body;
};

/// The request behind a pointer: offsets as the canonical ABI lays it out.
struct Request {
  uint8_t has_request_id;
  Text request_id;
  Text tenant, extension;
  uint8_t has_install;
  Text install;
  uint8_t has_version;
  Text version;
  Text method, url;
  List<const Header> headers;
  uint8_t has_body;
  Text body;
};

char arena[1 << 16];
size_t used = 0;
const Header header{{"content-type", 12}, {"application/json", 16}};
Response response;

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
  const bool rooted = request->url.size > 0 && request->url.data[0] == '/';
  response = {static_cast<uint16_t>(rooted ? 200 : 400), {&header, 1}, 1, {"{\"ok\":true}", 11}};
  return &response;
}
