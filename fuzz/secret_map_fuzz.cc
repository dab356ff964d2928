#include <boost/json/object.hpp>

#include "domain/secret_map.h"
#include "json/parse.h"
#include "property.h"

namespace {

using namespace alga;
using domain::SecretMap;
using fuzz::must;

bool is_object_of_strings(const Result<json::Value>& value) {
  if (!value || !value->is_object() || value->as_object().size() > SecretMap::max_secrets) {
    return false;
  }
  for (const auto& member : value->as_object()) {
    bool good = member.value().is_string() && !member.key().empty() && member.key().size() <= 256;
    if (!good) return false;
  }
  return true;
}

}  // namespace

// The parser that writes into locked memory takes what the ordinary one takes for an object of
// strings, and reads the same from it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto map = SecretMap::from_json(crypto::LockedBytes::copy_of({data, size}));
  auto value = json::parse(fuzz::text_of(data, size));
  must(map.has_value() == is_object_of_strings(value), "both parsers agree on the form");
  if (!map) return 0;
  must(map->size() == value->as_object().size(), "both find as many secrets");
  for (const auto& member : value->as_object()) {
    must(map->reveal(member.key()) == std::string_view{member.value().as_string()},
         "both read the same value");
  }
  auto again = SecretMap::from_json(map->to_json());
  must(again.has_value() && again->names() == map->names(), "a map survives its own JSON");
  return 0;
}
