#include "app/api_operations.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>

#include "base/bytes.h"

namespace alga::app {
namespace {

using boost::json::object;
using boost::json::value;

std::unexpected<Error> bad_argument(const Parameter& parameter, std::string_view what) {
  return fail(Kind::invalid, "admin.bad_argument", parameter.option + ": " + std::string(what));
}

std::string text_at(const object& from, std::string_view name) {
  const value* found = from.if_contains(name);
  return found != nullptr && found->is_string() ? std::string(found->as_string()) : std::string();
}

const object* object_at(const object& from, std::string_view name) {
  const value* found = from.if_contains(name);
  return found == nullptr ? nullptr : found->if_object();
}

/// `declaredHash` and `expires_at` become `declared-hash` and `expires-at`.
std::string option_of(std::string_view name) {
  std::string option;
  for (char c : name) {
    bool upper = c >= 'A' && c <= 'Z';
    if (upper && !option.empty()) option += '-';
    option += c == '_' ? '-' : upper ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return option;
}

/// RFC 3986: everything but unreserved characters.
std::string percent_encode(std::string_view text) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string out;
  for (char c : text) {
    if (kPlain.contains(c)) {
      out += c;
    } else {
      out += '%';
      out += hex_encode(as_bytes(std::string_view(&c, 1)));
    }
  }
  return out;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    std::size_t end = std::min(text.find(' '), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

/// Reads the operations of one document.
class Reader {
 public:
  explicit Reader(const value& document) : document_(document) {}

  Result<std::vector<Operation>> run() const {
    const object* root = document_.if_object();
    const object* paths = root == nullptr ? nullptr : object_at(*root, "paths");
    if (paths == nullptr) return bad("paths");
    std::vector<Operation> operations;
    for (const auto& [path, item] : *paths) {
      if (!item.is_object()) return bad(path);
      for (const auto& [method, operation] : item.get_object()) {
        if (!operation.is_object()) return bad(path);
        if (!operation.get_object().contains("x-command")) continue;
        operations.push_back(read(std::string(path), std::string(method), operation.get_object()));
      }
    }
    return operations;
  }

 private:
  static std::unexpected<Error> bad(std::string_view where) {
    return fail(Kind::internal, "internal.unexpected", std::string(where) + " is no object");
  }

  Operation read(std::string path, std::string_view method, const object& from) const {
    Operation operation;
    operation.words = split(text_at(from, "x-command"));
    operation.path = std::move(path);
    for (char c : method) operation.method += static_cast<char>(c - 'a' + 'A');
    operation.summary = text_at(from, "summary");
    operation.caller = text_at(from, "x-caller");
    if (const value* list = from.if_contains("parameters"); list != nullptr && list->is_array()) {
      for (const value& item : list->get_array()) add_parameter(operation, item);
    }
    if (const object* body = object_at(from, "requestBody")) add_body(operation, *body);
    return operation;
  }

  void add_parameter(Operation& operation, const value& item) const {
    if (!item.is_object()) return;
    const object& from = item.get_object();
    std::string name = text_at(from, "name");
    std::string in = text_at(from, "in");
    if (in == "header") {
      operation.takes_tenant |= name == "x-tenant-id";
      return;
    }
    const value* streams = from.if_contains("x-streams");
    if (streams != nullptr) return;  // answers without an end are not for this client
    const object* schema = object_at(from, "schema");
    Parameter parameter = describe(name, schema == nullptr ? object{} : *schema);
    parameter.place = in == "path" ? Place::path : Place::query;
    parameter.required = in == "path" || is_true(from, "required");
    if (std::string about = text_at(from, "description"); !about.empty()) {
      parameter.description = about;
    }
    operation.parameters.push_back(std::move(parameter));
  }

  void add_body(Operation& operation, const object& body) const {
    const object* content = object_at(body, "content");
    if (content == nullptr || content->empty()) return;
    operation.body_type = std::string(content->begin()->key());
    if (operation.body_type != "application/json") {
      operation.parameters.push_back({.name = "file",
                                      .option = "file",
                                      .place = Place::body,
                                      .shape = Shape::file,
                                      .required = true,
                                      .description = "The file to send"});
      return;
    }
    const object* media = content->begin()->value().if_object();
    const object* declared = media == nullptr ? nullptr : object_at(*media, "schema");
    if (declared == nullptr) return;
    const object& schema = resolve(*declared);
    const object* properties = object_at(schema, "properties");
    if (properties == nullptr) return;
    for (const auto& [name, property] : *properties) {
      // An operator names the tenant once for all, with --tenant.
      if (!property.is_object() ||
          (name == "tenant" && operation.takes_tenant && !names_role(*properties)))
        continue;
      Parameter parameter = describe(std::string(name), property.get_object());
      parameter.place = Place::body;
      parameter.required = lists(schema, "required", name);
      operation.parameters.push_back(std::move(parameter));
    }
  }

  /// A new API key has a tenant of its own, beside the one that its maker acts for.
  static bool names_role(const object& properties) { return properties.contains("role"); }

  Parameter describe(std::string name, const object& declared) const {
    const object& schema = resolve(declared);
    Parameter parameter{.name = name, .option = option_of(name)};
    parameter.description = text_at(declared, "description");
    if (parameter.description.empty()) parameter.description = text_at(schema, "description");
    std::string type = type_of(schema, parameter.nullable);
    const object* items = object_at(schema, "items");
    const object* more = object_at(schema, "additionalProperties");
    bool ignored = false;
    if (type == "integer") {
      parameter.shape = Shape::integer;
    } else if (type == "boolean") {
      parameter.shape = Shape::flag;
    } else if (type == "array" && items != nullptr &&
               type_of(resolve(*items), ignored) == "string") {
      parameter.shape = Shape::texts;
    } else if (type == "object" && more != nullptr && type_of(*more, ignored) == "string") {
      parameter.shape = Shape::pairs;
    } else if (type == "string" || schema.contains("enum") || schema.contains("const")) {
      bool hidden = text_at(schema, "format") == "password";
      parameter.shape = hidden ? Shape::secret : Shape::text;
    } else {
      parameter.shape = Shape::json;
    }
    return parameter;
  }

  /// The type, and whether null may stand in its place.
  static std::string type_of(const object& schema, bool& nullable) {
    const value* type = schema.if_contains("type");
    if (type == nullptr) return {};
    if (type->is_string()) return std::string(type->get_string());
    std::string found;
    if (type->is_array()) {
      for (const value& one : type->get_array()) {
        if (one == "null") {
          nullable = true;
        } else if (one.is_string()) {
          found = std::string(one.get_string());
        }
      }
    }
    return found;
  }

  static bool is_true(const object& from, std::string_view name) {
    const value* found = from.if_contains(name);
    return found != nullptr && found->is_bool() && found->get_bool();
  }
  static bool lists(const object& from, std::string_view name, std::string_view wanted) {
    const value* list = from.if_contains(name);
    if (list == nullptr || !list->is_array()) return false;
    return std::ranges::any_of(list->get_array(), [&](const value& one) {
      return one.is_string() && one.get_string() == wanted;
    });
  }

  const object& resolve(const object& schema) const {
    std::string reference = text_at(schema, "$ref");
    if (reference.empty()) return schema;
    boost::system::error_code error;
    const value* found = document_.find_pointer(reference.substr(1), error);
    return found != nullptr && found->is_object() ? found->get_object() : schema;
  }

  const value& document_;
};

Result<value> json_of(const Parameter& parameter, const std::string& text) {
  boost::system::error_code error;
  value parsed = boost::json::parse(text, error);
  if (error) return bad_argument(parameter, "is not JSON");
  return parsed;
}

Result<value> value_of(const Parameter& parameter, const std::vector<std::string>& words) {
  const std::string& first = words.front();
  switch (parameter.shape) {
    case Shape::flag: return value(true);
    case Shape::json: return json_of(parameter, first);
    case Shape::integer: {
      if (first == "none" && parameter.nullable) return value(nullptr);
      std::int64_t number = 0;
      auto [end, code] = std::from_chars(first.data(), first.data() + first.size(), number);
      if (code != std::errc{} || end != first.data() + first.size()) {
        return bad_argument(parameter, parameter.nullable ? "must be a whole number or `none`"
                                                          : "must be a whole number");
      }
      return value(number);
    }
    case Shape::texts: {
      boost::json::array list;
      if (words.size() == 1 && first.empty()) return value(list);
      for (const std::string& word : words) list.emplace_back(word);
      return value(list);
    }
    case Shape::pairs: {
      object map;
      for (const std::string& word : words) {
        std::size_t equals = word.find('=');
        if (equals == std::string::npos) return bad_argument(parameter, "must be KEY=VALUE");
        map[word.substr(0, equals)] = word.substr(equals + 1);
      }
      return value(map);
    }
    case Shape::text:
    case Shape::secret:
    case Shape::file: break;
  }
  return value(first);
}

std::string query_text(const value& from) {
  return from.is_string() ? std::string(from.get_string()) : boost::json::serialize(from);
}

}  // namespace

Result<std::vector<Operation>> api_operations(std::string_view openapi) {
  boost::system::error_code error;
  value document = boost::json::parse(openapi, error);
  if (error) return fail(Kind::internal, "internal.unexpected", "the document is not JSON");
  return Reader(document).run();
}

Result<ApiRequest> api_request(const Operation& operation, const Words& words) {
  ApiRequest request{.method = operation.method, .target = operation.path};
  object body;
  std::string query;
  for (const Parameter& parameter : operation.parameters) {
    auto given = words.find(parameter.name);
    if (given == words.end() || given->second.empty()) {
      if (parameter.required) return bad_argument(parameter, "is needed");
      continue;
    }
    if (parameter.shape == Shape::file) {
      request.body = given->second.front();
      continue;
    }
    TRY(value read, value_of(parameter, given->second));
    if (parameter.place == Place::body) {
      body[parameter.name] = std::move(read);
    } else if (parameter.place == Place::query) {
      query +=
          (query.empty() ? "?" : "&") + parameter.name + "=" + percent_encode(query_text(read));
    } else {
      std::string placeholder = "{" + parameter.name + "}";
      if (given->second.front().empty()) return bad_argument(parameter, "is empty");
      request.target.replace(request.target.find(placeholder), placeholder.size(),
                             percent_encode(given->second.front()));
    }
  }
  request.target += query;
  if (operation.body_type == "application/json") request.body = boost::json::serialize(body);
  if (request.body) request.content_type = operation.body_type;
  return request;
}

}  // namespace alga::app
