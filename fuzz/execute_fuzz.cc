// A body of `POST /v1/execute` that is taken holds nothing that its parser promised to refuse, and
// whatever a guest answers becomes JSON.
#include "json/parse.h"
#include "property.h"
#include "runner/execute_json.h"

using namespace alga;
using fuzz::must;

namespace {

void answer_with(std::string_view text) {
  domain::ExecuteResponse response;
  response.status = 200;
  response.headers = {{"x-a", std::string(text)}, {"x-a", "again"}};
  response.body = std::string(text);
  response.error = std::string(text);
  const std::string answer = runner::execute_response_to_json(response, "request");
  const auto read = json::parse(answer, {.max_bytes = std::size_t{1} << 24U, .max_depth = 8});
  must(read.has_value(), "an answer is strict JSON");
  must(read->as_object().at("header_list").as_array().size() == 2, "no header gets lost");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  const auto request = runner::execute_request_from_json(text, std::size_t{1} << 20U);
  if (request) {
    must(is_identifier(request->tenant.str()), "the tenant is an identifier");
    must(is_identifier(request->extension.str()), "the extension is an identifier");
    must(request->content_hash.hex().size() == 64, "the hash is a SHA-256");
    must(request->http.url.starts_with('/'), "the URL begins with a slash");
    must(request->limits.timeout_ms.value_or(1) != 0, "no limit of zero");
    must(request->limits.memory_mb.value_or(1) != 0, "no limit of zero");
  } else {
    must(!request.error().code.empty(), "a refusal has a code");
  }
  answer_with(text);
  return 0;
}
