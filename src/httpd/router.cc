#include <algorithm>
#include <array>

#include "httpd/message.h"
#include "httpd/url.h"

namespace alga::httpd {

struct Router::Route {
  std::string method;
  std::string pattern;
  std::vector<std::string> parameters;  ///< names, in the order of the path
  RouteOptions options;
  Handler handler;
  std::size_t index = 0;
};

/// A tree over path segments.
struct Router::Node {
  std::map<std::string, std::unique_ptr<Node>, std::less<>> literals;
  std::unique_ptr<Node> parameter;
  std::vector<const Route*> here;  ///< routes that end at this segment
  std::vector<const Route*> rest;  ///< routes that take whatever follows
};

namespace {

std::vector<std::string_view> segments_of(std::string_view path) {
  std::vector<std::string_view> segments;
  path.remove_prefix(1);
  while (true) {
    const std::size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

/// One walk down the tree: the first route that fits path and method, else the methods that would.
struct Router::Search {
  std::string_view method;
  std::vector<std::string_view> segments;
  std::vector<std::string> values;
  std::vector<std::string> allowed;
  const Route* found = nullptr;

  bool choose(const std::vector<const Route*>& candidates) {
    const std::array<std::string_view, 3> wanted{method, method == "HEAD" ? "GET" : "", "*"};
    for (const std::string_view name : wanted) {
      for (const Route* route : candidates) {
        if (route->method == name) {
          found = route;
          return true;
        }
      }
    }
    for (const Route* route : candidates) allowed.push_back(route->method);
    return false;
  }

  /// The decoded text from segment `at` on.
  [[nodiscard]] std::string rest_from(std::size_t at) const {
    if (at >= segments.size()) return {};
    const char* begin = segments[at].data();
    const std::string_view last = segments.back();
    const std::string_view raw(begin, static_cast<std::size_t>(last.data() + last.size() - begin));
    return percent_decode(raw).value_or(std::string(raw));
  }

  bool walk(const Node& node, std::size_t at) {
    if (at == segments.size() && choose(node.here)) return true;
    if (at < segments.size()) {
      std::string segment = percent_decode(segments[at]).value_or(std::string(segments[at]));
      auto literal = node.literals.find(segment);
      if (literal != node.literals.end() && walk(*literal->second, at + 1)) return true;
      if (node.parameter && !segment.empty()) {
        values.push_back(std::move(segment));
        if (walk(*node.parameter, at + 1)) return true;
        values.pop_back();
      }
    }
    if (choose(node.rest)) {
      values.push_back(rest_from(at));
      return true;
    }
    return false;
  }
};

Router::Router() : root_(std::make_unique<Node>()) {}
Router::Router(Takes takes) : takes_(std::move(takes)), root_(std::make_unique<Node>()) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;

void Router::add(std::string_view method, std::string_view pattern, RouteOptions options,
                 Handler handler) {
  ALGA_CHECK(pattern.starts_with('/'));
  if (takes_ && !takes_(pattern)) return;
  auto route = std::make_unique<Route>();
  route->method = method;
  route->pattern = pattern;
  route->options = std::move(options);
  route->handler = std::move(handler);
  route->index = routes_.size();

  Node* node = root_.get();
  std::vector<const Route*>* place = nullptr;
  for (const std::string_view segment : segments_of(pattern)) {
    ALGA_CHECK(place == nullptr);  // nothing may follow {name...}
    if (!segment.starts_with('{')) {
      auto& child = node->literals[std::string(segment)];
      if (!child) child = std::make_unique<Node>();
      node = child.get();
      continue;
    }
    ALGA_CHECK(segment.ends_with('}'));
    std::string_view name = segment.substr(1, segment.size() - 2);
    if (name.ends_with("...")) {
      name.remove_suffix(3);
      place = &node->rest;
    } else {
      if (!node->parameter) node->parameter = std::make_unique<Node>();
      node = node->parameter.get();
    }
    ALGA_CHECK(!name.empty() &&
               std::ranges::find(route->parameters, name) == route->parameters.end());
    route->parameters.emplace_back(name);
  }
  if (place == nullptr) place = &node->here;
  for (const Route* other : *place) ALGA_CHECK(other->method != route->method);
  place->push_back(route.get());
  routes_.push_back(std::move(route));
}

Router::Match Router::match(std::string_view method, std::string_view path) const {
  Search search{.method = method, .segments = segments_of(path)};
  Match result;
  if (!search.walk(*root_, 0)) {
    std::ranges::sort(search.allowed);
    const auto repeated = std::ranges::unique(search.allowed);
    search.allowed.erase(repeated.begin(), repeated.end());
    if (std::ranges::binary_search(search.allowed, "GET")) search.allowed.emplace_back("HEAD");
    result.allowed = std::move(search.allowed);
    return result;
  }
  const Route& route = *search.found;
  result.handler = &route.handler;
  result.options = &route.options;
  result.pattern = route.pattern;
  result.route = route.index;
  for (std::size_t i = 0; i < route.parameters.size(); ++i) {
    result.params.emplace(route.parameters[i], std::move(search.values[i]));
  }
  return result;
}

std::vector<std::pair<std::string, std::string>> Router::routes() const {
  std::vector<std::pair<std::string, std::string>> result;
  result.reserve(routes_.size());
  for (const auto& route : routes_) result.emplace_back(route->method, route->pattern);
  return result;
}

}  // namespace alga::httpd
