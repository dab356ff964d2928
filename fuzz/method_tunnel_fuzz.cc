// Taking the marker out of a tunnelled request leaves the rest as it was: JSON stays JSON.
#include "gateway/method_tunnel.h"
#include "json/parse.h"
#include "property.h"

using namespace alga;
using fuzz::must;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto [query, body] = fuzz::two_texts(data, size);
  const auto before = json::parse(body, {.max_bytes = std::size_t{1} << 20U, .max_depth = 64});
  const auto after =
      gateway::untunnel({"POST", std::string(query), std::string(body)}, "application/json");
  if (!after) return 0;
  must(!("&" + after->query).contains("&__method="), "no marker is left in the query");
  const std::optional<std::string>& left = after->body;
  if (!before || !before->is_object() || !left || *left == body) return 0;
  const auto rest = json::parse(*left, {.max_bytes = std::size_t{1} << 20U, .max_depth = 64});
  must(rest.has_value() && rest->is_object(), "what is left is an object");
  boost::json::object wanted = before->as_object();
  wanted.erase("__method");
  must(rest->as_object() == wanted, "everything else is left");
  return 0;
}
