#include "domain/endpoint.h"

#include <algorithm>

namespace alga::domain {
namespace {

std::string_view strip_slashes(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  return path;
}

std::string_view take_segment(std::string_view& path) {
  std::size_t slash = std::min(path.find('/'), path.size());
  std::string_view segment = path.substr(0, slash);
  path.remove_prefix(std::min(slash + 1, path.size()));
  return segment;
}

bool method_fits(std::string_view declared, std::string_view method) {
  return declared == method || (method == "HEAD" && declared == "GET");
}

bool path_fits(std::string_view pattern, std::string_view path) {
  while (!pattern.empty()) {
    std::string_view wanted = take_segment(pattern);
    if (wanted == "*" && pattern.empty()) return !path.empty();
    std::string_view segment = take_segment(path);
    bool parameter = wanted.size() > 1 && wanted.starts_with(':');
    if (parameter ? segment.empty() : segment != wanted) return false;
  }
  return path.empty();
}

}  // namespace

std::string normalise_endpoint_path(std::string_view path) {
  return "/" + std::string(strip_slashes(path));
}

const Endpoint* match_endpoint(std::span<const Endpoint> endpoints, std::string_view method,
                               std::string_view path) {
  path = strip_slashes(path);
  auto found = std::ranges::find_if(endpoints, [&](const Endpoint& endpoint) {
    return method_fits(endpoint.method, method) && path_fits(strip_slashes(endpoint.path), path);
  });
  return found == endpoints.end() ? nullptr : &*found;
}

}  // namespace alga::domain
